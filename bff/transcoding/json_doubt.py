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
from bff.transcoding.scalars import INTEGER_RANGES, JSON_NUMBER, WRAPPERS

__all__ = ["Doubt", "compact_form", "compile_doubt"]

# Given the body and the same text in compact form: might the codec have let through too much?
Doubt = Callable[[bytes, bytes], bool]

# A key with an underscore, from the first underscore on. Each octet is looked at once, however many
# there are: a search that began anew at each would take the square of a text of underscores.
_UNDERSCORE_KEY = re.compile(rb'_[^"\\]*+(?:(?!":)["\\][^_]*+_[^"\\]*+)*+":')
# Signs of a quoted number or duration that the codec is lax about, each found by one rare octet: four
# such passes cost 3 us for 2 KB, one that stops at every quote costs 7. Octets around `_`, digits:
# `1_0`; around a dot, none: `.5`, `1.`, `1.e5`; behind a quote, `0` and more digits, or `+`.
_UNDERSCORED_DIGITS = re.compile(rb"_(?<=[0-9]_)[0-9]")
_BARE_DOT = re.compile(rb'\.(?:["eE]|s"|(?<="\.)|(?<="-\.))')
# Also a number so small that it reads as 0: it has an exponent of three digits, or very many zeros.
_ZERO_FIRST = re.compile(rb'"0(?:[0-9_]|\.0{200})')
_MINUS = re.compile(rb'-(?:(?<="-)0(?:[0-9_]|\.0{200})|(?<=[eE]-)[0-9]{3})')
_TINY_EXPONENT = re.compile(rb"-(?<=[eE]-)[0-9]{3}")
_TINY_FRACTION = b"0" * 200
_UNDERSCORE_OCTET, _PLUS_OCTET = b"_+"
# What the UTF-8 of a decimal digit beyond ASCII may begin with. An octet is looked for as a number:
# that is six times as fast as a text of length one.
_DIGIT_LEADS = tuple(b"\xd9\xdb\xdf\xe0\xe1\xea\xef\xf0")
# After one of these signs: is there such a number or duration?
_ODD = re.compile(
    rb'"(?=[-+.0-9\x80-\xff])'
    rb'(?:[+.]|-?(?:\.|0[0-9_]|[0-9]+(?:_|\.(?:s?"|[eE])|[\x80-\xff])|[\x80-\xff]))'
)
_NUMBER_LIKE = re.compile(rb'"([-+]?[._0-9\x80-\xff]+(?:[eE][-+]?[0-9_]+)?)"')
_ODD_DURATION = re.compile(rb'"-?(?:0[0-9][0-9.]*|[0-9]+\.)s"')
# A time with a sign for the first digit of a part: `2024-+1-02T..`, `..+01:-0`.
_SIGNED_TIME = re.compile(rb'["T:+-]\+[0-9]|[0-9]:-[0-9]')
# Kinds and types whose texts are read as numbers or durations.
_NUMBERS = frozenset({*INTEGER_RANGES, "float", "double"})
_READ_AS_NUMBERS = frozenset({"google.protobuf.Duration", *WRAPPERS})


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


def _is_tiny(text: bytes) -> bool:
    """Whether a number may read as 0 that is none; the compact form shows it only in quotes."""
    return _TINY_EXPONENT.search(text) is not None or _TINY_FRACTION in text


def _hints_at_numbers(compact: bytes) -> bool:
    """Whether any of the signs is there, but for the underscore."""
    return (
        _BARE_DOT.search(compact) is not None
        or _MINUS.search(compact) is not None
        or _ZERO_FIRST.search(compact) is not None
        or (_PLUS_OCTET in compact and b'"+' in compact)
        or (not compact.isascii() and _holds_one(compact, _DIGIT_LEADS))
    )


def _odd_numbers(compact: bytes) -> bool:
    if _is_tiny(compact):
        return True
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
    has_numbers: bool = False
    # Names of FieldMask fields; and whether lists or maps hold masks, where no name stands before.
    masks: set[str] = msgspec.field(default_factory=set)
    has_many_masks: bool = False


def _reach(message: MessageType) -> _Reach:
    reach = _Reach(set(), set(), set(), set())
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
            reach.has_numbers |= field.kind in _NUMBERS
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


def _holds_one(compact: bytes, names: tuple[bytes, ...] | tuple[int, ...]) -> bool:
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
    has_numbers = reach.has_numbers or bool(reach.types & _READ_AS_NUMBERS)
    has_any = "google.protobuf.Any" in reach.types
    has_times = "google.protobuf.Timestamp" in reach.types

    def doubt(text: bytes, compact: bytes) -> bool:
        if text != compact and (_has_doubles(text) or _is_tiny(text)):
            return True
        if always or (has_any and b'"@type"' in compact):
            return True
        if _holds_two(compact, literals) or _holds_one(compact, telling):
            return True
        if odd_masks is not None and _holds_one(compact, masks) and odd_masks.search(compact):
            return True
        if (
            has_times
            and (_PLUS_OCTET in compact or b":-" in compact)
            and _SIGNED_TIME.search(compact)
        ):
            return True
        underscore = compact.find(_UNDERSCORE_OCTET)
        if underscore >= 0:
            if two_spellings and _UNDERSCORE_KEY.match(compact, underscore):
                return True
            if has_numbers and _UNDERSCORED_DIGITS.search(compact) and _odd_numbers(compact):
                return True
        return has_numbers and _hints_at_numbers(compact) and _odd_numbers(compact)

    return doubt


def compact_form(text: bytes) -> bytes | None:
    """The text without white space, escapes and doubles; None if a parser refuses it.

    Also keeps deep nesting from the codec, whose own parser overflows the stack on a million `[`.
    """
    try:
        return msgspec.json.encode(msgspec.json.decode(text))
    except (ValueError, RecursionError, OverflowError):
        return None
