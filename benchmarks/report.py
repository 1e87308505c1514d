"""Runs -> medians -> table on the screen, JSON with every single run, `latest.md`."""

import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.chart import Group, chart
from benchmarks.machine import Machine

__all__ = [
    "Report",
    "Row",
    "SingleRun",
    "bar_text",
    "goal_lines",
    "markdown",
    "rows_of",
    "show",
    "write",
]

RESULTS = Path(__file__).resolve().parent / "results"
_BAR_SIZE = "medium"
_SIZE_TITLES = {"small": "0.35 KB", "medium": "1.7 KB", "large": "15.6 KB", "post": "POST 1.7 KB"}


class SingleRun(Struct, frozen=True, kw_only=True):
    """One run of one contender at one size. `cpu_us` is user and system time per request of its process tree.

    `busy` is the share of its core that the tree used: well below 1 the generator was the limit.
    """

    contender: str
    mode: str
    size: str
    number: int
    requests: int
    cpu_us: float
    wall_s: float
    busy: float
    p50_us: int
    p99_us: int
    body_bytes: int
    memory_mb: float = 0.0


class Report(Struct, frozen=True, kw_only=True):
    """All of one benchmark. `notes` say what could not be measured and why."""

    started_utc: str
    command: str
    machine: Machine
    generator: str
    connections: int
    upstream_calls_per_s: int
    cores: dict[str, int]
    runs: list[SingleRun]
    notes: list[str]


class Row(Struct, frozen=True, kw_only=True):
    """A line of the table: median, least and most microseconds by size."""

    title: str
    contender: str
    mode: str
    cpu_us: dict[str, tuple[float, float, float]]


def rows_of(report: Report, titles: Iterable[tuple[str, str, str]]) -> list[Row]:
    """A row for each (contender, mode, title) that has runs, in that order."""
    rows = []
    for contender, mode, title in titles:
        figures: dict[str, tuple[float, float, float]] = {}
        for size in _SIZE_TITLES:
            found = [
                run.cpu_us
                for run in report.runs
                if (run.contender, run.mode, run.size) == (contender, mode, size)
            ]
            if found:
                figures[size] = (statistics.median(found), min(found), max(found))
        if figures:
            rows.append(Row(title=title, contender=contender, mode=mode, cpu_us=figures))
    return rows


def bar_text(rows: Sequence[Row]) -> str:
    """Ours against Envoy, policies on, at 1.7 KB; empty if one of them was not measured."""
    ratio = _ratio(rows, ("ours", "policies", _BAR_SIZE), ("envoy", "policies", _BAR_SIZE))
    return "" if ratio is None else f"policies on, 1.7 KB: {ratio:.2f}x of Envoy's CPU"


class Goal(Struct, frozen=True):
    """What one figure should be of another: both as (contender, mode, size), `most` the ratio."""

    what: str
    ours: tuple[str, str, str]
    other: tuple[str, str, str]
    most: float


def _against_envoy(mode: str, size: str, most: float) -> Goal:
    what = f"{mode}, {_SIZE_TITLES[size]}, of Envoy's"
    return Goal(what, ("ours", mode, size), ("envoy", mode, size), most)


GOALS = (
    _against_envoy("plain", "small", 0.50),
    _against_envoy("plain", "medium", 0.58),
    _against_envoy("plain", "large", 0.75),
    _against_envoy("policies", "small", 0.62),
    _against_envoy("policies", "medium", 0.62),
    _against_envoy("policies", "large", 0.70),
    _against_envoy("policies", "post", 0.65),
    Goal(
        "10,000 routes, of 10 routes",
        ("ours", "routes-10000", "small"),
        ("ours", "routes-10", "small"),
        1.2,
    ),
)
# Buckets in a store instead of the node's memory: so many microseconds more at the most.
STORE_GOAL_US = 10.0


def _median(rows: Sequence[Row], key: tuple[str, str, str]) -> float | None:
    for row in rows:
        if (row.contender, row.mode) == key[:2] and key[2] in row.cpu_us:
            return row.cpu_us[key[2]][0]
    return None


def _ratio(
    rows: Sequence[Row], ours: tuple[str, str, str], other: tuple[str, str, str]
) -> float | None:
    above, below = _median(rows, ours), _median(rows, other)
    return None if above is None or below is None else above / below


