"""HTTP/1.1 on a socket (RFC 9112): requests in their order, each handed to the door as an `Exchange`.

`http1_reader` makes requests of octets, `http1_exchange` octets of replies. One protocol object a
connection, on the loop that serves it: a reply leaves in the turn that made it, with no thread between.
What a stranger can make a connection hold has a bound: octets of a head or about a body, octets of a
body that nobody reads yet (both in the reader), requests ahead of their turn, the time of an idle or
silent connection, replies that are not taken.
"""

import asyncio
from collections import deque
from typing import Final, Protocol, cast

from bff.fronts.exchange import Exchange
from bff.fronts.http1_exchange import STATUS_LINES, Http1Exchange
from bff.fronts.http1_reader import HeadTooLargeError, Http1Reader, MalformedError

__all__ = ["Http1Protocol", "Http1Settings", "Site"]

# Requests that wait for their turn: with a few the socket is still read, to hear of a client that leaves.
_AHEAD_PAUSE: Final = 16
_AHEAD_MAX: Final = 256
# A client that sends on while we refuse it: how much and how long we take in, so that it can read why.
_LINGER_BYTES: Final = 1024 * 1024
_LINGER_S: Final = 2.0
# Unsent octets that no one takes.
_STALL_S: Final = 30.0


def _refusal(status: int, name: str, message: str, reason: str) -> bytes:
    """A reply to what is no request, so that no door, log line or id can stand behind it."""
    body = (
        f'{{"error":{{"code":{status},"message":"{message}","status":"{name}","details":['
        f'{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}"}}]}}}}'
    ).encode()
    return STATUS_LINES[status] + (
        b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n"
        b"cache-control: no-store\r\nx-content-type-options: nosniff\r\nserver: bff\r\n\r\n"
        % len(body)
        + body
    )


_MALFORMED: Final = _refusal(
    400, "INVALID_ARGUMENT", "This is not valid HTTP.", "MALFORMED_REQUEST"
)
_HEAD_TOO_LARGE: Final = _refusal(
    431, "INVALID_ARGUMENT", "The request head is too large.", "HEADERS_TOO_LARGE"
)
_CROWDED: Final = _refusal(503, "UNAVAILABLE", "There are too many connections.", "OVERLOADED")


class Http1Settings:
    """What bounds the connections of one worker; `idle_s` also bounds the time of a request's head."""

    __slots__ = ("connections", "idle_s")

    def __init__(self, *, idle_s: float, connections: int) -> None:
        self.idle_s = idle_s
        self.connections = connections


class Site(Protocol):
    """What the connections of a worker share."""

    settings: Http1Settings
    connections: "set[Http1Protocol]"
    # The Date field with its line break, made anew each second (RFC 9110 6.6.1).
    date_line: bytes

    def now_s(self) -> float:
        """Monotonic seconds."""
        ...

    def refused(self, reason: str) -> None:
        """Count a connection that was ended with `reason`: there is no request to log."""
        ...

    def answer(self, exchange: Exchange) -> "asyncio.Task[None]":
        """Begin to answer a request."""
        ...

    def upgraded(self, exchange: Exchange) -> asyncio.Protocol | None:
        """The protocol that takes over a connection with this GET, or None: the upgrade is ignored."""
        ...


