"""One request's connection side, as the door sees it: what was asked, its body, and the way back.

A server gives each request as an `Exchange` of its own kind: our HTTP/1.1 listener (`http1`), or any
ASGI server (`asgi`). What bounds a body is here, once for all of them.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable

from bff.core.errors import ClientError
from bff.core.exchange import NO_FIELDS, BodyLimits, FixedFields, ReplyStream
from bff.core.headers import Headers

__all__ = ["CLOSE", "PART_BYTES", "Exchange", "Pairs"]

Pairs = list[tuple[bytes, bytes]]

# Larger bodies are written in parts of this size, each under a limit on stalling.
PART_BYTES = 64 * 1024
CLOSE = ((b"connection", b"close"),)
_STALL_S = 30.0
_NEVER_S = float("inf")
_BODY_BASE_S = 10.0
_BODY_BYTES_PER_S = 64 * 1024
# Slower than this over such a window, and the body is given up.
_RATE_WINDOW_S = 5.0
_RATE_BYTES_PER_S = 1024


class Exchange(ABC):
    """One request and its reply. `peer` is the address at the socket's other end."""

    __slots__ = (
        "body_bytes",
        "cut",
        "declared_bytes",
        "gone",
        "headers",
        "method",
        "now_s",
        "peer",
        "protocol",
        "query",
        "raw_path",
        "scheme",
        "stall_s",
        "stalled",
        "stalls_s",
        "started_s",
        "stream",
        "task",
        "unread",
        "watchable",
        "watched",
    )

    # Larger parts of a stream are written in pieces.
    part_bytes = PART_BYTES

    method: str
    raw_path: bytes
    query: bytes
    headers: Headers
    peer: str
    scheme: str
    protocol: str
    task: "asyncio.Task[None]"

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self.started_s = now_s()
        self.body_bytes = 0
        # Content-Length as sent; 0 where there is none (the server holds a body to what it declares).
        self.declared_bytes = 0
        self.gone = False
        # When the write that runs has taken too long, on the clock; what a write may take.
        self.stalls_s = _NEVER_S
        self.stall_s = _STALL_S
        self.stalled = False
        # Ended by the drain, not by a client that left.
        self.cut = False
        self.stream: ReplyStream | None = None
        # May the sweep ask it to watch for a client that leaves; does it already.
        self.watchable = False
        self.watched = False
        self.unread = False

    # The body

    async def read_body(self, cap_bytes: int) -> bytes:
        """The whole body. Raises BODY_TOO_LARGE beyond the cap, BODY_TIMEOUT if it drips."""
        parts = [part async for part in self.read_parts(BodyLimits(cap_bytes=cap_bytes))]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read_parts(self, limits: BodyLimits) -> AsyncGenerator[bytes, None]:
        """The body as it comes; raises as `read_body` does.

        Only the time that we wait for the client counts, not what the reader does between parts;
        meanwhile the connection is watched, with one part kept at most.
        """
        cap_bytes = limits.cap_bytes
        if self.declared_bytes > cap_bytes:
            self.unread = True
            raise too_large(cap_bytes)
        # Until the end is read; whoever stops before leaves octets that are no next request.
        self.unread = True
        left_s = _BODY_BASE_S + cap_bytes / _BODY_BYTES_PER_S
        window_s, window_bytes = 0.0, 0
        while True:
            began_s = self.now_s()
            # When the rate over the window falls below the least one, if nothing more comes.
            slow_s = max(_RATE_WINDOW_S, window_bytes / _RATE_BYTES_PER_S) - window_s
            try:
                async with asyncio.timeout(min(left_s, slow_s) if limits.paced else None):
                    part, more = await self.next_part()
            except TimeoutError as error:
                raise ClientError("BODY_TIMEOUT", headers=CLOSE) from error
            self.body_bytes += len(part)
            if self.body_bytes > cap_bytes:
                raise too_large(cap_bytes)
            self.unread = more
            if part:
                yield part
            if not more:
                return
            took_s = self.now_s() - began_s
            left_s -= took_s
            window_s, window_bytes = window_s + took_s, window_bytes + len(part)
            if window_s >= _RATE_WINDOW_S:
                window_s, window_bytes = 0.0, 0

    @abstractmethod
    async def next_part(self) -> tuple[bytes, bool]:
        """One part of the body, and whether more follow. Does not return once the client has left."""

    # The reply

    @abstractmethod
    async def send_whole(
        self, status: int, headers: Pairs, body: bytes, fixed: FixedFields = NO_FIELDS
    ) -> None:
        """Write a reply of known length; `body` is empty for HEAD and 204, `fixed` goes before `headers`."""

    @abstractmethod
    async def start(self, status: int, headers: Pairs) -> None:
        """Begin a reply of unknown length."""

    @abstractmethod
    async def send_part(self, part: bytes, *, more: bool) -> None:
        """Write a part, which may be empty. Returns when the server has room for the next."""

    @property
    def takes_trailers(self) -> bool:
        """Whether server and client take fields behind the body (RFC 9110 6.5.1)."""
        return False

    async def send_trailers(self, fields: Pairs) -> None:
        """End a reply of unknown length with these fields, where `takes_trailers`."""
        raise NotImplementedError

    async def send_timed(self, part: bytes, *, more: bool) -> None:
        """As `send_part`, under the stall limit: the door's sweep looks at the time, so none costs a timer."""
        self.stalls_s = self.now_s() + self.stall_s
        await self.send_part(part, more=more)
        self.stalls_s = _NEVER_S

    @abstractmethod
    def abort(self) -> None:
        """Break the reply off, so that the client sees a cut and never takes a part for the whole."""

    # The client that leaves

    @abstractmethod
    def watch(self) -> None:
        """Find out if the client leaves, where the server does not tell by itself."""

    def stall(self) -> None:
        """The client takes nothing: end it."""
        self.stalls_s = _NEVER_S
        if not self.gone:
            self.stalled = True
            self.leave()

    def leave(self) -> None:
        """The client is gone, or given up: end what runs for it."""
        if not self.gone:
            self.gone = True
            self.task.cancel()

    @abstractmethod
    def close(self) -> None:
        """The request has ended."""


def too_large(cap_bytes: int) -> ClientError:
    """413 for a body over `cap_bytes`."""
    return ClientError(
        "BODY_TOO_LARGE",
        f"The request body is larger than {cap_bytes} bytes.",
        metadata={"limit": str(cap_bytes)},
    )
