"""Text of a path or query to a value, one function per kind, and values to wire octets.

Numbers follow quoted ProtoJSON, bool and enum the unquoted names. A value of a message kind with a
scalar JSON form (Timestamp, wrappers, ...) is that message's wire octets. Bodies are not read here.
"""

import base64
import binascii
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bff.core.schema import EnumType, Field

__all__ = [
    "INTEGER_RANGES",
    "JSON_NUMBER",
    "MESSAGE_WIRE",
    "SCALAR_MESSAGES",
    "WRAPPERS",
    "Encode",
    "Parse",
    "Unfit",
    "delimited",
    "encoder",
    "parser",
    "read_bytes",
    "read_duration",
    "read_field_mask",
    "read_float",
    "read_integer",
    "read_timestamp",
    "tag",
    "varint",
    "wrapper_reader",
]

# Text to value; raises Unfit with a sentence that a stranger may read.
Parse = Callable[[str], Any]
# Value to wire octets, without the field's tag but with the length where the wire type has one.
Encode = Callable[[Any], bytes]

# RFC 8259 6: what a quoted number must look like; \d would take digits of other scripts.
JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

INTEGER_RANGES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("int32", "sint32", "sfixed32"), (-(2**31), 2**31 - 1)),
    **dict.fromkeys(("uint32", "fixed32"), (0, 2**32 - 1)),
    **dict.fromkeys(("int64", "sint64", "sfixed64"), (-(2**63), 2**63 - 1)),
    **dict.fromkeys(("uint64", "fixed64"), (0, 2**64 - 1)),
}
WRAPPERS: dict[str, str] = {
    "google.protobuf.DoubleValue": "double",
    "google.protobuf.FloatValue": "float",
    "google.protobuf.Int64Value": "int64",
    "google.protobuf.UInt64Value": "uint64",
    "google.protobuf.Int32Value": "int32",
    "google.protobuf.UInt32Value": "uint32",
    "google.protobuf.BoolValue": "bool",
    "google.protobuf.StringValue": "string",
    "google.protobuf.BytesValue": "bytes",
}

