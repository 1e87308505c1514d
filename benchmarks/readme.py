"""The README's figures, made of the latest report and put between two markers."""

from collections.abc import Sequence

from benchmarks.figures import TITLES_OF_ASKED, Report, Row
from benchmarks.goals import judge

__all__ = ["BEGIN", "END", "figure_lines", "with_figures"]

BEGIN = "<!-- figures: written by python -m benchmarks.report --readme -->"
END = "<!-- figures end -->"
# What tells a reader most; numbers of routes and the store have a line among the goals.
_SHOWN = ("plain", "policies")


def with_figures(text: str, report: Report, rows: Sequence[Row]) -> str:
    """The README with its figures replaced. Raises ValueError unless both markers stand in it once."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"README.md needs {BEGIN} and {END} once each")
    return "\n".join([f"{before}{BEGIN}", *figure_lines(report, rows), f"{END}{after}"])


def figure_lines(report: Report, rows: Sequence[Row]) -> list[str]:
    """The table of medians, then the goals in one table."""
    shown = [row for row in rows if row.mode in _SHOWN]
    asked = [size for size in TITLES_OF_ASKED if any(size in row.cpu_us for row in shown)]
    machine = report.machine
    runs = max((run.number for run in report.runs), default=0)
    lines = [
        (
            f"CPU microseconds per request on one core, median of {runs} interleaved runs "
            f"({machine.cpu}, {machine.cores} cores, {machine.python}, commit {machine.commit}):"
        ),
        "",
        f"| gateway | {' | '.join(TITLES_OF_ASKED[size] for size in asked)} | memory, MB |",
        f"|---|{'---:|' * (len(asked) + 1)}",
    ]
    for row in shown:
        cells = [f"{row.cpu_us[size].median:.0f}" if size in row.cpu_us else "" for size in asked]
        memory = f"{row.memory_mb:.0f}" if row.memory_mb else ""
        lines.append(f"| {row.title} | {' | '.join(cells)} | {memory} |")
    lines += ["", "| goal | aim | measured | |", "|---|---:|---:|---|"]
    lines += [
        f"| {each.what} | {each.aim} | {each.measured} | {each.verdict} |"
        for each in judge(report, rows)
        if each.is_judged
    ]
    return lines
