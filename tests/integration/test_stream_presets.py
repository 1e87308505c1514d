"""What presets and switches change about streams, each on a route of its own of one gateway."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ROOMY
from tests.support.gateway import GatewayProcess, reason_of
from tests.support.samples import SampleServices

# Whatever a test asks for, no fault that another left in the services is in its way.
pytestmark = pytest.mark.usefixtures("samples")

ORDERS = """
service: sample.orders.v1.OrderService
upstream: orders
routes:
  - {rpc: ImportOrders, id: import-gg, post: "/gg/orders:import", body: "*", transcoding: {preset: grpc-gateway}}
  - {rpc: ImportOrders, id: import-envoy, post: "/envoy/orders:import", body: "*", transcoding: {preset: envoy}}
  - {rpc: WatchOrder, id: watch-gg, get: "/gg/orders/{order_id}:watch", transcoding: {preset: grpc-gateway}}
  - rpc: WatchOrder
    id: watch-own
    get: "/own/orders/{order_id}:watch"
    transcoding: {preset: grpc-gateway}
    stream: {default: array, wrap: false}
  - {rpc: TrackOrders, id: track-gg, post: "/gg/orders:track", body: "*", transcoding: {preset: grpc-gateway}}
  - {rpc: TrackOrders, id: track-half, post: "/half/orders:track", body: "*", transcoding: {bidi_http1: half_duplex}}
"""
QUESTIONS = [{"orderId": "o-81", "afterRevision": "3"}, {"orderId": "o-81", "afterRevision": "2"}]


@pytest.fixture(scope="module")
def presets(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway with a route for each preset."""
    files = {"orders.yaml": ORDERS, "home.yaml": None}
    with GatewayProcess(
        tmp_path_factory.mktemp("presets"), shop, changes=ROOMY, files=files
    ) as running:
        yield running


def order(quantity: int = 1, **more: Any) -> str:
    item = {"productId": "p-1", "quantity": quantity}
    return json.dumps({"customerId": "u-2", "items": [item], **more})


@pytest.mark.rule("transcoding.132")
@pytest.mark.parametrize(
    ("content_type", "between"),
    [("application/json", ""), (None, " \n "), ("application/x-ndjson", "\n"), ("text/plain", "")],
)
async def test_objects_may_follow_each_other(
    presets: GatewayProcess, admin: dict[str, str], content_type: str | None, between: str
) -> None:
    headers = admin if content_type is None else {**admin, "content-type": content_type}
    async with presets.client(headers=headers) as http:
        reply = await http.post("/gg/orders:import", content=between.join([order(1), order(2)]))

    assert reply.status_code == 200, reply.text
    assert reply.json()["placed"] == 2


@pytest.mark.rule("transcoding.132")
@pytest.mark.parametrize("body", ["[%s]", "%s,%s", "%s%s]", "%s{"])
async def test_what_is_no_row_of_objects_is_refused(
    presets: GatewayProcess, admin: dict[str, str], body: str
) -> None:
    content = body.replace("%s", order())
    async with presets.client(headers=admin) as http:
        reply = await http.post("/gg/orders:import", content=content)

    # The preset's form of errors is google.rpc.Status.
    (reason,) = [d["reason"] for d in reply.json()["details"] if "reason" in d]
    assert (reply.status_code, reason) == (400, "INVALID_JSON")


@pytest.mark.rule("transcoding.132")
async def test_envoy_takes_arrays_alone(presets: GatewayProcess, admin: dict[str, str]) -> None:
    async with presets.client(headers=admin) as http:
        array = await http.post(
            "/envoy/orders:import",
            content=f"[{order()}]",
            headers={"content-type": "application/json"},
        )
        lines = await http.post(
            "/envoy/orders:import",
            content=order(),
            headers={"content-type": "application/x-ndjson"},
        )

    assert (array.status_code, array.json()["placed"]) == (200, 1)
    assert lines.status_code == 415
    assert lines.headers["accept"] == "application/json"


@pytest.mark.rule("transcoding.126")
async def test_grpc_gateway_streams_lines_with_results(
    presets: GatewayProcess, admin: dict[str, str]
) -> None:
    async with presets.client(headers=admin) as http:
        reply = await http.get("/gg/orders/o-81:watch?afterRevision=2")

    assert reply.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["result"]["revision"] for line in reply.text.splitlines()] == [
        "3",
        "4",
    ]


@pytest.mark.rule("transcoding.126")
async def test_what_a_route_writes_stands_out_from_its_preset(
    presets: GatewayProcess, admin: dict[str, str]
) -> None:
    async with presets.client(headers=admin) as http:
        reply = await http.get("/own/orders/o-81:watch?afterRevision=3")

    assert [event["revision"] for event in reply.json()] == ["4"]


@pytest.mark.rule("transcoding.125", "transcoding.137")
async def test_an_array_ends_with_its_callers_credential_in_the_form_of_the_route(
    presets: GatewayProcess, samples: SampleServices
) -> None:
    """The preset's form of errors is google.rpc.Status."""
    token = await samples.user_token("premium", expires_in_s=3)
    async with presets.client(headers={"authorization": f"Bearer {token}"}) as http:
        reply = await http.get("/own/orders/o-1:watch")

    assert reply.status_code == 200
    *events, last = reply.json()
    assert [event["revision"] for event in events] == ["1", "2"]
    assert (set(last), last["error"]["code"]) == ({"error"}, 16)
    assert set(last["error"]) == {"code", "message", "details"}
    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: not calls.in_flight)
    assert seen.cancelled == seen.calls


@pytest.mark.rule("transcoding.134")
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/half/orders:track", json.dumps(QUESTIONS)),
        ("/gg/orders:track", "".join(map(json.dumps, QUESTIONS))),
    ],
)
async def test_half_duplex_answers_once_it_was_asked_everything(
    presets: GatewayProcess, admin: dict[str, str], path: str, content: str
) -> None:
    headers = {**admin, "accept": "application/x-ndjson"}
    async with presets.client(headers=headers) as http:
        reply = await http.post(path, content=content)

    events = [json.loads(line) for line in reply.text.splitlines()]
    revisions = [event.get("result", event)["revision"] for event in events]
    assert reply.status_code == 200
    assert sorted(revisions) == ["3", "4", "4"]


@pytest.mark.rule("transcoding.133", "transcoding.134")
async def test_half_duplex_calls_nobody_for_a_request_with_a_fault(
    presets: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    async with presets.client(headers=admin) as http:
        reply = await http.post("/half/orders:track", json=[*QUESTIONS, {"orderId": 7}])

    assert (reply.status_code, reason_of(reply.json())) == (400, "INVALID_FIELD")
    metadata = reply.json()["error"]["details"][0]["metadata"]
    assert metadata == {"field": "[2].orderId", "messages_sent": "0"}
    assert "no message was passed on" in reply.json()["error"]["message"]
    assert (await samples.calls("orders", "TrackOrders")).calls == 0


@pytest.mark.rule("transcoding.134")
async def test_half_duplex_holds_no_more_than_one_body(
    presets: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    content = json.dumps([{"orderId": "o" * 1000}] * 1100)
    async with presets.client(headers=admin) as http:
        reply = await http.post("/half/orders:track", content=content)

    assert (reply.status_code, reason_of(reply.json())) == (413, "BODY_TOO_LARGE")
    assert (await samples.calls("orders", "TrackOrders")).calls == 0
