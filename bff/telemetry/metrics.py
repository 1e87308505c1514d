"""All that one worker counts, by label sets and by the events that features report.

The values stand in a `metric_table`; `exposition` turns tables into text.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

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
from bff.telemetry.families import FAMILIES
from bff.telemetry.metric_table import Counter, Gauge, Histogram, MetricTable, Sample

__all__ = ["Metrics"]

OTHER = "_OTHER"
MAX_LABEL = 256
# RFC 9110 9.3 and RFC 5789; any other is a client's invention.
METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"}
)
# Children that are found without their labels; beyond this they are looked up by them.
_MOST_KEPT = 4_000


class Metrics:
    """All that one worker counts. `path` is a new file for its table; without one, the table is private.

    Raises OSError if there is no room for the file.

    `counter`, `gauge` and `histogram` give a label set's child: take it at load where the labels are
    known then; asked for at request it costs one look into a dict (0.2 us).
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self._table = MetricTable(path)
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
        child = self._table.child(family, labels)
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
