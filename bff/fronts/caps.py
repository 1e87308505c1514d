"""Sizes that bound one request at the door."""

from msgspec import Struct

__all__ = ["DoorCaps"]


class DoorCaps(Struct, frozen=True, kw_only=True):
    """Sizes that bound one request, in octets and counts; `inflight` bounds one worker."""

    path_bytes: int = 8 * 1024
    query_bytes: int = 8 * 1024
    headers_bytes: int = 32 * 1024
    header_fields: int = 100
    header_value_bytes: int = 8 * 1024
    inflight: int = 1024
