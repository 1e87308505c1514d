"""Streams over WebSocket: envelopes, refusals before the upgrade, close codes, ends of every kind."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.typing import Subprotocol

from tests.support.gateway import GatewayProcess, reason_of
from tests.support.samples import SampleServices
from tests.support.ws_client import BINARY, CLOSE, TEXT, WsClient

TRACK = "/v1/orders:track"
IMPORT = "/v1/orders:import"
WATCH = "/v1/orders/o-1:watch"
DELIVERED = "/v1/orders/o-81:watch"
MIB = 1 << 20
BFF_V1 = Subprotocol("bff.v1")


def opening(gateway: GatewayProcess, target: str, headers: dict[str, str], **more: Any) -> connect:
    """A session of a real client library."""
    return connect(
        f"ws://127.0.0.1:{gateway.port}{target}", additional_headers=headers, proxy=None, **more
    )


async def say(socket: ClientConnection, message: Any) -> None:
    await socket.send(json.dumps({"message": message}))


async def hear(socket: ClientConnection) -> Any:
    return json.loads(await socket.recv())


async def closing(socket: ClientConnection) -> Close | None:
    """The close frame that the server sends next."""
    with pytest.raises(ConnectionClosed) as caught:
        await socket.recv()
    return caught.value.rcvd


def order(quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"customerId": "u-2", "items": [{"productId": "p-1", "quantity": quantity}], **more}


async def asked(gateway: GatewayProcess, target: str, headers: dict[str, str]) -> WsClient:
    """What comes of an upgrade, by a client that says what it is told to."""
    async with await WsClient.open(gateway.port, target, headers) as client:
        return client


# Sessions


@pytest.mark.rule("transcoding.135")
async def test_both_sides_talk_in_turns(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    """The second question is asked after the first answer was read."""
    async with opening(gateway, TRACK, premium) as socket:
        await say(socket, {"orderId": "o-81", "afterRevision": "3"})
        first = await hear(socket)
        await say(socket, {"orderId": "o-81", "afterRevision": "2"})
        await socket.send('{"end":true}')
        rest = [await hear(socket), await hear(socket), await hear(socket)]
        end = await closing(socket)

    assert first["message"]["revision"] == "4"
    assert [each["message"]["revision"] for each in rest[:2]] == ["3", "4"]
    assert rest[2] == {"end": {}}
    assert end == Close(1000, "")


@pytest.mark.rule("transcoding.135")
async def test_a_clients_stream_is_answered_by_one_message(
    gateway: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    async with opening(gateway, IMPORT, admin) as socket:
        for quantity in range(1, 4):
            await say(socket, order(quantity))
        await socket.send(' { "end" : true } ')
        reply, end = await hear(socket), await hear(socket)
        close = await closing(socket)

    assert reply["message"]["placed"] == 3
    assert (end, close) == ({"end": {}}, Close(1000, ""))


@pytest.mark.rule("transcoding.135")
@pytest.mark.parametrize(
    ("target", "message", "revisions"),
    [
        (DELIVERED, {}, ["1", "2", "3", "4"]),
        (DELIVERED, {"afterRevision": "2"}, ["3", "4"]),
        (f"{DELIVERED}?afterRevision=3", {}, ["4"]),
    ],
)
async def test_the_first_frame_is_the_request_of_a_services_stream(
    gateway: GatewayProcess,
    samples: SampleServices,
    premium: dict[str, str],
    target: str,
    message: dict[str, Any],
    revisions: list[str],
) -> None:
    async with opening(gateway, target, premium) as socket:
        await say(socket, message)
        heard = [await hear(socket) for _ in revisions]
        end = await hear(socket)
        close = await closing(socket)

    assert [each["message"]["revision"] for each in heard] == revisions
    assert (end, close) == ({"end": {}}, Close(1000, ""))


@pytest.mark.rule("transcoding.135")
async def test_no_service_is_asked_before_the_first_frame(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    async with opening(gateway, WATCH, premium) as socket:
        before = await samples.calls("orders", "WatchOrder")
        await say(socket, {})
        await hear(socket)

    assert before.calls == 0
    assert (await samples.calls("orders", "WatchOrder")).calls == 1


@pytest.mark.rule("transcoding.136")
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(None, None), ([BFF_V1], "bff.v1"), ([Subprotocol("other"), BFF_V1], "bff.v1")],
)
async def test_our_subprotocol_is_taken_if_it_is_offered(
    gateway: GatewayProcess,
    samples: SampleServices,
    premium: dict[str, str],
    offered: list[Subprotocol] | None,
    chosen: str | None,
) -> None:
    async with opening(gateway, DELIVERED, premium, subprotocols=offered) as socket:
        assert socket.subprotocol == chosen


async def test_a_session_has_one_line_in_the_log_and_a_place_in_the_metrics(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    async with opening(gateway, f"{DELIVERED}?afterRevision=3", premium) as socket:
        assert socket.response is not None
        headers = socket.response.headers
        await say(socket, {})
        await hear(socket)
        await hear(socket)
        await closing(socket)

    line = await gateway.access_line(headers["x-request-id"])
    assert (line["status_code"], line["route_id"]) == (101, "orders.WatchOrder")
    assert (line["aborted"], line["reason"]) == (False, None)
    assert (line["calls"][0]["operation"], line["calls"][0]["code"]) == ("orders.WatchOrder", "OK")
    assert line["bytes_in"] == len('{"message": {}}')
    assert line["bytes_out"] > 50
    assert line["user_id"] == "u-1"
    assert "ratelimit" in headers
    assert headers["server"] == "bff"
    counted = await gateway.metric(
        "http_server_request_duration_seconds_count", http_response_status_code="101"
    )
    assert counted >= 1


# Refusals before the upgrade


@pytest.mark.rule("transcoding.135")
async def test_a_refusal_is_an_ordinary_reply(
    gateway: GatewayProcess, samples: SampleServices, guest: dict[str, str]
) -> None:
    async def refused(target: str, headers: dict[str, str]) -> tuple[int, str, str]:
        with pytest.raises(InvalidStatus) as caught:
            async with opening(gateway, target, headers):
                pass
        response = caught.value.response
        body = json.loads(response.body)
        line = await gateway.access_line(response.headers["x-request-id"])
        assert response.headers["content-type"] == "application/json"
        assert line["status_code"] == response.status_code
        return response.status_code, reason_of(body), line["stage"]

    assert await refused(IMPORT, {}) == (401, "CREDENTIAL_MISSING", "authorize")
    assert await refused(IMPORT, {"authorization": "Bearer x"}) == (
        401,
        "TOKEN_INVALID",
        "authenticate",
    )
    assert await refused(IMPORT, guest) == (403, "INSUFFICIENT_SCOPE", "authorize")
    assert await refused(f"{WATCH}?nope=1", guest) == (400, "UNKNOWN_PARAMETER", "validate")
    assert await refused(f"{WATCH}?afterRevision=x", guest) == (
        400,
        "INVALID_PARAMETER",
        "validate",
    )
    assert (await samples.calls("orders", "WatchOrder")).calls == 0


@pytest.mark.rule("transcoding.136")
async def test_pages_of_other_hosts_are_refused(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    host = f"127.0.0.1:{gateway.port}"
    for origin in (
        "http://evil.example",
        "null",
        f"http://127.0.0.1:{gateway.port + 1}",
        f"ftp://{host}",
    ):
        refused = await asked(gateway, WATCH, {**premium, "Origin": origin})
        assert (refused.status, reason_of(json.loads(refused.body))) == (403, "CORS_DENIED")

    for origin in (f"http://{host}", f"https://{host}"):
        assert (await asked(gateway, WATCH, {**premium, "Origin": origin})).status == 101


async def test_a_handshake_that_is_none_is_refused(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    bad_key = await asked(gateway, WATCH, {**premium, "Sec-WebSocket-Key": "x"})
    old = await asked(gateway, WATCH, {**premium, "Sec-WebSocket-Version": "8"})

    assert (bad_key.status, reason_of(json.loads(bad_key.body))) == (400, "MALFORMED_REQUEST")
    assert (old.status, old.headers["sec-websocket-version"]) == (426, "13")


@pytest.mark.rule("transcoding.135")
async def test_an_upgrade_elsewhere_is_ignored(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    """RFC 9110 7.8: a server may ignore it, and does where no route takes it."""
    reply = await asked(gateway, "/v1/orders/o-1", premium)
    nowhere = await asked(gateway, "/nowhere", premium)

    assert (reply.status, json.loads(reply.body)["id"]) == (200, "o-1")
    assert nowhere.status == 404


# Errors after the upgrade


@pytest.mark.rule("transcoding.135")
async def test_an_error_of_the_service_is_the_last_frame(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    async with opening(gateway, "/v1/orders/o-999999:watch", premium) as socket:
        await say(socket, {})
        error = (await hear(socket))["error"]
        close = await closing(socket)
        assert socket.response is not None
        request_id = socket.response.headers["x-request-id"]

    assert (error["code"], error["status"], reason_of({"error": error})) == (
        404,
        "NOT_FOUND",
        "ORDER_NOT_FOUND",
    )
    assert close == Close(4005, "")
    assert (await gateway.access_line(request_id))["reason"] == "NOT_FOUND"


@pytest.mark.rule("transcoding.136")
@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{}",
        "[]",
        "hello",
        '{"end":false}',
        '{"end":{}}',
        '{"message":{},"end":true}',
        '{"message":{},"more":1}',
        '{"message":{},"message":{}}',
        '{"end":true,"end":true}',
        '{"message":{}',
        '{"message":}',
        '{"Message":{}}',
    ],
)
async def test_a_frame_that_is_no_envelope_ends_the_session(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str], frame: str
) -> None:
    async with opening(gateway, TRACK, premium) as socket:
        await socket.send(frame)
        error = (await hear(socket))["error"]
        close = await closing(socket)

    assert (error["code"], error["status"], reason_of({"error": error})) == (
        400,
        "INVALID_ARGUMENT",
        "INVALID_JSON",
    )
    assert close == Close(4003, "")
    seen = await samples.wait_calls("orders", "TrackOrders", lambda calls: not calls.in_flight)
    assert seen.calls <= 1


@pytest.mark.rule("transcoding.136")
@pytest.mark.parametrize("late", ['{"message":{"orderId":"o-1"}}', '{"end":true}'])
async def test_nothing_may_follow_the_end(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str], late: str
) -> None:
    async with opening(gateway, TRACK, premium) as socket:
        await say(socket, {"orderId": "o-1", "afterRevision": "1"})
        await hear(socket)
        await socket.send('{"end":true}')
        await socket.send(late)
        error = (await hear(socket))["error"]
        close = await closing(socket)

    assert reason_of({"error": error}) == "VALIDATION_FAILED"
    assert close == Close(4003, "")
    seen = await samples.wait_calls("orders", "TrackOrders", lambda calls: not calls.in_flight)
    assert seen.cancelled == 1


@pytest.mark.rule("transcoding.136")
async def test_a_request_has_one_frame(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    """A method that takes no stream has heard all with the first; the end may still be said."""
    async with opening(gateway, WATCH, premium) as socket:
        await say(socket, {"afterRevision": "1"})
        await hear(socket)
        await say(socket, {"afterRevision": "1"})
        error = (await hear(socket))["error"]
        close = await closing(socket)
    async with opening(gateway, DELIVERED, premium) as socket:
        await say(socket, {"afterRevision": "3"})
        await socket.send('{"end":true}')
        heard = [await hear(socket), await hear(socket)]
    async with opening(gateway, WATCH, premium) as socket:
        await socket.send('{"end":true}')
        nothing = (await hear(socket))["error"]

    assert (reason_of({"error": error}), close) == ("VALIDATION_FAILED", Close(4003, ""))
    assert (heard[0]["message"]["revision"], heard[1]) == ("4", {"end": {}})
    assert nothing["message"] == "The first frame has to be the request."


@pytest.mark.rule("transcoding.133")
async def test_a_bad_message_is_named_by_its_place(
    gateway: GatewayProcess, samples: SampleServices, admin: dict[str, str]
) -> None:
    async with opening(gateway, IMPORT, admin) as socket:
        await say(socket, order())
        await say(socket, order(items=[{"productId": 7}]))
        error = (await hear(socket))["error"]
        close = await closing(socket)

    info = error["details"][0]["metadata"]
    assert info == {"field": "[1].items[0].productId", "messages_sent": "1"}
    assert close == Close(4003, "")
    seen = await samples.wait_calls("orders", "ImportOrders", lambda calls: not calls.in_flight)
    # None, where it was given up before the service came to begin.
    assert seen.calls <= 1


@pytest.mark.rule("transcoding.136")
async def test_frames_that_websocket_has_codes_for(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    """Binary, text that is none, and more than 1 MiB: closed without an error frame."""
    for payload, kind, code in (
        (b'{"message":{}}', BINARY, 1003),
        (b'{"message":{"orderId":"\xff"}}', TEXT, 1007),
        (b" " * (MIB + 1), TEXT, 1009),
    ):
        async with await WsClient.open(gateway.port, TRACK, premium) as socket:
            await socket.say({"orderId": "o-1", "afterRevision": "1"})
            await socket.hear()
            await socket.send(payload, kind)
            assert await socket.closed() == code
        seen = await samples.wait_calls("orders", "TrackOrders", lambda calls: not calls.in_flight)
        assert seen.cancelled == seen.calls


@pytest.mark.rule("transcoding.136")
async def test_a_frame_of_a_mebibyte_is_read(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    frame = json.dumps({"message": {"orderId": "o-81", "afterRevision": "3"}})
    async with opening(gateway, TRACK, premium) as socket:
        await socket.send(frame + " " * (MIB - len(frame)))
        assert (await hear(socket))["message"]["revision"] == "4"


async def test_frames_sent_ahead_of_the_upgrade_are_not_lost(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str]
) -> None:
    """RFC 6455 4.1 lets no client do so, and some do; what they send is masked by zeros here."""
    envelope = b'{"message":{"orderId":"o-81","afterRevision":"3"}}'
    frame = bytes([0x81, 0x80 | len(envelope)]) + bytes(4) + envelope
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = (
        f"GET {TRACK} HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: {premium['authorization']}\r\n\r\n"
    )
    writer.write(head.encode() + frame)
    granted = await reader.readuntil(b"\r\n\r\n")
    kind, size = await reader.readexactly(2)
    answer = await reader.readexactly(
        size if size < 126 else int.from_bytes(await reader.readexactly(2), "big")
    )
    writer.close()

    # RFC 6455 1.3: the answer to this very key.
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in granted
    assert (kind & 15, json.loads(answer)["message"]["revision"]) == (TEXT, "4")


# Ends


@pytest.mark.rule("transcoding.139")
@pytest.mark.parametrize("nicely", [True, False])
async def test_a_client_that_leaves_cancels_the_call(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str], nicely: bool
) -> None:
    socket = await WsClient.open(gateway.port, TRACK, premium)
    await socket.say({"orderId": "o-1", "afterRevision": "1"})
    await socket.hear()
    if nicely:
        await socket.send(b"\x03\xe9", CLOSE)
        assert await socket.closed() == 1001
    socket.leave()

    seen = await samples.wait_calls("orders", "TrackOrders", lambda calls: not calls.in_flight)
    assert (seen.calls, seen.cancelled) == (1, 1)
    line = await gateway.access_line(socket.headers["x-request-id"])
    assert (line["status_code"], line["reason"], line["aborted"]) == (499, "CLIENT_GONE", True)


@pytest.mark.rule("transcoding.137")
async def test_a_session_ends_with_its_credential(
    gateway: GatewayProcess, samples: SampleServices
) -> None:
    token = await samples.user_token("premium", expires_in_s=3)
    async with opening(gateway, WATCH, {"authorization": f"Bearer {token}"}) as socket:
        await say(socket, {"afterRevision": "1"})
        assert (await hear(socket))["message"]["revision"] == "2"
        error = (await hear(socket))["error"]
        close = await closing(socket)

    assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
    assert close == Close(4016, "")
    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: not calls.in_flight)
    assert seen.cancelled == 1
