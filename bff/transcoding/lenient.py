"""Readers of path and query values beyond ProtoJSON, for routes whose switches ask for them."""

import re
from functools import partial

from bff.core.schema import EnumType, Field
from bff.transcoding.enum_names import names_of
from bff.transcoding.scalars import (
    MESSAGE_WIRE,
    Parse,
    Unfit,
    read_duration,
    read_integer,
    wrapper_reader,
)
from bff.transcoding.switches import Switches

__all__ = ["lenient_parser", "read_go_bool", "read_go_duration", "read_verbatim_mask"]

# Go's strconv.ParseBool.
_GO_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
# Go's time.ParseDuration: nanoseconds of each unit.
_GO_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
}
_GO_PART = re.compile("([0-9]{0,20})(?:\\.([0-9]{0,20}))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_GO_MAX_NS = 2**63 - 1
_MAX_GO_TEXT = 200


def read_go_bool(text: str) -> bool:
    """What Go's ParseBool takes. Raises Unfit."""
    value = _GO_BOOLS.get(text)
    if value is None:
        raise Unfit("must be true or false")
    return value


def read_go_duration(text: str) -> tuple[int, int]:
    """Seconds and nanoseconds of ProtoJSON's `1.5s` or Go's `1h30m`, both with the sign. Raises Unfit."""
    try:
        return read_duration(text)
    except Unfit:
        pass
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in {"-", "+"} else text
    total_ns, at = 0, 0
    while at < len(rest) <= _MAX_GO_TEXT and rest != "0":
        found = _GO_PART.match(rest, at)
        if found is None or not (found[1] or found[2]):
            break
        unit_ns, fraction = _GO_UNITS[found[3]], found[2] or ""
        total_ns += int(found[1] or "0") * unit_ns
        total_ns += int(fraction or "0") * unit_ns // 10 ** len(fraction)
        at = found.end()
    if rest != "0" and (not rest or at < len(rest)):
        raise Unfit("must be a duration like 1.5s or 1h30m")
    if total_ns > _GO_MAX_NS:
        raise Unfit("is out of range")
    seconds, nanos = divmod(total_ns, 1_000_000_000)
    return sign * seconds, sign * nanos


def read_verbatim_mask(text: str) -> tuple[str, ...]:
    """Paths as they are written, between commas. Raises Unfit."""
    if not text:
        return ()
    paths = tuple(text.split(","))
    if "" in paths:
        raise Unfit("must name fields between its commas")
    return paths


def _enum_reader(enum: EnumType, switches: Switches) -> Parse:
    any_case = switches.enum_case == "ignore"
    numbers = {value.name: value.number for value in enum.values}
    known = frozenset(numbers.values())
    names = names_of(enum, no_prefix=switches.enums == "no_prefix", any_case=any_case)
    by_text = {text: numbers[name] for text, name in names.items()}
    only_known = enum.closed or switches.query_enum_number == "known"

    def read(text: str) -> int:
        number = by_text.get(text.upper() if any_case else text)
        if number is not None:
            return number
        try:
            number = read_integer(text, -(2**31), 2**31 - 1)
        except Unfit as error:
            raise Unfit("must be one of the names of this enum") from error
        if only_known and number not in known:
            raise Unfit("must be one of the names of this enum")
        return number

    return read


def _on_wire(full_name: str, read: Parse, text: str) -> bytes:
    return MESSAGE_WIRE[full_name](read(text))


def lenient_parser(field: Field, switches: Switches) -> Parse | None:
    """The reader that these switches give this field; None where they leave it as it is."""
    if field.enum is not None:
        strict = (switches.query_enum_number, switches.enum_case) == ("open", "exact")
        return (
            None if strict and switches.enums != "no_prefix" else _enum_reader(field.enum, switches)
        )
    name = field.message.full_name if field.message is not None else ""
    if switches.query_bool == "go":
        if field.kind == "bool":
            return read_go_bool
        if name == "google.protobuf.BoolValue":
            return wrapper_reader("bool", read_go_bool)
    if switches.query_duration == "go" and name == "google.protobuf.Duration":
        return partial(_on_wire, name, read_go_duration)
    if switches.query_mask == "verbatim" and name == "google.protobuf.FieldMask":
        return partial(_on_wire, name, read_verbatim_mask)
    return None
