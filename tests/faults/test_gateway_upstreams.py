"""Services that fail, hang, lie or cut the connection, behind a running gateway."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import ROOMY
from tests.support.gateway import GatewayProcess, reason_of
from tests.support.samples import SampleServices

ORDER = {"customerId": "u-2", "items": [{"productId": "p-1", "quantity": 1}]}
# Any bound will do that a working breaker cannot need.
GUARD_S = 30.0


# Deadlines


@pytest.mark.rule("transcoding.148")
async def test_a_service_gets_the_time_that_is_left(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    """Of the route's 2 s at the service, or of the client's own hint where that is less."""
    await http.get("/v1/products/p-1")
    usual = (await samples.calls("catalog", "GetProduct")).time_remaining_s
    await http.get("/v1/products/p-1", headers={"grpc-timeout": "900m"})
    hinted = (await samples.calls("catalog", "GetProduct")).time_remaining_s
    await http.get("/v1/products/p-1", headers={"grpc-timeout": "60S"})
    longer = (await samples.calls("catalog", "GetProduct")).time_remaining_s

    assert usual is not None
    assert hinted is not None
    assert longer is not None
    assert 0.9 < usual <= 2.0
    assert hinted <= 0.9
    assert 0.9 < longer <= 2.0


@pytest.mark.rule("transcoding.147", "transcoding.148")
@pytest.mark.parametrize(
    ("headers", "most_s"),
    [
        ({"connect-timeout-ms": "800"}, 0.8),
        ({"x-server-timeout": "0.8"}, 0.8),
        ({"x-server-timeout": "1.5", "connect-timeout-ms": "900", "grpc-timeout": "800m"}, 0.8),
        ({"x-server-timeout": "0.8", "connect-timeout-ms": "90000", "grpc-timeout": "1H"}, 0.8),
        ({"x-server-timeout": "60", "connect-timeout-ms": "60000"}, 2.0),
    ],
    ids=["Connect", "server", "gRPC is least", "server is least", "the route's is least"],
)
async def test_the_least_of_what_clients_say_holds(
    http: httpx.AsyncClient, samples: SampleServices, headers: dict[str, str], most_s: float
) -> None:
    """Three dialects, each under the route's cap of 2 s; the service gets what is left, rounded down."""
    await http.get("/v1/products/p-1", headers=headers)

    left_s = (await samples.calls("catalog", "GetProduct")).time_remaining_s
    assert left_s is not None
    assert most_s - 0.7 < left_s <= most_s


@pytest.mark.rule("transcoding.147")
async def test_a_service_that_hangs_is_504(
    gateway: GatewayProcess, http: httpx.AsyncClient, samples: SampleServices
) -> None:
    reply = await http.get("/v1/products/p-1", headers={"x-fault": "hang", "grpc-timeout": "1S"})

    assert reply.status_code == 504
    assert reply.json()["error"]["status"] == "DEADLINE_EXCEEDED"
    assert reason_of(reply.json()) == "TIMEOUT"
    seen = await samples.wait_calls("catalog", "GetProduct", lambda calls: calls.in_flight == 0)
    assert (seen.calls, seen.cancelled) == (1, 1)
    line = await gateway.access_line(reply)
    assert [call["code"] for call in line["calls"]] == ["DEADLINE_EXCEEDED"]


