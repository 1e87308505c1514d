"""Details of an error as octets, for protocols that carry them so: google.protobuf.Any and google.rpc.Status."""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final

from bff.core.errors import ClientError
from bff.core.exchange import Json
from bff.transcoding.json_codec import Codec
from bff.transcoding.scalars import delimited, tag, varint

__all__ = ["PackedDetail", "pack_details", "status_octets"]

# A type URL, and the octets of a message of that type.
PackedDetail = tuple[str, bytes]

_ANY: Final = "google.protobuf.Any"


def pack_details(details: Sequence[Json], codec: Codec) -> list[PackedDetail]:
    """Details as ProtoJSON writes them (or `@type` with base64 under `value`) as octets.

    One that has no octets is left out.
    """
    read, any_class = codec.tree_reader(_ANY), codec.message_class(_ANY)
    packed: list[PackedDetail] = []
    for detail in details:
        try:
            found: Any = any_class.from_binary(read(detail))
            packed.append((found.type_url, found.value))
        except ClientError:
            # A type that we have not; its octets came through as they were.
            try:
                packed.append((detail["@type"], b64decode(detail["value"], validate=True)))
            except (KeyError, TypeError, binascii.Error):
                continue
    return packed


def status_octets(code: int, message: str, details: Sequence[PackedDetail]) -> bytes:
    """A google.rpc.Status."""
    parts = [tag(1, 0) + varint(code), tag(2, 2) + delimited(message.encode("utf-8", "replace"))]
    for url, octets in details:
        packed = tag(1, 2) + delimited(url.encode()) + tag(2, 2) + delimited(octets)
        parts.append(tag(3, 2) + delimited(packed))
    return b"".join(parts)
