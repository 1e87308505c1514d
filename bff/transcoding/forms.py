"""google.api.HttpBody: content that is not JSON, straight from the wire octets, and into them.

Also which fields of a message take a file.
"""

import re
from collections.abc import Callable, Collection, Iterator
from operator import eq

from bff.core.errors import UpstreamError
from bff.core.schema import Field, MessageType
from bff.core.status import Code
from bff.transcoding.scalars import delimited, tag
from bff.transcoding.setters import leads_on

__all__ = [
    "HTTP_BODY",
    "OCTETS",
    "file_fields",
    "filename_key",
    "http_body_reader",
    "http_body_wrapper",
    "is_http_body",
]

HTTP_BODY = "google.api.HttpBody"
OCTETS = "application/octet-stream"

# RFC 9110 8.3.1: type/subtype of tokens, then parameters; no control octet, so no CR or LF.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}(?:[ \t]*;[ \t]*[\x20-\x7e\t]*)?")
# A field number takes 32 bits with its wire type, a length 32: five octets each.
_VARINT_OCTETS = 10


def is_http_body(field: Field) -> bool:
    """True where (one element of) the field is a google.api.HttpBody."""
    return field.message is not None and field.message.full_name == HTTP_BODY


def file_fields(
    message: MessageType, bound: Collection[tuple[int, ...]] = ()
) -> Iterator[tuple[Field, ...]]:
    """The fields that a file of a form can go to, each behind the field that leads to it: one deep at most.

    An element of the field, where it is a list. `bound` are fields that the path sets, by numbers:
    a file never overrules it.
    """
    for field in message.fields:
        inner = field.message.fields if field.message is not None and leads_on(field) else ()
        chains = [(field,)] if _takes_file(field) else [(field, each) for each in inner]
        for chain in chains:
            numbers = tuple(each.number for each in chain)
            # One of two that lead to the same place has all numbers of the other.
            meets = any(all(map(eq, numbers, other)) for other in bound)
            if _takes_file(chain[-1]) and not meets:
                yield chain


def filename_key(message: MessageType) -> str:
    """The name of the text field that is named for a file's name, or nothing."""
    for name in ("filename", "file_name"):
        field = message.by_name.get(name)
        if field is not None and field.kind == "string" and not (field.repeated or field.is_map):
            return name
    return ""


def _takes_file(field: Field) -> bool:
    return not field.is_map and (field.kind == "bytes" or is_http_body(field))


def http_body_reader(field_number: int = 0) -> Callable[[bytes], tuple[str, bytes]]:
    """A reader of HttpBody wire octets, or of a message's field that holds one: media type to send, and content.

    An empty or impossible content_type reads as `application/octet-stream`; `extensions` are
    skipped. The result raises UpstreamError UPSTREAM_MESSAGE for octets that are no such message.
    """
    if not field_number:
        return _read

    def read_field(wire: bytes) -> tuple[str, bytes]:
        # A message that comes in parts is all of them behind each other.
        return _read(
            b"".join([octets for number, octets in _texts(wire) if number == field_number])
        )

    return read_field


def http_body_wrapper(field_number: int = 0) -> Callable[[bytes, bytes], bytes]:
    """Makes wire octets of a media type and content: of an HttpBody, or of the field that holds one.

    Pieces of one content may be put behind each other only in messages of their own: octets of one
    field given twice would replace each other.
    """
    type_head, data_head = tag(1, 2), tag(2, 2)
    field_head = tag(field_number, 2) if field_number else b""

    def wrap(content_type: bytes, content: bytes) -> bytes:
        octets = data_head + delimited(content) if content else b""
        if content_type:
            octets = type_head + delimited(content_type) + octets
        return field_head + delimited(octets) if field_head else octets

    return wrap


def _read(wire: bytes) -> tuple[str, bytes]:
    content_type, content = b"", b""
    for number, octets in _texts(wire):
        if number == 1:
            content_type = octets
        elif number == 2:
            content = octets
    try:
        text = content_type.decode()
    except ValueError as error:
        raise _no_message(error) from error
    return (text if _MEDIA_TYPE.fullmatch(text) else OCTETS), content


def _texts(wire: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and octets of a message's fields that have a length. Raises UpstreamError UPSTREAM_MESSAGE."""
    at = 0
    try:
        while at < len(wire):
            key, at = _varint(wire, at)
            number, wire_type = key >> 3, key & 7
            if number == 0:
                raise ValueError("field number 0")
            if wire_type != 2:
                at = _skip(wire, at, wire_type)
                continue
            size, at = _varint(wire, at)
            if size > len(wire) - at:
                raise ValueError("cut short")
            yield number, wire[at : at + size]
            at += size
    except ValueError as error:
        raise _no_message(error) from error


def _no_message(error: ValueError) -> UpstreamError:
    return UpstreamError("UPSTREAM_MESSAGE", code=Code.INTERNAL, detail=str(error))


def _varint(wire: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, octet in enumerate(wire[at : at + _VARINT_OCTETS]):
        value |= (octet & 127) << (7 * index)
        if octet < 128:
            return value, at + index + 1
    raise ValueError("bad varint")


def _skip(wire: bytes, at: int, wire_type: int) -> int:
    if wire_type == 0:
        return _varint(wire, at)[1]
    size = {1: 8, 5: 4}.get(wire_type)
    if size is None or size > len(wire) - at:
        raise ValueError("bad wire type or cut short")
    return at + size
