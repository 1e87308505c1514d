"""One field of a reply in place of the whole message: what `response_body` names (google/api/http.proto)."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from protobuf import DescField, Message

from bff.core.schema import LONG_KINDS, Field
from bff.transcoding.any_messages import OWN_FORM
from bff.transcoding.json_shaping import ReplyShape

__all__ = ["bare_field_shower", "unset_json"]

_ZERO_JSON = MappingProxyType(
    {
        **dict.fromkeys(("string", "bytes"), b'""'),
        **dict.fromkeys(LONG_KINDS, b'"0"'),
        **dict.fromkeys(("double", "float"), b"0.0"),
        "bool": b"false",
    }
)


def bare_field_shower(
    message_class: type[Message],
    field: DescField,
    show: Callable[[Message], bytes],
    *,
    options: Mapping[str, Any],
    unset: bytes,
) -> Callable[[Message], bytes]:
    """A function from a message to the JSON of this field alone; `unset` is what an unset one shows.

    `show` writes whole messages, with these `options` of protobuf-py's.
    """
    key = field.name if options["use_proto_field_name"] else field.json_name
    prefix = len(json.dumps(key, ensure_ascii=False)) + 2

    def show_field(message: Message) -> bytes:
        if field not in message:
            return unset
        alone = message_class()
        alone[field] = message[field]
        if options["always_emit_implicit"]:
            # The fields beside it are written too, so its place in the text is not known.
            return msgspec.json.encode(msgspec.json.decode(show(alone))[key])
        return show(alone)[prefix:-1]

    return show_field


def unset_json(field: Field, shape: ReplyShape, *, enum_numbers: bool) -> bytes:
    """What a bare field shows when it is not set: its default, `{}`, `[]`, or null."""
    if field.is_map:
        return b"{}"
    if field.repeated:
        return b"[]"
    if field.message is not None:
        return b"null" if field.message.full_name in OWN_FORM else b"{}"
    if field.enum is not None:
        first = field.enum.values[0]
        if enum_numbers:
            return msgspec.json.encode(first.number)
        return msgspec.json.encode(shape.field(field, first.name))
    zero = _ZERO_JSON.get(field.kind, b"0")
    return msgspec.json.encode(shape.field(field, msgspec.json.decode(zero)))
