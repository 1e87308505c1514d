"""Digests of message types, all the way down: equal digests are types that mean the same to everybody.

Comments and places are not part of a type; names are, since JSON shows them. Messages that lead to
each other in a circle share one digest, so all of a set cost one walk over it.
"""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec

from bff.core.schema import Field, MessageType

__all__ = ["TypeShapes", "digest_of", "reachable"]

_Key = tuple[str, int]


class TypeShapes:
    """Remembers what it has looked at; for the types of one version."""

    def __init__(self) -> None:
        self._whole: dict[_Key, str] = {}

    def digest(self, message: MessageType) -> str:
        """Of this message and of every message and enum that it leads to."""
        key = _key(message)
        if key not in self._whole:
            _Walk(self._whole).run(message)
        return self._whole[key]


class _Walk:
    """Tarjan's circles, innermost first, with a stack of our own: types may be nested without end."""

    def __init__(self, whole: dict[_Key, str]) -> None:
        self._whole = whole
        self._number: dict[_Key, int] = {}
        self._lowest: dict[_Key, int] = {}
        # Visited, and not yet in a finished circle.
        self._open: list[MessageType] = []
        self._under_way: list[tuple[MessageType, Iterator[MessageType]]] = []

    def run(self, root: MessageType) -> None:
        self._enter(root)
        while self._under_way:
            message, children = self._under_way[-1]
            key = _key(message)
            for child in children:
                other = _key(child)
                if other in self._whole:
                    continue
                if other not in self._number:
                    self._enter(child)
                    break
                self._lowest[key] = min(self._lowest[key], self._number[other])
            else:
                self._leave(message)

    def _enter(self, message: MessageType) -> None:
        key = _key(message)
        self._number[key] = self._lowest[key] = len(self._number)
        self._open.append(message)
        self._under_way.append((message, iter(_children(message))))

    def _leave(self, message: MessageType) -> None:
        self._under_way.pop()
        key = _key(message)
        if self._under_way:
            above = _key(self._under_way[-1][0])
            self._lowest[above] = min(self._lowest[above], self._lowest[key])
        if self._lowest[key] == self._number[key]:
            self._close(self._number[key])

    def _close(self, first: int) -> None:
        """The messages from number `first` on are a circle, or one message alone."""
        circle: list[MessageType] = []
        while self._open and self._number[_key(self._open[-1])] >= first:
            circle.append(self._open.pop())
        below = {
            self._whole[_key(child)]
            for message in circle
            for child in _children(message)
            if _key(child) in self._whole
        }
        shapes = sorted(digest_of([m.full_name, *_fields(m.fields)]) for m in circle)
        whole = digest_of([shapes, sorted(below)])
        self._whole.update((_key(message), whole) for message in circle)


def reachable(message: MessageType) -> list[MessageType]:
    """A message and all that its fields lead to, by name."""
    reached: dict[str, MessageType] = {}
    waiting = [message]
    while waiting:
        one = waiting.pop()
        if one.full_name not in reached:
            reached[one.full_name] = one
            waiting += _children(one)
    return [reached[name] for name in sorted(reached)]


def digest_of(content: object) -> str:
    """Of plain values."""
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def _key(message: MessageType) -> _Key:
    return message.full_name, message.variant


def _children(message: MessageType) -> list[MessageType]:
    return [field.message for field in message.fields if field.message is not None]


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
