"""Counting, and adding workers up."""

import resource
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bff.core.events import (
    AttemptEnded,
    AuthFailed,
    BreakerMoved,
    Event,
    KeysFetched,
    LimitDecided,
    Noted,
)
from bff.telemetry.exposition import NodeTotals, render
from bff.telemetry.families import FAMILIES
from bff.telemetry.metric_table import read_file, read_samples
from bff.telemetry.metrics import Metrics

Scrape = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(text: bytes) -> Scrape:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(scrape: Scrape, metric: str, **labels: str) -> float:
    return scrape[(metric, frozenset(labels.items()))]


def test_a_scrape_is_the_format_that_prometheus_reads() -> None:
    metrics = Metrics()
    metrics.request_ended("GET", '/v1/"odd"\\{id}\n', 200, "", 0.03)

    scrape = scraped(render(metrics.samples()))

    labels = {
        "http_request_method": "GET",
        "http_route": '/v1/"odd"\\{id}\n',
        "http_response_status_code": "200",
        "error_type": "",
    }
    name = "http_server_request_duration_seconds"
    assert value(scrape, f"{name}_count", **labels) == 1
    assert value(scrape, f"{name}_sum", **labels) == 0.03
    assert value(scrape, f"{name}_bucket", le="0.025", **labels) == 0
    assert value(scrape, f"{name}_bucket", le="0.05", **labels) == 1
    assert value(scrape, f"{name}_bucket", le="+Inf", **labels) == 1


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (10.0, "10.0"), (11.0, "+Inf")],
)
def test_a_value_on_a_bound_belongs_to_it(seconds: float, bucket: str) -> None:
    metrics = Metrics()
    metrics.request_ended("GET", "/", 200, "", seconds)

    buckets = [
        (sample.labels["le"], sample.value)
        for family in text_string_to_metric_families(render(metrics.samples()).decode())
        for sample in family.samples
        if sample.name == "http_server_request_duration_seconds_bucket"
    ]

    assert next(le for le, count in buckets if count == 1) == bucket


@pytest.mark.parametrize(
    ("event", "metric", "labels"),
    [
        pytest.param(
            AttemptEnded("orders", "/s.O/Get", "retry", "UNAVAILABLE", "wire", 0.1),
            "bff_upstream_attempts_total",
            {
                "upstream": "orders",
                "operation": "/s.O/Get",
                "kind": "retry",
                "outcome": "UNAVAILABLE",
            },
            id="attempt",
        ),
        pytest.param(
            AttemptEnded("orders", "/s.O/Get", "first", "OK", "service", 0.1),
            "rpc_client_call_duration_seconds_count",
            {
                "rpc_system_name": "grpc",
                "rpc_method": "/s.O/Get",
                "rpc_response_status_code": "OK",
                "upstream": "orders",
                "error_type": "",
            },
            id="call",
        ),
        pytest.param(
            AuthFailed("main", "TOKEN_INVALID", "alg none"),
            "bff_auth_failures_total",
            {"provider": "main", "reason": "TOKEN_INVALID"},
            id="auth",
        ),
        pytest.param(
            BreakerMoved("orders", "/s.O/Get", "closed", "open", 9, 8, "failures"),
            "bff_breaker_transitions_total",
            {"upstream": "orders", "from": "closed", "to": "open", "reason": "failures"},
            id="breaker",
        ),
        pytest.param(
            KeysFetched("https://id.example", "ok"),
            "bff_jwks_fetches_total",
            {"issuer": "https://id.example", "result": "ok"},
            id="keys",
        ),
        pytest.param(
            LimitDecided("per-caller", "deny", "memory"),
            "bff_limit_decisions_total",
            {"policy": "per-caller", "decision": "deny", "source": "memory"},
            id="limit",
        ),
    ],
)
def test_an_event_is_counted_where_it_belongs(
    event: Event, metric: str, labels: dict[str, str]
) -> None:
    metrics = Metrics()

    metrics.emit(event)
    metrics.emit(Noted("something_else", {}))

    assert value(scraped(render(metrics.samples())), metric, **labels) == 1


