"""Octet tests that tell if a body may be one that the codec takes and we do not; cheapest first.

A doubt costs an exact reading (`exact_json`), a missed one lets a bad body through: so every test
may be wrong in one direction only.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from bff.core.schema import MessageType
from bff.transcoding.scalars import JSON_NUMBER

__all__ = ["Doubt", "compact_form", "compile_doubt"]

# Given the body and the same text in compact form: might the codec have let through too much?
Doubt = Callable[[bytes, bytes], bool]

# One pass for every odd number and duration; the lookahead makes it 6 us for 2 KB instead of 60.
_ODD = re.compile(
    rb'"(?=[-+.0-9\x80-\xff])'
    rb'(?:[+.]|-?(?:\.|0[0-9_]|[0-9]+(?:_|\.s?"|[\x80-\xff])|[\x80-\xff]))'
)
_NUMBER_LIKE = re.compile(rb'"([-+]?[._0-9\x80-\xff]+(?:[eE][-+]?[0-9_]+)?)"')
_ODD_DURATION = re.compile(rb'"-?(?:0[0-9][0-9.]*|[0-9]+\.)s"')
# A number so small that it reads as 0 has an exponent of three digits, or very many zeros.
_TINY_EXPONENT = re.compile(rb"-(?<=[eE]-)[0-9]{3}")
_TINY_FRACTION = b"0" * 200
_UNDERSCORE_KEY = re.compile(rb'_[^"\\]*":')


class _Double(Exception):
    """A key stands twice in one object."""


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Double
    return members


_PAIRS = json.JSONDecoder(object_pairs_hook=_no_doubles).decode


def _has_doubles(text: bytes) -> bool:
    try:
        _PAIRS(text.decode())
    except (_Double, ValueError, RecursionError):
        return True
    return False


def _odd_numbers(compact: bytes) -> bool:
    if not _ODD.search(compact):
        return False
    if _ODD_DURATION.search(compact):
        return True
    for found in _NUMBER_LIKE.finditer(compact):
        text = found[1].decode(errors="replace")
        if any(c.isdecimal() for c in text) and not JSON_NUMBER.fullmatch(text):
            return True
    return False


_FIELD_MASK = "google.protobuf.FieldMask"


def _odd_masks(reach: "_Reach") -> re.Pattern[bytes] | None:
    """Finds a FieldMask that is more than names, dots, `*` and single commas; None without masks."""
    if _FIELD_MASK not in reach.types:
        return None
    names = b"|".join(re.escape(name.encode()) for name in sorted(reach.masks))
    plain = rb'(?:[A-Za-z*][A-Za-z0-9]*(?:[.,][A-Za-z*][A-Za-z0-9]*)*)?"'
    return re.compile(rb'"(?:' + names + rb')":"(?!' + plain + rb")") if names else None


class _Reach(Struct):
    """What a body of some type may hold, at any depth."""

    two_spellings: set[str]
    oneofs: set[tuple[str, ...]]
    integer_maps: set[str]
    types: set[str]
    # Names of FieldMask fields; and whether lists or maps hold masks, where no name stands before.
    masks: set[str]
    has_many_masks: bool = False


def _reach(message: MessageType) -> _Reach:
    reach = _Reach(set(), set(), set(), set(), set())
    todo, seen = [message], {id(message)}
    while todo:
        here = todo.pop()
        reach.types.add(here.full_name)
        for members in here.oneofs.values():
            names = {name for field in members for name in (field.name, field.json_name)}
            reach.oneofs.add(tuple(sorted(names)))
        for field in here.fields:
            if field.name != field.json_name:
                reach.two_spellings.add(field.name)
            if field.map_key is not None and field.map_key not in {"string", "bool"}:
                reach.integer_maps |= {field.name, field.json_name}
            if field.message is not None and field.message.full_name == _FIELD_MASK:
                reach.masks |= {field.name, field.json_name}
                reach.has_many_masks |= field.repeated or field.is_map
            if field.message is not None and id(field.message) not in seen:
                seen.add(id(field.message))
                todo.append(field.message)
    return reach


def _holds_two(compact: bytes, groups: list[tuple[bytes, ...]]) -> bool:
    for group in groups:  # noqa: SIM110 - a generator costs more than what it asks
        if sum(name in compact for name in group) > 1:
            return True
    return False


def _holds_one(compact: bytes, names: tuple[bytes, ...]) -> bool:
    for name in names:  # noqa: SIM110 - a generator costs more than what it asks
        if name in compact:
            return True
    return False


def compile_doubt(message: MessageType) -> Doubt:
    """Prepare the octet tests for one message type; at most 64 literals are looked for."""
    reach = _reach(message)
    # Types with a fixed walk of their own hold oneofs and maps that no JSON text names.
    oneofs = [] if message.full_name.startswith("google.protobuf.") else list(reach.oneofs)
    literals = [tuple(b'"%s":' % name.encode() for name in names) for names in oneofs]
    literals = [group for group in literals if b'"nullValue":' not in group]
    always = sum(map(len, literals)) > 64 or reach.has_many_masks
    odd_masks = _odd_masks(reach)
    masks = tuple(b'"%s":"' % name.encode() for name in reach.masks)
    maps = tuple(b'"%s":{' % name.encode() for name in reach.integer_maps)
    odd_spellings = tuple(
        b'"%s":' % name.encode() for name in reach.two_spellings if "_" not in name
    )
    telling = (*maps, *odd_spellings)
    two_spellings = bool(reach.two_spellings)
    has_any = "google.protobuf.Any" in reach.types

    def doubt(text: bytes, compact: bytes) -> bool:
        if text != compact and _has_doubles(text):
            return True
        if always or (has_any and b'"@type"' in compact):
            return True
        if b"_" in compact and two_spellings and _UNDERSCORE_KEY.search(compact):
            return True
        if _holds_two(compact, literals) or _holds_one(compact, telling):
            return True
        if odd_masks is not None and _holds_one(compact, masks) and odd_masks.search(compact):
            return True
        if _TINY_EXPONENT.search(text) or _TINY_FRACTION in text:
            return True
        return _odd_numbers(compact)

    return doubt


def compact_form(text: bytes) -> bytes | None:
    """The text without white space, escapes and doubles; None if a parser refuses it.

    Also keeps deep nesting from the codec, whose own parser overflows the stack on a million `[`.
    """
    try:
        return msgspec.json.encode(msgspec.json.decode(text))
    except (ValueError, RecursionError, OverflowError):
        return None
