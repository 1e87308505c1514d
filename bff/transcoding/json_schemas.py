"""Message types -> JSON Schema 2020-12, as ProtoJSON writes them. Each message is written once and referred to.

A message has two faces: what a client sends (`in`: required fields, no output-only ones) and what
it gets (`out`: anything may be absent, no input-only ones). Their components have different names.
"""

from collections.abc import Collection
from typing import Final, Literal

from bff.core.exchange import Json
from bff.core.schema import EnumType, Field, Kind, MessageType

__all__ = ["JsonSchemas", "Side"]

Side = Literal["in", "out"]

_SCALARS: Final[dict[Kind, Json]] = {
    "double": {"type": "number", "format": "double"},
    "float": {"type": "number", "format": "float"},
    # 64-bit numbers are texts: a JSON number loses digits past 2^53 (ProtoJSON).
    "int64": {"type": "string", "format": "int64"},
    "sint64": {"type": "string", "format": "int64"},
    "sfixed64": {"type": "string", "format": "int64"},
    "uint64": {"type": "string", "format": "uint64"},
    "fixed64": {"type": "string", "format": "uint64"},
    "int32": {"type": "integer", "format": "int32"},
    "sint32": {"type": "integer", "format": "int32"},
    "sfixed32": {"type": "integer", "format": "int32"},
    "uint32": {"type": "integer", "format": "uint32", "minimum": 0},
    "fixed32": {"type": "integer", "format": "uint32", "minimum": 0},
    "bool": {"type": "boolean"},
    "string": {"type": "string"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
}

_WRAPPED: Final[dict[str, Kind]] = {
    "DoubleValue": "double",
    "FloatValue": "float",
    "Int64Value": "int64",
    "UInt64Value": "uint64",
    "Int32Value": "int32",
    "UInt32Value": "uint32",
    "BoolValue": "bool",
    "StringValue": "string",
    "BytesValue": "bytes",
}

# Messages with a JSON form of their own (ProtoJSON), by full name.
_WELL_KNOWN: Final[dict[str, Json]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$"},
    "google.protobuf.FieldMask": {
        "type": "string",
        "description": "Field paths in lowerCamelCase, separated by commas.",
    },
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    },
    **{
        f"google.protobuf.{name}": {**_SCALARS[kind], "type": [_SCALARS[kind]["type"], "null"]}
        for name, kind in _WRAPPED.items()
    },
}
_NULL_VALUE: Final = "google.protobuf.NullValue"


class JsonSchemas:
    """Schemas made so far, by component name; `ref` adds what it refers to.

    `closed` adds `additionalProperties: false`: right where unknown JSON fields are refused.
    """

    def __init__(self, *, prefix: str = "#/components/schemas/", closed: bool = True) -> None:
        self.components: dict[str, Json] = {}
        self._prefix = prefix
        self._closed = closed

    def ref(self, message: MessageType, side: Side) -> Json:
        """A message's schema: inline for those with a JSON form of their own, else a reference."""
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        # "-" stands in no proto name, so this name is never another message's.
        name = f"{message.full_name}-Input" if side == "in" else message.full_name
        if name not in self.components:
            # Named before it is filled: a message may hold itself.
            self.components[name] = {}
            self.components[name].update(self.body(message, side))
        return {"$ref": f"{self._prefix}{name}"}

    def body(
        self,
        message: MessageType,
        side: Side,
        *,
        without: Collection[str] = (),
        partial: bool = False,
    ) -> Json:
        """The object itself, without the fields named (proto names); `partial` requires none."""
        hidden = [f for f in message.fields if (f.output_only if side == "in" else f.input_only)]
        left_out = {field.name for field in hidden} | set(without)
        fields = [field for field in message.fields if field.name not in left_out]
        schema: Json = {"type": "object"}
        if message.comment:
            schema["description"] = message.comment
        if fields:
            schema["properties"] = {field.json_name: self.field(field, side) for field in fields}
        required = [field.json_name for field in fields if field.required]
        if required and side == "in" and not partial:
            schema["required"] = required
        if self._closed:
            schema["additionalProperties"] = False
        choices = [
            _at_most_one(name, [m.json_name for m in members if m.name not in left_out])
            for name, members in message.oneofs.items()
        ]
        if choices:
            schema["allOf"] = choices
        return schema

    def field(self, field: Field, side: Side) -> Json:
        """One field's schema: the value, as list or map where it is one, with its comment."""
        schema = self.value(field, side)
        if field.repeated:
            schema = {"type": "array", "items": schema}
        elif field.is_map:
            schema = {"type": "object", "additionalProperties": schema}
        if field.comment:
            schema["description"] = field.comment
        if field.deprecated:
            schema["deprecated"] = True
        return schema

    def value(self, field: Field, side: Side) -> Json:
        """A single value of the field: of the list or map, where it is one."""
        if field.message is not None:
            return self.ref(field.message, side)
        if field.enum is not None:
            return self._enum(field.enum)
        return dict(_SCALARS[field.kind])

    def _enum(self, enum: EnumType) -> Json:
        if enum.full_name == _NULL_VALUE:
            return {"type": "null"}
        if enum.full_name not in self.components:
            schema: Json = {"type": "string", "enum": [value.name for value in enum.values]}
            if enum.comment:
                schema["description"] = enum.comment
            self.components[enum.full_name] = schema
        return {"$ref": f"{self._prefix}{enum.full_name}"}


def _at_most_one(oneof: str, members: list[str]) -> Json:
    alone = [{"required": [name]} for name in members]
    return {
        "description": f"{oneof}: at most one of {', '.join(members) or 'no field'}.",
        "oneOf": [*alone, {"not": {"anyOf": alone}}] if alone else [{}],
    }
