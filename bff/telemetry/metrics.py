"""Counters, gauges and histograms of one worker, in memory that outlives it.

All values stand in one table of doubles, mapped from a file where there are several workers: the
node's parent reads every worker's file at a scrape, without asking the worker, and a worker that is
killed loses no count. `exposition` turns tables into text.
"""

import json
import mmap
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from bff.core.events import (
    AttemptEnded,
    AuthFailed,
    BreakerMoved,
    Event,
    FieldSkipped,
    KeysFetched,
    LimitDecided,
    LimitsPassed,
    OperationEnded,
    PartlyAnswered,
    SourceEnded,
)
from bff.telemetry.families import FAMILIES, Family

__all__ = ["Counter", "Gauge", "Histogram", "Metrics", "Sample", "read_file", "read_samples"]

MAGIC = b"BFFMETR1"
HEADER_BYTES = 64
# Pages that nothing was counted in cost no memory. 2 MiB of values, 4 MiB of names.
MOST_VALUES = 262_144
NAMES_START = HEADER_BYTES + MOST_VALUES * 8
TABLE_BYTES = NAMES_START + 4 * 1024 * 1024
OTHER = "_OTHER"
MAX_LABEL = 256
# RFC 9110 9.3 and RFC 5789; any other is a client's invention.
METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"}
)


# Children that are found without their labels; beyond this they are looked up by them.
_MOST_KEPT = 4_000


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


class _Table:
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

    def samples(self) -> Iterator[Sample]:
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


