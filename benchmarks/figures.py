"""Everything that a benchmark found, as it stands in its JSON, and the medians that are read out of it."""

import statistics
from collections.abc import Iterable, Sequence

from msgspec import Struct

from benchmarks.machine import Machine

__all__ = [
    "TITLES_OF_ASKED",
    "LaneRun",
    "OpenRun",
    "Pair",
    "Report",
    "Row",
    "SingleRun",
    "Spread",
    "median_us",
    "ratio",
    "rows_of",
    "spread",
]  # fmt: skip

TITLES_OF_ASKED = {
    "small": "0.35 KB",
    "medium": "1.7 KB",
    "large": "15.6 KB",
    "post": "POST 1.7 KB",
    "aggregate": "screen of 3 calls",
    "graphql": "GraphQL, 3 calls",
}
# contender, mode, size
Key = tuple[str, str, str]


class SingleRun(Struct, frozen=True, kw_only=True):
    """One run of one contender. `cpu_us` is user and system time per request of its process tree.

    `busy` is the share of its core that the tree used: well below 1 the generator was the limit.
    `is_varied`: taken to compare numbers of connections, not to stand in the table of sizes.
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
    connections: int = 32
    is_varied: bool = False


class Pair(Struct, frozen=True, kw_only=True):
    """Two neighbouring blocks of requests: `near_us` with buckets in memory, `far_us` in the store."""

    number: int
    requests: int
    near_us: float
    far_us: float


class OpenRun(Struct, frozen=True, kw_only=True):
    """Latency at a fixed rate, counted from the time at which each request was due.

    The contender `upstream` is the service itself, asked by the same generator.
    """

    contender: str
    mode: str
    rate: int
    number: int
    requests: int
    p50_us: int
    p99_us: int


class LaneRun(Struct, frozen=True, kw_only=True):
    """CPU of one unary call in microseconds, by the client that made it."""

    client: str
    at_once: int
    calls: int
    user_us: float
    system_us: float

    @property
    def total_us(self) -> float:
        """User and system time."""
        return self.user_us + self.system_us


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
    pairs: list[Pair] = []
    open_runs: list[OpenRun] = []
    lane: list[LaneRun] = []
    first_answer_s: list[float] = []
    took_s: float = 0.0


class Spread(Struct, frozen=True):
    """Median, least and most."""

    median: float
    least: float
    most: float


class Row(Struct, frozen=True, kw_only=True):
    """A line of the table: microseconds by what was asked, and the most memory that a run left it with."""

    title: str
    contender: str
    mode: str
    cpu_us: dict[str, Spread]
    memory_mb: float


def spread(figures: Iterable[float]) -> Spread | None:
    """None of no figures."""
    found = list(figures)
    return Spread(statistics.median(found), min(found), max(found)) if found else None


def rows_of(report: Report, titles: Iterable[tuple[str, str, str]]) -> list[Row]:
    """A row for each (contender, mode, title) that has runs, in that order."""
    rows = []
    for contender, mode, title in titles:
        runs = [
            run
            for run in report.runs
            if (run.contender, run.mode) == (contender, mode) and not run.is_varied
        ]
        cpu_us = _by_size(runs)
        if cpu_us:
            memory_mb = max(run.memory_mb for run in runs)
            rows.append(
                Row(title=title, contender=contender, mode=mode, cpu_us=cpu_us, memory_mb=memory_mb)
            )
    return rows


def _by_size(runs: Sequence[SingleRun]) -> dict[str, Spread]:
    found = {
        size: spread(run.cpu_us for run in runs if run.size == size) for size in TITLES_OF_ASKED
    }
    return {size: figures for size, figures in found.items() if figures is not None}


def median_us(rows: Sequence[Row], key: Key) -> float | None:
    """Of one cell of the table; None if it is empty."""
    for row in rows:
        if (row.contender, row.mode) == key[:2] and key[2] in row.cpu_us:
            return row.cpu_us[key[2]].median
    return None


def ratio(rows: Sequence[Row], ours: Key, other: Key) -> float | None:
    """Of two medians; None if one is missing."""
    above, below = median_us(rows, ours), median_us(rows, other)
    return None if above is None or below is None else above / below
