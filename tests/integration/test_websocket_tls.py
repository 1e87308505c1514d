"""WebSocket behind TLS: on our own listener, and on the one that speaks HTTP/2 as well."""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import ROOMY
from tests.support.gateway import GatewayProcess, reason_of
from tests.support.samples import SampleServices
from tests.support.upstream_lab import self_signed

WATCH = "/v1/orders/o-1:watch"
DELIVERED = "/v1/orders/o-81:watch"
MIB = 1 << 20


async def until_closed(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """What comes before the close, whatever its code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


class Behind:
    """A gateway and what it takes to trust it."""

    def __init__(self, gateway: GatewayProcess, cert: bytes) -> None:
        self.gateway = gateway
        self._ssl = ssl.create_default_context(cadata=cert.decode())
        self._ssl.set_alpn_protocols(["http/1.1"])

    def open(self, target: str, headers: dict[str, str], **more: Any) -> connect:
        port = self.gateway.port
        return connect(
            f"wss://shop.test:{port}{target}",
            host="127.0.0.1",
            port=port,
            ssl=self._ssl,
            additional_headers=headers,
            proxy=None,
            **more,
        )


@pytest.fixture(scope="module", params=["1", "auto"])
def behind(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Behind]:
    """A gateway with TLS, with HTTP/1.1 alone and with HTTP/2 beside it."""
    folder: Path = tmp_path_factory.mktemp("tls")
    cert, key = self_signed("shop.test")
    (folder / "cert.pem").write_bytes(cert)
    (folder / "key.pem").write_bytes(key)
    http = 1 if request.param == "1" else "auto"
    tls = {"cert": str(folder / "cert.pem"), "key": f"file:{folder / 'key.pem'}"}
    listen = [{"address": "127.0.0.1:0", "http": http, "tls": tls}]
    with GatewayProcess(folder, shop, changes={**ROOMY, "gateway": {"listen": listen}}) as running:
        yield Behind(running, cert)


@pytest.mark.rule("transcoding.135")
async def test_a_session_from_a_page_of_the_host(
    behind: Behind, samples: SampleServices, premium: dict[str, str]
) -> None:
    origin = f"https://shop.test:{behind.gateway.port}"
    async with behind.open(f"{DELIVERED}?afterRevision=3", premium, origin=origin) as socket:
        await socket.send('{"message":{}}')
        heard = [json.loads(await socket.recv()), json.loads(await socket.recv())]
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()

    assert (heard[0]["message"]["revision"], heard[1]) == ("4", {"end": {}})
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


@pytest.mark.rule("transcoding.136")
async def test_a_page_without_tls_is_of_another_origin(
    behind: Behind, samples: SampleServices, premium: dict[str, str]
) -> None:
    origin = f"http://shop.test:{behind.gateway.port}"
    with pytest.raises(InvalidStatus) as refused:
        async with behind.open(WATCH, premium, origin=origin):
            pass

    response = refused.value.response
    assert (response.status_code, reason_of(json.loads(response.body))) == (403, "CORS_DENIED")


@pytest.mark.rule("transcoding.135")
async def test_a_refusal_is_an_ordinary_reply_here_too(
    behind: Behind, samples: SampleServices
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with behind.open(WATCH, {}):
            pass

    response = refused.value.response
    body = json.loads(response.body)
    assert (response.status_code, reason_of(body)) == (401, "CREDENTIAL_MISSING")
    assert "www-authenticate" in response.headers


@pytest.mark.rule("transcoding.135", "transcoding.136")
@pytest.mark.parametrize(
    ("frame", "code"), [("no envelope", 4003), (b"binary", 1003), (" " * (MIB + 1), 1009)]
)
async def test_what_no_frame_may_be_ends_the_session_and_its_call(
    behind: Behind,
    samples: SampleServices,
    premium: dict[str, str],
    frame: str | bytes,
    code: int,
) -> None:
    async with behind.open(WATCH, premium) as socket:
        await socket.send('{"message":{"afterRevision":"1"}}')
        await socket.recv()
        await socket.send(frame)
        rest = [json.loads(each) async for each in until_closed(socket)]

    assert [set(each) for each in rest] == ([{"error"}] if code == 4003 else [])

    assert socket.close_code == code
    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: not calls.in_flight)
    assert seen.cancelled == 1


@pytest.mark.rule("transcoding.139")
async def test_a_client_that_leaves_cancels_the_call(
    behind: Behind, samples: SampleServices, premium: dict[str, str]
) -> None:
    async with behind.open(WATCH, premium) as socket:
        await socket.send('{"message":{"afterRevision":"1"}}')
        await socket.recv()
        socket.transport.abort()

    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: not calls.in_flight)
    assert (seen.calls, seen.cancelled) == (1, 1)
