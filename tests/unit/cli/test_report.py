"""Problems as a terminal shows them."""

import io

from rich.console import Console

from bff.cli.report import print_problems
from bff.core.problems import Problem, Where


def test_what_stands_in_a_file_cannot_write_to_the_terminal() -> None:
    """Control characters are shown as escapes, and the mark still stands under its column."""
    problem = Problem(
        Where("a.yaml", 1, 5),
        "unknown key `\x1b[2J`",
        hint="known: \x07",
        path="a.\x9b",
        line_text="\ta: \x1b[2J",
    )
    shown = io.StringIO()

    print_problems([problem], Console(file=shown, soft_wrap=True))

    assert shown.getvalue().splitlines() == [
        r"a.yaml:1:5: error: a.\x9b: unknown key `\x1b[2J`",
        r"    \ta: \x1b[2J",
        "         ^",
        r"    known: \x07",
    ]
    assert str(problem).isprintable()
