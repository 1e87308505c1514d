"""Octets of an HTTP/1.1 connection into requests (RFC 9112), by llhttp and by what it leaves to us.

To us it leaves methods that it does not know, upgrades that nobody takes, the bounds of all that is
not a body, and fields that a connection repeats.
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

import httptools

from bff.core.headers import Headers
from bff.fronts.exchange import Pairs
from bff.fronts.http1_exchange import Connection, Http1Exchange
from bff.fronts.known_fields import KnownBodyFields, KnownFields, learn, learn_with_body

__all__ = ["HeadTooLargeError", "Http1Reader", "MalformedError"]

# Octets of a body that wait for a reader; above it the socket is left alone.
_BODY_HELD_BYTES: Final = 64 * 1024
# What a head may take before it is complete; the door judges complete ones more closely.
_HEAD_MAX_BYTES: Final = 64 * 1024
# What may stand about a body beside it: chunk sizes and extensions, fields behind it. An octet of the
# body makes up for so many, the least chunk having five.
_FRAMING_MAX_BYTES: Final = 64 * 1024
_FRAMING_PER_BYTE: Final = 8

# What tells where a body ends (RFC 9112 6.3).
_ENDS_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})
# llhttp knows of more: 0.9 is a request line without a version.
_VERSIONS: Final = frozenset({"1.0", "1.1"})
# A token (RFC 9110 5.6.2), at the beginning of a request line.
_METHOD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) ").match


class MalformedError(Exception):
    """What came is no HTTP/1.1, or too much beside a body."""


class HeadTooLargeError(Exception):
    """A head goes on and on."""


class Owner(Connection, Protocol):
    """What a reader needs of its connection, beside what each request does."""

    def begun(self, exchange: Http1Exchange) -> bool:
        """Take a request whose head is complete; False if too many wait, and none is read any more."""
        ...

    def hand_over(self, exchange: Http1Exchange, octets: bytes) -> bool:
        """Let another protocol go on with the connection from this request's `octets` on, if one will."""
        ...

    def read_no_more(self) -> None:
        """What comes from now on is no request."""
        ...

    def pause(self) -> None:
        """Leave the socket alone until there is room."""
        ...


