"""A second reading of HTTP/1.1 requests, written from RFC 9112 for the eye and not for speed.

It reads a whole connection at once, strictly: what the RFC lets a recipient tolerate is refused here,
but for the three places that say so. It knows nothing of the listener that it judges.
"""

import re
from dataclasses import dataclass, field

__all__ = ["Message", "Reading", "read_connection"]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# 3, tolerated: more than one space between the parts.
_REQUEST_LINE = re.compile(rb"(%b) +([\x21-\x7e\x80-\xff]+) +HTTP/(1\.[01])" % _TOKEN)
_FIELD_LINE = re.compile(rb"(%b):[ \t]*((?:[\x21-\xff]|[ \t](?![ \t]*\Z))*)[ \t]*" % _TOKEN)
# 7.1.1, tolerated: what stands behind the size of a chunk is no extension that anyone reads, so its
# form is nobody's concern, as long as it ends with the line.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_DIGITS = re.compile(rb"[0-9]+")
_LINE_END = b"\r\n"


@dataclass(frozen=True)
class Message:
    """One request: what a recipient may act on."""

    method: bytes
    target: bytes
    version: str
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass
class Reading:
    """The whole requests of a connection, in order, and how it ends.

    `end` is "whole" (nothing is left), "more" (a message has begun and more must come), "closed" (a
    message was the last one, whatever follows), or "bad" (what follows is no HTTP/1.1).
    """

    messages: list[Message] = field(default_factory=list)
    end: str = "whole"


class _BadError(Exception):
    """This is no HTTP/1.1."""


class _MoreError(Exception):
    """What is here may be the beginning of HTTP/1.1."""


def read_connection(octets: bytes) -> Reading:
    """Read until the end, or until what comes cannot be read (RFC 9112 2.2, 9.3)."""
    reading = Reading()
    at = 0
    while True:
        # 2.2: empty lines before a request line are ignored; tolerated: half of their ends.
        while octets[at : at + 1] in {b"\r", b"\n"}:
            at += 1
        if at == len(octets):
            return reading
        try:
            message, at, is_last = _message(octets, at)
        except _BadError:
            reading.end = "bad"
            return reading
        except _MoreError:
            reading.end = "more"
            return reading
        reading.messages.append(message)
        if is_last:
            reading.end = "closed"
            return reading


def _message(octets: bytes, at: int) -> tuple[Message, int, bool]:
    line, at = _line(octets, at)
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise _BadError
    method, target, version = found.groups()
    fields, at = _fields(octets, at)
    body, at = _body(octets, at, fields, version)
    message = Message(method, target, version.decode(), tuple(fields), body)
    options = [
        option.strip(b" \t").lower()
        for name, value in fields
        if name == b"connection"
        for option in value.split(b",")
    ]
    # 9.3; a 1.0 connection is never kept here.
    return message, at, version == b"1.0" or b"close" in options


def _line(octets: bytes, at: int) -> tuple[bytes, int]:
    """A line, without its end: CRLF and nothing else (2.2)."""
    end = octets.find(b"\n", at)
    if end < 0:
        if b"\r" in octets[at:-1]:
            raise _BadError
        raise _MoreError
    line = octets[at:end]
    if not line.endswith(b"\r") or b"\r" in line[:-1]:
        raise _BadError
    return line[:-1], end + 1


def _fields(octets: bytes, at: int) -> tuple[list[tuple[bytes, bytes]], int]:
    """Field lines up to the empty one (5); a folded line begins with white space, which no name does."""
    fields: list[tuple[bytes, bytes]] = []
    while True:
        line, at = _line(octets, at)
        if not line:
            return fields, at
        found = _FIELD_LINE.fullmatch(line)
        if found is None:
            raise _BadError
        fields.append((found[1].lower(), found[2]))


def _body(
    octets: bytes, at: int, fields: list[tuple[bytes, bytes]], version: bytes
) -> tuple[bytes, int]:
    """The body by 6.3."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if codings:
        if lengths or version == b"1.0":
            raise _BadError
        names = [name.strip(b" \t").lower() for name in b",".join(codings).split(b",")]
        if names != [b"chunked"]:
            raise _BadError
        return _chunks(octets, at)
    if not lengths:
        return b"", at
    if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise _BadError
    size = int(lengths[0])
    if size >= 1 << 64:
        raise _BadError
    if at + size > len(octets):
        raise _MoreError
    return octets[at : at + size], at + size


def _chunks(octets: bytes, at: int) -> tuple[bytes, int]:
    """The body in chunks (7.1); the fields behind it are read and let go."""
    body = b""
    while True:
        line, at = _line(octets, at)
        found = _CHUNK_LINE.fullmatch(line)
        if found is None:
            raise _BadError
        size = int(found[1], 16)
        if size >= 1 << 64:
            raise _BadError
        if size == 0:
            _, at = _fields(octets, at)
            return body, at
        if at + size + 2 > len(octets):
            left = octets[at + size :]
            if left and not _LINE_END.startswith(left):
                raise _BadError
            raise _MoreError
        if octets[at + size : at + size + 2] != _LINE_END:
            raise _BadError
        body += octets[at : at + size]
        at += size + 2
