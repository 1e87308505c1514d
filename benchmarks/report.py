"""The page of a report: tables in Markdown, the same on the screen, and the files under `results/`.

`python -m benchmarks.report --readme` writes page and chart anew from `results/latest.json`, and the
figures into the README, between its markers.
"""

import argparse
import sys
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.chart import Group, Section, chart
from benchmarks.contenders import CONTENDERS
from benchmarks.figures import (
    TITLES_OF_ASKED,
    Report,
    Row,
    Spread,
    rows_of,
)
from benchmarks.goals import judge, store_difference_us
from benchmarks.readme import with_figures
from benchmarks.tables import connection_lines, lane_lines, open_lines

__all__ = [
    "LATEST",
    "README",
    "markdown",
    "read_latest",
    "rows_of_contenders",
    "show",
    "svg",
    "write",
]

RESULTS = Path(__file__).resolve().parent / "results"
LATEST = RESULTS / "latest.json"
README = RESULTS.parents[1] / "README.md"


def rows_of_contenders(report: Report) -> list[Row]:
    """The table's rows in the order of the contenders."""
    return rows_of(report, [(entry.name, entry.mode, entry.title) for entry in CONTENDERS])


def show(report: Report) -> None:
    """Print what was measured."""
    # Wide enough where the output is no terminal.
    console = Console(highlight=False, width=max(150, Console().width))
    console.print(Markdown(markdown(report, is_whole=False)))


def markdown(report: Report, *, is_whole: bool = True) -> str:
    """The page; a whole report names the goals that it could not judge too."""
    rows = rows_of_contenders(report)
    sections = [
        ("", _cpu_lines(rows)),
        ("Goals", _goal_lines(report, rows, is_whole=is_whole)),
        ("Connections", connection_lines(report)),
        ("Latency that is added", open_lines(report)),
        ("The client alone", lane_lines(report)),
    ]
    lines = ["# What a request costs", ""]
    for title, body in sections:
        if body:
            lines += [*([f"## {title}", ""] if title else []), *body, ""]
    lines += ["## Machine and command", "", *(f"- {line}" for line in _footing(report)), ""]
    return "\n".join(lines)


def _cpu_lines(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    asked = [size for size in TITLES_OF_ASKED if any(size in row.cpu_us for row in rows)]
    return [
        "CPU microseconds (user and system) per request of a gateway's whole process tree, on one core: median of",
        "the runs, least and most behind it. All gateways stand before the same canned upstream.",
        "Memory is the most that a run left the tree with, shared pages counted once (PSS).",
        "",
        f"| gateway | {' | '.join(TITLES_OF_ASKED[size] for size in asked)} | memory, MB |",
        f"|---|{'---:|' * (len(asked) + 1)}",
        *(
            f"| {row.title} | {' | '.join(_cell(row.cpu_us.get(size)) for size in asked)} | {row.memory_mb:.0f} |"
            for row in rows
        ),
    ]


def _cell(figures: Spread | None) -> str:
    if figures is None:
        return "-"
    return f"{figures.median:.0f} ({figures.least:.0f} - {figures.most:.0f})"


def _goal_lines(report: Report, rows: Sequence[Row], *, is_whole: bool) -> list[str]:
    judged = [each for each in judge(report, rows) if each.is_judged or is_whole]
    if not judged:
        return []
    lines = ["| what | aim | measured | |", "|---|---:|---:|---|"]
    lines += [f"| {each.what} | {each.aim} | {each.measured} | {each.verdict} |" for each in judged]
    difference_us = store_difference_us(report)
    if difference_us is not None:
        differences = sorted(pair.far_us - pair.near_us for pair in report.pairs)
        quarter = len(differences) // 4
        lines += [
            "",
            (
                f"Of Valkey: median of {len(differences)} pairs of neighbouring blocks, half of them between "
                f"{differences[quarter]:+.1f} and {differences[-1 - quarter]:+.1f} us."
            ),
        ]
    return lines


def _footing(report: Report) -> list[str]:
    machine = report.machine
    runs = max((run.number for run in report.runs), default=0)
    lines = [
        (
            f"{runs} runs each, interleaved, {report.connections} connections where nothing else is said, "
            f"load from {report.generator}, upstream answers {report.upstream_calls_per_s:,} calls/s, "
            f"{report.took_s:.0f} s in all"
        ),
        (
            f"{machine.cpu}, {machine.cores} cores, Linux {machine.kernel}, {machine.python}, "
            f"load average at start {machine.load_average[0]:.2f}"
        ),
        ", ".join(f"{name} {version}" for name, version in machine.libraries.items()),
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


def svg(report: Report) -> str:
    """The chart: what ours and a rival were both asked, rivals of one magnitude on one scale."""
    rows = rows_of_contenders(report)
    return chart(
        [
            Section("beside Envoy", _groups(rows, {"envoy"})),
            Section("beside Python and Node", _groups(rows, {"naive", "node", "hive"})),
        ]
    )


def _groups(rows: Sequence[Row], rivals: Collection[str]) -> list[Group]:
    groups = []
    for mode, suffix in (("plain", ""), ("policies", " + policies")):
        for size, title in TITLES_OF_ASKED.items():
            bars = {
                row.contender: row.cpu_us[size].median
                for row in rows
                if row.mode == mode and row.contender in {"ours", *rivals} and size in row.cpu_us
            }
            if "ours" in bars and len(bars) > 1:
                groups.append(Group(f"{title}{suffix}", bars))
    return groups


def write(report: Report, *, is_latest: bool) -> list[Path]:
    """Write the JSON; if this is the report that is shown, page, chart and README too. Returns the files."""
    RESULTS.mkdir(exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
    if not is_latest:
        started = datetime.fromisoformat(report.started_utc)
        target = RESULTS / f"{started:%Y%m%dT%H%M%SZ}-{report.machine.commit}.json"
        target.write_bytes(data)
        return [target]
    LATEST.write_bytes(data)
    return [LATEST, *_write_pages(report)]


def read_latest() -> Report:
    """The report that is shown."""
    return msgspec.json.decode(LATEST.read_bytes(), type=Report)


def _write_pages(report: Report) -> list[Path]:
    pages = {
        RESULTS / "latest.md": markdown(report),
        RESULTS / "latest.svg": svg(report),
        README: with_figures(
            README.read_text(encoding="utf-8"), report, rows_of_contenders(report)
        ),
    }
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return list(pages)


def main() -> int:
    """Write what follows from the latest report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="Pages of the latest report."
    )
    parser.add_argument(
        "--readme", action="store_true", help="write latest.md, latest.svg, README.md"
    )
    given = parser.parse_args()
    report = read_latest()
    if not given.readme:
        print(markdown(report))
        return 0
    for path in _write_pages(report):
        print(f"written: {path.relative_to(README.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
