"""What an expression's value can be: shapes over the JSON trees of messages, and their names in sentences.

A shape says how a value looks in a ProtoJSON tree, so an int64 is text here. `origin` is the path
of JSON names from the root name by which the value was reached; it is how an expression knows what
it reads.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from bff.core.exchange import Json
from bff.core.expressions import Origin
from bff.core.schema import Field, Kind, MessageType

__all__ = [
    "ANY",
    "BOOLEAN",
    "NULL",
    "NUMBER",
    "STRING",
    "Shape",
    "ShapeKind",
    "default_of",
    "item_of",
    "object_of",
    "shape_of_field",
    "shape_of_message",
    "shape_of_value",
    "with_origin",
]

ShapeKind = Literal[
    "any", "null", "string", "int64", "enum", "number", "boolean", "list", "map", "message", "object"
]  # fmt: skip


class Shape(Struct, frozen=True, kw_only=True):
    """A value's kind; `item` of lists and maps, `fields` of objects, `message` and `names` as the kind says."""

    kind: ShapeKind
    item: "Shape | None" = None
    message: MessageType | None = None
    fields: Mapping[str, "Shape"] | None = None
    # An enum's names.
    names: tuple[str, ...] = ()
    # A number without a fraction.
    integer: bool = False
    origin: Origin = ()

    @property
    def words(self) -> str:
        """The kind in a sentence: `a string`, `a list`, `a sample.orders.v1.Order`."""
        if self.message is not None:
            return f"a {self.message.full_name}"
        if self.integer:
            return "an integer"
        return _WORDS[self.kind]


ANY = Shape(kind="any")
NULL = Shape(kind="null")
STRING = Shape(kind="string")
NUMBER = Shape(kind="number")
BOOLEAN = Shape(kind="boolean")

_INTEGER = Shape(kind="number", integer=True)
_INT64 = Shape(kind="int64")

_WORDS: dict[str, str] = {
    "any": "a value of any kind",
    "null": "null",
    "string": "a string",
    "int64": "a 64-bit integer",
    "enum": "an enum",
    "number": "a number",
    "boolean": "a boolean",
    "list": "a list",
    "map": "a map",
    "message": "a message",
    "object": "an object",
}

_SCALARS: dict[Kind, Shape] = {
    "double": NUMBER,
    "float": NUMBER,
    "int32": _INTEGER,
    "sint32": _INTEGER,
    "sfixed32": _INTEGER,
    "uint32": _INTEGER,
    "fixed32": _INTEGER,
    "int64": _INT64,
    "sint64": _INT64,
    "sfixed64": _INT64,
    "uint64": _INT64,
    "fixed64": _INT64,
    "bool": BOOLEAN,
    "string": STRING,
    "bytes": STRING,
}

_DEFAULTS: dict[str, Json] = {"string": "", "int64": "0", "number": 0, "boolean": False}

# Messages that ProtoJSON writes as something other than an object (protobuf.dev/programming-guides/json).
_WELL_KNOWN: dict[str, Shape] = {
    "google.protobuf.Timestamp": STRING,
    "google.protobuf.Duration": STRING,
    "google.protobuf.FieldMask": STRING,
    "google.protobuf.StringValue": STRING,
    "google.protobuf.BytesValue": STRING,
    "google.protobuf.BoolValue": BOOLEAN,
    "google.protobuf.DoubleValue": NUMBER,
    "google.protobuf.FloatValue": NUMBER,
    "google.protobuf.Int32Value": _INTEGER,
    "google.protobuf.UInt32Value": _INTEGER,
    "google.protobuf.Int64Value": _INT64,
    "google.protobuf.UInt64Value": _INT64,
    "google.protobuf.Struct": ANY,
    "google.protobuf.Value": ANY,
    "google.protobuf.ListValue": Shape(kind="list", item=ANY),
    "google.protobuf.Any": ANY,
}


def with_origin(shape: Shape, origin: Origin) -> Shape:
    """The same shape, reached by another path; a list's items are reached by the list's own."""
    return Shape(
        kind=shape.kind,
        item=with_origin(shape.item, origin) if shape.item else None,
        message=shape.message,
        fields=shape.fields,
        names=shape.names,
        integer=shape.integer,
        origin=origin,
    )


def shape_of_message(message: MessageType) -> Shape:
    """How a message looks in a tree; well-known types have forms of their own."""
    known = _WELL_KNOWN.get(message.full_name)
    return Shape(kind="message", message=message) if known is None else known


def _shape_of_single(field: Field) -> Shape:
    if field.message is not None:
        return shape_of_message(field.message)
    if field.enum is not None:
        if field.enum.full_name == "google.protobuf.NullValue":
            return NULL
        return Shape(kind="enum", names=tuple(value.name for value in field.enum.values))
    return _SCALARS[field.kind]


def shape_of_field(field: Field) -> Shape:
    """How a field looks in a tree, lists and maps included."""
    single = _shape_of_single(field)
    if field.is_map:
        return Shape(kind="map", item=single)
    return Shape(kind="list", item=single) if field.repeated else single


def default_of(field: Field) -> Json:
    """What an unset single field reads as: its default, or None where presence is kept.

    Lists and maps read as empty ones, made anew for each reader; they are not answered here.
    """
    if field.has_presence or field.message is not None:
        return None
    if field.enum is not None:
        zero = next((value for value in field.enum.values if value.number == 0), None)
        return (zero or field.enum.values[0]).name
    return _DEFAULTS[_SCALARS[field.kind].kind]


def item_of(shape: Shape) -> Shape:
    """The shape of a list's items or a map's values; what may be a list has items from its own path."""
    if shape.item is None and shape.origin:
        return with_origin(ANY, shape.origin)
    return shape.item or ANY


def object_of(fields: Mapping[str, Shape]) -> Shape:
    """An object with exactly these keys."""
    return Shape(kind="object", fields=fields)


def shape_of_value(value: Json) -> Shape:
    """The shape of a literal."""
    match value:
        case None:
            return NULL
        case bool():
            return BOOLEAN
        case str():
            return STRING
        case int():
            return _INTEGER
        case float():
            return NUMBER
        case list():
            return Shape(kind="list", item=ANY)
        case _:
            return ANY
