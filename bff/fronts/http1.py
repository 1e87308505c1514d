"""HTTP/1.1 on a socket (RFC 9112): requests parsed by llhttp, each handed to the door as an `Exchange`.

One protocol object a connection, on the loop that serves it: a reply leaves in the turn that made it,
with no thread between. What a stranger can make a connection hold has a bound here: octets of a head,
octets of a body that nobody reads yet, requests ahead of their turn, the time of an idle or silent
connection, replies that are not taken.
"""

import asyncio
import re
from collections import deque
from typing import Final, Protocol, cast

import httptools

from bff.core.headers import Headers
from bff.fronts.exchange import Exchange, Pairs
from bff.fronts.http1_exchange import STATUS_LINES, Http1Exchange
from bff.fronts.known_fields import KnownBodyFields, KnownFields, learn, learn_with_body

__all__ = ["Http1Protocol", "Http1Settings", "Site"]

# What a head may take before it is complete; the door judges complete ones more closely.
_HEAD_MAX_BYTES: Final = 64 * 1024
# What may stand about a body beside it: chunk sizes and extensions, fields behind it. An octet of the
# body makes up for so many, the least chunk having five.
_FRAMING_MAX_BYTES: Final = 64 * 1024
_FRAMING_PER_BYTE: Final = 8
# Octets of a body that wait for a reader; above it the socket is left alone.
_BODY_HELD_BYTES: Final = 64 * 1024
# Requests that wait for their turn: with a few the socket is still read, to hear of a client that leaves.
_AHEAD_PAUSE: Final = 16
_AHEAD_MAX: Final = 256
# A client that sends on while we refuse it: how much and how long we take in, so that it can read why.
_LINGER_BYTES: Final = 1024 * 1024
_LINGER_S: Final = 2.0
# Unsent octets that no one takes.
_STALL_S: Final = 30.0

# What tells where a body ends (RFC 9112 6.3).
_ENDS_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})
# llhttp knows of more: 0.9 is a request line without a version.
_VERSIONS: Final = frozenset({"1.0", "1.1"})

