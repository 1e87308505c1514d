"""WebSocket (RFC 6455) behind the door's `Exchange`: an upgrade is a request, a session its reply.

Any ASGI server will do. What ASGI has no word for - breaking a connection off, hearing at once that
it is lost - is asked of our own protocol where that is the server (`websocket_protocol`).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from bff.core.exchange import NO_FIELDS, BodyLimits, FixedFields
from bff.core.headers import Headers
from bff.fronts.asgi import CutError, Receive, Scope, Send
from bff.fronts.exchange import Exchange, Pairs
from bff.pipeline.sockets import CLOSED_WELL, FrameError, Session
from bff.transcoding.envelopes import SUBPROTOCOL

__all__ = ["SOCKET_SIDE", "SocketExchange"]

# Where the scope has our protocol, under `extensions`.
SOCKET_SIDE = "bff.socket"
_REFUSING = "websocket.http.response"
_SCHEMES = {"ws": "http", "wss": "https"}
_UNSUPPORTED_DATA, _TOO_BIG = 1003, 1009
_NO_LIMIT = 1 << 62


class SocketExchange(Exchange):
    """One upgrade: until it is granted a request without a body, then frames both ways.

    `read_parts` gives text frames, `send_part` sends one each.
    """

    __slots__ = ("_can_refuse", "_is_ending", "_receive", "_send", "_side", "_subprotocol")

    # A frame stays whole, whatever its size.
    part_bytes = _NO_LIMIT

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, now_s: Callable[[], float]
    ) -> None:
        super().__init__(now_s)
        client = scope["client"]
        self.method = "GET"
        self.raw_path = scope["raw_path"]
        self.query = scope["query_string"]
        self.headers = Headers((name.lower(), value) for name, value in scope["headers"])
        self.peer = client[0] if client else ""
        self.scheme = _SCHEMES[scope["scheme"]]
        self.protocol = scope["http_version"]
        self._is_ending = False
        self._receive = receive
        self._send = send
        self._subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None
        extensions = scope.get("extensions") or {}
        self._can_refuse = _REFUSING in extensions
        self._side: Any = extensions.get(SOCKET_SIDE)
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        if self._side is not None:
            self._side.on_lost = self._lose

    async def next_part(self) -> tuple[bytes, bool]:
        """The next text frame. Raises FrameError for one that is binary."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.receive":
                text = message.get("text")
                if text is None:
                    raise FrameError("UNSUPPORTED_MEDIA_TYPE", _UNSUPPORTED_DATA)
                return text.encode(), True
            if message["type"] == "websocket.disconnect":
                self._lose()
                # The session's own task is cancelled or ends by itself, and this wait with it.
                await asyncio.get_running_loop().create_future()

    async def read_parts(self, limits: BodyLimits) -> AsyncGenerator[bytes, None]:
        """Each text frame; `limits` bound the size of one. How long to wait is the session's affair."""
        while True:
            frame, _more = await self.next_part()
            self.body_bytes += len(frame)
            if len(frame) > limits.cap_bytes:
                raise FrameError("BODY_TOO_LARGE", _TOO_BIG)
            yield frame

    async def send_whole(
        self, status: int, headers: Pairs, body: bytes, fixed: FixedFields = NO_FIELDS
    ) -> None:
        """Refuse the upgrade with an ordinary reply."""
        if not self._can_refuse:
            await self._tell({"type": "websocket.close"})
            return
        head = {"type": f"{_REFUSING}.start", "status": status, "headers": [*fixed.pairs, *headers]}
        await self._tell(head)
        await self._tell({"type": f"{_REFUSING}.body", "body": body})

    async def start(self, status: int, headers: Pairs) -> None:  # noqa: ARG002 - it is 101
        """Grant the upgrade: the one reply of unknown length that there is."""
        kept = [pair for pair in headers if pair[0] != b"connection"]
        await self._tell(
            {"type": "websocket.accept", "subprotocol": self._subprotocol, "headers": kept}
        )

    async def send_part(self, part: bytes, *, more: bool) -> None:
        """Send a frame; after the last, close with the code that the session has."""
        if part:
            await self._tell({"type": "websocket.send", "text": part.decode()})
        if not more:
            stream = self.stream
            code = stream.close_code if isinstance(stream, Session) else CLOSED_WELL
            # From here on the end of the connection is what we asked for.
            self._is_ending = True
            await self._tell({"type": "websocket.close", "code": code})

    def _lose(self) -> None:
        if not self._is_ending:
            self.leave()

    async def _tell(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError:
            # How ASGI servers say that nobody is there any more (spec 2.4).
            self.leave()
            await asyncio.get_running_loop().create_future()

    def abort(self) -> None:
        """Break the connection off."""
        if self._side is None:
            raise CutError("the session cannot be ended")
        self._side.abort()

    def watch(self) -> None:
        """Nothing to do: a session listens all the time."""

    def close(self) -> None:
        """The session has ended."""
        if self._side is not None:
            self._side.on_lost = None
