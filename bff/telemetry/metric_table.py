"""The values of one worker's metrics, in memory that outlives it.

All stand in one table of doubles, mapped from a file where there are several workers: the node's
parent reads every worker's file at a scrape, without asking the worker, and a worker that is
killed loses no count.
"""

import json
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from bff.telemetry.families import Family

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "MetricTable",
    "Sample",
    "read_file",
    "read_samples",
]

MAGIC = b"BFFMETR1"
HEADER_BYTES = 64
# Pages that nothing was counted in cost no memory. 2 MiB of values, 4 MiB of names.
MOST_VALUES = 262_144
NAMES_START = HEADER_BYTES + MOST_VALUES * 8
TABLE_BYTES = NAMES_START + 4 * 1024 * 1024


class Sample(Struct, frozen=True):
    """One label set of a family. Histograms: a count per bucket (the last is +Inf), then the sum."""

    family: str
    labels: tuple[str, ...]
    values: tuple[float, ...]


class Counter:
    """Only goes up."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: "memoryview[float]", at: int) -> None:
        self._values = values
        self._at = at

    def add(self, amount: float = 1.0) -> None:
        """Count `amount` >= 0 more."""
        self._values[self._at] += amount


class Gauge:
    """Goes up and down."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: "memoryview[float]", at: int) -> None:
        self._values = values
        self._at = at

    def add(self, amount: float) -> None:
        """Move by `amount`."""
        self._values[self._at] += amount

    def set(self, value: float) -> None:
        """Say what it is now."""
        self._values[self._at] = value


class Histogram:
    """Counts by size. A bound belongs to its own bucket (`le`)."""

    __slots__ = ("_at", "_bounds", "_sum_at", "_values")

    def __init__(self, values: "memoryview[float]", at: int, bounds: tuple[float, ...]) -> None:
        self._values = values
        self._at = at
        self._bounds = bounds
        self._sum_at = at + len(bounds) + 1

    def observe(self, value: float) -> None:
        """Count one value."""
        values = self._values
        values[self._at + bisect_left(self._bounds, value)] += 1.0
        values[self._sum_at] += value


class MetricTable:
    """The memory: a header (values used, bytes of names used), values, and a line of JSON per label set."""

    def __init__(self, path: Path | None) -> None:
        self._memory = mmap.mmap(-1, TABLE_BYTES) if path is None else _map_new(path)
        whole = memoryview(self._memory)
        self._used = whole[8:24].cast("Q")
        self.values: memoryview[float] = whole[HEADER_BYTES:NAMES_START].cast("d")
        whole[0:8] = MAGIC

    def add(self, family: Family, labels: tuple[str, ...], size: int) -> int | None:
        """Where the values of a new label set stand; None if the table is full."""
        at, names_bytes = self._used
        line = json.dumps([family.name, labels, at, size]).encode() + b"\n"
        start = NAMES_START + names_bytes
        if at + size > MOST_VALUES or start + len(line) > TABLE_BYTES:
            return None
        self._memory[start : start + len(line)] = line
        # Last: a reader sees a name only when all of it stands there.
        self._used[0] = at + size
        self._used[1] = names_bytes + len(line)
        return at

    def child(self, family: Family, labels: tuple[str, ...]) -> Counter | Gauge | Histogram:
        """What counts a new label set."""
        width = len(family.bounds) + 2 if family.kind == "histogram" else 1
        at = self.add(family, labels, width)
        if at is None:
            # A full table must not fail a request: what no longer fits is counted where nobody looks.
            lost = memoryview(bytearray(width * 8)).cast("d")
            return _child_of(family, lost, 0)
        return _child_of(family, self.values, at)

    def samples(self) -> Iterator[Sample]:
        """What it holds now."""
        return read_samples(self._memory)


def _map_new(path: Path) -> mmap.mmap:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # All blocks at once: on a full disk, who touches a page that has none dies of SIGBUS.
        os.posix_fallocate(fd, 0, TABLE_BYTES)
        return mmap.mmap(fd, TABLE_BYTES)
    except OSError:
        # Nobody may map what has holes.
        path.unlink()
        raise
    finally:
        os.close(fd)


def read_samples(memory: mmap.mmap | bytes) -> Iterator[Sample]:
    """What a table holds, also while its owner writes or after it died. Raises ValueError if it is no table."""
    if memory[:8] != MAGIC:
        raise ValueError("not a table of metrics")
    whole = memoryview(memory)
    names_bytes = whole[16:24].cast("Q")[0]
    values = whole[HEADER_BYTES:NAMES_START].cast("d")
    for line in bytes(whole[NAMES_START : NAMES_START + names_bytes]).splitlines():
        family, labels, at, size = json.loads(line)
        yield Sample(family, tuple(labels), tuple(values[at : at + size]))


def read_file(path: Path) -> list[Sample]:
    """What the worker of this file has counted so far. Raises ValueError or OSError."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        # Closing the map needs every view of it gone, so the copy is made first.
        return list(read_samples(memory[:TABLE_BYTES]))


def _child_of(family: Family, values: "memoryview[float]", at: int) -> Counter | Gauge | Histogram:
    if family.kind == "counter":
        return Counter(values, at)
    if family.kind == "gauge":
        return Gauge(values, at)
    return Histogram(values, at, family.bounds)
