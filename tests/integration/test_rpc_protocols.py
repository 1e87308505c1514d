"""Connect and gRPC-Web over HTTP to the sample services: identity, limits and streams are those of REST."""

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from sample_services.generated.sample.catalog.v1 import catalog_pb2
from sample_services.generated.sample.orders.v1 import orders_pb2
from sample_services.generated.sample.users.v1 import users_pb2
from tests.conftest import ROOMY
from tests.support.gateway import GatewayProcess
from tests.support.rpc_frames import frame, frames
from tests.support.samples import SampleServices

CATALOG = "/sample.catalog.v1.CatalogService"
ORDERS = "/sample.orders.v1.OrderService"
USERS = "/sample.users.v1.UserService"
CONNECT = {"content-type": "application/proto", "connect-protocol-version": "1"}
WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}


pytestmark = pytest.mark.usefixtures("samples")


@pytest.fixture(scope="module")
def speaking(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    changes = {**ROOMY, "transcoding": {"protocols": ["connect", "grpc_web"]}}
    with GatewayProcess(tmp_path_factory.mktemp("speaking"), shop, changes=changes) as running:
        yield running


@pytest.mark.rule("transcoding.166")
async def test_a_connect_client_reads_a_product(speaking: GatewayProcess) -> None:
    asked = catalog_pb2.GetProductRequest(product_id="p-1")

    async with speaking.client() as http:
        reply = await http.post(
            f"{CATALOG}/GetProduct", content=asked.SerializeToString(), headers=CONNECT
        )
        missing = await http.post(
            f"{CATALOG}/GetProduct", json={"productId": "p-424242"}, headers={"connect-protocol-version": "1"}
        )  # fmt: skip
        by_get = await http.get(
            f"{CATALOG}/GetProduct",
            params={"connect": "v1", "encoding": "json", "message": '{"productId":"p-1"}'},
        )

    product = catalog_pb2.Product.FromString(reply.content)
    assert (reply.headers["content-type"], product.product_id) == ("application/proto", "p-1")
    assert by_get.json()["name"] == product.name
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    line = await speaking.access_line(reply)
    assert line["route_id"] == "catalog.GetProduct-rpc"


@pytest.mark.rule("transcoding.166")
@pytest.mark.rule("transcoding.167")
async def test_who_calls_is_asked_as_on_every_route(
    speaking: GatewayProcess, premium: dict[str, str], admin: dict[str, str]
) -> None:
    """No credential, somebody else's profile by a rule about the path, one's own."""
    other = users_pb2.GetUserRequest(user_id="u-2").SerializeToString()
    own = users_pb2.GetUserRequest(user_id="u-1").SerializeToString()
    path = f"{USERS}/GetUser"

    async with speaking.client() as http:
        nobody = await http.post(path, content=own, headers=CONNECT)
        foreign = await http.post(path, content=other, headers={**CONNECT, **premium})
        mine = await http.post(path, content=own, headers={**CONNECT, **premium})
        by_admin = await http.post(path, content=own, headers={**CONNECT, **admin})
        web = await http.post(path, content=frame(other), headers={**WEB, **premium})
        web_nobody = await http.post(path, content=frame(own), headers=WEB)

    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    assert (foreign.status_code, foreign.json()["code"]) == (403, "permission_denied")
    assert users_pb2.User.FromString(mine.content).user_id == "u-1"
    assert by_admin.status_code == 200
    assert b"grpc-status: 7\r\n" in web.content
    assert b"grpc-status: 16\r\n" in web_nobody.content
    assert {web.status_code, web_nobody.status_code} == {200}


@pytest.mark.rule("transcoding.167")
async def test_a_browser_watches_an_order(
    speaking: GatewayProcess, premium: dict[str, str]
) -> None:
    asked = orders_pb2.WatchOrderRequest(order_id="o-81").SerializeToString()

    async with speaking.client() as http:
        reply = await http.post(
            f"{ORDERS}/WatchOrder", content=frame(asked), headers={**WEB, **premium}
        )

    *messages, (flags, last) = frames(reply.content)
    events = [orders_pb2.OrderEvent.FromString(message) for _, message in messages]
    assert [event.revision for event in events] == [1, 2, 3, 4]
    assert (flags, last) == (0x80, b"grpc-status: 0\r\n")


@pytest.mark.rule("transcoding.137", "transcoding.167")
async def test_a_stream_ends_with_its_callers_credential(
    speaking: GatewayProcess, samples: SampleServices
) -> None:
    token = await samples.user_token("premium", expires_in_s=3)
    asked = orders_pb2.WatchOrderRequest(order_id="o-1").SerializeToString()

    async with speaking.client(headers={**WEB, "authorization": f"Bearer {token}"}) as http:
        reply = await http.post(f"{ORDERS}/WatchOrder", content=frame(asked))

    *messages, (flags, last) = frames(reply.content)
    assert (len(messages), flags) == (2, 0x80)
    assert last.startswith(b"grpc-status: 16\r\n")
    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: not calls.in_flight)
    assert seen.cancelled == seen.calls


@pytest.mark.rule("transcoding.167")
async def test_a_stream_that_is_refused_is_one_frame(
    speaking: GatewayProcess, premium: dict[str, str]
) -> None:
    asked = orders_pb2.WatchOrderRequest(order_id="o-nope").SerializeToString()

    async with speaking.client() as http:
        reply = await http.post(
            f"{ORDERS}/WatchOrder", content=frame(asked), headers={**WEB, **premium}
        )
        upload = await http.post(
            f"{ORDERS}/ImportOrders", content=frame(b""), headers={**WEB, **premium}
        )

    assert (reply.status_code, upload.status_code) == (200, 200)
    assert reply.content.startswith(b"\x80")
    assert b"grpc-status: 5\r\n" in reply.content
    assert b"grpc-status: 12\r\n" in upload.content


@pytest.mark.rule("transcoding.166")
async def test_a_protocol_is_no_second_budget(tmp_path: Path, samples: SampleServices) -> None:
    """Its calls take from the buckets of the method's route."""
    changes = {
        "transcoding": {"protocols": ["connect"]},
        "limits": {"few": {"rate": "2/min", "by": ["route", "ip"]}},
        "limit": ["few"],
    }
    asked = catalog_pb2.GetProductRequest(product_id="p-1").SerializeToString()
    with GatewayProcess(tmp_path, samples, changes=changes) as gateway:
        async with gateway.client() as http:
            for _ in range(2):
                assert (await http.get("/v1/products/p-1")).status_code == 200
            refused = await http.post(f"{CATALOG}/GetProduct", content=asked, headers=CONNECT)

    assert (refused.status_code, refused.json()["code"]) == (429, "resource_exhausted")
    assert int(refused.headers["retry-after"]) > 0


@pytest.mark.rule("transcoding.166")
async def test_a_service_in_trouble_is_told_in_the_clients_words(
    speaking: GatewayProcess, samples: SampleServices
) -> None:
    await samples.set_fault("catalog", "fail=INTERNAL", method="*/GetProduct")
    asked = catalog_pb2.GetProductRequest(product_id="p-1").SerializeToString()

    async with speaking.client() as http:
        reply = await http.post(f"{CATALOG}/GetProduct", content=asked, headers=CONNECT)

    error = reply.json()
    assert (reply.status_code, error["code"]) == (500, "internal")
    assert error["message"] == "The service failed."
    info = next(each for each in error["details"] if each["type"] == "google.rpc.RequestInfo")
    assert reply.headers["x-request-id"].encode() in b64decode(info["value"] + "==")
