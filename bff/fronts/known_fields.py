"""Header fields that a connection repeats: which may be taken as read before, and how a new line before them is read.

Most connections send the same fields again, octet by octet. Then only the request line is new, and what
llhttp, the door and the authenticate stage found in the fields still holds (12 us less per request with
a token). Nothing is learned of fields that decide where a message ends or what becomes of the connection.
"""

import re
from typing import Final

from bff.core.headers import Headers

__all__ = ["KnownFields", "learn"]

# A request line that can be read without a parser; the door judges path and query as ever.
_PLAIN_LINE: Final = re.compile(
    rb"(GET|HEAD) (/[\x21\x22\x24-\x3e\x40-\x7e]*)(?:\?([\x21\x22\x24-\x7e]*))? HTTP/1\.1\r\n"
).fullmatch
# Fields that decide where a message ends or what becomes of the connection.
_FRAMING: Final = frozenset(
    {b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade"}
)
_KEEP_ALIVE: Final = (b"connection", b"keep-alive")
_KNOWN_MAX_BYTES: Final = 4 * 1024


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


def _is_framing(field: tuple[bytes, bytes]) -> bool:
    return field[0] in _FRAMING and field != _KEEP_ALIVE