def goal_lines(rows: Sequence[Row]) -> list[str]:
    """The goals that this report can judge, as lines of a Markdown table."""
    lines = []
    for goal in GOALS:
        ratio = _ratio(rows, goal.ours, goal.other)
        if ratio is not None:
            verdict = "met" if ratio <= goal.most else "missed"
            lines.append(f"| {goal.what} | {ratio:.2f}x | {goal.most:.2f}x | {verdict} |")
    near = _median(rows, ("ours", "policies", _BAR_SIZE))
    far = _median(rows, ("ours", "redis", _BAR_SIZE))
    if near is not None and far is not None:
        verdict = "met" if far - near <= STORE_GOAL_US else "missed"
        what = "buckets in Valkey, more than in memory"
        lines.append(f"| {what} | {far - near:+.0f} us | {STORE_GOAL_US:+.0f} us | {verdict} |")
    return lines


def show(report: Report, rows: Sequence[Row]) -> None:
    """Print the table."""
    # Wide enough where the output is no terminal.
    console = Console(highlight=False, width=max(110, Console().width))
    table = Table(title="CPU microseconds per request (median, least - most)")
    table.add_column("gateway")
    for title in _SIZE_TITLES.values():
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(row.title, *(_cell(row, size) for size in _SIZE_TITLES))
    console.print(table)
    for line in (*goal_lines(rows), *_footing(report, rows)):
        console.print(line, markup=False)


def markdown(report: Report, rows: Sequence[Row]) -> str:
    """The same as Markdown."""
    lines = [
        "# CPU per request",
        "",
        "CPU microseconds (user and system) per request of the whole gateway process tree, on one core:",
        "median of the runs, least and most behind it. JSON replies of three sizes, same canned upstream.",
        "",
        f"| gateway | {' | '.join(_SIZE_TITLES.values())} |",
        f"|---|{'---:|' * len(_SIZE_TITLES)}",
    ]
    for row in rows:
        cells = " | ".join(_cell(row, size) for size in _SIZE_TITLES)
        lines.append(f"| {row.title} | {cells} |")
    goals = goal_lines(rows)
    if goals:
        lines += ["", "| ratio within this run | is | goal | |", "|---|---:|---:|---|", *goals]
    lines += ["", *(f"- {line}" for line in _footing(report, rows)), ""]
    return "\n".join(lines)


def _cell(row: Row, size: str) -> str:
    figures = row.cpu_us.get(size)
    if figures is None:
        return "-"
    median, least, most = figures
    return f"{median:.0f} ({least:.0f} - {most:.0f})"


def _footing(report: Report, rows: Sequence[Row]) -> list[str]:
    machine = report.machine
    counts = [run.number for run in report.runs]
    lines = [
        bar_text(rows),
        (
            f"{max(counts, default=0)} runs each, {report.connections} connections, load from "
            f"{report.generator}, upstream answers {report.upstream_calls_per_s:,} calls/s"
        ),
        (
            f"{machine.cpu}, {machine.cores} cores, Linux {machine.kernel}, {machine.python}, "
            f"load average at start {machine.load_average[0]:.2f}"
        ),
        (
            f"commit {machine.commit}{' with uncommitted changes' if machine.dirty else ''}, "
            f"{report.started_utc}, `{report.command}`"
        ),
        *report.notes,
    ]
    if machine.cores > 1 and machine.load_average[0] > 0.5:
        lines.append(
            "The machine was not idle: other work disturbs caches, so figures are too high"
        )
    return [line for line in lines if line]


def _groups(rows: Sequence[Row]) -> list[Group]:
    """The bars of the chart: a group a size, plain and with policies, of those that have rivals in it."""
    groups = []
    for mode in ("plain", "policies"):
        for size, title in _SIZE_TITLES.items():
            bars = {
                row.contender: row.cpu_us[size][0]
                for row in rows
                if row.mode == mode and row.contender in {"ours", "envoy"} and size in row.cpu_us
            }
            if len(bars) > 1:
                groups.append(Group(f"{title} {'+ policies' if mode == 'policies' else ''}", bars))
    return groups


def write(report: Report, rows: Sequence[Row], *, is_latest: bool) -> Path:
    """Write the JSON, and `latest.md` if this run is to be the one that is shown; returns the JSON's path."""
    RESULTS.mkdir(exist_ok=True)
    started = datetime.fromisoformat(report.started_utc)
    target = RESULTS / f"{started:%Y%m%dT%H%MZ}-{report.machine.commit}.json"
    target.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    if is_latest:
        (RESULTS / "latest.md").write_text(markdown(report, rows), encoding="utf-8")
        (RESULTS / "latest.svg").write_text(chart(_groups(rows)), encoding="utf-8")
    return target
