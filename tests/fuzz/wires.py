"""What a stranger's connection brings before there is a request: HTTP/1.1, WebSocket frames, and none of it raises."""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from bff.fronts.exchange import Exchange
from bff.fronts.http1 import Http1Protocol, Http1Settings
from bff.fronts.http1_exchange import Http1Exchange
from bff.fronts.websocket_protocol import SocketProtocol
from tests.support.virtual_loop import run_virtual

__all__ = ["HTTP1_SEEDS", "SOCKET_SEEDS", "http1", "requests_of", "sockets"]

_USUAL = b"GET /v1/orders/7?view=FULL HTTP/1.1\r\nhost: a\r\naccept: */*\r\n\r\n"
HTTP1_SEEDS = (
    b"\x04" + _USUAL * 3,
    b"\x00POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nhost: a\r\n\r\n",
    b"\x07POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + _USUAL,
    b"\x10PATCHY / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"\x04PATCHY / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nmore",
    # The end of a body that looks like the beginning of a request.
    b"\0POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n",
    b"\x1fGET / HTTP/1.0\r\n\r\n" + _USUAL,
    b"\x04GET http://a/b?c HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n" + _USUAL,
    b"\x04HEAD / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n" + _USUAL,
)  # fmt: skip
# Client frames with a mask of zeros: their payload stands there as it is.
SOCKET_SEEDS = (
    b"\x05" + b"\x81\x82\0\0\0\0hi" + b"\x89\x81\0\0\0\0p" + b"\x88\x82\0\0\0\0\x03\xe8",
    b"\x00" + b"\x01\x81\0\0\0\0a" + b"\x00\x81\0\0\0\0b" + b"\x80\x81\0\0\0\0c" + b"\x82\x81\0\0\0\0d",
    b"\x02" + b"\x81\xfe\x00\x80\0\0\0\0" + b"x" * 128,
    b"\x03" + b"\x81\xff\0\0\0\0\0\x20\0\0\0\0\0\0",
    # No UTF-8, with a close frame behind it in the same read.
    b"\xff" + b"\x81\x82\0\0\0\0h\xa8" + b"\x88\x82\0\0\0\0\x03\xe8",
)  # fmt: skip
_HANDSHAKE = (
    b"GET /v1/talk HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
# Methods that the parser knows: others it takes only where a read begins with them.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


class _Wire(asyncio.Transport):
    """A transport to nowhere that knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.octets = b""
        self.is_shut = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: Any) -> None:
        self.octets += data

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.is_shut

    def close(self) -> None:
        self.is_shut = True

    def abort(self) -> None:
        self.is_shut = True

    def get_write_buffer_size(self) -> int:
        return 0


class _NoTask:
    """Stands for what answers a request."""

    def cancel(self) -> None:
        pass


class _Site:
    """Keeps the request whose turn it is, until the test answers it."""

    def __init__(self) -> None:
        self.settings = Http1Settings(idle_s=60.0, connections=10)
        self.connections: set[Http1Protocol] = set()
        self.date_line = b"date: x\r\n"
        self.turn: Http1Exchange | None = None

    def now_s(self) -> float:
        return 1.0

    def refused(self, reason: str) -> None:
        pass

    def answer(self, exchange: Exchange) -> "asyncio.Task[None]":
        assert self.turn is None, "a second request before the reply to the first"
        self.turn = cast("Http1Exchange", exchange)
        return cast("asyncio.Task[None]", _NoTask())

    def upgraded(self, exchange: Exchange) -> asyncio.Protocol | None:
        return None


def http1(raw: bytes) -> None:
    """How octets are cut into reads changes no request: not where it ends, not what it says, not its body."""
    if not raw:
        return
    step, text = raw[0] + 1, raw[1:]

    whole = requests_of([text])

    # Between requests too: so it is that a connection's fields are found again.
    for reads in ([text[at : at + step] for at in range(0, len(text), step)], _by_heads(text)):
        other = requests_of(reads)
        shared = min(len(whole), len(other))
        if all(one[0] in _METHODS for one in whole + other):
            assert whole == other
        assert whole[:shared] == other[:shared]


def _by_heads(text: bytes) -> list[bytes]:
    *heads, last = text.split(b"\r\n\r\n")
    return [*(head + b"\r\n\r\n" for head in heads), last]


def requests_of(reads: list[bytes]) -> list[Any]:
    """The whole requests that a connection makes of these reads: method, path, query, fields, version, body."""
    site, wire = _Site(), _Wire()
    connection = Http1Protocol(site, cast("asyncio.AbstractEventLoop", None))
    connection.connection_made(wire)
    found: list[Any] = []
    for read in reads:
        if wire.is_shut:
            break
        if read:
            connection.data_received(read)
        found += _answered(site)
    connection.connection_lost(None)
    return found


def _answered(site: _Site) -> Iterator[Any]:
    """What each request said that is here as a whole; it gets its reply."""
    while site.turn is not None and site.turn.is_complete:
        exchange, site.turn = site.turn, None
        body = _at_once(exchange.read_body(1 << 20))
        yield (exchange.method, exchange.raw_path, exchange.query, exchange.headers.raw,
               exchange.protocol, body)  # fmt: skip
        _at_once(exchange.send_whole(200, [(b"content-length", b"2")], b"{}"))
        exchange.close()


def _at_once(call: Coroutine[Any, Any, Any]) -> Any:
    """The result of what need not wait."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits, though all is there")


def sockets(raw: bytes) -> None:
    """How frames are cut into reads changes no message, and whatever comes, the session hears of its end."""
    if not raw:
        return
    step, text = raw[0] + 1, raw[1:]

    whole, is_sound = run_virtual(_session([text]))

    cut = [text[at : at + step] for at in range(0, len(text), step)]
    # What comes before the upgrade is granted waits for it.
    for other, _ in (run_virtual(_session(cut)), run_virtual(_session([], early=text))):
        assert whole == other[: len(whole)]
        # A fault in a read takes the frames with it that came before it in the same read.
        assert not is_sound or whole == other


async def _session(reads: list[bytes], *, early: bytes = b"") -> tuple[list[Any], bool]:
    """The messages, and whether the frames were without fault."""
    said: list[Any] = []
    ended = asyncio.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        while (message := await receive())["type"] == "websocket.receive":
            said.append(message.get("text", message.get("bytes")))
        assert message["type"] == "websocket.disconnect"
        ended.set()

    config = uvicorn.Config(
        app, log_config=None, lifespan="off", ws_max_size=1 << 20, ws_per_message_deflate=False,
        interface="asgi3", ws_ping_interval=None,
    )  # fmt: skip
    config.load()
    # As the workers have it: a stranger's broken text is no line of ours.
    logging.getLogger("uvicorn.error").disabled = True
    wire = _Wire()
    given: dict[str, Any] = {"config": config, "server_state": ServerState(), "app_state": {}}
    protocol = SocketProtocol(**given)
    protocol.connection_made(wire)
    protocol.data_received(_HANDSHAKE + early)
    await _turns()
    for read in reads:
        if wire.is_shut:
            break
        protocol.data_received(read)
        await _turns()
    protocol.connection_lost(None)
    await ended.wait()
    await _turns()
    return said, protocol.conn.close_sent is None or bool(protocol.conn.close_rcvd_then_sent)


async def _turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)