class Metrics:
    """All that one worker counts. `path` is a new file for its table; without one, the table is private.

    Raises OSError if there is no room for the file.

    `counter`, `gauge` and `histogram` give a label set's child: take it at load where the labels are
    known then; asked for at request it costs one look into a dict (0.2 us).
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self._table = _Table(path)
        self._children: dict[tuple[str, ...], Any] = {}
        self._sizes: dict[str, int] = {}
        self._requests: dict[tuple[str, str, int, str], Histogram] = {}
        self._attempts: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._decisions: dict[int, tuple[LimitDecided, Counter]] = {}
        self._passes: dict[int, tuple[LimitsPassed, tuple[Counter, ...]]] = {}
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            AttemptEnded: self._attempt_ended,
            AuthFailed: self._auth_failed,
            BreakerMoved: self._breaker_moved,
            FieldSkipped: self._field_skipped,
            KeysFetched: self._keys_fetched,
            LimitDecided: self._limit_decided,
            LimitsPassed: self._limits_passed,
            OperationEnded: self._operation_ended,
            PartlyAnswered: self._partly_answered,
            SourceEnded: self._source_ended,
        }

    def counter(self, name: str, *labels: str) -> Counter:
        """The counter with these label values, in the order of the family's labels."""
        return cast("Counter", self._child(name, labels))

    def gauge(self, name: str, *labels: str) -> Gauge:
        """As `counter`, for a gauge."""
        return cast("Gauge", self._child(name, labels))

    def histogram(self, name: str, *labels: str) -> Histogram:
        """As `counter`, for a histogram."""
        return cast("Histogram", self._child(name, labels))

    def request_ended(
        self, method: str, route: str, status: int, error_type: str, seconds: float
    ) -> None:
        """Count one request. `route` is the template, `error_type` the reason of a 5xx, else empty."""
        key = (method, route, status, error_type)
        child = self._requests.get(key)
        if child is None:
            child = self._new_request_child(method, route, status, error_type)
        child.observe(seconds)

    def emit(self, event: Event) -> None:
        """Count an event of a feature; those without a metric of their own pass."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def samples(self) -> list[Sample]:
        """What was counted so far."""
        return list(self._table.samples())

    def _child(self, name: str, labels: tuple[str, ...]) -> Any:
        key = (name, *labels)
        child = self._children.get(key)
        return self._new_child(name, labels) if child is None else child

    def _new_child(self, name: str, labels: tuple[str, ...]) -> Any:
        family = FAMILIES[name]
        if len(labels) != len(family.labels):
            raise ValueError(f"{name} has the labels {family.labels}, got {len(labels)} values")
        others = (OTHER,) * len(labels)
        size = self._sizes.get(name, 0)
        if labels != others and (
            size >= family.most_children or max(map(len, labels), default=0) > MAX_LABEL
        ):
            return self._child(name, others)
        width = len(family.bounds) + 2 if family.kind == "histogram" else 1
        at = self._table.add(family, labels, width)
        # A full table must not fail a request: what no longer fits is counted where nobody looks.
        lost = memoryview(bytearray(width * 8)).cast("d")
        child = _make(family, lost, 0) if at is None else _make(family, self._table.values, at)
        self._children[(name, *labels)] = child
        self._sizes[name] = size + 1
        return child

    def _new_request_child(
        self, method: str, route: str, status: int, error_type: str
    ) -> Histogram:
        child = self.histogram(
            "http_server_request_duration_seconds",
            method if method in METHODS else OTHER,
            route,
            str(status),
            error_type,
        )
        # Methods are the client's words: only known ones may add to this dict.
        if method in METHODS and len(self._requests) < _MOST_KEPT:
            self._requests[(method, route, status, error_type)] = child
        return child

    def _attempt_ended(self, event: AttemptEnded) -> None:
        # The five labels follow from these three, which are few: known at load but for the code.
        key = (event.operation, event.kind, event.code)
        children = self._attempts.get(key)
        if children is None:
            children = self._new_attempt_children(event)
            if len(self._attempts) < _MOST_KEPT:
                self._attempts[key] = children
        children[0].add()
        children[1].observe(event.seconds)

    def _new_attempt_children(self, event: AttemptEnded) -> tuple[Counter, Histogram]:
        labels = (event.upstream, event.operation, event.kind, event.code)
        error_type = "" if event.code == "OK" else event.code
        return (
            self.counter("bff_upstream_attempts_total", *labels),
            self.histogram(
                "rpc_client_call_duration_seconds",
                "grpc",
                event.operation,
                event.code,
                event.upstream,
                error_type,
            ),
        )

    def _auth_failed(self, event: AuthFailed) -> None:
        self.counter("bff_auth_failures_total", event.provider, event.reason).add()

    def _breaker_moved(self, event: BreakerMoved) -> None:
        where = (event.upstream, event.operation)
        self.gauge("bff_breaker_state", *where, event.before).set(0)
        self.gauge("bff_breaker_state", *where, event.after).set(1)
        self.counter(
            "bff_breaker_transitions_total", event.upstream, event.before, event.after, event.why
        ).add()

    def _field_skipped(self, event: FieldSkipped) -> None:
        self.counter(
            "bff_metadata_skipped_total", event.operation, event.direction, event.cause
        ).add()

    def _keys_fetched(self, event: KeysFetched) -> None:
        self.counter("bff_jwks_fetches_total", event.issuer, event.result).add()

    def _operation_ended(self, event: OperationEnded) -> None:
        self.counter("bff_graphql_operations_total", event.outcome).add()

    def _partly_answered(self, event: PartlyAnswered) -> None:
        self.counter("bff_partial_replies_total", event.route).add()

    def _source_ended(self, event: SourceEnded) -> None:
        labels = (event.route, event.source, event.outcome, event.reason)
        self.counter("bff_source_outcomes_total", *labels).add()

    def _limits_passed(self, event: LimitsPassed) -> None:
        # As below: found by identity, since the same few events come again and again.
        kept = self._passes.get(id(event))
        if kept is None:
            counters = [
                self.counter("bff_limit_decisions_total", policy, "admit", event.source)
                for policy in event.policies
            ]
            kept = (event, tuple(counters))
            if len(self._passes) < _MOST_KEPT:
                self._passes[id(event)] = kept
        for counter in kept[1]:
            counter.add()

    def _limit_decided(self, event: LimitDecided) -> None:
        # The limiter makes these events once and emits them again and again, so each one's counter
        # is found by its identity; the entry holds the event, so the id cannot pass to another.
        kept = self._decisions.get(id(event))
        if kept is None:
            labels = (event.policy, event.decision, event.source)
            kept = (event, self.counter("bff_limit_decisions_total", *labels))
            if len(self._decisions) < _MOST_KEPT:
                self._decisions[id(event)] = kept
        kept[1].add()


def _make(family: Family, values: "memoryview[float]", at: int) -> Counter | Gauge | Histogram:
    if family.kind == "counter":
        return Counter(values, at)
    if family.kind == "gauge":
        return Gauge(values, at)
    return Histogram(values, at, family.bounds)
