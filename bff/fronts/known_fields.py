"""Header fields that a connection repeats: which may be taken as read before, and how a new line before them is read.

Most connections send the same fields again, octet by octet. Then only the request line is new, and what
llhttp, the door and the authenticate stage found in the fields still holds (12 us less per request with
a token). Nothing is learned of fields that decide where a message ends or what becomes of the connection,
but for Content-Length: of requests with bodies the fields before and after its digits are kept.
"""

import re
from typing import Final

from bff.core.headers import Headers

__all__ = ["KnownBodyFields", "KnownFields", "learn", "learn_with_body"]

# A request line that can be read without a parser, behind its method; the door judges path and query as ever.
_REST: Final = rb" (/[\x21\x22\x24-\x3e\x40-\x7e]*)(?:\?([\x21\x22\x24-\x7e]*))? HTTP/1\.1\r\n"
_PLAIN_LINE: Final = re.compile(b"(GET|HEAD)" + _REST).fullmatch
_BODY_LINE: Final = re.compile(b"(POST|PUT|PATCH)" + _REST).fullmatch
_LENGTH_LINE: Final = re.compile(
    rb"(?i)(?:\A|\r\n)content-length:[ \t]*([0-9]+)[ \t]*\r\n"
).finditer
_LENGTH: Final = re.compile(rb"[1-9][0-9]{0,6}").fullmatch
# Fields that decide where a message ends or what becomes of the connection.
_FRAMING: Final = frozenset(
    {b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade"}
)
_LENGTH_NAME: Final = b"content-length"
_KEEP_ALIVE: Final = (b"connection", b"keep-alive")
_KNOWN_MAX_BYTES: Final = 4 * 1024
# Request lines are shorter; longer ones take the parser's way.
_LINE_MAX_BYTES: Final = 1024
# Lengths of bodies whose fields are kept, on each connection.
_LENGTHS_KEPT: Final = 16


class KnownFields:
    """Header fields that one read held whole, with the empty line after them."""

    __slots__ = ("headers", "octets")

    def __init__(self, octets: bytes, headers: Headers) -> None:
        self.octets = octets
        self.headers = headers

    def line_of(self, data: bytes) -> re.Match[bytes] | None:
        """Method, path and query (or None) of a request line, if nothing but it stands before these fields."""
        line_bytes = len(data) - len(self.octets)
        if line_bytes <= 0 or not data.endswith(self.octets):
            return None
        return _PLAIN_LINE(data, 0, line_bytes)


class KnownBodyFields:
    """Header fields of a request with a body, but for the digits of its Content-Length.

    The fields of each length are an object of their own, since they say another thing.
    """

    __slots__ = ("_after", "_before", "_of_length", "_raw")

    def __init__(self, before: bytes, after: bytes, headers: Headers) -> None:
        self._before = before
        self._after = after
        self._raw = headers.raw
        self._of_length: dict[bytes, Headers] = {}

    def read(self, data: bytes) -> tuple[re.Match[bytes], Headers, bytes] | None:
        """Method, path and query, the fields and the body, if `data` is one such request from end to end."""
        head_end = data.find(b"\r\n\r\n", 0, _LINE_MAX_BYTES + _KNOWN_MAX_BYTES) + 4
        line_end = data.find(b"\r\n", 0, head_end) + 2
        before, after = self._before, self._after
        if not data.startswith(before, line_end) or not data.endswith(after, line_end, head_end):
            return None
        digits = data[line_end + len(before) : head_end - len(after)]
        if not _LENGTH(digits) or int(digits) != len(data) - head_end:
            return None
        line = _BODY_LINE(data, 0, line_end)
        if line is None:
            return None
        headers = self._of_length.get(digits) or self._with_length(digits)
        return line, headers, data[head_end:]

    def _with_length(self, digits: bytes) -> Headers:
        headers = Headers(
            # All but the one field are the same objects for every length.
            [(_LENGTH_NAME, digits) if field[0] == _LENGTH_NAME else field for field in self._raw]
        )
        if len(self._of_length) >= _LENGTHS_KEPT:
            del self._of_length[next(iter(self._of_length))]
        self._of_length[digits] = headers
        return headers


def learn(data: bytes, headers: Headers) -> KnownFields | None:
    """The fields of a request without a body that `data` is from its first octet to its last, or None."""
    line_end = data.find(b"\r\n") + 2
    octets = data[line_end:]
    if (
        len(octets) <= _KNOWN_MAX_BYTES
        and octets.endswith(b"\r\n\r\n")
        and octets.find(b"\r\n\r\n") == len(octets) - 4
        and _PLAIN_LINE(data, 0, line_end)
        and not any(map(_is_framing, headers.raw))
    ):
        return KnownFields(octets, headers)
    return None


def learn_with_body(data: bytes, headers: Headers) -> KnownBodyFields | None:
    """The fields of a request that `data` is from its first octet to the last one of its body, or None."""
    line_end = data.find(b"\r\n") + 2
    head_end = data.find(b"\r\n\r\n") + 4
    fields = data[line_end:head_end]
    others = [field for field in headers.raw if field[0] != _LENGTH_NAME]
    if (
        len(fields) > _KNOWN_MAX_BYTES
        or len(others) != len(headers.raw) - 1
        or any(map(_is_framing, others))
    ):
        return None
    lines = list(_LENGTH_LINE(fields))
    if len(lines) != 1:
        return None
    known = KnownBodyFields(fields[: lines[0].start(1)], fields[lines[0].end(1) :], headers)
    # Kept only if it reads this very request.
    return known if known.read(data) else None


def _is_framing(field: tuple[bytes, bytes]) -> bool:
    return field[0] in _FRAMING and field != _KEEP_ALIVE
