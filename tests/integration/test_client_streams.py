"""Bodies that are no one JSON message: streams of clients, files, and conversations over HTTP/2."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOMY, Tokens
from tests.support.gateway import GatewayProcess, bearer, reason_of, sample_files
from tests.support.h2_client import H2Stream
from tests.support.samples import SampleServices

IMPORT = "/v1/orders:import"
FILE = "/v1/orders/o-2/attachments/plan.bin"
MIB = 1 << 20


def order(quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"customerId": "u-2", "items": [{"productId": "p-1", "quantity": quantity}], **more}


@pytest.fixture(scope="module")
def h2_gateway(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that speaks HTTP/2 in clear."""
    changes = {**ROOMY, "gateway": {"listen": [{"address": "127.0.0.1:0", "http": 2}]}}
    with GatewayProcess(tmp_path_factory.mktemp("h2"), shop, changes=changes) as running:
        yield running


# Messages


@pytest.mark.rule("transcoding.132")
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-ndjson", "%s\n\n%s"),
        ("application/jsonl; charset=utf-8", "%s\r\n%s\r\n"),
        ("application/json", "[%s, %s]"),
        (None, " [%s\n,%s]\n"),
    ],
)
async def test_a_stream_of_messages_is_passed_on(
    http: httpx.AsyncClient, admin: dict[str, str], content_type: str | None, body: str
) -> None:
    headers = admin if content_type is None else {**admin, "content-type": content_type}
    text = body % (json.dumps(order(1)), json.dumps(order(2)))
    reply = await http.post(IMPORT, headers=headers, content=text)

    assert reply.status_code == 200, reply.text
    assert reply.json()["placed"] == 2
    second = await http.get(f"/v1/orders/{reply.json()['orderIds'][1]}", headers=admin)
    assert second.json()["items"][0]["quantity"] == 2


@pytest.mark.rule("transcoding.132")
@pytest.mark.parametrize("body", [b"", b"[]", b" \n"])
async def test_an_empty_body_is_no_message(
    http: httpx.AsyncClient, admin: dict[str, str], samples: SampleServices, body: bytes
) -> None:
    reply = await http.post(IMPORT, headers=admin, content=body)

    assert (reply.status_code, reply.json()) == (200, {})
    assert (await samples.calls("orders", "ImportOrders")).calls == 1


@pytest.mark.rule("transcoding.132")
@pytest.mark.parametrize("body", [b"{}{}", b"[{}", b"{}", b"[{}]x"])
async def test_what_is_no_one_array_is_refused(
    http: httpx.AsyncClient, admin: dict[str, str], body: bytes
) -> None:
    reply = await http.post(IMPORT, headers=admin, content=body)

    assert (reply.status_code, reason_of(reply.json())) == (400, "INVALID_JSON")


@pytest.mark.rule("transcoding.133")
async def test_a_bad_element_is_named_and_ends_the_call(
    http: httpx.AsyncClient, admin: dict[str, str], samples: SampleServices
) -> None:
    body = [order(), order(), order(items=[{"productId": 7}])]
    reply = await http.post(IMPORT, headers=admin, json=body)

    assert (reply.status_code, reason_of(reply.json())) == (400, "INVALID_FIELD")
    info, request = reply.json()["error"]["details"][:2]
    assert info["metadata"] == {"field": "[2].items[0].productId", "messages_sent": "2"}
    assert request["fieldViolations"][0]["field"] == "[2].items[0].productId"
    seen = await samples.wait_calls("orders", "ImportOrders", lambda calls: not calls.in_flight)
    # None, where it was given up before the service came to begin.
    assert seen.calls <= 1


