"""One request on an HTTP/1.1 connection: its body as it comes, and the octets of its reply (RFC 9112)."""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol

from bff.core.exchange import NO_FIELDS, FixedFields
from bff.fronts.exchange import CLOSE, Exchange, Pairs, too_large

__all__ = ["STATUS_LINES", "Connection", "Http1Exchange"]

# 499 is nginx's word for a client that left; a service may say CANCELLED while the client is there.
_PHRASES: Final = {499: "Client Closed Request"} | {s.value: s.phrase for s in HTTPStatus}
STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode()
    for status in range(100, 600)
}
# One of the members of TE (RFC 9110 10.1.4).
_TRAILERS: Final = re.compile(rb"(?i)(?:^|,)[ \t]*trailers[ \t]*(?:,|$)").search
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(Protocol):
    """What a request needs of its connection."""

    @property
    def date_line(self) -> bytes:
        """The Date field of now, with its line break."""
        ...

    def write(self, octets: bytes) -> None:
        """Hand octets to the socket."""
        ...

    async def drain(self) -> None:
        """Until the socket has room."""
        ...

    def resume(self) -> None:
        """Read on from the socket."""
        ...

    def abort(self) -> None:
        """Break the connection off."""
        ...

    def ended(self, exchange: "Http1Exchange") -> None:
        """A request has had its reply, or never will."""
        ...


class Http1Exchange(Exchange):
    """One request, made when its head is complete."""

    __slots__ = (
        "_asks_for_body",
        "_chunked",
        "_connection",
        "_held",
        "_held_bytes",
        "_waiter",
        "is_complete",
        "is_sent",
        "keeps_alive",
    )

    def __init__(self, connection: Connection, now_s: Callable[[], float]) -> None:
        super().__init__(now_s)
        self._connection = connection
        self.keeps_alive = True
        # The reply is out as a whole; the body is in as a whole.
        self.is_sent = False
        self.is_complete = False
        self._chunked = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._asks_for_body = True

    # The body

    @property
    def has_body(self) -> bool:
        """Whether octets of a body wait to be read."""
        return bool(self._held)

    def take(self, part: bytes) -> int:
        """Keep a part that came; returns how many octets wait."""
        self._held.append(part)
        self._held_bytes += len(part)
        self._wake()
        return self._held_bytes

    def complete(self) -> None:
        """The last octet is in."""
        self.is_complete = True
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def read_body(self, cap_bytes: int) -> bytes:
        """As `Exchange.read_body`; a body that is here already is taken as it is."""
        if not self.is_complete:
            return await super().read_body(cap_bytes)
        held = self._held
        body = held[0] if len(held) == 1 else b"".join(held)
        self.body_bytes = len(body)
        if len(body) > cap_bytes:
            raise too_large(cap_bytes)
        return body

    async def next_part(self) -> tuple[bytes, bool]:
        """As `Exchange.next_part`."""
        if self._asks_for_body:
            self._asks_for_body = False
            self._invite()
        while not self._held and not self.is_complete:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        held = self._held
        part = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        self._held_bytes = 0
        if not self.is_complete:
            self._connection.resume()
        return part, not self.is_complete

    def _invite(self) -> None:
        """100 Continue for a client that waits for it (RFC 9110 10.1.1), now that its body is wanted."""
        if self._held or self.is_complete:
            return
        for name, value in self.headers.raw:
            if name == b"expect" and value.lower() == b"100-continue":
                self._connection.write(_CONTINUE)

    # The reply

    async def send_whole(
        self, status: int, headers: Pairs, body: bytes, fixed: FixedFields = NO_FIELDS
    ) -> None:
        """As `Exchange.send_whole`: head and body in one write."""
        lines = self._head(status, headers, fixed)
        lines.append(body)
        self._connection.write(b"".join(lines))
        self.is_sent = True

    def _head(self, status: int, headers: Pairs, fixed: FixedFields = NO_FIELDS) -> list[bytes]:
        lines = [STATUS_LINES[status], fixed.lines]
        # `%` over bytes is the cheapest way to put two texts into a line (0.15 us).
        lines += [b"%b: %b\r\n" % pair for pair in headers]
        if CLOSE[0] in headers:
            self.keeps_alive = False
        elif not self.keeps_alive or not self.is_complete:
            # What is left of the body would have to be read for nothing before the next request.
            self.keeps_alive = False
            lines.append(b"connection: close\r\n")
        lines.append(self._connection.date_line)
        lines.append(b"\r\n")
        return lines

    async def start(self, status: int, headers: Pairs) -> None:
        """As `Exchange.start`: chunked where the length is not known (RFC 9112 7.1)."""
        if not any(name == b"content-length" for name, _ in headers):
            if self.protocol == "1.1":
                self._chunked = True
                headers = [*headers, (b"transfer-encoding", b"chunked")]
            else:
                # HTTP/1.0: the end of the connection is the end of the body.
                self.keeps_alive = False
        self._connection.write(b"".join(self._head(status, headers)))

    async def send_part(self, part: bytes, *, more: bool) -> None:
        """As `Exchange.send_part`."""
        if self._chunked:
            octets = b"%x\r\n%b\r\n" % (len(part), part) if part else b""
            if not more:
                octets += b"0\r\n\r\n"
        else:
            octets = part
        if octets:
            self._connection.write(octets)
        if more:
            await self._connection.drain()
        else:
            self.is_sent = True

    @property
    def takes_trailers(self) -> bool:
        """As `Exchange.takes_trailers`: chunked bodies can have them, and `TE: trailers` asks for them."""
        return self.protocol == "1.1" and any(
            name == b"te" and _TRAILERS(value) for name, value in self.headers.raw
        )

    async def send_trailers(self, fields: Pairs) -> None:
        """As `Exchange.send_trailers` (RFC 9112 7.1.2)."""
        lines = b"".join([b"%b: %b\r\n" % pair for pair in fields])
        self._connection.write(b"0\r\n%b\r\n" % lines)
        self.is_sent = True

    def watch(self) -> None:
        """Nothing to do: the protocol tells at once."""

    def abort(self) -> None:
        """As `Exchange.abort`."""
        self._connection.abort()

    def close(self) -> None:
        """Let the connection go on."""
        self._connection.ended(self)
