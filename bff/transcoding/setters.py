"""Setters: a text becomes the wire octets of one field, at any depth of the request message.

A setter is made when a route is compiled; using it costs two calls. Parts of several setters are
put together by `assemble`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, structs

from bff.core.errors import ClientError
from bff.core.schema import Field
from bff.transcoding.json_codec import SHORT, Codec
from bff.transcoding.lenient import lenient_parser
from bff.transcoding.scalars import (
    SCALAR_MESSAGES,
    Parse,
    Unfit,
    delimited,
    encoder,
    parser,
    tag,
)
from bff.transcoding.switches import STRICT, Switches

__all__ = [
    "CLOSED_MESSAGES",
    "JSON_MESSAGES",
    "Part",
    "Setter",
    "assemble",
    "compile_setter",
    "is_leaf",
    "leads_on",
]

# Where octets belong: field numbers from the root, and the field's octets with its tag.
Part = tuple[tuple[int, ...], bytes]

# Messages that take one JSON text as a parameter; Any has too many faces for that.
JSON_MESSAGES = frozenset(f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue"))

# Messages with a JSON form of their own, in which their fields have no names.
CLOSED_MESSAGES = JSON_MESSAGES | frozenset(SCALAR_MESSAGES) | {"google.protobuf.Any"}


class Setter(Struct, frozen=True):
    """One bindable field.

    `encode` turns a text into the octets of one value (raises Unfit), `whole` puts the tag before
    them and drops a default that has no presence, `piece` does both. `parse` and `encode_value` are
    its halves, for comparing with a message. `oneofs` names each oneof that the path enters, with
    the member that it picks. For a map, `entry` takes key and text, and the others are of no use.
    `is_plain`: one value of one field in no oneof, so that only its place has to be free.
    """

    name: str
    path: tuple[int, ...]
    field: Field
    parse: Parse
    encode_value: Callable[[Any], bytes]
    encode: Callable[[str], bytes]
    whole: Callable[[bytes], bytes]
    piece: Callable[[str], bytes]
    oneofs: tuple[tuple[tuple[int, ...], str, int], ...] = ()
    entry: Callable[[str, str], tuple[bytes, bytes]] | None = None
    is_plain: bool = False


def is_leaf(field: Field) -> bool:
    """True where a text can set (one element of) this field."""
    if field.message is not None:
        name = field.message.full_name
        return name in SCALAR_MESSAGES or name in JSON_MESSAGES
    return field.kind != "group"


def leads_on(field: Field) -> bool:
    """True where a path of names can go on to a field inside this one.

    Not into a list or map, which has no one place for it, nor into a message that is one JSON value,
    nor into a group: groups of proto2 are no length-delimited messages on the wire, as `assemble` makes.
    """
    return (
        field.message is not None
        and field.kind == "message"
        and not (field.repeated or field.is_map)
        and field.message.full_name not in CLOSED_MESSAGES
    )


def _json_parser(codec: Codec, full_name: str, switches: Switches) -> Parse:
    read = codec.reader(full_name, switches)

    def parse(text: str) -> bytes:
        try:
            return read(text.encode())
        except ClientError as error:
            raise Unfit("must be JSON that fits") from error

    return parse


def compile_setter(fields: Sequence[Field], codec: Codec, switches: Switches = STRICT) -> Setter:
    """The setter of the last field, reached through the messages of the others.

    Raises ValueError if no text can set it, or names of an enum clash.
    """
    field = fields[-1]
    if not is_leaf(field):
        raise ValueError(f"{field.name} cannot be set by a text")
    parse = lenient_parser(field, switches) or parser(field)
    if parse is None and field.message is not None:
        parse = _json_parser(codec, field.message.full_name, switches)
    assert parse is not None  # every leaf is a scalar, an enum, or one of the two sets
    head, encode_value, default = encoder(field)
    path = tuple(each.number for each in fields)
    keeps_default = field.repeated or field.has_presence or field.kind == "message"
    is_text = field.kind == "string"
    encode = encode_value if is_text else _compose(encode_value, parse)
    whole = head.__add__ if keeps_default else _without_default(head, default)
    oneofs = tuple(
        (path[:depth], each.oneof, each.number)
        for depth, each in enumerate(fields)
        if each.oneof is not None
    )
    return Setter(
        ".".join(each.name for each in fields),
        path,
        field,
        parse,
        encode_value,
        encode,
        whole,
        _text_piece(head, codec.short_heads(head), keeps_default=keeps_default)
        if is_text
        else _piece(encode, head, default, keeps_default=keeps_default),
        oneofs,
        _entry(field, encode) if field.map_key is not None else None,
        not (oneofs or field.repeated or field.is_map),
    )


# Functions of their own: a setter holds of its making only what it uses, and there are many setters.


def _without_default(head: bytes, default: bytes) -> Callable[[bytes], bytes]:
    def whole(octets: bytes) -> bytes:
        return head + octets if octets != default else b""

    return whole


def _piece(
    encode: Callable[[str], bytes], head: bytes, default: bytes, *, keeps_default: bool
) -> Callable[[str], bytes]:
    def piece(text: str) -> bytes:
        octets = encode(text)
        return head + octets if keeps_default or octets != default else b""

    return piece


def _text_piece(
    head: bytes, heads: tuple[bytes, ...], *, keeps_default: bool
) -> Callable[[str], bytes]:
    def piece(text: str) -> bytes:
        # One call in place of three for the commonest kind.
        octets = text.encode()
        length = len(octets)
        if length < SHORT:
            return heads[length] + octets if octets or keeps_default else b""
        return head + delimited(octets)

    return piece


def _entry(
    field: Field, encode: Callable[[str], bytes]
) -> Callable[[str, str], tuple[bytes, bytes]]:
    """Key and text to the key's octets and the entry's, with the map's tag."""
    assert field.map_key is not None
    as_key = Field(name="key", json_name="key", number=1, kind=field.map_key)
    as_value = structs.replace(field, number=2, map_key=None)
    parse_key = parser(as_key)
    assert parse_key is not None
    key_head, encode_key, _ = encoder(as_key)
    value_head, head = encoder(as_value)[0], tag(field.number, 2)

    def entry(key: str, text: str) -> tuple[bytes, bytes]:
        key_octets = encode_key(parse_key(key))
        octets = key_head + key_octets + value_head + encode(text)
        return key_octets, head + delimited(octets)

    return entry


def _compose(encode_value: Callable[[Any], bytes], parse: Parse) -> Callable[[str], bytes]:
    def encode(text: str) -> bytes:
        return encode_value(parse(text))

    return encode


def assemble(parts: list[Part]) -> bytes:
    """Parts, sorted by path, as one message; those under one field share one inner message."""
    pieces: list[bytes] = []
    inner: list[Part] = []
    number = 0
    for path, octets in parts:
        if inner and path[0] != number:
            pieces.append(tag(number, 2) + delimited(assemble(inner)))
            inner = []
        if len(path) == 1:
            pieces.append(octets)
        else:
            number = path[0]
            inner.append((path[1:], octets))
    if inner:
        pieces.append(tag(number, 2) + delimited(assemble(inner)))
    return b"".join(pieces)
