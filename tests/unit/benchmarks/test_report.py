"""From single runs to the table."""

import re

import pytest

from benchmarks.chart import Group, chart
from benchmarks.machine import Machine
from benchmarks.report import Report, SingleRun, bar_text, goal_lines, markdown, rows_of

TITLES = [
    ("ours", "policies", "this gateway"),
    ("envoy", "policies", "Envoy"),
    ("naive", "plain", "by hand"),
]


def single(contender: str, cpu_us: float, *, number: int = 1, mode: str = "policies") -> SingleRun:
    return SingleRun(
        contender=contender, mode=mode, size="medium", number=number, requests=1000,
        cpu_us=cpu_us, wall_s=1.0, busy=0.9, p50_us=1, p99_us=2, body_bytes=1701,
    )  # fmt: skip


def report(*runs: SingleRun, notes: tuple[str, ...] = ()) -> Report:
    machine = Machine(
        cpu="some cpu", cores=2, kernel="6.1", python="CPython 3.11", libraries={},
        commit="0123456789", dirty=True, load_average=(0.1, 0.1, 0.1),
    )  # fmt: skip
    return Report(
        started_utc="2026-01-02T03:04:05+00:00", command="python -m benchmarks", machine=machine,
        generator="wrk", connections=32, upstream_calls_per_s=100_000, cores={"gateway": 1, "load": 0},
        runs=list(runs), notes=list(notes),
    )  # fmt: skip


def test_a_row_shows_median_least_and_most() -> None:
    runs = [single("ours", value, number=n) for n, value in enumerate((120.0, 90.0, 100.0), 1)]

    rows = rows_of(report(*runs), TITLES)

    assert [row.cpu_us["medium"] for row in rows] == [(100.0, 90.0, 120.0)]


def test_the_bar_compares_with_policies_on() -> None:
    runs = [single("ours", 62.0), single("envoy", 100.0), single("naive", 1.0, mode="plain")]

    assert "0.62x of Envoy's CPU" in bar_text(rows_of(report(*runs), TITLES))


@pytest.mark.parametrize(("ours_us", "verdict"), [(62.0, "met"), (63.0, "missed")])
def test_a_goal_is_met_up_to_its_ratio(ours_us: float, verdict: str) -> None:
    rows = rows_of(report(single("ours", ours_us), single("envoy", 100.0)), TITLES)

    assert goal_lines(rows) == [
        f"| policies, 1.7 KB, of Envoy's | {ours_us / 100:.2f}x | 0.62x | {verdict} |"
    ]


def test_a_store_may_cost_ten_microseconds() -> None:
    titles = [*TITLES, ("ours", "redis", "in a store")]
    runs = [single("ours", 100.0), single("ours", 111.0, mode="redis")]

    (line,) = goal_lines(rows_of(report(*runs), titles))

    assert line.endswith("| +11 us | +10 us | missed |")


def test_bars_are_as_long_as_their_figures() -> None:
    text = chart([Group("a < b", {"ours": 50.0, "envoy": 100.0})])

    widths = [
        float(found) for found in re.findall(r'<rect x="150" y="\d+" width="([0-9.]+)"', text)
    ]
    assert widths[1] == widths[2] / 2 or widths[0] == widths[1] / 2
    assert "a &lt; b" in text


def test_without_the_rival_nothing_is_said_of_the_bar() -> None:
    assert bar_text(rows_of(report(single("ours", 100.0)), TITLES)) == ""


def test_the_page_says_what_could_not_be_measured_and_what_the_tree_was() -> None:
    made = report(single("ours", 100.0), notes=("envoy could not run here: no binary",))

    page = markdown(made, rows_of(made, TITLES))

    assert "| this gateway | - | 100 (100 - 100) | - | - |" in page
    assert "- envoy could not run here: no binary" in page
    assert "commit 0123456789 with uncommitted changes" in page
