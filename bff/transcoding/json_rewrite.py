"""Bodies that are not ProtoJSON by our rules, but are to be taken: rewritten to what the rules allow.

A typed walk over the text's tree: keys that the type has not go, the last of doubles stays, other
names of enum values become the full ones. Values are not judged here; the codec reads the result.
"""

import json
from collections.abc import Callable
from typing import Any

from bff.core.schema import EnumType, Field, MessageType
from bff.transcoding.enum_names import names_of
from bff.transcoding.exact_json import Number, Pairs, Resolve, read_pairs
from bff.transcoding.scalars import SCALAR_MESSAGES
from bff.transcoding.switches import Switches

__all__ = ["BodyRewrite", "TooDeepError", "has_name_clash", "is_lenient"]

# Unknown parts deeper than this are refused: nobody sends them in good faith.
_MAX_UNKNOWN_DEPTH = 200
_GONE = object()


class TooDeepError(ValueError):
    """An unknown part is nested beyond reason."""


def is_lenient(switches: Switches) -> bool:
    """Whether routes with these switches take bodies that the rules refuse."""
    return (
        switches.json_unknown == "ignore"
        or switches.json_duplicates == "last"
        or switches.enums == "no_prefix"
        or switches.enum_case == "ignore"
    )


def has_name_clash(message: MessageType) -> bool:
    """Whether anywhere in this message a field's name is the JSON name of another."""
    todo, seen = [message], {message.full_name}
    while todo:
        here = todo.pop()
        for field in here.fields:
            if here.by_name[field.name] is not field:
                return True
            if field.message is not None and field.message.full_name not in seen:
                seen.add(field.message.full_name)
                todo.append(field.message)
    return False


def _clear_key(message: MessageType, field: Field) -> str:
    """A key that is no other field's name in either spelling, so that every reader finds this one."""
    others = {
        name for each in message.fields if each is not field for name in (each.name, each.json_name)
    }
    return field.name if field.json_name in others else field.json_name


class BodyRewrite:
    """Rewrites texts of one message type. `rename` also gives every field a key that is its alone."""

    def __init__(
        self, message: MessageType, resolve: Resolve, switches: Switches, *, rename: bool = False
    ) -> None:
        self._message_type = message
        self._resolve = resolve
        self._drops_unknown = switches.json_unknown == "ignore"
        self._last_wins = switches.json_duplicates == "last"
        self._no_prefix = switches.enums == "no_prefix"
        self._any_case = switches.enum_case == "ignore"
        self._renames = rename
        self._enums: dict[str, dict[str, str]] = {}

    def __call__(self, text: bytes) -> bytes:
        """The text as the rules want it; the same text where it is no JSON. Raises TooDeepError."""
        try:
            tree = read_pairs(text.decode())
            return "".join(_written(self._message(self._message_type, tree))).encode()
        except TooDeepError:
            raise
        except (ValueError, RecursionError):
            return text

    def _message(self, message: MessageType, value: Any) -> Any:
        name = message.full_name
        if name == "google.protobuf.Any":
            return self._any(value)
        if name in {f"google.protobuf.{each}" for each in ("Struct", "Value", "ListValue")}:
            return _last_of_each(value) if self._last_wins else value
        if name in SCALAR_MESSAGES or type(value) is not Pairs:
            return value
        return self._members(message, value)

    def _any(self, value: Any) -> Any:
        urls = [each for key, each in value if key == "@type"] if type(value) is Pairs else []
        url = urls[-1] if urls else None
        inner = self._resolve(url.rpartition("/")[2]) if type(url) is str and "/" in url else None
        if inner is None:
            return value
        if self._last_wins:
            value = Pairs(dict(value).items())
        if inner.full_name in SCALAR_MESSAGES or inner.full_name.startswith("google.protobuf."):
            return Pairs(
                (key, self._message(inner, each) if key == "value" else each)
                for key, each in value
                if key in {"@type", "value"} or not self._drops_unknown
            )
        types = Pairs(pair for pair in value if pair[0] == "@type")
        rest = Pairs(pair for pair in value if pair[0] != "@type")
        return Pairs([*types, *self._members(inner, rest)])

    def _members(self, message: MessageType, pairs: Pairs) -> Pairs:
        kept: list[tuple[Field | None, str, Any]] = []
        for key, value in pairs:
            field = message.by_name.get(key)
            if field is None:
                # A key in brackets is a proto2 extension, which the codec alone knows.
                if self._drops_unknown and not key.startswith("["):
                    _need_shallow(value)
                else:
                    kept.append((None, key, value))
                continue
            made = self._field(field, value)
            if made is not _GONE:
                kept.append((field, _clear_key(message, field) if self._renames else key, made))
        if self._last_wins:
            kept = _last_members(kept)
        return Pairs((key, value) for _, key, value in kept)

    def _field(self, field: Field, value: Any) -> Any:
        if field.map_key is not None:
            if type(value) is not Pairs:
                return value
            made = ((key, self._element(field, each)) for key, each in value)
            entries = Pairs(pair for pair in made if pair[1] is not _GONE)
            return Pairs(dict(entries).items()) if self._last_wins else entries
        if field.repeated:
            if type(value) is not list:
                return value
            elements = (self._element(field, each) for each in value)
            return [each for each in elements if each is not _GONE]
        return self._element(field, value)

    def _element(self, field: Field, value: Any) -> Any:
        if field.message is not None:
            return self._message(field.message, value)
        if field.enum is not None and type(value) is str:
            return self._enum(field.enum, value)
        return value

    def _enum(self, enum: EnumType, text: str) -> Any:
        names = self._enums.get(enum.full_name)
        if names is None:
            names = names_of(enum, no_prefix=self._no_prefix, any_case=self._any_case)
            self._enums[enum.full_name] = names
        name = names.get(text.upper() if self._any_case else text)
        if name is not None:
            return name
        return _GONE if self._drops_unknown else text


