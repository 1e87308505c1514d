"""Message types -> JSON Schema 2020-12, as ProtoJSON writes them. Each message is written once and referred to.

A message has two faces: what a client sends (`in`: required fields, no output-only ones) and what
it gets (`out`: anything may be absent, no input-only ones). Their components have different names,
and so have those of routes whose switches write the same message in another way.
"""

from collections.abc import Collection
from typing import Final, Literal

from msgspec import Struct

from bff.core.exchange import Json
from bff.core.schema import EnumType, Field, Kind, MessageType
from bff.transcoding.enum_names import short_names
from bff.transcoding.switches import Switches

__all__ = ["NULL_VALUE", "WRAPPED", "JsonSchemas", "Side", "Style"]

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

WRAPPED: Final[dict[str, Kind]] = {
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
        for name, kind in WRAPPED.items()
    },
}
NULL_VALUE: Final = "google.protobuf.NullValue"
_PREFIX: Final = "#/components/schemas/"
_WIDE: Final = frozenset(
    kind for kind, schema in _SCALARS.items() if "64" in schema.get("format", "")
)


class Style(Struct, frozen=True):
    """How a route writes messages, and whether it takes keys that a message has not (`is_open`)."""

    int64: Literal["string", "number"] = "string"
    enums: Literal["name", "number", "no_prefix"] = "name"
    names: Literal["json", "proto"] = "json"
    is_open: bool = False

    @classmethod
    def of(cls, switches: Switches) -> "Style":
        """The style that these switches make."""
        return cls(
            switches.int64, switches.enums, switches.names, switches.json_unknown == "ignore"
        )

    def key(self, field: Field) -> str:
        """The field's name as it is written."""
        return field.name if self.names == "proto" else field.json_name

    def enum_values(self, enum: EnumType) -> dict[str, Json]:
        """Each value's name, and the value as it is written."""
        if self.enums == "number":
            return {value.name: value.number for value in enum.values}
        if self.enums == "no_prefix":
            return {**short_names(enum)}
        return {value.name: value.name for value in enum.values}

    def suffix(self, side: Side) -> str:
        """What tells a component from that of the usual style; "-" stands in no proto name."""
        parts = [
            "-int64-number" if self.int64 == "number" else "",
            "" if self.enums == "name" else f"-enums-{self.enums}",
            "-names-proto" if self.names == "proto" else "",
            "-open" if self.is_open and side == "in" else "",
        ]
        return "".join(parts)


class JsonSchemas:
    """Schemas of one style; `ref` adds what it refers to to `components`, which styles may share.

    An object is closed (`additionalProperties: false`) where nothing else is sent or taken.
    """

    def __init__(
        self, style: Style | None = None, components: dict[str, Json] | None = None
    ) -> None:
        self.style = style or Style()
        self.components: dict[str, Json] = {} if components is None else components

    def ref(self, message: MessageType, side: Side) -> Json:
        """A message's schema: inline for those with a JSON form of their own, else a reference."""
        known = _WELL_KNOWN.get(message.full_name)
        if known is not None:
            kind = WRAPPED.get(message.full_name.removeprefix("google.protobuf."))
            return {**known, **self._wide(kind, "null")} if kind else dict(known)
        face = "-Input" if side == "in" else ""
        name = f"{message.full_name}{_nth(message.variant)}{face}{self.style.suffix(side)}"
        if name not in self.components:
            # Named before it is filled: a message may hold itself.
            self.components[name] = {}
            self.components[name].update(self.body(message, side))
        return {"$ref": f"{_PREFIX}{name}"}

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
            schema["properties"] = {self.style.key(f): self.field(f, side) for f in fields}
        required = [self.style.key(field) for field in fields if field.required]
        if required and side == "in" and not partial:
            schema["required"] = required
        if side == "out" or not self.style.is_open:
            schema["additionalProperties"] = False
        choices = [
            _at_most_one(name, [self.style.key(m) for m in members if m.name not in left_out])
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
        return {**_SCALARS[field.kind], **self._wide(field.kind)}

    def _wide(self, kind: Kind, *others: str) -> dict[str, Json]:
        """The type of a 64-bit integer that is written as a number where digits are not lost."""
        if self.style.int64 == "string" or kind not in _WIDE:
            return {}
        return {"type": ["integer", "string", *others]}

    def enum(self, enum: EnumType) -> Json:
        """An enum inline: the values as they are written, with what is said of each."""
        shown = self.style.enum_values(enum)
        schema: Json = {
            "type": "integer" if self.style.enums == "number" else "string",
            # Aliases share a number.
            "enum": list(dict.fromkeys(shown.values())),
        }
        told = [f"- `{shown[each.name]}`: {each.comment}" for each in enum.values if each.comment]
        lines = [*([enum.comment] if enum.comment else []), *told]
        if lines:
            schema["description"] = "\n".join(lines)
        return schema

    def _enum(self, enum: EnumType) -> Json:
        if enum.full_name == NULL_VALUE:
            return {"type": "null"}
        suffix = Style(enums=self.style.enums).suffix("out")
        name = f"{enum.full_name}{_nth(enum.variant)}{suffix}"
        if name not in self.components:
            self.components[name] = self.enum(enum)
        return {"$ref": f"{_PREFIX}{name}"}


def _nth(variant: int) -> str:
    return "" if variant == 1 else f"-{variant}"


def _at_most_one(oneof: str, members: list[str]) -> Json:
    alone = [{"required": [name]} for name in members]
    return {
        "description": f"{oneof}: at most one of {', '.join(members) or 'no field'}.",
        "oneOf": [*alone, {"not": {"anyOf": alone}}] if alone else [{}],
    }
