"""Examples for the OpenAPI document, made of the types: requests that the gateway binds, replies as it writes them.

An example never says a thing twice: of each oneof it has one member at most, and what the path sets
stands in no body and no query.
"""

import re
from collections.abc import Collection, Iterable
from copy import copy
from typing import Final

from bff.core.exchange import Json
from bff.core.schema import Field, Kind, MessageType
from bff.transcoding.json_schemas import NULL_VALUE, WRAPPED, Side, Style

__all__ = ["NOTHING", "are_rivals", "example_of_field", "example_of_message", "named_text"]

# There is no example: null is one.
NOTHING: Final = object()
# A comment that gives a plain word: `The order's id, such as "o-1".`
_SUCH_AS: Final = re.compile(r'such as "([A-Za-z0-9][\w-]{0,63})"')
_TEXT: Final = "text"

_SCALARS: Final[dict[Kind, Json]] = {
    **dict.fromkeys(("double", "float"), 1.5),
    **dict.fromkeys(("int64", "sint64", "sfixed64", "uint64", "fixed64"), "1"),
    **dict.fromkeys(("int32", "sint32", "sfixed32", "uint32", "fixed32"), 1),
    "bool": True,
    "string": _TEXT,
    "bytes": "AQI=",
}
_WELL_KNOWN: Final[dict[str, Json]] = {
    "Timestamp": "2024-01-02T03:04:05Z",
    "Duration": "1.500s",
    "FieldMask": "name",
    "Value": _TEXT,
}
# Those that are an object or a list themselves.
_TREES: Final[dict[str, Json]] = {"Struct": {"key": _TEXT}, "ListValue": [_TEXT]}
# How deep examples nest at most: what is deeper shows nothing new.
_DEPTH: Final = 6


def named_text(field: Field) -> str | None:
    """The word that a comment gives as an example of a text."""
    is_text = field.kind == "string" and not field.is_map
    found = _SUCH_AS.search(field.comment) if is_text else None
    return found[1] if found else None


def are_rivals(one: Iterable[Field], other: Iterable[Field]) -> bool:
    """Whether two paths of fields set different members of one oneof."""
    for mine, theirs in zip(one, other, strict=False):
        if mine.number != theirs.number:
            return mine.oneof is not None and mine.oneof == theirs.oneof
    return False


def example_of_message(
    message: MessageType,
    side: Side,
    style: Style,
    *,
    depth: int = _DEPTH,
    bound: Collection[tuple[Field, ...]] = (),
) -> Json:
    """A message with every field that has an example; NOTHING where `depth` leaves no room.

    `depth` counts objects and lists within each other. `bound` holds paths of fields that are set
    elsewhere: their heads, and what excludes them, are left out.
    """
    return _message(message, side, style, min(depth, _DEPTH), bound, ())


def example_of_field(field: Field, side: Side, style: Style, *, depth: int = _DEPTH) -> Json:
    """A value of the field: of all of it, where it is a list or map. NOTHING where there is none."""
    return _field(field, side, style, min(depth, _DEPTH), ())


def _message(
    message: MessageType,
    side: Side,
    style: Style,
    depth: int,
    bound: Collection[tuple[Field, ...]],
    above: tuple[str, ...],
) -> Json:
    own = message.full_name.removeprefix("google.protobuf.")
    if own != message.full_name and (own in WRAPPED or own in _WELL_KNOWN):
        return _scalar(WRAPPED[own], style) if own in WRAPPED else _WELL_KNOWN[own]
    if depth < 1 or message.full_name in above:
        return NOTHING
    if own != message.full_name and own in _TREES:
        return copy(_TREES[own])
    if message.full_name == "google.protobuf.Any":
        # The message that holds it is a type that is known wherever this one is.
        return {"@type": f"type.googleapis.com/{above[-1]}"} if above else NOTHING
    made: dict[str, Json] = {}
    chosen: set[str] = set()
    for field in message.fields:
        hidden = field.output_only if side == "in" else field.input_only
        taken = field.oneof in chosen or any(
            path[0].number == field.number or are_rivals((field,), path) for path in bound
        )
        if hidden or taken:
            continue
        value = _field(field, side, style, depth - 1, (*above, message.full_name))
        if value is NOTHING:
            continue
        made[style.key(field)] = value
        if field.oneof is not None:
            chosen.add(field.oneof)
    return made


def _field(field: Field, side: Side, style: Style, depth: int, above: tuple[str, ...]) -> Json:
    inside = depth - 1 if field.repeated or field.is_map else depth
    if inside < 0:
        return NOTHING
    if field.enum is not None:
        value = _enum(field, style)
    elif field.message is not None:
        value = _message(field.message, side, style, inside, (), above)
    else:
        value = named_text(field) or _scalar(field.kind, style)
    if value is NOTHING:
        return NOTHING
    if field.repeated:
        return [value]
    if field.map_key is None:
        return value
    # The keys of a JSON object are texts.
    key = {"string": "key", "bool": "true"}.get(field.map_key, "1")
    return {key: value}


def _enum(field: Field, style: Style) -> Json:
    assert field.enum is not None
    if field.enum.full_name == NULL_VALUE:
        return NOTHING
    values = list(style.enum_values(field.enum).values())
    # The first one is most often "not told".
    return values[min(1, len(values) - 1)]


def _scalar(kind: Kind, style: Style) -> Json:
    value = _SCALARS[kind]
    return 1 if value == "1" and style.int64 == "number" else value
