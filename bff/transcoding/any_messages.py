"""Messages inside an Any, however deep it stands: the type URLs that a client wrote, octets that do not decode."""

from collections.abc import Callable, Iterator
from typing import Any

from protobuf import Message, Registry

from bff.core.exchange import Json
from bff.transcoding.json_parser import REFUSALS
from bff.transcoding.scalars import SCALAR_MESSAGES

__all__ = ["OWN_FORM", "has_broken_any", "inner_messages", "restore_urls"]

# Types whose JSON is not an object of their fields; unset, a bare field of such a type is null.
OWN_FORM = frozenset(SCALAR_MESSAGES) | {
    f"google.protobuf.{name}" for name in ("Any", "Struct", "Value", "ListValue")
}

# A class of messages by its full name; raises KeyError if there is none.
ClassOf = Callable[[str], type[Message]]


def restore_urls(message: Message, tree: Json, class_of: ClassOf) -> None:
    """Put each `@type` back as the client wrote it; the codec wrote its own host."""
    shape = message.desc()
    if shape.type_name == "google.protobuf.Any":
        _restore_any(message, tree, class_of)
        return
    if shape.type_name in OWN_FORM or not isinstance(tree, dict):
        return
    fields = {name: each for each in shape.fields for name in (each.name, each.json_name)}
    for key, value in tree.items():
        field = fields.get(key)
        if field is None or value is None or field not in message:
            continue
        for each, part in _side_by_side(message[field], value):
            if isinstance(each, Message):
                restore_urls(each, part, class_of)


def _restore_any(message: Any, tree: Json, class_of: ClassOf) -> None:
    if not tree:
        return
    url = tree["@type"]
    inner = class_of(url.rpartition("/")[2]).from_binary(message.value)
    own_form = inner.desc().type_name in OWN_FORM
    restore_urls(inner, tree.get("value") if own_form else tree, class_of)
    message.type_url, message.value = url, inner.to_binary()


def _side_by_side(inner: Any, tree: Json) -> list[tuple[Any, Json]]:
    """The messages of a field beside their parts of the JSON tree; a map keeps the text's order."""
    if isinstance(inner, list):
        return list(zip(inner, tree, strict=False))
    if isinstance(inner, dict):
        return list(zip(inner.values(), tree.values(), strict=False))
    return [(inner, tree)]


def has_broken_any(message: Any, registry: Registry) -> bool:
    """Whether an Any within, of a type that is known, does not decode."""
    desc = message.desc()
    if desc.type_name == "google.protobuf.Any":
        found = registry.message(message.type_url.rpartition("/")[2])
        if found is None:
            return False
        try:
            inner = found.type.from_binary(message.value, ignore_unknown_fields=True)
        except REFUSALS:
            return True
        return has_broken_any(inner, registry)
    return any(has_broken_any(each, registry) for each in inner_messages(message))


def inner_messages(message: Any) -> Iterator[Any]:
    """The messages right within: of fields that are set, of each element of lists and maps."""
    for field in message.desc().fields:
        if field not in message:
            continue
        value = message[field]
        held = value.values() if isinstance(value, dict) else value
        for each in held if isinstance(value, list | dict) else (value,):
            if isinstance(each, Message):
                yield each
