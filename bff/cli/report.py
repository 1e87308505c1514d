"""How findings are shown: file:line:column, the line with a caret, what is wrong, the fix."""

import sys
from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.text import Text

from bff.core.problems import Problem, printable

__all__ = ["console", "errors", "print_problems", "problems_json"]

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def print_problems(problems: Iterable[Problem], out: Console | None = None) -> None:
    """Each problem as an editor would show it; plain text when piped."""
    target = out or errors
    for problem in problems:
        target.print(_rendered(problem))


def _rendered(problem: Problem) -> Text:
    colour = "yellow" if problem.severity == "warning" else "red"
    text = Text()
    if problem.where.file:
        text.append(f"{problem.where}: ", "bold")
    text.append(problem.severity, colour)
    if problem.code:
        text.append(f"[{problem.code}]", "dim")
    text.append(": ")
    if problem.path:
        text.append(printable(f"{problem.path}: "))
    text.append(printable(problem.message))
    if problem.line_text and problem.where.column:
        text.append(f"\n    {printable(problem.line_text)}\n    ", "dim")
        before = printable(problem.line_text[: problem.where.column - 1])
        text.append(" " * len(before) + "^", colour)
    if problem.hint:
        text.append(f"\n    {printable(problem.hint)}", "green")
    return text


def problems_json(problems: Iterable[Problem]) -> None:
    """The findings as JSON on standard output."""
    sys.stdout.write(msgspec.json.encode([_plain(p) for p in problems]).decode() + "\n")


def _plain(problem: Problem) -> dict[str, object]:
    where = problem.where
    return {
        "severity": problem.severity,
        "code": problem.code,
        "file": where.file,
        "line": where.line,
        "column": where.column,
        "path": problem.path,
        "message": problem.message,
        "hint": problem.hint,
    }