class Http1Protocol(asyncio.Protocol):
    """One connection. Requests are answered one after the other, in order (RFC 9112 9.3.2)."""

    __slots__ = (
        "_ahead",
        "_current",
        "_idle_since_s",
        "_linger_bytes",
        "_lingers_s",
        "_loop",
        "_paused_s",
        "_reader",
        "_reading",
        "_room",
        "_site",
        "_transport",
    )

    _transport: asyncio.Transport

    def __init__(self, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        self._site = site
        self._loop = loop
        self._reader = Http1Reader(self, site.now_s)
        # The request that is being answered; those after it.
        self._current: Http1Exchange | None = None
        self._ahead: deque[Http1Exchange] = deque()
        self._reading = True
        self._idle_since_s = site.now_s()
        # While a client is heard out before the end; how much of it is left.
        self._lingers_s = 0.0
        self._linger_bytes = _LINGER_BYTES
        # Since when the socket takes no more; who waits for room.
        self._paused_s = 0.0
        self._room: asyncio.Future[None] | None = None

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it in, or refuse it where there are too many."""
        # uvloop's transports are none by type.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._reader.peer = peer[0]
        if transport.get_extra_info("ssl_object") is not None:
            self._reader.scheme = "https"
        site = self._site
        site.connections.add(self)
        if len(site.connections) > site.settings.connections:
            self._refuse(_CROWDED, "OVERLOADED")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's shape
        """The client is gone: what runs for it ends, what waits never begins."""
        self._site.connections.discard(self)
        self._ahead.clear()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        current = self._current
        if current is not None:
            current.leave()

    def eof_received(self) -> None:
        """A client that ends its side is gone: nobody could tell it from one that closed both."""

    def data_received(self, data: bytes) -> None:
        """Read on; begin what became complete enough to be judged."""
        if self._lingers_s:
            self._hear_out(data)
            return
        reader = self._reader
        known = reader.read_known(data, with_body=self._current is None)
        if known is not None:
            self._ahead.append(known)
            self._go_on()
            return
        try:
            reader.read(data)
        except MalformedError:
            self._refuse_malformed()
        except HeadTooLargeError:
            self._refuse(_HEAD_TOO_LARGE, "HEADERS_TOO_LARGE")
        else:
            if self._ahead:
                self._go_on()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        self._paused_s = self._site.now_s()

    def resume_writing(self) -> None:
        """There is room again."""
        self._paused_s = 0.0
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
        if self._ahead:
            self._go_on()

    # What the reader tells

    def begun(self, exchange: Http1Exchange) -> bool:
        """Queue a request. One too many is dropped unanswered, which who sends ahead has to expect (RFC 9112 9.3.2)."""
        if len(self._ahead) >= _AHEAD_MAX:
            self.read_no_more()
            return False
        self._ahead.append(exchange)
        return True

    def hand_over(self, exchange: Http1Exchange, octets: bytes) -> bool:
        """Let another protocol go on with the connection, if one takes this upgrade (RFC 9110 7.8)."""
        if self._current is not None or len(self._ahead) != 1:
            return False
        after = self._site.upgraded(exchange)
        if after is None:
            return False
        self._ahead.clear()
        self._site.connections.discard(self)
        self._transport.set_protocol(after)
        after.connection_made(self._transport)
        after.data_received(octets)
        return True

    def read_no_more(self) -> None:
        """What comes from now on is no request; end after the reply to the last one."""
        self._lingers_s = float("inf")
        last = self._ahead[-1] if self._ahead else self._current
        if last is None:
            self._transport.close()
        else:
            last.keeps_alive = False

    def pause(self) -> None:
        """Leave the socket alone until there is room."""
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    # One request after the other

    def _go_on(self) -> None:
        """Begin the next request, if its turn has come; a client that takes no replies gets no more of them made."""
        if self._current is None and not self._paused_s:
            self._current = exchange = self._ahead.popleft()
            exchange.task = self._site.answer(exchange)
        if len(self._ahead) > _AHEAD_PAUSE:
            self.pause()

    def ended(self, exchange: Http1Exchange) -> None:
        """A request has had its reply, or never will: go on, or end the connection."""
        self._current = None
        transport = self._transport
        if transport.is_closing():
            return
        if not exchange.keeps_alive or not exchange.is_sent:
            self._ahead.clear()
            self._end(heard=exchange.is_complete)
            return
        self._idle_since_s = self._site.now_s()
        if self._ahead:
            self._go_on()
        if len(self._ahead) <= _AHEAD_PAUSE:
            self.resume()

    def _end(self, *, heard: bool) -> None:
        """Close; who still sends is heard out first, since a reset would destroy a reply not yet read."""
        if heard or self._reader.scheme == "https":
            self._transport.close()
            return
        self._lingers_s = self._site.now_s() + _LINGER_S
        self.resume()
        self._transport.write_eof()

    def _hear_out(self, data: bytes) -> None:
        self._linger_bytes -= len(data)
        if self._linger_bytes < 0:
            self._transport.close()

    def _refuse_malformed(self) -> None:
        """What cannot be parsed ends the connection, after the replies to what came before."""
        incoming = self._reader.give_up()
        if incoming is not None:
            # Its body broke off, and is never taken for a whole one.
            if incoming is self._current:
                incoming.leave()
            else:
                self._ahead.remove(incoming)
        if self._current is None and not self._ahead:
            self._refuse(_MALFORMED, "MALFORMED_REQUEST")
            return
        self.read_no_more()
        if self._ahead:
            self._go_on()

    def _refuse(self, reply: bytes, reason: str) -> None:
        self._site.refused(reason)
        self._transport.write(reply)
        self._ahead.clear()
        self._end(heard=False)

    # Room and time

    def resume(self) -> None:
        """Read on from the socket."""
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def write(self, octets: bytes) -> None:
        """Hand octets to the socket."""
        self._transport.write(octets)

    async def drain(self) -> None:
        """Until the socket has room; the door's sweep ends who waits too long."""
        while self._paused_s and not self._transport.is_closing():
            if self._room is None or self._room.done():
                self._room = self._loop.create_future()
            await self._room

    def abort(self) -> None:
        """Break the connection off, so that nobody takes a part for the whole."""
        self._transport.abort()

    def sweep(self, now_s: float) -> None:
        """Look at the clock; the worker asks each connection about once a second."""
        transport = self._transport
        if self._paused_s and now_s - self._paused_s > _STALL_S:
            transport.abort()
        elif self._lingers_s:
            if now_s > self._lingers_s:
                transport.abort()
        elif self._current is None and now_s - self._idle_since_s > self._site.settings.idle_s:
            if transport.get_write_buffer_size():
                transport.abort()
            else:
                transport.close()

    def shutdown(self) -> None:
        """The worker ends: close if idle, else after the reply that is being made."""
        if self._current is None:
            self._transport.close()
        else:
            self._current.keeps_alive = False

    @property
    def date_line(self) -> bytes:
        """The Date field of now."""
        return self._site.date_line