_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-5][0-9])"
)
_DURATION = re.compile(r"(-?)(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,9}))?s")
_BASE64 = re.compile(r"([A-Za-z0-9+/]*)(={0,2})")
_BASE64_URL = re.compile(r"([A-Za-z0-9_-]*)(={0,2})")
# Names of fields and `*`, parted by dots.
_MASK_PATH = re.compile(r"(?:\*|[A-Za-z][A-Za-z0-9]*)(?:\.(?:\*|[A-Za-z][A-Za-z0-9]*))*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z, google/protobuf/timestamp.proto
_SECONDS = (-62_135_596_800, 253_402_300_799)
# 10,000 years, google/protobuf/duration.proto
_DURATION_SECONDS = 315_576_000_000
_ONE_OCTET = tuple(bytes((n,)) for n in range(128))


class Unfit(ValueError):
    """A text that is no value of its field; the message names neither type nor value."""


def varint(value: int) -> bytes:
    """A base-128 varint; negative numbers as their 64-bit two's complement."""
    if 0 <= value < 128:
        return _ONE_OCTET[value]
    value &= (1 << 64) - 1
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def delimited(octets: bytes) -> bytes:
    """Octets behind their length."""
    return varint(len(octets)) + octets


def tag(number: int, wire_type: int) -> bytes:
    """The tag of a field on the wire."""
    return varint(number << 3 | wire_type)


def read_integer(text: str, low: int, high: int) -> int:
    """A whole number within bounds. Plain digits are exact; a fraction or exponent goes through double.

    Raises Unfit.
    """
    if not JSON_NUMBER.fullmatch(text):
        raise Unfit("must be a whole number")
    if text.lstrip("-").isdigit():
        # No bound has more than 20 digits; int() of a longer text would only cost time.
        value = int(text) if len(text) <= 21 else high + 1
    else:
        real = float(text)
        mantissa = text.lower().partition("e")[0]
        underflow = real == 0 and mantissa.strip("-0.") != ""
        if underflow or not (real.is_integer() or real in (float("inf"), float("-inf"))):
            raise Unfit("must be a whole number")
        value = int(real) if abs(real) < 2**65 else high + 1
    if not low <= value <= high:
        raise Unfit(f"must lie in {low}..{high}")
    return value


def read_float(text: str, *, single: bool) -> float:
    """A number, or the names that ProtoJSON gives to NaN and the infinities. Raises Unfit."""
    if text in ("NaN", "Infinity", "-Infinity"):
        return float(text)
    if not JSON_NUMBER.fullmatch(text):
        raise Unfit("must be a number")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Unfit("is out of range")
    if single:
        # Rounds first, so that 3.4028235e38, as other printers write the largest float, fits.
        try:
            struct.pack("<f", value)
        except OverflowError as error:
            raise Unfit("is out of range") from error
    return value


def read_bytes(text: str) -> bytes:
    """Base64 of either alphabet (RFC 4648 4 and 5), padded rightly or not at all. Raises Unfit."""
    found = _BASE64.fullmatch(text)
    url = None if found else _BASE64_URL.fullmatch(text)
    match = found or url
    if match is None or len(match[1]) % 4 == 1 or (match[2] and len(text) % 4):
        raise Unfit("must be base64")
    try:
        return base64.b64decode(match[1] + "=" * (-len(match[1]) % 4), b"-_" if url else None)
    except binascii.Error as error:
        raise Unfit("must be base64") from error


def read_timestamp(text: str) -> tuple[int, int]:
    """Seconds since 1970 and nanoseconds of an RFC 3339 time with upper-case `T` and `Z`. Raises Unfit."""
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        raise Unfit("must be a time like 2024-01-02T03:04:05Z")
    try:
        moment = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    except ValueError as error:
        raise Unfit("must be a time that exists") from error
    since = moment - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    if not _SECONDS[0] <= seconds <= _SECONDS[1]:
        raise Unfit("must lie in the years 1 to 9999")
    return seconds, int((found[2] or "").ljust(9, "0"))


def read_duration(text: str) -> tuple[int, int]:
    """Seconds and nanoseconds, both with the sign, of a text like `-1.5s`. Raises Unfit."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise Unfit("must be a duration like 1.5s")
    sign = -1 if found[1] else 1
    seconds, nanos = int(found[2]), int((found[3] or "").ljust(9, "0"))
    # The last second counts with its fraction, as the conformance suite has it.
    if seconds > _DURATION_SECONDS:
        raise Unfit("is out of range")
    return sign * seconds, sign * nanos


def read_field_mask(text: str) -> tuple[str, ...]:
    """Paths in proto spelling of comma-separated camelCase paths. Raises Unfit."""
    if "_" in text:
        raise Unfit("must name fields in camelCase")
    if not text:
        return ()
    paths = text.split(",")
    if not all(_MASK_PATH.fullmatch(path) for path in paths):
        raise Unfit("must name fields in camelCase, with commas between them")
    return tuple("".join(f"_{c.lower()}" if c.isupper() else c for c in path) for path in paths)


def _read_bool(text: str) -> bool:
    if text == "true":
        return True
    if text == "false":
        return False
    raise Unfit("must be true or false")


def _read_string(text: str) -> str:
    return text


def _integer_reader(low: int, high: int) -> Parse:
    def read(text: str) -> int:
        # Up to nine digits fit every kind; a first zero is for the exact reading to judge.
        if len(text) < 10 and text.isascii() and text.isdigit() and text[0] != "0":
            return int(text)
        return read_integer(text, low, high)

    return read


def _enum_reader(enum: EnumType) -> Parse:
    numbers = {value.name: value.number for value in enum.values}
    known = frozenset(numbers.values())

    def read(text: str) -> int:
        number = numbers.get(text)
        if number is not None:
            return number
        try:
            number = read_integer(text, -(2**31), 2**31 - 1)
        except Unfit as error:
            raise Unfit("must be one of the names of this enum") from error
        if enum.closed and number not in known:
            raise Unfit("must be one of the names of this enum")
        return number

    return read


_READERS: dict[str, Parse] = {
    "string": _read_string,
    "bool": _read_bool,
    "bytes": read_bytes,
    "double": lambda text: read_float(text, single=False),
    "float": lambda text: read_float(text, single=True),
    **{kind: _integer_reader(*bounds) for kind, bounds in INTEGER_RANGES.items()},
}


def _two_numbers(pair: tuple[int, int]) -> bytes:
    seconds, nanos = pair
    head = b"\x08" + varint(seconds) if seconds else b""
    return head + b"\x10" + varint(nanos) if nanos else head


def wrapper_reader(kind: str, read: Parse) -> Parse:
    """A text, read by `read`, as the wire octets of the wrapper message of this kind."""
    wire_type, encode = _ENCODERS[kind]
    head, empty = tag(1, wire_type), encode(_DEFAULTS.get(kind, 0))

    def read_wrapper(text: str) -> bytes:
        octets = encode(read(text))
        return b"" if octets == empty else head + octets

    return read_wrapper


def _encode_string(value: str) -> bytes:
    octets = value.encode()
    return varint(len(octets)) + octets


def _zigzag(bits: int) -> Encode:
    def encode(value: int) -> bytes:
        return varint((value << 1) ^ (value >> (bits - 1)))

    return encode


_ENCODERS: dict[str, tuple[int, Encode]] = {
    "string": (2, _encode_string),
    "bytes": (2, delimited),
    "message": (2, delimited),
    **dict.fromkeys(("bool", "enum", "int32", "int64", "uint32", "uint64"), (0, varint)),
    "sint32": (0, _zigzag(32)),
    "sint64": (0, _zigzag(64)),
    "fixed64": (1, struct.Struct("<Q").pack),
    "sfixed64": (1, struct.Struct("<q").pack),
    "double": (1, struct.Struct("<d").pack),
    "fixed32": (5, struct.Struct("<I").pack),
    "sfixed32": (5, struct.Struct("<i").pack),
    "float": (5, struct.Struct("<f").pack),
}
_DEFAULTS: dict[str, Any] = {
    "string": "",
    "bytes": b"",
    "message": b"",
    "double": 0.0,
    "float": 0.0,
}


def _paths(paths: tuple[str, ...]) -> bytes:
    return b"".join([b"\x0a" + _encode_string(path) for path in paths])


# Messages whose JSON form is one scalar, so that a path or a query can carry them: text to wire octets.
SCALAR_MESSAGES: dict[str, Parse] = {
    "google.protobuf.Timestamp": lambda text: _two_numbers(read_timestamp(text)),
    "google.protobuf.Duration": lambda text: _two_numbers(read_duration(text)),
    "google.protobuf.FieldMask": lambda text: _paths(read_field_mask(text)),
    **{name: wrapper_reader(kind, _READERS[kind]) for name, kind in WRAPPERS.items()},
}
# What a reader of such a message gives, to the message's wire octets.
MESSAGE_WIRE: dict[str, Encode] = {
    "google.protobuf.Timestamp": _two_numbers,
    "google.protobuf.Duration": _two_numbers,
    "google.protobuf.FieldMask": _paths,
}


def parser(field: Field) -> Parse | None:
    """The function that reads a text into one element of this field; None if no text can.

    Messages other than `SCALAR_MESSAGES` have none: Struct and its kin need the JSON codec.
    """
    if field.kind == "enum" and field.enum is not None:
        return _enum_reader(field.enum)
    if field.kind == "message" and field.message is not None:
        return SCALAR_MESSAGES.get(field.message.full_name)
    return _READERS.get(field.kind)


def encoder(field: Field) -> tuple[bytes, Encode, bytes]:
    """Tag, encoder and the octets of the default value, for one element of this field.

    Raises KeyError for proto2 groups, which no text can set.
    """
    wire_type, encode = _ENCODERS[field.kind]
    return tag(field.number, wire_type), encode, encode(_DEFAULTS.get(field.kind, 0))