@pytest.mark.rule("edge.2")
async def test_a_tiny_hint_is_raised_to_the_least_deadline(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    """1 ns is taken for 50 ms: enough to ask, so the answer is no refusal of ours."""
    headers = {"x-fault": "hang", "grpc-timeout": "1n"}
    async with asyncio.timeout(GUARD_S):
        # A machine under load may spend one 50 ms before the service is asked, not all of them.
        while (await samples.calls("catalog", "GetProduct")).calls == 0:
            reply = await http.get("/v1/products/p-1", headers=headers)

    assert (reply.status_code, reason_of(reply.json())) == (504, "TIMEOUT")


# Retries


@pytest.mark.rule("upstreams.7")
async def test_a_read_is_tried_again(
    gateway: GatewayProcess, http: httpx.AsyncClient, samples: SampleServices
) -> None:
    await samples.set_fault("catalog", "fail=UNAVAILABLE", method="*/GetProduct", remaining=2)

    reply = await http.get("/v1/products/p-1")

    assert reply.status_code == 200
    assert (await samples.calls("catalog", "GetProduct")).calls == 3
    line = await gateway.access_line(reply)
    assert [(call["code"], call["attempts"]) for call in line["calls"]] == [("OK", 3)]


@pytest.mark.rule("upstreams.7")
@pytest.mark.parametrize("fault", ["fail=UNAVAILABLE", "drop"])
async def test_an_order_is_never_placed_twice(
    http: httpx.AsyncClient, samples: SampleServices, admin: dict[str, str], fault: str
) -> None:
    await samples.set_fault("orders", fault, method="*/PlaceOrder", remaining=1)

    reply = await http.post("/v1/orders", json=ORDER, headers=admin)

    assert reply.status_code == 503
    assert (await samples.calls("orders", "PlaceOrder")).calls == 1
    assert (await http.post("/v1/orders", json=ORDER, headers=admin)).status_code == 201


@pytest.mark.rule("upstreams.7")
@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED", "ABORTED"])
async def test_other_failures_of_reads_are_not_repeated(
    http: httpx.AsyncClient, samples: SampleServices, code: str
) -> None:
    await http.get("/v1/products/p-1", headers={"x-fault": f"fail={code}"})

    assert (await samples.calls("catalog", "GetProduct")).calls == 1


@pytest.mark.rule("R8")
async def test_a_read_outlives_a_cut_connection(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    await samples.set_fault("catalog", "drop", method="*/GetProduct", remaining=1)

    reply = await http.get("/v1/products/p-1")

    assert reply.status_code == 200
    assert (await samples.calls("catalog", "GetProduct")).calls == 2


# Lies


@pytest.mark.rule("transcoding.117")
async def test_garbage_is_502_and_none_of_it_is_shown(
    gateway: GatewayProcess, http: httpx.AsyncClient, samples: SampleServices
) -> None:
    reply = await http.get("/v1/products/p-1", headers={"x-fault": "garbage"})

    assert reply.status_code == 502
    assert reason_of(reply.json()) == "UPSTREAM_MESSAGE"
    assert "garbage" not in reply.text
    for word in ("Product", "protobuf", "Traceback", "bff/", gateway.admin, samples.catalog):
        assert word not in reply.text


async def test_errors_of_services_tell_nothing_of_the_inside(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    for fault in ("fail=INTERNAL", "fail=UNKNOWN", "fail=UNAVAILABLE", "drop"):
        reply = await http.get("/v1/products/p-1", headers={"x-fault": fault})

        assert reply.status_code in {500, 503}
        for word in ("this fault was asked for", samples.catalog, "127.0.0.1", "grpc", "ipv4"):
            assert word not in reply.text

    # Connected again, whoever comes next: a caller in a hurry does not wait for that.
    assert (await http.get("/v1/products/p-1")).status_code == 200


# The breaker


@pytest.fixture(scope="module")
def guarded(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway whose breakers open after six calls of which half failed."""
    breaker = {"breaker": {"min_calls": 6}, "retry": "off"}
    changes = {**ROOMY, "upstreams": {"catalog": breaker, "orders": breaker}}
    with GatewayProcess(tmp_path_factory.mktemp("guarded"), shop, changes=changes) as running:
        yield running


async def ask_until(http: httpx.AsyncClient, path: str, status: int) -> httpx.Response:
    """Ask again and again, in turn, until a reply has this status; raises TimeoutError after 30 s."""
    async with asyncio.timeout(GUARD_S):
        while (reply := await http.get(path)).status_code != status:
            pass
    return reply


@pytest.mark.rule("upstreams.8")
@pytest.mark.rule("R5")
async def test_a_failing_operation_is_paused_and_comes_back(
    guarded: GatewayProcess, samples: SampleServices
) -> None:
    """Open: refused at once without a call. Its sister operation goes on. Well again: closed again."""
    await samples.set_fault("catalog", "fail=UNAVAILABLE", method="*/GetProduct")
    async with guarded.client() as http:
        failed = [await http.get("/v1/products/p-1") for _ in range(6)]
        assert {reason_of(reply.json()) for reply in failed} == {"FAULT_INJECTED"}

        refused = await http.get("/v1/products/p-1")
        sister = await http.get("/v1/products?pageSize=1")
        assert (refused.status_code, reason_of(refused.json())) == (503, "BREAKER_OPEN")
        assert int(refused.headers["retry-after"]) >= 1
        assert sister.status_code == 200
        assert (await samples.calls("catalog", "GetProduct")).calls == 6
        state = {"upstream": "catalog", "operation": "catalog.GetProduct"}
        assert await guarded.metric("bff_breaker_state", **state, state="open") == 1

        await samples.set_fault("catalog", "delay=0ms", method="*/GetProduct")
        await ask_until(http, "/v1/products/p-1", 200)
        await ask_until_closed(guarded, http, state)
        assert (await http.get("/v1/products/p-1")).status_code == 200

    event = await guarded.event("breaker_moved")
    assert (event["upstream"], event["before"], event["after"]) == ("catalog", "closed", "open")
    assert await guarded.metric("bff_breaker_state", **state, state="open") == 0


async def ask_until_closed(
    guarded: GatewayProcess, http: httpx.AsyncClient, state: dict[str, str]
) -> None:
    async with asyncio.timeout(GUARD_S):
        while await guarded.metric("bff_breaker_state", **state, state="closed") != 1:
            await http.get("/v1/products/p-1")


@pytest.mark.rule("R5")
async def test_what_clients_do_wrong_opens_no_breaker(
    guarded: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    async with guarded.client() as http:
        for _ in range(12):
            assert (await http.get("/v1/orders/o-999999", headers=admin)).status_code == 404
            assert (await http.post("/v1/orders", json={}, headers=admin)).status_code == 400

        assert (await http.post("/v1/orders", json=ORDER, headers=admin)).status_code == 201
        assert (await http.get("/v1/orders/o-1", headers=admin)).status_code == 200


# Gone


@pytest.fixture(scope="module")
def stranded(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway whose catalog is not there."""
    changes = {**ROOMY, "upstreams": {"catalog": {"endpoints": ["127.0.0.1:1"], "breaker": "off"}}}
    with GatewayProcess(tmp_path_factory.mktemp("stranded"), shop, changes=changes) as running:
        yield running


@pytest.mark.rule("R3")
async def test_a_service_that_is_not_there_costs_only_its_own_routes(
    stranded: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    async with stranded.client() as http:
        async with asyncio.TaskGroup() as tasks:
            gone = [tasks.create_task(http.get("/v1/products/p-1")) for _ in range(10)]
            well = [
                tasks.create_task(http.get("/v1/orders/o-1", headers=premium)) for _ in range(10)
            ]
        home = await http.get("/v1/mobile/home", headers=premium)

    for reply in (task.result() for task in gone):
        assert (reply.status_code, reason_of(reply.json())) == (503, "UPSTREAM_UNAVAILABLE")
        assert reply.headers["retry-after"]
        assert "127.0.0.1" not in reply.text
    assert {task.result().status_code for task in well} == {200}
    assert home.status_code == 200
    assert "missing=(products" in home.headers["aggregate-status"]
    async with stranded.admin_client() as http:
        assert (await http.get("/readyz")).status_code == 200
