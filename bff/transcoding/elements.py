"""Messages of a client's stream, cut out of the body as it comes: a line each, or elements of one array.

Pure, in time linear in the octets, holding one element and the part it came in. What stands between
two cuts need not be JSON: the codec decides that.
"""

import re
from typing import Protocol

from bff.core.errors import ClientError

__all__ = ["ArraySplitter", "ConcatenatedSplitter", "LineSplitter", "Splitter"]

_SPACE = b" \t\r\n"
# What changes the depth or begins a text, and what matters within a text.
_OUTSIDE = re.compile(rb'[\[\]{},"]')
_INSIDE = re.compile(rb'["\\]')
_NOT_SPACE = re.compile(rb"[^ \t\r\n]")


class Splitter(Protocol):
    """Feed octets, take elements until None, and finish. Raises ClientError INVALID_JSON, BODY_TOO_LARGE."""

    def feed(self, part: bytes) -> None:
        """More of the body."""
        ...

    def take(self) -> bytes | None:
        """The next element that is whole; None: more octets are needed."""
        ...

    def finish(self) -> bytes | None:
        """The body has ended: the last element, if its end was the body's."""
        ...


class LineSplitter:
    """One message a line; blank lines are skipped, the last one may lack its end."""

    def __init__(self, cap_bytes: int) -> None:
        self._cap_bytes = cap_bytes
        self._buffer = bytearray()
        self._seen = 0

    def feed(self, part: bytes) -> None:
        """More of the body."""
        self._buffer += part

    def take(self) -> bytes | None:
        """The next line that is not blank."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\n", self._seen)
            if end < 0:
                self._seen = len(buffer)
                _check(self._seen, self._cap_bytes)
                return None
            line = bytes(buffer[:end]).strip(_SPACE)
            del buffer[: end + 1]
            self._seen = 0
            _check(len(line), self._cap_bytes)
            if line:
                return line

    def finish(self) -> bytes | None:
        """What stands behind the last line break."""
        return bytes(self._buffer).strip(_SPACE) or None


class _Scanner:
    """Follows texts and brackets over the buffer, each octet once."""

    def __init__(self, cap_bytes: int) -> None:
        self._cap_bytes = cap_bytes
        self._buffer = bytearray()
        self._at = 0
        self._depth = 0
        self._in_text = False

    def feed(self, part: bytes) -> None:
        """More of the body."""
        self._buffer += part

    def _next_mark(self) -> int:
        """The next bracket or comma outside of texts, as an octet, with `_at` behind it; 0: none is here."""
        buffer = self._buffer
        while True:
            found = (_INSIDE if self._in_text else _OUTSIDE).search(buffer, self._at)
            if found is None:
                self._at = max(self._at, len(buffer))
                _check(len(buffer), self._cap_bytes)
                return 0
            self._at = found.end()
            mark = buffer[self._at - 1]
            if mark == ord("\\"):
                # Whatever is escaped, it ends no text.
                self._at += 1
            elif mark == ord('"'):
                self._in_text = not self._in_text
            else:
                return mark

    def _cut(self, end: int) -> bytes:
        """The octets before `end`, without the space around them; the buffer then begins at `_at`."""
        element = bytes(self._buffer[:end]).strip(_SPACE)
        del self._buffer[: self._at]
        self._at = 0
        _check(len(element), self._cap_bytes)
        return element

    def _skip_space(self) -> bool:
        """Drop leading space; False if nothing else is here."""
        found = _NOT_SPACE.search(self._buffer)
        del self._buffer[: len(self._buffer) if found is None else found.start()]
        return bool(self._buffer)


class ArraySplitter(_Scanner):
    """The elements of one array, which is the whole body; an empty body is an empty array."""

    def __init__(self, cap_bytes: int) -> None:
        super().__init__(cap_bytes)
        self._is_open = False
        self._is_closed = False
        self._is_first = True

    def take(self) -> bytes | None:
        """The next element that is whole."""
        if not self._is_open and not self._open():
            return None
        while not self._is_closed:
            mark = self._next_mark()
            if not mark:
                return None
            if mark in b"[{":
                self._depth += 1
            elif mark in b"]}" and self._depth:
                self._depth -= 1
            elif not self._depth:
                element = self._cut(self._at - 1)
                self._is_closed = mark == ord("]")
                if mark == ord("}") or (not element and not (self._is_closed and self._is_first)):
                    raise _invalid()
                self._is_first = False
                if element:
                    return element
        if self._skip_space():
            raise _invalid()
        return None

    def finish(self) -> bytes | None:
        """Nothing; raises where the array has no end."""
        if self._is_open and not self._is_closed:
            raise _invalid()
        return None

    def _open(self) -> bool:
        if not self._skip_space():
            return False
        if self._buffer[0] != ord("["):
            raise _invalid()
        del self._buffer[0]
        self._is_open = True
        return True


class ConcatenatedSplitter(_Scanner):
    """Objects that follow each other, with space between them or without."""

    def take(self) -> bytes | None:
        """The next object that is whole."""
        if not self._depth:
            if not self._skip_space():
                return None
            if self._buffer[0] != ord("{"):
                raise _invalid()
        while True:
            mark = self._next_mark()
            if not mark:
                return None
            if mark in b"[{":
                self._depth += 1
            elif mark in b"]}":
                self._depth -= 1
                if not self._depth:
                    return self._cut(self._at)

    def finish(self) -> bytes | None:
        """Nothing; raises where an object has no end."""
        if self._buffer.strip(_SPACE):
            raise _invalid()
        return None


def _check(size: int, cap_bytes: int) -> None:
    if size > cap_bytes:
        raise ClientError(
            "BODY_TOO_LARGE",
            f"One message is larger than {cap_bytes} bytes.",
            metadata={"limit": str(cap_bytes)},
        )


def _invalid() -> ClientError:
    return ClientError("INVALID_JSON")