def test_a_breaker_is_shown_in_the_state_it_moved_to() -> None:
    metrics = Metrics()
    metrics.emit(BreakerMoved("o", "m", "closed", "open", 1, 1, "failures"))
    metrics.emit(BreakerMoved("o", "m", "open", "half_open", 1, 1, "time"))

    scrape = scraped(render(metrics.samples()))

    states = {
        state: value(scrape, "bff_breaker_state", upstream="o", operation="m", state=state)
        for state in ("closed", "open", "half_open")
    }
    assert states == {"closed": 0, "open": 0, "half_open": 1}


@pytest.mark.rule("control.OB4")
def test_hostile_label_values_end_in_one_other() -> None:
    metrics = Metrics()
    most = FAMILIES["bff_auth_failures_total"].most_children

    for n in range(most + 500):
        metrics.counter("bff_auth_failures_total", f"p{n}", "R").add()
    metrics.counter("bff_auth_failures_total", "x" * 10_000, "R").add()
    for n in range(5_000):
        metrics.request_ended(f"M{n}", "/", 405, "", 0.001)

    samples = metrics.samples()
    failures = [each for each in samples if each.family == "bff_auth_failures_total"]
    methods = [each for each in samples if each.family == "http_server_request_duration_seconds"]
    assert len(failures) == most + 1
    assert sum(each.values[0] for each in failures) == most + 501
    assert [each.labels[0] for each in methods] == ["_OTHER"]


@pytest.mark.rule("control.OB5")
def test_one_scrape_adds_all_workers_up(tmp_path: Path) -> None:
    workers = [Metrics(path=tmp_path / f"{n}.metrics") for n in range(3)]
    for count, worker in enumerate(workers, start=1):
        worker.counter("bff_partial_replies_total", "r").add(count)
        worker.gauge("http_server_active_requests").add(count)
        worker.gauge("bff_config_info", "v1", "prod").set(1)

    text = NodeTotals().render([read_file(tmp_path / f"{n}.metrics") for n in range(3)])

    scrape = scraped(text)
    assert value(scrape, "bff_partial_replies_total", route="r") == 6
    assert value(scrape, "http_server_active_requests") == 6
    assert value(scrape, "bff_config_info", version="v1", environment="prod") == 1


@pytest.mark.rule("control.OB5")
def test_counters_never_go_back_when_a_worker_is_replaced(tmp_path: Path) -> None:
    totals = NodeTotals()
    first = Metrics(path=tmp_path / "1")
    first.counter("bff_partial_replies_total", "r").add(5)
    first.gauge("http_server_active_requests").add(2)
    first.request_ended("GET", "/", 200, "", 0.1)

    totals.retire(read_file(tmp_path / "1"))
    second = Metrics(path=tmp_path / "2")
    second.counter("bff_partial_replies_total", "r").add(1)
    second.gauge("http_server_active_requests").add(1)
    scrape = scraped(totals.render([second.samples()]))
    again = scraped(totals.render([second.samples()]))

    assert value(scrape, "bff_partial_replies_total", route="r") == 6
    assert value(again, "bff_partial_replies_total", route="r") == 6
    assert value(scrape, "http_server_active_requests") == 1
    assert any(
        name == "http_server_request_duration_seconds_count" and count == 1
        for (name, _), count in scrape.items()
    )


def test_a_file_that_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="not a table"):
        list(read_samples(b"something else" * 100))


def test_the_number_of_labels_is_checked() -> None:
    with pytest.raises(ValueError, match="labels"):
        Metrics().counter("bff_auth_failures_total", "only-one")


def test_a_table_has_its_room_from_the_start(tmp_path: Path) -> None:
    """On a disk that is full later no page lacks its block: touching one would kill the worker, and the node."""
    path = tmp_path / "1"
    Metrics(path=path)

    found = path.stat()
    assert found.st_blocks * 512 >= found.st_size > 6_000_000


def test_a_table_without_room_leaves_no_file(tmp_path: Path) -> None:
    """Nobody may map a file with holes."""
    path = tmp_path / "1"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            Metrics(path=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert not path.exists()
