"""Every metric the gateway counts, as one table: name, kind, labels, help, and how nodes add workers up.

Labels are bounded by the configuration (routes, operations, upstreams) and by closed lists (reasons,
codes). Never users, raw paths, keys or error texts.
"""

from typing import Literal

from msgspec import Struct

__all__ = ["FAMILIES", "Family", "Kind", "Merge"]

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max"]

# OpenTelemetry's buckets for durations, and 1 and 2.5 ms below them.
SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip


class Family(Struct, frozen=True, kw_only=True):
    """One metric. `name` is Prometheus's; `most_children` bounds the label sets, one more is `_OTHER`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...] = ()
    merge: Merge = "sum"
    most_children: int = 2_000


def _counter(name: str, labels: str, text: str) -> Family:
    return Family(name=name, kind="counter", labels=tuple(labels.split()), help=text)


def _gauge(name: str, labels: str, text: str, merge: Merge = "sum") -> Family:
    return Family(name=name, kind="gauge", labels=tuple(labels.split()), help=text, merge=merge)


def _seconds(name: str, labels: str, text: str) -> Family:
    return Family(
        name=name, kind="histogram", labels=tuple(labels.split()), help=text, bounds=SECONDS
    )


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _seconds(
            "http_server_request_duration_seconds",
            "http_request_method http_route http_response_status_code error_type",
            "Time from a request's head to its reply's last byte.",
        ),
        _gauge("http_server_active_requests", "", "Requests being answered."),
        _seconds(
            "rpc_client_call_duration_seconds",
            "rpc_system_name rpc_method rpc_response_status_code upstream error_type",
            "Time of one attempt at a service.",
        ),
        _counter(
            "bff_refused_total",
            "route stage reason",
            "Requests that ended with a reason, services' too.",
        ),
        _counter(
            "bff_connections_refused_total",
            "reason",
            "HTTP/1.1 connections ended before a request.",
        ),
        _counter("bff_route_misses_total", "reason", "Requests that no route took."),
        _counter("bff_auth_failures_total", "provider reason", "Credentials refused."),
        _counter("bff_limit_decisions_total", "policy decision source", "Decisions of policies."),
        _gauge(
            "bff_breaker_state",
            "upstream operation state",
            "1 for the state that a breaker is in, on any worker.",
            "max",
        ),
        _counter("bff_breaker_transitions_total", "upstream from to reason", "Moves of breakers."),
        _counter(
            "bff_upstream_attempts_total",
            "upstream operation kind outcome",
            "Attempts at services; outcome is a gRPC code.",
        ),
        _counter(
            "bff_metadata_skipped_total",
            "operation direction cause",
            "Listed fields that did not cross, for their name or their value.",
        ),
        _counter(
            "bff_source_outcomes_total",
            "route source outcome reason",
            "How the sources of aggregates ended.",
        ),
        _counter("bff_partial_replies_total", "route", "Replies with a part left out."),
        _counter(
            "bff_graphql_operations_total", "outcome", "GraphQL requests, by how far they came."
        ),
        _gauge(
            "bff_config_info", "version environment", "1 for the version that is served.", "max"
        ),
        _counter("bff_config_refused_total", "stage", "Versions of the configuration refused."),
        _counter(
            "bff_descriptor_refreshes_total",
            "source result",
            "Services asked again for their types; result is changed, unchanged or failed.",
        ),
        _gauge(
            "bff_descriptors_stale",
            "source",
            "1 where what is served may not be what the service has now.",
            "max",
        ),
        _counter("bff_jwks_fetches_total", "issuer result", "Fetches of key sets."),
        _counter(
            "bff_telemetry_dropped_total", "signal reason", "Log lines and other signals lost."
        ),
        _counter("bff_worker_restarts_total", "reason", "Workers started again."),
    )
}
