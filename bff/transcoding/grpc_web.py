"""gRPC-Web as octets: its media types, the trailer frame, and the text form. Pure.

[PROTOCOL-WEB] github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md; frames of messages: `message_frames`.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from bff.core.errors import ClientError

__all__ = ["WebForm", "text_octets", "trailer_frame", "web_form"]

_TRAILERS: Final = 0x80
# Each part of a text is padded by itself, so padding may stand within it.
_SEGMENT: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_MEDIA_TYPE: Final = re.compile(rb"application/grpc-web(-text)?(?:\+(proto|json))?")
# gRPC over HTTP/2, "Percent-Encoded": all of printable ASCII but the percent sign stays.
_PLAIN: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class WebForm(Struct, frozen=True):
    """What a media type says: messages as proto or JSON, octets or base64."""

    is_json: bool
    is_text: bool

    @property
    def content_type(self) -> bytes:
        """The media type in full."""
        base = b"application/grpc-web-text" if self.is_text else b"application/grpc-web"
        return base + (b"+json" if self.is_json else b"+proto")

    def written(self, octets: bytes) -> bytes:
        """Octets as they are sent: a part of a text is complete by itself."""
        return b64encode(octets) if self.is_text else octets


def web_form(content_type: bytes | None) -> WebForm | None:
    """The form of a media type of gRPC-Web; None for any other."""
    bare = (content_type or b"").lower().partition(b";")[0].strip(b" \t")
    found = _MEDIA_TYPE.fullmatch(bare)
    return None if found is None else WebForm(found[2] == b"json", found[1] is not None)


def text_octets(text: bytes) -> bytes:
    """The octets of a text form's body. Raises ClientError INVALID_MESSAGE."""
    segments = _SEGMENT.findall(text)
    try:
        octets = b"".join(b64decode(each, validate=True) for each in segments)
    except binascii.Error as error:
        raise ClientError("INVALID_MESSAGE", detail="the body is not base64") from error
    if sum(map(len, segments)) != len(text):
        raise ClientError("INVALID_MESSAGE", detail="the body is not base64")
    return octets


def trailer_frame(
    code: int,
    message: str = "",
    *,
    details: bytes = b"",
    fields: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """The last frame: gRPC's status and metadata, as header lines of HTTP/1.1.

    `details` are the octets of a google.rpc.Status.
    """
    lines = [b"grpc-status: %d\r\n" % code]
    if message:
        text = quote(message.encode("utf-8", "replace"), safe=_PLAIN)
        lines.append(b"grpc-message: %s\r\n" % text.encode())
    if details:
        lines.append(b"grpc-status-details-bin: %s\r\n" % b64encode(details).rstrip(b"="))
    lines += [b"%s: %s\r\n" % field for field in fields]
    block = b"".join(lines)
    return bytes((_TRAILERS,)) + len(block).to_bytes(4, "big") + block
