"""Frames around messages, as gRPC-Web and Connect's streams have them; their payloads plain or as gzip. Pure.

One octet of flags, four of length, the payload (gRPC over HTTP/2, "Length-Prefixed-Message"; Connect,
"Enveloped-Message"). Compression is of each message by itself: a header field names the coding, a flag
says that the message has it.
"""

import gzip
import zlib
from typing import Final

from bff.core.errors import ClientError

__all__ = ["GZIP", "inflate", "is_gzip_taken", "message_frame", "read_frame"]

GZIP: Final = b"gzip"
_HEAD_BYTES: Final = 5
_COMPRESSED: Final = 0x01
_PLAIN: Final = frozenset({b"", b"identity"})
# As for coded bodies: what a message may grow to, of the octets that came; and what any may.
_MOST_GROWTH: Final = 100
_ALWAYS_BYTES: Final = 64 * 1024
# Smaller ones hardly shrink. A larger one would hold up the loop: 256 KiB take 3 to 6 ms, all else in a
# turn far less.
_LEAST_ZIPPED_BYTES: Final = 1024
_MOST_ZIPPED_BYTES: Final = 256 * 1024


def read_frame(body: bytes, *, coding: bytes, accept: bytes, cap_bytes: int) -> bytes:
    """The one message of a body; `coding` is what the request's header field names, `accept` that of replies.

    Raises ClientError INVALID_MESSAGE for anything else, UNIMPLEMENTED with the field `accept` for a
    coding that is not known, BODY_TOO_LARGE for a message that grows beyond the cap or to more than
    100 times what came.
    """
    if len(body) < _HEAD_BYTES:
        raise _broken("the body is shorter than a frame's head")
    size = int.from_bytes(body[1:_HEAD_BYTES], "big")
    if body[0] & ~_COMPRESSED or len(body) != _HEAD_BYTES + size:
        raise _broken("the body is not one frame with a message")
    payload = body[_HEAD_BYTES:]
    if not body[0]:
        return payload
    name = coding.strip(b" \t").lower()
    if name in _PLAIN:
        raise _broken("the message is compressed, and no header field says how")
    if name != GZIP:
        raise ClientError(
            "UNIMPLEMENTED",
            "Messages are taken plain or as gzip.",
            headers=((accept, GZIP),),
        )
    return inflate(payload, cap_bytes)


def inflate(payload: bytes, cap_bytes: int) -> bytes:
    """What one member of gzip holds; nothing is made beyond the bound. Raises as `read_frame`."""
    if not payload:
        return b""
    most = min(cap_bytes, max(_ALWAYS_BYTES, len(payload) * _MOST_GROWTH))
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        message = member.decompress(payload, most + 1)
    except zlib.error as error:
        raise _broken(str(error)) from error
    if len(message) > most:
        raise ClientError("BODY_TOO_LARGE", metadata={"limit": str(most)})
    if not member.eof or member.unused_data:
        raise _broken("the message is not one whole member of gzip")
    return message


def message_frame(message: bytes, *, is_zipped: bool = False) -> bytes:
    """A frame with a message; `is_zipped`: the client reads gzip, which is used where it is worth it."""
    flags = 0
    if is_zipped and _LEAST_ZIPPED_BYTES <= len(message) <= _MOST_ZIPPED_BYTES:
        zipped = gzip.compress(message, 1, mtime=0)
        if len(zipped) < len(message):
            message, flags = zipped, _COMPRESSED
    return bytes((flags,)) + len(message).to_bytes(4, "big") + message


def is_gzip_taken(accept: bytes | None) -> bool:
    """Whether a field that lists codings lists gzip."""
    return accept is not None and GZIP in [each.strip() for each in accept.lower().split(b",")]


def _broken(why: str) -> ClientError:
    return ClientError("INVALID_MESSAGE", detail=why)
