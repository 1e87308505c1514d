"""google.api options read from the bytes of an options message: `http` and `field_behavior`.

A type loaded at run time has no extension objects, so the option may be there only as unknown bytes;
reading the bytes gives one answer wherever the descriptor came from. Pure.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

__all__ = ["HttpRule", "OptionError", "read_field_behaviors", "read_fields", "read_http_rule"]

# google/api/annotations.proto and google/api/field_behavior.proto.
_HTTP_OPTION: Final = 72295728
_FIELD_BEHAVIOR_OPTION: Final = 1052

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_I64: 8, _I32: 4}

# google.api.HttpRule, fields that are text.
_SELECTOR, _BODY, _RESPONSE_BODY = 1, 7, 12
_VERBS: Final = {2: "GET", 3: "PUT", 4: "POST", 5: "DELETE", 6: "PATCH"}
_CUSTOM, _ADDITIONAL = 8, 11

# RFC 9110 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class OptionError(Exception):
    """Option bytes that do not parse, or an HttpRule that breaks the rules of its own message."""


class HttpRule(Struct, frozen=True, kw_only=True):
    """google.api.HttpRule as written; `method` is upper case, a custom kind as it stands."""

    method: str
    path: str
    body: str = ""
    response_body: str = ""
    additional: tuple["HttpRule", ...] = ()


def read_http_rule(options: bytes) -> HttpRule | None:
    """The `google.api.http` option in serialized MethodOptions; None if it is not there.

    All occurrences are merged, as protobuf merges a message field given more than once. Raises
    OptionError.
    """
    parts = [
        _need_bytes(value, "the google.api.http option")
        for number, value in read_fields(options)
        if number == _HTTP_OPTION
    ]
    # Concatenated encodings are the encoding of the merged message.
    return _read_rule(b"".join(parts), nested=False) if parts else None


def read_field_behaviors(options: bytes) -> frozenset[int]:
    """The numbers of `google.api.field_behavior` in serialized FieldOptions; empty if unset.

    Raises OptionError.
    """
    found: set[int] = set()
    for number, value in read_fields(options):
        if number != _FIELD_BEHAVIOR_OPTION:
            continue
        if isinstance(value, int):
            found.add(value)
            continue
        at = 0
        while at < len(value):
            behavior, at = _varint(value, at)
            found.add(behavior)
    return frozenset(found)


def _read_rule(data: bytes, *, nested: bool) -> HttpRule:
    texts = {_SELECTOR: "", _BODY: "", _RESPONSE_BODY: ""}
    method = path = ""
    custom = b""
    additional: list[HttpRule] = []
    for number, value in read_fields(data):
        if number in texts:
            texts[number] = _text(value)
        elif number in _VERBS:
            method, path, custom = _VERBS[number], _text(value), b""
        elif number == _CUSTOM:
            custom += _need_bytes(value, "custom")
            method, path = _read_custom(custom)
        elif number == _ADDITIONAL:
            if nested:
                raise OptionError("additional_bindings cannot hold additional_bindings")
            additional.append(_read_rule(_need_bytes(value, "additional_bindings"), nested=True))
    if nested and texts[_SELECTOR]:
        raise OptionError("additional_bindings cannot hold a selector")
    if not method:
        raise OptionError("the rule has no pattern; write get, put, post, delete, patch or custom")
    return HttpRule(
        method=method,
        path=path,
        body=texts[_BODY],
        response_body=texts[_RESPONSE_BODY],
        additional=tuple(additional),
    )


def _read_custom(data: bytes) -> tuple[str, str]:
    kind = path = ""
    for number, value in read_fields(data):
        if number == 1:
            kind = _text(value)
        elif number == 2:
            path = _text(value)
    if not _TOKEN.fullmatch(kind):
        raise OptionError(f'custom kind "{kind}" is no HTTP method')
    return kind, path


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field of a message in wire order: varints as int, everything else as bytes.

    Raises OptionError for bytes that are no message.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise OptionError("field number 0")
        if wire_type == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire_type == _LEN:
            size_bytes, at = _varint(data, at)
        elif wire_type in _FIXED_BYTES:
            size_bytes = _FIXED_BYTES[wire_type]
        else:
            raise OptionError(f"wire type {wire_type}")
        if at + size_bytes > len(data):
            raise OptionError("the bytes end inside a field")
        yield number, data[at : at + size_bytes]
        at += size_bytes


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise OptionError("the bytes end inside a number")
        octet = data[at]
        at += 1
        result |= (octet & 0x7F) << shift
        if octet < 0x80:
            return result, at
    raise OptionError("a number has more than 10 bytes")


def _need_bytes(value: int | bytes, what: str) -> bytes:
    if isinstance(value, int):
        raise OptionError(f"{what} is a number, not a message")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _need_bytes(value, "a text").decode()
    except UnicodeDecodeError as error:
        raise OptionError("a text is not UTF-8") from error
