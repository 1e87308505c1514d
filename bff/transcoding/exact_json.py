"""The whole rule book for JSON bodies, read slowly: what is allowed, and where the first fault is.

The codec decides fast and a little laxer than we do. Only where `json_doubt` sees a text that might
be such a case, or after the codec has refused, does `examine` walk the text against its type.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from bff.core.schema import EnumType, Field, MessageType
from bff.transcoding.near_names import one_edit_away
from bff.transcoding.scalars import (
    INTEGER_RANGES,
    WRAPPERS,
    Unfit,
    read_bytes,
    read_duration,
    read_field_mask,
    read_float,
    read_integer,
    read_timestamp,
)

__all__ = [
    "Fault",
    "Number",
    "Pairs",
    "Resolve",
    "examine",
    "nesting",
    "read_pairs",
]

# A message type by its full name, for Any; None if there is no such type.
Resolve = Callable[[str], MessageType | None]
# Messages below the body's own: as many as the codec reads, and services by default take.
_MAX_DEPTH = 100
_MAX_PATH = 200
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
# A text without an end takes all that follows, or each quote in it would be tried for one again.
_NO_BRACKETS = re.compile(rb'(?s:"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[^\[\]{}"]+)')


class Fault(Struct, frozen=True):
    """The first fault of a body: a reason of the closed list, the JSON path as the client spelled it."""

    reason: str
    path: str = ""
    text: str = ""


class Number(str):
    """The text of an unquoted number, kept because its spelling decides."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object in text order, doubles included."""

    __slots__ = ()


class _Stop(Exception):
    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        self.text = text
        self.path: list[str] = []


def _refuse_constant(_name: str) -> None:
    raise ValueError("NaN and Infinity are no JSON")


# JSON text to a tree that keeps doubles and the spelling of numbers.
read_pairs = json.JSONDecoder(
    object_pairs_hook=Pairs,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_refuse_constant,
).decode


def examine(text: bytes, message: MessageType, resolve: Resolve) -> Fault | None:
    """Read `text` as JSON of `message` by every rule; the first fault in text order, or None."""
    try:
        tree = read_pairs(text.decode())
    except RecursionError:
        return Fault("TOO_DEEP")
    except ValueError:
        return Fault("INVALID_JSON")
    try:
        _Walk(resolve).message(message, tree, 0)
    except _Stop as stop:
        path = "".join(reversed(stop.path)).removeprefix(".")
        # A key may hold a lone surrogate, which no reply could show.
        shown = path[:_MAX_PATH].encode(errors="replace").decode()
        return Fault(stop.reason, shown, stop.text)
    return None


def nesting(text: bytes) -> int:
    """How deep arrays and objects stand in each other; text in strings does not count."""
    depth = deepest = 0
    for mark in _NO_BRACKETS.sub(b"", text):
        depth += 1 if mark in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


