"""Digests of message types, all the way down: equal digests are types that mean the same to everybody.

Comments and places are not part of a type; names are, since JSON shows them.
"""

import hashlib
from collections.abc import Iterable

import msgspec

from bff.core.schema import Field, MessageType

__all__ = ["TypeShapes", "digest_of", "reachable"]

_Key = tuple[str, int]


class TypeShapes:
    """Remembers what it has looked at; for the types of one version."""

    def __init__(self) -> None:
        self._shapes: dict[_Key, object] = {}
        self._whole: dict[_Key, str] = {}

    def digest(self, message: MessageType) -> str:
        """Of this message and of every message and enum that it leads to."""
        key = (message.full_name, message.variant)
        known = self._whole.get(key)
        if known is None:
            shapes = [self._shape(one) for one in reachable(message)]
            known = self._whole[key] = digest_of(shapes)
        return known

    def _shape(self, message: MessageType) -> object:
        key = (message.full_name, message.variant)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = [message.full_name, *_fields(message.fields)]
        return shape


def reachable(message: MessageType) -> list[MessageType]:
    """A message and all that its fields lead to, by name."""
    reached: dict[str, MessageType] = {}
    waiting = [message]
    while waiting:
        one = waiting.pop()
        if one.full_name not in reached:
            reached[one.full_name] = one
            waiting += [field.message for field in one.fields if field.message]
    return [reached[name] for name in sorted(reached)]


def digest_of(content: object) -> str:
    """Of plain values."""
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def _fields(fields: Iterable[Field]) -> Iterable[object]:
    for field in fields:
        yield [
            field.name,
            field.json_name,
            field.number,
            field.kind,
            field.repeated,
            field.map_key,
            field.message.full_name if field.message else None,
            [(value.name, value.number) for value in field.enum.values] if field.enum else None,
            field.has_presence,
            field.oneof,
            field.required,
            field.output_only,
            field.input_only,
        ]