@pytest.mark.rule("transcoding.133")
async def test_an_element_over_the_size_of_a_body_is_too_large(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    reply = await http.post(IMPORT, headers=admin, json=[order(), order(note="n" * MIB)])

    assert (reply.status_code, reason_of(reply.json())) == (413, "BODY_TOO_LARGE")


@pytest.mark.rule("transcoding.132")
async def test_a_stream_may_be_larger_than_one_message(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    """Forty messages of 64 KiB, over the size that one body may have."""
    body = [order(note="n" * 400, voucher="v" * (64 << 10)) for _ in range(40)]
    reply = await http.post(IMPORT, headers=admin, json=body)

    assert reply.json().get("placed") == 40, reply.text


@pytest.mark.rule("transcoding.100")
async def test_other_content_types_are_refused(
    http: httpx.AsyncClient, admin: dict[str, str], samples: SampleServices
) -> None:
    headers = {**admin, "content-type": "text/csv"}
    reply = await http.post(IMPORT, headers=headers, content=b"a,b")

    assert (reply.status_code, reason_of(reply.json())) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert reply.headers["accept"] == "application/x-ndjson, application/json"
    assert (await samples.calls("orders", "ImportOrders")).calls == 0


async def test_an_error_of_the_service_does_not_wait_for_the_end_of_the_body(
    gateway: GatewayProcess, admin: dict[str, str], samples: SampleServices
) -> None:
    head = (
        f"POST {IMPORT} HTTP/1.1\r\nHost: g\r\nAuthorization: {admin['authorization']}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    line = json.dumps(order(0)).encode() + b"\n"
    reply = await gateway.raw(head.encode() + b"%x\r\n%s\r\n" % (len(line), line))

    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert reply.reason == "FIELD_INVALID"


async def test_a_service_that_hangs_after_the_last_message_is_a_timeout(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    reply = await http.post(IMPORT, headers={**admin, "x-fault": "hang"}, json=[order()])

    assert (reply.status_code, reason_of(reply.json())) == (504, "TIMEOUT")


@pytest.mark.rule("transcoding.107")
async def test_a_client_that_leaves_cancels_the_call(
    gateway: GatewayProcess, admin: dict[str, str], samples: SampleServices
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = (
        f"POST {IMPORT} HTTP/1.1\r\nHost: g\r\nAuthorization: {admin['authorization']}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    line = json.dumps(order()).encode() + b"\n"
    writer.write(head.encode() + b"%x\r\n%s\r\n" % (len(line), line))
    await samples.wait_calls("orders", "PlaceOrder", lambda _: True)
    await samples.wait_calls("orders", "ImportOrders", lambda calls: calls.in_flight == 1)
    writer.transport.abort()

    seen = await samples.wait_calls("orders", "ImportOrders", lambda calls: not calls.in_flight)
    assert seen.calls == 1
    logged = await gateway.access_where(reason="CLIENT_GONE", route_id="orders.ImportOrders")
    assert logged["status_code"] == 499


# Files


@pytest.mark.rule("transcoding.104", "transcoding.128")
async def test_a_file_goes_up_in_pieces_and_comes_back_as_it_was(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    """What a JSON path would damage or refuse passes: every octet, in three times a body's size."""
    content = bytes(range(256)) * (3 * MIB // 256)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 50_000):
            yield content[start : start + 50_000]

    headers = {**admin, "content-type": "image/x-plan; layers=2"}
    kept = await http.post(f"{FILE}?description=a+plan", headers=headers, content=pieces())
    back = await http.get(FILE, headers=admin)

    assert kept.status_code == 201, kept.text
    assert kept.json() | {"pieces": 0} == {
        "name": "plan.bin",
        "contentType": "image/x-plan; layers=2",
        "description": "a plan",
        "sizeBytes": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
        "pieces": 0,
    }
    assert kept.json()["pieces"] > 3
    assert back.headers["content-type"] == "image/x-plan; layers=2"
    assert back.content == content


@pytest.mark.rule("transcoding.104")
async def test_an_empty_file_is_one_piece(http: httpx.AsyncClient, admin: dict[str, str]) -> None:
    reply = await http.post(FILE, headers=admin)

    assert reply.status_code == 201, reply.text
    assert (reply.json().get("sizeBytes"), reply.json()["pieces"]) == (None, 1)


@pytest.mark.rule("transcoding.104")
async def test_an_upload_over_its_cap_is_refused(
    gateway: GatewayProcess, admin: dict[str, str]
) -> None:
    """By the declared length: none of it is waited for."""
    reply = await gateway.raw(
        f"POST {FILE} HTTP/1.1\r\nHost: g\r\nAuthorization: {admin['authorization']}\r\n"
        f"Content-Length: {16 * MIB + 1}\r\n\r\n".encode()
    )

    assert (reply.status, reply.reason) == (413, "BODY_TOO_LARGE")


@pytest.mark.rule("transcoding.103")
async def test_a_whole_request_may_be_a_file(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    headers = {**admin, "content-type": "application/json"}
    reply = await http.post("/v1/files:inspect", headers=headers, content=b'{"no json')

    assert reply.status_code == 200, reply.text
    assert (reply.json()["sizeBytes"], reply.json()["contentType"]) == ("9", "application/json")
    plain = await http.post("/v1/files:inspect", headers=admin, content=b"abc")
    assert "contentType" not in plain.json()


@pytest.mark.rule("transcoding.128")
async def test_an_error_within_a_file_is_a_cut(
    gateway: GatewayProcess, admin: dict[str, str], samples: SampleServices
) -> None:
    """No octets of a file can say that it is cut short, so the connection does.

    Until then the reader that takes nothing holds the service back.
    """
    async with gateway.client(headers=admin) as http:
        await http.post(FILE, content=b"x" * (15 * MIB))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=MIB)
    writer.write(
        f"GET {FILE} HTTP/1.1\r\nHost: g\r\nAuthorization: {admin['authorization']}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    taken = await reader.readexactly(MIB)
    held = await samples.calls("orders", "DownloadAttachment")
    # Another stream, on the same connection, cuts it.
    async with gateway.client(headers=admin) as http:
        await http.get("/v1/orders/o-2:watch", headers={"x-fault": "drop"})
        rest = await reader.read()
        # Connected again, whoever comes next.
        back = await http.get("/v1/orders/o-81:watch")
    writer.close()

    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding: chunked" in head
    assert held.in_flight == 1
    assert len(taken) + len(rest) < 15 * MIB
    assert not rest.endswith(b"0\r\n\r\n")
    assert back.status_code == 200


@pytest.mark.rule("transcoding.128")
async def test_over_http2_an_error_within_a_file_is_a_reset(
    h2_gateway: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    """RFC 9113 5.4.2: not an end of the stream, which would pass a part for the whole."""
    async with h2_gateway.client(http1=False, http2=True, headers=admin) as http:
        await http.post(FILE, content=b"x" * (4 * MIB))
    async with await H2Stream.open(h2_gateway.port, FILE, {":method": "GET", **admin}) as download:
        while not download.ok:
            await download.read()
        # Another stream, on the same connection to the service, cuts it.
        async with h2_gateway.client(http1=False, http2=True, headers=admin) as http:
            await http.get("/v1/orders/o-2:watch", headers={"x-fault": "drop"})
            download.widen(64 * MIB)
            with pytest.raises(ConnectionResetError):
                await download.rest()
            # Connected again, whoever comes next.
            assert (await http.get("/v1/orders/o-81:watch")).status_code == 200


# Both ways at once


@pytest.mark.rule("transcoding.134")
async def test_over_http1_a_conversation_needs_an_upgrade(
    http: httpx.AsyncClient, admin: dict[str, str], samples: SampleServices
) -> None:
    reply = await http.post("/v1/orders:track", headers=admin, json=[{"orderId": "o-2"}])

    assert (reply.status_code, reason_of(reply.json())) == (426, "UPGRADE_REQUIRED")
    assert reply.headers["upgrade"] == "websocket"
    assert (await samples.calls("orders", "TrackOrders")).calls == 0


@pytest.mark.rule("transcoding.134")
async def test_no_upgrade_is_promised_that_is_not_there(
    shop: SampleServices, tmp_path: Path, tokens: Tokens
) -> None:
    """Without WebSocket on the route, HTTP/2 is what the client needs."""
    orders = sample_files(shop)["orders.yaml"].replace("    websocket: true\n", "")
    with GatewayProcess(tmp_path, shop, changes=ROOMY, files={"orders.yaml": orders}) as gateway:
        async with gateway.client() as http:
            reply = await http.post(
                "/v1/orders:track", headers=bearer(await tokens.of("admin")), json=[]
            )

    assert (reply.status_code, reply.headers["upgrade"]) == (426, "HTTP/2.0")


@pytest.mark.rule("transcoding.134")
async def test_over_http2_both_sides_talk_in_turns(
    h2_gateway: GatewayProcess, samples: SampleServices
) -> None:
    """The second question is asked after the first answer was read."""
    headers = {
        **bearer(await samples.user_token("premium")),
        "content-type": "application/x-ndjson",
    }
    async with await H2Stream.open(h2_gateway.port, "/v1/orders:track", headers) as talk:
        talk.send(b'{"orderId":"o-81","afterRevision":"3"}\n')
        first = json.loads(await talk.line())
        talk.send(b'{"orderId":"o-81","afterRevision":2}\n', end=True)
        rest = [json.loads(line) for line in [await talk.line(), await talk.line()]]
        end = await talk.line()

    assert talk.ok
    assert (first["revision"], [event["revision"] for event in rest]) == ("4", ["3", "4"])
    assert end == b""


@pytest.mark.rule("transcoding.133")
async def test_a_bad_message_in_a_conversation_is_its_last_line(
    h2_gateway: GatewayProcess, samples: SampleServices
) -> None:
    headers = {
        **bearer(await samples.user_token("premium")),
        "content-type": "application/x-ndjson",
    }
    async with await H2Stream.open(h2_gateway.port, "/v1/orders:track", headers) as talk:
        talk.send(b'{"orderId":"o-1","afterRevision":"1"}\n')
        first = json.loads(await talk.line())
        talk.send(b'{"orderId":7}\n')
        error = json.loads(await talk.line())["error"]

    assert first["revision"] == "2"
    assert (error["code"], error["details"][0]["metadata"]["field"]) == (400, "[1].orderId")
    seen = await samples.wait_calls("orders", "TrackOrders", lambda calls: not calls.in_flight)
    assert seen.cancelled == 1


@pytest.mark.rule("transcoding.140")
async def test_silence_of_both_sides_ends_a_conversation(
    shop: SampleServices, samples: SampleServices, tmp_path: Path
) -> None:
    changes = {
        **ROOMY,
        "gateway": {"listen": [{"address": "127.0.0.1:0", "http": 2}]},
        "stream": {"idle": "1s"},
    }
    headers = {
        **bearer(await samples.user_token("premium")),
        "content-type": "application/x-ndjson",
    }
    with GatewayProcess(tmp_path, shop, changes=changes) as gateway:
        async with await H2Stream.open(gateway.port, "/v1/orders:track", headers) as talk:
            talk.send(b'{"orderId":"o-1","afterRevision":"1"}\n')
            first = json.loads(await talk.line())
            error = json.loads(await talk.line())["error"]
            end = await talk.line()

    assert first["revision"] == "2"
    assert (error["code"], error["status"], end) == (504, "DEADLINE_EXCEEDED", b"")


@pytest.mark.rule("transcoding.139")
async def test_leaving_a_conversation_cancels_its_call(
    h2_gateway: GatewayProcess, samples: SampleServices
) -> None:
    headers = {
        **bearer(await samples.user_token("premium")),
        "content-type": "application/x-ndjson",
    }
    async with await H2Stream.open(h2_gateway.port, "/v1/orders:track", headers) as talk:
        talk.send(b'{"orderId":"o-1","afterRevision":"1"}\n')
        await talk.line()

    seen = await samples.wait_calls("orders", "TrackOrders", lambda calls: not calls.in_flight)
    assert (seen.calls, seen.cancelled) == (1, 1)


@pytest.mark.rule("transcoding.81")
async def test_over_http2_a_body_without_a_length_is_noticed_where_none_belongs(
    h2_gateway: GatewayProcess, samples: SampleServices
) -> None:
    """Nothing in the header fields announces it (RFC 9113 8.1)."""

    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    async with h2_gateway.client(http1=False, http2=True) as http:
        reply = await http.request("GET", "/v1/products/p-1", content=body())
        bare = await http.get("/v1/products/p-1")

    assert (reply.status_code, reason_of(reply.json())) == (400, "BODY_NOT_ALLOWED")
    assert (reply.http_version, bare.status_code) == ("HTTP/2", 200)
    assert (await samples.calls("catalog", "GetProduct")).calls == 1


@pytest.mark.rule("transcoding.100")
async def test_over_http2_a_body_without_a_length_is_judged_by_its_type(
    h2_gateway: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield json.dumps(order()).encode()

    async with h2_gateway.client(http1=False, http2=True, headers=admin) as http:
        wrong = await http.post("/v1/orders", content=body(), headers={"content-type": "a/b"})
        right = await http.post("/v1/orders", content=body())

    assert (wrong.status_code, reason_of(wrong.json())) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert right.status_code == 201, right.text
