"""Header fields as the server gives them: an ordered list of lower-case byte pairs, read by name.

Also which fields never travel on (RFC 9110 7.6.1).
"""

from collections.abc import Iterable
from typing import Any

__all__ = ["HOP_BY_HOP", "Headers", "connection_named"]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class Headers:
    """Request header fields, in order, names in lower case. Looked up without copying, never changed.

    A connection that repeats its fields may hand on one object for many requests: `judged` and
    `credential` keep what the door and the authenticate stage have found in it, each its own.
    """

    __slots__ = ("credential", "judged", "raw")

    def __init__(self, raw: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.raw: list[tuple[bytes, bytes]] = raw if isinstance(raw, list) else list(raw)
        self.judged: Any = None
        self.credential: Any = None

    def get(self, name: bytes) -> bytes | None:
        """The first value of `name` (lower case), or None."""
        for key, value in self.raw:
            if key == name:
                return value
        return None

    def all(self, name: bytes) -> list[bytes]:
        """Every value of `name` (lower case), in order."""
        return [value for key, value in self.raw if key == name]

    def text(self, name: bytes) -> str | None:
        """The first value as text; bytes outside ASCII are kept one to one (latin-1)."""
        value = self.get(name)
        return None if value is None else value.decode("latin-1")


def connection_named(headers: Headers) -> frozenset[bytes]:
    """The fields that a client's Connection header names, in lower case; they end at this hop."""
    tokens = b",".join(headers.all(b"connection"))
    return frozenset(token.strip().lower() for token in tokens.split(b",") if token.strip())
