"""From an object of a ProtoJSON tree to the value of one field: resolvers, prepared at load.

What is absent is the default, or null where presence is kept.
"""

from collections.abc import Callable
from typing import Any

from graphql import GraphQLError

from bff.core.exchange import Json
from bff.core.schema import LONG_KINDS, EnumType, Field
from bff.gql.naming import is_unspecified
from bff.gql.scalars import Convert

__all__ = [
    "Resolver",
    "empty_of",
    "enum_reader",
    "field_reader",
    "list_reader",
    "map_reader",
    "may_be_null",
    "present",
]

Resolver = Callable[..., Any]


def may_be_null(field: Field) -> bool:
    """Open enums, whose unknown values read as null, and JSON, which may be null itself."""
    if field.enum is not None:
        return not field.enum.closed
    return field.message is not None and field.message.full_name == "google.protobuf.Value"


def empty_of(field: Field, *, whole: bool) -> Json:
    """What is read where the tree leaves the field out; `whole` lists and maps are shown as they are."""
    if whole:
        return {} if field.is_map else []
    if field.has_presence or field.message is not None:
        return None
    if field.enum is not None:
        return field.enum.values[0].name
    if field.kind in {"string", "bytes"}:
        return ""
    if field.kind == "bool":
        return False
    return "0" if field.kind in LONG_KINDS else 0


def field_reader(field: Field, convert: Convert | None, default: Json) -> Resolver:
    """Of a single value, or of anything shown as it stands in the tree."""
    name = field.json_name
    if convert is None:
        return lambda source, _info: source.get(name, default)

    def read(source: dict[str, Json], _info: Any) -> Json:
        value = source.get(name, default)
        return None if value is None else convert(value)

    return read


def list_reader(field: Field, convert: Convert | None) -> Resolver:
    """Of a repeated field; an item that cannot be converted fails alone."""
    name = field.json_name
    if convert is None:
        return lambda source, _info: source.get(name) or []
    return lambda source, _info: [_or_error(convert, item) for item in source.get(name) or ()]


def _or_error(convert: Convert, value: Json) -> Json:
    # graphql-core fails the item whose value is an error.
    try:
        return convert(value)
    except GraphQLError as error:
        return error


_KEY_OF_KIND: dict[str, Callable[[str], Json]] = {
    "string": str,
    "bool": "true".__eq__,
    **dict.fromkeys(("int32", "sint32", "sfixed32", "uint32", "fixed32"), int),
}


def map_reader(field: Field) -> Resolver:
    """Of a map: its entries as pairs, sorted by key."""
    name, kind = field.json_name, field.map_key
    assert kind is not None
    key_of = _KEY_OF_KIND.get(kind, str)
    # 64-bit keys are text that must be sorted as numbers.
    rank: Callable[[tuple[Json, Json]], Json] = (
        (lambda pair: int(pair[0])) if kind not in _KEY_OF_KIND else (lambda pair: pair[0])
    )

    def read(source: dict[str, Json], _info: Any) -> Json:
        entries = source.get(name)
        if not entries:
            return []
        return sorted(((key_of(key), value) for key, value in entries.items()), key=rank)

    return read


def present(value: Json) -> Json:
    """A message without fields says only that it is there."""
    return value is not None


def enum_reader(enum: EnumType) -> Convert:
    """Names as they are, the value for "not said" as null; others raise GraphQLError."""
    unspecified = {value.name for value in enum.values if is_unspecified(value.name, value.number)}
    known = {value.name: value.name for value in enum.values if value.name not in unspecified}

    def read(value: Json) -> Json:
        name = known.get(value)
        if name is None and value not in unspecified:
            raise GraphQLError(
                "The service gave an enum value not known here.",
                extensions={"code": "UNKNOWN_ENUM_VALUE"},
            )
        return name

    return read
