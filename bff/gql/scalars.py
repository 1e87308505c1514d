"""Scalars that GraphQL lacks: 64-bit integers, bytes, times, masks, JSON.

Values inside are those of a ProtoJSON tree: 64-bit integers and bytes are text, times RFC 3339.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLError,
    GraphQLFloat,
    GraphQLInt,
    GraphQLScalarType,
    GraphQLString,
)

from bff.core.exchange import Json
from bff.core.schema import Kind

__all__ = [
    "BYTES",
    "DATE_TIME",
    "DURATION",
    "FIELD_MASK",
    "INT64",
    "JSON",
    "SCALAR_OF_KIND",
    "UINT32",
    "UINT64",
    "WELL_KNOWN",
    "Convert",
    "finite",
]

# From a tree's value to what the GraphQL type prints; raises GraphQLError.
Convert = Callable[[Json], Json]

_INTEGER = re.compile(r"-?[0-9]{1,20}")
# RFC 3339; years 0001 to 9999 as protobuf has them, up to nine digits of a second.
_DATE_TIME = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DURATION = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?s")


def _refuse(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_USER_INPUT"})


def _ranged(name: str, low: int, high: int, *, as_text: bool) -> Callable[[Any], Json]:
    def parse(value: Any) -> Json:
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _refuse(f"{name} takes a whole number from {low} to {high}.")
        return str(value) if as_text else value

    return parse


def _matched(name: str, pattern: re.Pattern[str], example: str) -> Callable[[Any], Json]:
    def parse(value: Any) -> Json:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _refuse(f"{name} takes text such as {example}.")
        return value

    return parse


def _parse_bytes(value: Any) -> Json:
    """Both alphabets, padded or not, to padded standard base64."""
    if not isinstance(value, str):
        raise _refuse("Bytes takes base64 text.")
    text = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise _refuse("Bytes takes base64 text.") from error
    return base64.b64encode(raw).decode("ascii")


def _parse_mask(value: Any) -> Json:
    if not isinstance(value, str):
        raise _refuse("FieldMask takes text such as name,address.city.")
    return value


INT64 = GraphQLScalarType(
    "Int64",
    description="A 64-bit integer as text, so that it stays exact; taken as a number too.",
    parse_value=_ranged("Int64", -(2**63), 2**63 - 1, as_text=True),
)
UINT64 = GraphQLScalarType(
    "UInt64",
    description="A 64-bit integer without sign, as text; taken as a number too.",
    parse_value=_ranged("UInt64", 0, 2**64 - 1, as_text=True),
)
UINT32 = GraphQLScalarType(
    "UInt32",
    description="A 32-bit integer without sign.",
    parse_value=_ranged("UInt32", 0, 2**32 - 1, as_text=False),
)
BYTES = GraphQLScalarType("Bytes", description="Octets in base64.", parse_value=_parse_bytes)
DATE_TIME = GraphQLScalarType(
    "DateTime",
    description="A time in RFC 3339, such as 2026-01-02T03:04:05.678Z.",
    parse_value=_matched("DateTime", _DATE_TIME, "2026-01-02T03:04:05Z"),
)
DURATION = GraphQLScalarType(
    "Duration",
    description="Seconds with the unit, such as 1.5s.",
    parse_value=_matched("Duration", _DURATION, "1.5s"),
)
FIELD_MASK = GraphQLScalarType(
    "FieldMask",
    description="Names of fields, separated by commas.",
    parse_value=_parse_mask,
)
JSON = GraphQLScalarType("JSON", description="Any JSON value.")

SCALAR_OF_KIND: dict[Kind, GraphQLScalarType] = {
    "double": GraphQLFloat,
    "float": GraphQLFloat,
    "int32": GraphQLInt,
    "sint32": GraphQLInt,
    "sfixed32": GraphQLInt,
    "uint32": UINT32,
    "fixed32": UINT32,
    "int64": INT64,
    "sint64": INT64,
    "sfixed64": INT64,
    "uint64": UINT64,
    "fixed64": UINT64,
    "bool": GraphQLBoolean,
    "string": GraphQLString,
    "bytes": BYTES,
}


def finite(value: Json) -> Json:
    """A number as it is; NaN and infinities, which ProtoJSON writes as text, are an error. Raises GraphQLError."""
    if isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)):
        raise GraphQLError(
            "The number cannot be written in JSON.", extensions={"code": "UNREPRESENTABLE"}
        )
    return value


# Messages that ProtoJSON writes as something other than an object.
WELL_KNOWN: dict[str, tuple[GraphQLScalarType, Convert | None]] = {
    "google.protobuf.Timestamp": (DATE_TIME, None),
    "google.protobuf.Duration": (DURATION, None),
    "google.protobuf.FieldMask": (FIELD_MASK, None),
    "google.protobuf.Struct": (JSON, None),
    "google.protobuf.Value": (JSON, None),
    "google.protobuf.ListValue": (JSON, None),
    "google.protobuf.Any": (JSON, None),
    "google.protobuf.StringValue": (GraphQLString, None),
    "google.protobuf.BytesValue": (BYTES, None),
    "google.protobuf.BoolValue": (GraphQLBoolean, None),
    "google.protobuf.DoubleValue": (GraphQLFloat, finite),
    "google.protobuf.FloatValue": (GraphQLFloat, finite),
    "google.protobuf.Int32Value": (GraphQLInt, None),
    "google.protobuf.UInt32Value": (UINT32, None),
    "google.protobuf.Int64Value": (INT64, None),
    "google.protobuf.UInt64Value": (UINT64, None),
}