def _last_members(kept: list[tuple[Field | None, str, Any]]) -> list[tuple[Field | None, str, Any]]:
    """Of each field, and of each oneof, the member that comes last."""
    last: dict[object, tuple[Field | None, str, Any]] = {}
    holders: dict[str, int] = {}
    for field, key, value in kept:
        identity: object = field.number if field is not None else key
        last.pop(identity, None)
        last[identity] = (field, key, value)
        if field is None or field.oneof is None or (value is None and not _is_null_value(field)):
            continue
        before = holders.get(field.oneof, field.number)
        if before != field.number:
            last.pop(before, None)
        holders[field.oneof] = field.number
    return list(last.values())


def _is_null_value(field: Field) -> bool:
    kind = field.enum or field.message
    return kind is not None and kind.full_name in {
        "google.protobuf.NullValue",
        "google.protobuf.Value",
    }


def _last_of_each(value: Any) -> Any:
    if type(value) is Pairs:
        return Pairs((key, _last_of_each(each)) for key, each in dict(value).items())
    if type(value) is list:
        return [_last_of_each(each) for each in value]
    return value


def _need_shallow(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_UNKNOWN_DEPTH):
        below: list[Any] = []
        for each in level:
            if type(each) is Pairs:
                below.extend(inner for _, inner in each)
            elif type(each) is list:
                below.extend(each)
        if not below:
            return
        level = below
    raise TooDeepError


def _written(value: Any) -> list[str]:
    parts: list[str] = []
    _write(value, parts.append)
    return parts


def _write(value: Any, put: Callable[[str], None]) -> None:
    if type(value) is Pairs:
        put("{")
        for index, (key, each) in enumerate(value):
            put(f"{',' if index else ''}{json.dumps(key)}:")
            _write(each, put)
        put("}")
    elif type(value) is list:
        put("[")
        for index, each in enumerate(value):
            if index:
                put(",")
            _write(each, put)
        put("]")
    else:
        put(str(value) if type(value) is Number else json.dumps(value))
