"""uvicorn's WebSocket protocol as our HTTP/1.1 listener runs it: bounded, and gentle to who holds back.

It differs in what happens before the upgrade is granted (no frame is read), with slow readers (a
connection that should be closed is, at last, broken off), with clients that we do not read (their
pong cannot come, so its absence says nothing) and at the end of a worker (sessions end themselves).
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request as Handshake

from bff.fronts.websocket import SOCKET_SIDE

__all__ = ["SocketProtocol"]

# What a connection gets to take its last octets once it is to be closed.
_LINGER_S = 10.0
_HEAD_END = b"\r\n\r\n"


def _refusal(status_line: bytes, code: int, message: str, reason: str, *more: bytes) -> bytes:
    """A reply to what is no handshake, so that no door, log line or id can stand behind it."""
    body = (
        f'{{"error":{{"code":{code},"message":"{message}","status":"INVALID_ARGUMENT","details":['
        f'{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}"}}]}}}}'
    ).encode()
    lines = [
        b"HTTP/1.1 " + status_line,
        *more,
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"connection: close",
        b"cache-control: no-store",
        b"x-content-type-options: nosniff",
        b"server: bff",
    ]
    return b"\r\n".join([*lines, b"", body])


_MALFORMED = _refusal(
    b"400 Bad Request", 400, "This is no valid WebSocket handshake.", "MALFORMED_REQUEST"
)
_OTHER_VERSION = _refusal(
    b"426 Upgrade Required",
    426,
    "WebSocket is spoken in version 13.",
    "UPGRADE_REQUIRED",
    b"upgrade: websocket",
    b"sec-websocket-version: 13",
)


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection after its upgrade was asked for; `on_lost` hears at once when it is gone."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.on_lost: Callable[[], None] | None = None
        self._early = b""
        self._closing_since_s = 0.0

    def data_received(self, data: bytes) -> None:
        """Frames that come before the upgrade is granted wait; the socket is not read on for them."""
        if self.handshake_complete:
            super().data_received(data)
            return
        if not self.handshake_initiated:
            head_end = data.index(_HEAD_END) + len(_HEAD_END)
            data, self._early = data[:head_end], data[head_end:]
            self.transport.pause_reading()
            super().data_received(data)
            return
        self._early += data

    def handle_connect(self, event: Handshake) -> None:
        """Begin, or refuse what is no handshake (RFC 6455 4.2.1)."""
        if self.conn.accept(event).status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            is_other = event.headers.get_all("Sec-WebSocket-Version") != ["13"]
            self.handshake_initiated = self.handshake_complete = self.close_sent = True
            self.transport.write(_OTHER_VERSION if is_other else _MALFORMED)
            self.transport.close()
            return
        super().handle_connect(event)
        # Its task has not begun yet. Extensions of servers are whatever they say.
        extensions: Any = self.scope["extensions"]
        extensions[SOCKET_SIDE] = self

    def send_receive_event_to_app(self) -> None:
        """A message is whole; text that is no UTF-8 ends the session (RFC 6455 8.1)."""
        try:
            super().send_receive_event_to_app()
        except InvalidState:
            # The same read had a close frame behind it, which is answered already.
            self.handle_parser_exception()

    async def send(self, message: Any) -> None:
        """As ASGI has it; frames that waited for the upgrade are read once it is granted."""
        await super().send(message)
        if message["type"] == "websocket.accept" and not self.transport.is_closing():
            early, self._early = self._early, b""
            if early:
                self.data_received(early)
            if not self.read_paused:
                self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what runs for it ends."""
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def keepalive_timeout(self) -> None:
        """No pong came. Where we do not read, because the service holds back, none could."""
        if self.read_paused:
            self.pong_timer = None
            self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        # Whoever is not there takes no close frame either.
        self.abort()

    def abort(self) -> None:
        """Break the connection off."""
        self.transport.abort()

    def sweep(self, now_s: float) -> None:
        """Look at the clock, about once a second: a client that takes nothing cannot hold a closed connection."""
        if not self.transport.is_closing():
            return
        if not self._closing_since_s:
            self._closing_since_s = now_s
        elif now_s - self._closing_since_s > _LINGER_S:
            self.transport.abort()

    def shutdown(self) -> None:
        """The worker ends: a session that runs is ended by the drain, with its last frame."""
        if not self.handshake_complete or self.close_sent or self.disconnected:
            super().shutdown()