# A token (RFC 9110 5.6.2), at the beginning of a request line.
_METHOD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) ").match


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
        "_framing_bytes",
        "_head_bytes",
        "_headers",
        "_idle_since_s",
        "_in_head",
        "_incoming",
        "_known",
        "_known_body",
        "_linger_bytes",
        "_lingers_s",
        "_loop",
        "_odd_method",
        "_parser",
        "_paused_s",
        "_peer",
        "_reading",
        "_resumed",
        "_room",
        "_scheme",
        "_site",
        "_target",
        "_transport",
    )

    _transport: asyncio.Transport

    def __init__(self, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        self._site = site
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._peer = ""
        self._scheme = "http"
        # The head that is being read.
        self._in_head = False
        self._head_bytes = 0
        self._target = b""
        self._headers: Pairs = []
        # What of a body's octets was not the body itself.
        self._framing_bytes = 0
        # Fields that this connection is likely to send again.
        self._known: KnownFields | None = None
        self._known_body: KnownBodyFields | None = None
        # Read on behind an upgrade that was not taken.
        self._resumed: Http1Exchange | None = None
        # The method, where the parser does not know it.
        self._odd_method = ""
        # The request that is being answered; the one whose body is being read; those after it.
        self._current: Http1Exchange | None = None
        self._incoming: Http1Exchange | None = None
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
            self._peer = peer[0]
        if transport.get_extra_info("ssl_object") is not None:
            self._scheme = "https"
        site = self._site
        site.connections.add(self)
        if len(site.connections) > site.settings.connections:
            self._refuse(_CROWDED)

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
        if not self._in_head and self._incoming is None and self._read_known(data):
            self._go_on()
            return
        was_in_head = self._in_head
        if not self._parse(data):
            return
        if self._in_head and was_in_head:
            # The read in which a head began is not counted: the body before it may have filled it.
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_MAX_BYTES:
                self._refuse(_HEAD_TOO_LARGE)
        if self._ahead:
            if not was_in_head and self._current is None and len(self._ahead) == 1:
                self._learn(data, self._ahead[0])
            self._go_on()

    def _parse(self, data: bytes) -> bool:
        """Feed the parser; False if there is no more to be done with what it found."""
        # What ends a body is no beginning of a request, though it look like one.
        was_amid = self._in_head or self._incoming is not None
        self._framing_bytes += len(data)
        try:
            if not self._feed(data):
                return False
            if self._incoming is None or self._framing_bytes <= _FRAMING_MAX_BYTES:
                # No body saves up for the octets that follow it.
                self._framing_bytes = max(self._framing_bytes, 0)
                return True
        except httptools.HttpParserInvalidMethodError:
            if not was_amid and self._feed_odd_method(data):
                return True
        except httptools.HttpParserError:
            pass
        self._refuse_malformed()
        return False

    def _feed(self, data: bytes) -> bool:
        """As `_parse`. Raises HttpParserError.

        A request with an upgrade that nobody takes is one like any other (RFC 9110 7.8): it may have a
        body, and others may follow.
        """
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            else:
                return True
            if self._hand_over(data):
                return False
            if self._lingers_s or self._ahead[-1].method == "CONNECT":
                # Nothing after it would be HTTP any more.
                self._read_no_more()
                return True
            self._read_past_upgrade(self._ahead[-1])

    def _read_past_upgrade(self, exchange: Http1Exchange) -> None:
        """Go on behind the fields of a request, where the parser would not: with one that knows of no upgrade."""
        exchange.is_complete = False
        self._resumed = exchange
        self._parser = httptools.HttpRequestParser(self)
        lines = [b"%b: %b\r\n" % pair for pair in exchange.headers.raw if pair[0] in _ENDS_BODY]
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))

    def _read_known(self, data: bytes) -> bool:
        """Read a request whose fields are those of one before it on this connection; False: it is another."""
        known = self._known
        line = None if known is None else known.line_of(data)
        if line is not None:
            assert known is not None
            self._begin_known(line, known.headers)
            return True
        known_body = self._known_body
        # Bodies are read ahead by the parser alone, which keeps their bound.
        if known_body is None or self._current is not None or len(data) > _BODY_HELD_BYTES:
            return False
        found = known_body.read(data)
        if found is None:
            return False
        line, headers, body = found
        self._begin_known(line, headers).take(body)
        return True

    def _begin_known(self, line: re.Match[bytes], headers: Headers) -> Http1Exchange:
        exchange = Http1Exchange(self, self._site.now_s)
        method, exchange.raw_path, query = line.groups()
        exchange.method = method.decode("ascii")
        exchange.query = query or b""
        exchange.headers = headers
        exchange.peer = self._peer
        exchange.scheme = self._scheme
        exchange.protocol = "1.1"
        exchange.is_complete = True
        self._ahead.append(exchange)
        return exchange

    def _learn(self, data: bytes, exchange: Http1Exchange) -> None:
        if exchange.is_complete and exchange.keeps_alive and not self._in_head:
            if exchange.has_body:
                self._known_body = learn_with_body(data, exchange.headers) or self._known_body
            else:
                self._known = learn(data, exchange.headers) or self._known

    def _hand_over(self, rest: bytes) -> bool:
        """Let another protocol go on with the connection, if one takes this upgrade (RFC 9110 7.8)."""
        if self._current is not None or len(self._ahead) != 1:
            return False
        exchange = self._ahead[0]
        if exchange.method != "GET" or any(name in _ENDS_BODY for name, _ in exchange.headers.raw):
            # Where a body ends, the other protocol could see another way.
            return False
        after = self._site.upgraded(exchange)
        if after is None:
            return False
        self._ahead.clear()
        self._site.connections.discard(self)
        lines = [b"%b: %b\r\n" % pair for pair in exchange.headers.raw]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (b"GET", self._target, b"".join(lines))
        self._transport.set_protocol(after)
        after.connection_made(self._transport)
        after.data_received(head + rest)
        return True

    def _feed_odd_method(self, data: bytes) -> bool:
        """Read a request whose method llhttp does not know: any token is one, and 405 or a route's affair.

        Only where the read begins with it; False if it is no method, or stands elsewhere.
        """
        found = _METHOD(data)
        if found is None or self._ahead:
            return False
        self._parser = httptools.HttpRequestParser(self)
        self._odd_method = found[1].decode("ascii")
        try:
            return self._feed(b"POST" + data[found.end(1) :])
        except httptools.HttpParserError:
            self._odd_method = ""
            return False

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

    # What the parser finds

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._framing_bytes = 0
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Fields behind a body are let go: none that we read may come there (RFC 9110 6.5.1).
        if self._in_head:
            # Tabs, too, are no part of a value (RFC 9110 5.5), which llhttp leaves behind it.
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._resumed is not None:
            self._incoming, self._resumed = self._resumed, None
            return
        parser = self._parser
        protocol = parser.get_http_version()
        # The parser takes what is raised here for a fault of the octets.
        if protocol not in _VERSIONS:
            raise ValueError(protocol)
        if protocol == "1.0" and any(name == b"transfer-encoding" for name, _ in self._headers):
            # Those who know 1.0 alone see no end of it, or another one (RFC 9112 6.1).
            raise ValueError("a transfer coding in HTTP/1.0")
        exchange = Http1Exchange(self, self._site.now_s)
        exchange.method = self._odd_method or parser.get_method().decode("ascii")
        self._odd_method = ""
        exchange.raw_path, exchange.query = _split_target(self._target)
        exchange.headers = Headers(self._headers)
        exchange.peer = self._peer
        exchange.scheme = self._scheme
        exchange.protocol = protocol
        # HTTP/1.0 clients that would keep the connection are rare enough to be told to come again.
        exchange.keeps_alive = parser.should_keep_alive() and protocol == "1.1"
        if len(self._ahead) >= _AHEAD_MAX:
            # Dropped unanswered, which a client that sends ahead has to expect (RFC 9112 9.3.2).
            self._read_no_more()
            return
        self._incoming = exchange
        self._ahead.append(exchange)

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= (1 + _FRAMING_PER_BYTE) * len(body)
        exchange = self._incoming
        if exchange is not None and exchange.take(body) > _BODY_HELD_BYTES:
            self._pause()

    def on_message_complete(self) -> None:
        exchange, self._incoming = self._incoming, None
        if exchange is not None:
            exchange.complete()

    # One request after the other

    def _go_on(self) -> None:
        """Begin the next request, if its turn has come; a client that takes no replies gets no more of them made."""
        if self._current is None and not self._paused_s:
            self._current = exchange = self._ahead.popleft()
            exchange.task = self._site.answer(exchange)
        if len(self._ahead) > _AHEAD_PAUSE:
            self._pause()

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

    def _read_no_more(self) -> None:
        """What comes from now on is no request; end after the reply to the last one."""
        self._lingers_s = float("inf")
        last = self._ahead[-1] if self._ahead else self._current
        if last is None:
            self._transport.close()
        else:
            last.keeps_alive = False

    def _end(self, *, heard: bool) -> None:
        """Close; who still sends is heard out first, since a reset would destroy a reply not yet read."""
        if heard or self._scheme == "https":
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
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            # Its body broke off, and is never taken for a whole one.
            if incoming is self._current:
                incoming.leave()
            else:
                self._ahead.remove(incoming)
        if self._current is None and not self._ahead:
            self._refuse(_MALFORMED)
            return
        self._read_no_more()
        if self._ahead:
            self._go_on()

    def _refuse(self, reply: bytes) -> None:
        self._transport.write(reply)
        self._ahead.clear()
        self._end(heard=False)

    # Room and time

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

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


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target, raw (RFC 9112 3.2); what has no path is left for the door to refuse."""
    if not target.startswith(b"/"):
        try:
            url = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError:
            return target, b""
        if not url.schema:
            return target, b""
        return url.path or b"/", url.query or b""
    path, _, query = target.partition(b"?")
    return path, query
