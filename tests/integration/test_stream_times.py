"""Streams over time: first waits, heartbeats, silences, ends by the gateway; and bodies of forms."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sample_services.generated.sample.orders.v1 import orders_pb2
from tests.conftest import ROOMY
from tests.support.gateway import GatewayProcess, bearer, reason_of
from tests.support.samples import SampleServices

ORDERS = """
service: sample.orders.v1.OrderService
upstream: orders
routes:
  - {rpc: GetOrder}
  - rpc: WatchOrder
    stream: {first_wait: 500ms, idle: 1200ms, wrap: true, sse: {event: status, heartbeat: 100ms, retry: 50ms}}
  - rpc: ImportOrders
    caps: {reply: 8B}
    transcoding: {not_acceptable: 406}
  - rpc: CancelOrder
    transcoding: {body_formats: [json, form, multipart]}
"""
SILENT = "/v1/orders/o-1:watch?afterRevision=2"


@pytest.fixture(scope="module")
def quick(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway with short times."""
    files = {"orders.yaml": ORDERS, "home.yaml": None}
    folder = tmp_path_factory.mktemp("quick")
    with GatewayProcess(folder, shop, changes=ROOMY, files=files) as running:
        yield running


@pytest.mark.rule("transcoding.124", "transcoding.140")
async def test_a_silent_stream_begins_after_the_first_wait_and_ends_after_the_longest_silence(
    quick: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    async with quick.client() as http:
        reply = await http.get(SILENT, headers=premium)

    assert reply.status_code == 200
    (only,) = reply.json()
    assert (only["error"]["code"], only["error"]["status"]) == (504, "DEADLINE_EXCEEDED")
    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: not calls.in_flight)
    assert seen.cancelled == 1


@pytest.mark.rule("transcoding.124")
async def test_a_client_with_less_time_than_the_first_wait_gets_a_timeout(
    quick: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    async with quick.client() as http:
        reply = await http.get(SILENT, headers={**premium, "grpc-timeout": "300m"})

    assert (reply.status_code, reason_of(reply.json())) == (504, "TIMEOUT")


@pytest.mark.rule("transcoding.126", "transcoding.129")
async def test_events_are_named_wrapped_and_kept_alive(
    quick: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    headers = {**premium, "accept": "text/event-stream"}
    async with quick.client() as http:
        text = (await http.get("/v1/orders/o-1:watch?afterRevision=1", headers=headers)).text

    parts = text.split("\n\n")
    beats = [part for part in parts if part.startswith(":")]
    # A beat comes before the event where the service took its time.
    retry, event, error, end = [part for part in parts if not part.startswith(":")]
    assert (retry, parts[0]) == ("retry: 50", retry)
    name, _, data = event.partition("\n")
    assert name == "event: ORDER_STATUS_PAID"
    assert json.loads(data.removeprefix("data: "))["result"]["revision"] == "2"
    assert len(beats) >= 3
    assert set(beats) == {": hb"}
    assert error.startswith('event: error\ndata: {"error":')
    assert end == ""


@pytest.mark.rule("transcoding.140")
async def test_streams_end_in_good_order_when_the_gateway_leaves(
    tmp_path: Path, samples: SampleServices, premium: dict[str, str]
) -> None:
    changes = {**ROOMY, "gateway": {"drain": {"grace": "0s", "finish": "2s"}}}
    with GatewayProcess(tmp_path, samples, changes=changes) as gateway:
        async with (
            gateway.client() as http,
            http.stream("GET", "/v1/orders/o-1:watch", headers=premium) as reply,
        ):
            lines = reply.aiter_lines()
            await anext(lines)
            gateway.terminate()
            rest = [json.loads(line) async for line in lines]
        code = gateway.wait()

    assert code == 0
    assert (rest[-1]["error"]["code"], rest[-1]["error"]["status"]) == (503, "UNAVAILABLE")


# Forms


async def placed(samples: SampleServices) -> str:
    """A fresh order's id, by the service itself."""
    async with samples.stub("orders") as orders:
        item = orders_pb2.PlaceOrderRequest.Item(product_id="p-1", quantity=1)
        order = await orders.PlaceOrder(
            orders_pb2.PlaceOrderRequest(customer_id="u-1", items=[item])
        )
    return str(order.id)


@pytest.mark.rule("transcoding.105", "transcoding.106")
@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"reason": "too late & wrong"}},
        {"files": {"reason": (None, "too late & wrong")}},
        {"json": {"reason": "too late & wrong"}},
    ],
    ids=["form", "multipart", "json"],
)
async def test_a_listed_format_binds_onto_the_body(
    quick: GatewayProcess, samples: SampleServices, premium: dict[str, str], sent: dict[str, Any]
) -> None:
    async with quick.client(headers=premium) as http:
        order_id = await placed(samples)
        reply = await http.post(f"/v1/orders/{order_id}:cancel", **sent)
        events = await http.get(f"/v1/orders/{order_id}:watch")

    assert reply.status_code == 200, reply.text
    assert events.json()[-1]["result"]["message"] == "cancelled: too late & wrong"


@pytest.mark.rule("transcoding.105")
@pytest.mark.parametrize(
    ("query", "form", "reason"),
    [
        ("", {"reasn": "x"}, "UNKNOWN_PARAMETER"),
        ("", {"reason": ["x", "y"]}, "INVALID_PARAMETER"),
        ("", {"orderId": "o-2"}, "FIELD_CONFLICT"),
        ("?reason=x", {"reason": "x"}, "UNKNOWN_PARAMETER"),
    ],
)
async def test_a_form_is_read_as_strictly_as_a_query(
    quick: GatewayProcess, premium: dict[str, str], query: str, form: dict[str, Any], reason: str
) -> None:
    async with quick.client(headers=premium) as http:
        reply = await http.post(f"/v1/orders/o-1:cancel{query}", data=form)

    assert (reply.status_code, reason_of(reply.json())) == (400, reason)


@pytest.mark.rule("transcoding.105")
async def test_a_format_that_is_not_listed_is_refused(
    gateway: GatewayProcess, samples: SampleServices
) -> None:
    headers = bearer(await samples.user_token("premium"))
    async with gateway.client(headers=headers) as http:
        reply = await http.post("/v1/orders/o-1:cancel", data={"reason": "x"})

    assert (reply.status_code, reason_of(reply.json())) == (415, "UNSUPPORTED_MEDIA_TYPE")


# The one reply to a client's stream is held to what holds for every reply


@pytest.mark.rule("transcoding.119")
async def test_the_reply_to_a_stream_has_its_cap(
    quick: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    item = {"customerId": "u-2", "items": [{"productId": "p-1", "quantity": 1}]}
    async with quick.client() as http:
        reply = await http.post("/v1/orders:import", json=[item], headers=admin)

    assert (reply.status_code, reason_of(reply.json())) == (502, "REPLY_TOO_LARGE")
    assert reply.json()["error"]["status"] == "INTERNAL"


@pytest.mark.rule("transcoding.120")
async def test_who_takes_no_json_is_told_so_before_the_stream(
    quick: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    headers = {**admin, "accept": "text/html"}
    async with quick.client() as http:
        reply = await http.post("/v1/orders:import", json=[], headers=headers)

    assert (reply.status_code, reason_of(reply.json())) == (406, "NOT_ACCEPTABLE")
    assert (await samples.calls("orders", "ImportOrders")).calls == 0