class Http1Reader:
    """The reading side of one connection. `peer` and `scheme` are set when it is made."""

    __slots__ = (
        "_begun",
        "_framing_bytes",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_incoming",
        "_is_over",
        "_known",
        "_known_body",
        "_last",
        "_now_s",
        "_odd_method",
        "_owner",
        "_parser",
        "_resumed",
        "_target",
        "peer",
        "scheme",
    )

    def __init__(self, owner: Owner, now_s: Callable[[], float]) -> None:
        self._owner = owner
        self._now_s = now_s
        self._parser = httptools.HttpRequestParser(self)
        self.peer = ""
        self.scheme = "http"
        # The head that is being read.
        self._in_head = False
        self._head_bytes = 0
        self._target = b""
        self._headers: Pairs = []
        # The request whose body is being read; what of its octets was not the body itself.
        self._incoming: Http1Exchange | None = None
        self._framing_bytes = 0
        # The request that began last; how many did in this read.
        self._last: Http1Exchange | None = None
        self._begun = 0
        # Nothing that follows is read.
        self._is_over = False
        # Fields that this connection is likely to send again.
        self._known: KnownFields | None = None
        self._known_body: KnownBodyFields | None = None
        # Read on behind an upgrade that was not taken.
        self._resumed: Http1Exchange | None = None
        # The method, where the parser does not know it.
        self._odd_method = ""

    # Reading

    def read_known(self, data: bytes, *, with_body: bool) -> Http1Exchange | None:
        """A request whose fields are those of one before it on this connection; None: it is another.

        Bodies are read ahead by the parser alone, which keeps their bound: `with_body` only when
        nothing is being answered.
        """
        if self._in_head or self._incoming is not None:
            return None
        known = self._known
        line = None if known is None else known.line_of(data)
        if line is not None:
            assert known is not None
            return self._begin_known(line, known.headers)
        known_body = self._known_body
        if known_body is None or not with_body or len(data) > _BODY_HELD_BYTES:
            return None
        found = known_body.read(data)
        if found is None:
            return None
        line, headers, body = found
        exchange = self._begin_known(line, headers)
        exchange.take(body)
        return exchange

    def read(self, data: bytes) -> None:
        """Read on; requests that begin go to the owner. Raises MalformedError, HeadTooLargeError."""
        was_in_head = self._in_head
        # What ends a body is no beginning of a request, though it look like one.
        was_amid = was_in_head or self._incoming is not None
        self._framing_bytes += len(data)
        self._begun = 0
        self._last = None
        try:
            self._feed(data)
        except httptools.HttpParserInvalidMethodError as error:
            if was_amid or not self._feed_odd_method(data):
                raise MalformedError from error
        except httptools.HttpParserError as error:
            raise MalformedError from error
        if self._incoming is not None and self._framing_bytes > _FRAMING_MAX_BYTES:
            raise MalformedError
        # No body saves up for the octets that follow it.
        self._framing_bytes = max(self._framing_bytes, 0)
        if self._in_head and was_in_head:
            # The read in which a head began is not counted: the body before it may have filled it.
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_MAX_BYTES:
                raise HeadTooLargeError
        if self._begun == 1 and not was_amid and not self._in_head:
            self._learn(data)
        # Else an idle connection would hold the body of its last request.
        self._last = None

    def give_up(self) -> Http1Exchange | None:
        """The request whose body will not come, if one is being read."""
        incoming, self._incoming = self._incoming, None
        return incoming

    def _feed(self, data: bytes) -> None:
        """Feed the parser. Raises HttpParserError.

        A request with an upgrade that nobody takes is one like any other (RFC 9110 7.8): it may have a
        body, and others may follow.
        """
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            else:
                return
            exchange = self._last
            if exchange is None or self._is_over:
                return
            if exchange.method == "CONNECT":
                # Nothing after it would be HTTP any more.
                self._owner.read_no_more()
                return
            if self._hand_over(exchange, data):
                return
            self._read_past_upgrade(exchange)

    def _hand_over(self, exchange: Http1Exchange, rest: bytes) -> bool:
        fields = exchange.headers.raw
        if exchange.method != "GET" or any(name in _ENDS_BODY for name, _ in fields):
            # Where a body ends, the other protocol could see another way.
            return False
        lines = b"".join([b"%b: %b\r\n" % pair for pair in fields])
        octets = b"GET %b HTTP/1.1\r\n%b\r\n%b" % (self._target, lines, rest)
        return self._owner.hand_over(exchange, octets)

    def _read_past_upgrade(self, exchange: Http1Exchange) -> None:
        """Go on behind the fields of a request, where the parser would not: with one that knows of no upgrade."""
        exchange.is_complete = False
        self._resumed = exchange
        self._parser = httptools.HttpRequestParser(self)
        lines = [b"%b: %b\r\n" % pair for pair in exchange.headers.raw if pair[0] in _ENDS_BODY]
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))

    def _feed_odd_method(self, data: bytes) -> bool:
        """Read a request whose method llhttp does not know: any token is one, and 405 or a route's affair.

        Only where the read begins with it; False if it is no method, or stands elsewhere.
        """
        found = _METHOD(data)
        if found is None or self._begun:
            return False
        self._parser = httptools.HttpRequestParser(self)
        self._odd_method = found[1].decode("ascii")
        try:
            self._feed(b"POST" + data[found.end(1) :])
        except httptools.HttpParserError:
            self._odd_method = ""
            return False
        return True

    # Fields that repeat

    def _begin_known(self, line: re.Match[bytes], headers: Headers) -> Http1Exchange:
        exchange = Http1Exchange(self._owner, self._now_s)
        method, exchange.raw_path, query = line.groups()
        exchange.method = method.decode("ascii")
        exchange.query = query or b""
        exchange.headers = headers
        exchange.peer = self.peer
        exchange.scheme = self.scheme
        exchange.protocol = "1.1"
        exchange.is_complete = True
        return exchange

    def _learn(self, data: bytes) -> None:
        exchange = self._last
        if exchange is not None and exchange.is_complete and exchange.keeps_alive:
            if exchange.has_body:
                self._known_body = learn_with_body(data, exchange.headers) or self._known_body
            else:
                self._known = learn(data, exchange.headers) or self._known

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
        exchange = Http1Exchange(self._owner, self._now_s)
        exchange.method = self._odd_method or parser.get_method().decode("ascii")
        self._odd_method = ""
        exchange.raw_path, exchange.query = _split_target(self._target)
        exchange.headers = Headers(self._headers)
        exchange.peer = self.peer
        exchange.scheme = self.scheme
        exchange.protocol = protocol
        # HTTP/1.0 clients that would keep the connection are rare enough to be told to come again.
        exchange.keeps_alive = parser.should_keep_alive() and protocol == "1.1"
        if not self._owner.begun(exchange):
            self._is_over = True
            return
        self._begun += 1
        self._last = self._incoming = exchange

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= (1 + _FRAMING_PER_BYTE) * len(body)
        exchange = self._incoming
        if exchange is not None and exchange.take(body) > _BODY_HELD_BYTES:
            self._owner.pause()

    def on_message_complete(self) -> None:
        exchange, self._incoming = self._incoming, None
        if exchange is not None:
            exchange.complete()


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
