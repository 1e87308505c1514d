"""Replies beyond what the codec writes: 64-bit integers as numbers, enum values without their prefix.

A typed walk over a reply's JSON tree, taken only on routes that ask for it.
"""

from collections.abc import Callable

from bff.core.exchange import Json
from bff.core.schema import LONG_KINDS, EnumType, Field, MessageType
from bff.transcoding.enum_names import check_enums, short_names
from bff.transcoding.exact_json import Resolve
from bff.transcoding.scalars import WRAPPERS

__all__ = ["ReplyShape"]

_LONG_WRAPPERS = frozenset(name for name, kind in WRAPPERS.items() if kind in LONG_KINDS)
# From here on a double, which is what JavaScript reads, is not exact.
_EXACT = 2**53


def _number(value: Json) -> Json:
    number = int(value)
    return number if -_EXACT < number < _EXACT else value


class ReplyShape:
    """Shapes replies of any type. Raises ValueError, when made, for enum names that clash."""

    def __init__(
        self, message: MessageType, resolve: Resolve, *, numbers: bool, no_prefix: bool
    ) -> None:
        if no_prefix:
            check_enums(message, no_prefix=True, any_case=False)
        self._resolve = resolve
        self._numbers = numbers
        self._no_prefix = no_prefix
        self._short: dict[str, dict[str, str]] = {}

    def message(self, message: MessageType, tree: Json) -> Json:
        """The tree of a message in its new shape; trees of lists and maps are changed in place."""
        name = message.full_name
        if name == "google.protobuf.Any":
            return self._any(tree)
        if name in _LONG_WRAPPERS:
            return _number(tree) if self._numbers and tree is not None else tree
        if not isinstance(tree, dict) or name == "google.protobuf.Struct":
            return tree
        for key, value in tree.items():
            field = message.by_name.get(key)
            if field is not None and value is not None:
                tree[key] = self.field(field, value)
        return tree

    def field(self, field: Field, value: Json) -> Json:
        """The value of a whole field: a list, a map, or one element."""
        shape = self._shape_of(field)
        if shape is None:
            return value
        if field.repeated:
            return [shape(each) for each in value]
        if field.is_map:
            return {key: shape(each) for key, each in value.items()}
        return shape(value)

    def _shape_of(self, field: Field) -> Callable[[Json], Json] | None:
        inner, enum = field.message, field.enum
        if inner is not None:
            return lambda tree: self.message(inner, tree)
        if enum is not None:
            return (lambda name: self._enum(enum, name)) if self._no_prefix else None
        return _number if self._numbers and field.kind in LONG_KINDS else None

    def _enum(self, enum: EnumType, name: Json) -> Json:
        short = self._short.get(enum.full_name)
        if short is None:
            try:
                short = short_names(enum)
            except ValueError:
                # Only within Any can a type come that was not checked at load.
                short = {}
            self._short[enum.full_name] = short
        return short.get(name, name) if isinstance(name, str) else name

    def _any(self, tree: Json) -> Json:
        url = tree.get("@type") if isinstance(tree, dict) else None
        inner = self._resolve(url.rpartition("/")[2]) if isinstance(url, str) else None
        if inner is None:
            return tree
        if inner.package == "google.protobuf":
            if "value" in tree:
                tree["value"] = self.message(inner, tree["value"])
            return tree
        return self.message(inner, tree)