class _Walk:
    """The typed walk. Each step adds its part of the path on the way out."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._special: dict[str, Callable[[Any, int], None]] = {
            "google.protobuf.Timestamp": partial(_text, read_timestamp),
            "google.protobuf.Duration": partial(_text, read_duration),
            "google.protobuf.FieldMask": partial(_text, read_field_mask),
            "google.protobuf.Any": self._any,
            "google.protobuf.Struct": self._struct,
            "google.protobuf.ListValue": self._list_value,
            "google.protobuf.Value": self._value,
            **{name: partial(_text_free, _SCALARS[kind]) for name, kind in WRAPPERS.items()},
        }

    def message(self, message: MessageType, value: Any, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _Stop("TOO_DEEP", "is nested too deeply")
        special = self._special.get(message.full_name)
        if special is not None:
            special(value, depth)
            return
        if type(value) is not Pairs:
            raise _Stop("INVALID_FIELD", "must be an object")
        self._members(message, value, depth)

    def _members(self, message: MessageType, pairs: Pairs, depth: int) -> None:
        seen: set[int] = set()
        oneofs: dict[str, str] = {}
        for key, value in pairs:
            field = message.by_name.get(key)
            try:
                if field is None:
                    self._unknown(message, key)
                    continue
                if field.number in seen:
                    raise _Stop("DUPLICATE_FIELD", "is given more than once")
                seen.add(field.number)
                if field.oneof and (value is not None or _keeps_null(field)):
                    if field.oneof in oneofs:
                        raise _Stop("DUPLICATE_FIELD", "excludes another field that is given too")
                    oneofs[field.oneof] = key
                self._field(field, value, depth)
            except _Stop as stop:
                stop.path.append(f".{key}")
                raise

    def _unknown(self, message: MessageType, key: str) -> None:
        if key.startswith("["):
            # A proto2 extension: the codec alone knows which exist.
            return
        near = one_edit_away(key, tuple(message.by_name))
        raise _Stop(
            "UNKNOWN_FIELD", f"is not known; did you mean {near}?" if near else "is not known"
        )

    def _field(self, field: Field, value: Any, depth: int) -> None:
        if value is None and not _keeps_null(field):
            return
        if field.map_key is not None:
            self._map(field, field.map_key, value, depth)
        elif field.repeated:
            if type(value) is not list:
                raise _Stop("INVALID_FIELD", "must be a list")
            for index, element in enumerate(value):
                self._element(field, element, depth, f"[{index}]")
        else:
            self._element(field, value, depth, "")

    def _map(self, field: Field, key_kind: str, value: Any, depth: int) -> None:
        if type(value) is not Pairs:
            raise _Stop("INVALID_FIELD", "must be an object")
        seen: set[str] = set()
        for key, element in value:
            step = f"[{json.dumps(key)}]"
            try:
                if key in seen:
                    raise _Stop("DUPLICATE_FIELD", "is given more than once")
                seen.add(key)
                _map_key(key_kind, key)
            except _Stop as stop:
                stop.path.append(step)
                raise
            self._element(field, element, depth, step)

    def _element(self, field: Field, value: Any, depth: int, step: str) -> None:
        try:
            if value is None and step and not _null_is_value(field):
                raise _Stop("INVALID_FIELD", "must not be null")
            if field.enum is not None:
                _enum(field.enum, value)
            elif field.message is not None:
                self.message(field.message, value, depth + 1)
            else:
                _SCALARS[field.kind](value)
        except _Stop as stop:
            if step:
                stop.path.append(step)
            raise

    def _any(self, value: Any, depth: int) -> None:
        if type(value) is not Pairs:
            raise _Stop("INVALID_FIELD", "must be an object")
        if not value:
            return
        urls = [element for key, element in value if key == "@type"]
        if len(urls) > 1:
            raise _Stop("DUPLICATE_FIELD", "has more than one @type")
        url = urls[0] if urls else None
        inner = self._resolve(url.rpartition("/")[2]) if type(url) is str and "/" in url else None
        if inner is None:
            raise _Stop("INVALID_FIELD", "must name a known type in @type")
        rest = Pairs(pair for pair in value if pair[0] != "@type")
        if inner.full_name not in self._special:
            self.message(inner, rest, depth + 1)
            return
        if len(rest) != 1 or rest[0][0] != "value":
            raise _Stop("INVALID_FIELD", "must hold @type and value")
        try:
            self.message(inner, rest[0][1], depth + 1)
        except _Stop as stop:
            stop.path.append(".value")
            raise

    def _struct(self, value: Any, depth: int) -> None:
        if type(value) is not Pairs:
            raise _Stop("INVALID_FIELD", "must be an object")
        seen: set[str] = set()
        for key, element in value:
            try:
                _string(key)
                if key in seen:
                    raise _Stop("DUPLICATE_FIELD", "is given more than once")
                seen.add(key)
                self._value(element, depth + 1)
            except _Stop as stop:
                stop.path.append(f".{key}")
                raise

    def _list_value(self, value: Any, depth: int) -> None:
        if type(value) is not list:
            raise _Stop("INVALID_FIELD", "must be a list")
        for index, element in enumerate(value):
            try:
                self._value(element, depth + 1)
            except _Stop as stop:
                stop.path.append(f"[{index}]")
                raise

    def _value(self, value: Any, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _Stop("TOO_DEEP", "is nested too deeply")
        kind = type(value)
        if kind is Pairs:
            self._struct(value, depth + 1)
        elif kind is list:
            self._list_value(value, depth + 1)
        elif kind is Number:
            _SCALARS["double"](value)
        elif kind is str:
            _string(value)


def _null_is_value(field: Field) -> bool:
    """Types for which null is a value: Value, and the enum NullValue."""
    if field.enum is not None:
        return field.enum.full_name == "google.protobuf.NullValue"
    return field.message is not None and field.message.full_name == "google.protobuf.Value"


def _keeps_null(field: Field) -> bool:
    return not field.repeated and field.map_key is None and _null_is_value(field)


def _text(read: Callable[[str], Any], value: Any, _depth: int = 0) -> None:
    _string(value)
    try:
        read(value)
    except Unfit as error:
        raise _Stop("INVALID_FIELD", str(error)) from error


def _text_free(check: Callable[[Any], None], value: Any, _depth: int) -> None:
    check(value)


def _string(value: Any) -> None:
    if type(value) is not str:
        raise _Stop("INVALID_FIELD", "must be a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # RFC 8259 8.2: a lone surrogate is no text.
        raise _Stop("INVALID_JSON", "is not valid Unicode") from error


def _bool(value: Any) -> None:
    if type(value) is not bool:
        raise _Stop("INVALID_FIELD", "must be true or false")


def _number(read: Callable[[str], Any], word: str, value: Any) -> None:
    if type(value) not in {str, Number}:
        raise _Stop("INVALID_FIELD", word)
    try:
        read(value)
    except Unfit as error:
        raise _Stop("INVALID_FIELD", str(error)) from error


def _enum(enum: EnumType, value: Any) -> None:
    if value is None and enum.full_name == "google.protobuf.NullValue":
        return
    if type(value) is str and any(known.name == value for known in enum.values):
        return
    if type(value) is Number and _INTEGER.fullmatch(value) and len(value) < 12:
        number = int(value)
        known = not enum.closed or any(each.number == number for each in enum.values)
        if known and -(2**31) <= number < 2**31:
            return
    raise _Stop("INVALID_FIELD", "must be one of the names of this enum")


def _map_key(kind: str, key: str) -> None:
    if kind == "string":
        _string(key)
    elif kind == "bool":
        if key not in {"true", "false"}:
            raise _Stop("INVALID_FIELD", "must have true or false as key")
    elif not _INTEGER.fullmatch(key) or key == "-0":
        # Canonical digits only, so that two keys never turn out equal.
        raise _Stop("INVALID_FIELD", "must have plain whole numbers as keys")
    else:
        _SCALARS[kind](key)


_SCALARS: dict[str, Callable[[Any], None]] = {
    "string": _string,
    "bool": _bool,
    "bytes": partial(_text, read_bytes),
    "double": partial(_number, partial(read_float, single=False), "must be a number"),
    "float": partial(_number, partial(read_float, single=True), "must be a number"),
    **{
        kind: partial(_number, partial(read_integer, low=low, high=high), "must be a whole number")
        for kind, (low, high) in INTEGER_RANGES.items()
    },
}
