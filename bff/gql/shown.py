"""Which messages, fields and enums a schema shows, as the types and the mapping's rules have it."""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from bff.core.schema import EnumType, Field, MessageType
from bff.gql.scalars import WELL_KNOWN

__all__ = ["FieldRule", "Rules", "collect_messages", "rule_of", "usable_fields"]


class FieldRule(Struct, frozen=True, kw_only=True):
    """What a mapping says of one field: hidden, or printed as another scalar."""

    hide: bool = False
    as_: Literal["", "ID", "Int", "JSON"] = ""


# Fields by (message's full name, proto name of the field).
Rules = Mapping[tuple[str, str], FieldRule]
_PLAIN = FieldRule()


def rule_of(rules: Rules, message: MessageType, field: Field) -> FieldRule:
    """What the mapping says of this field; a rule that changes nothing where it says nothing."""
    return rules.get((message.full_name, field.name), _PLAIN)


def collect_messages(
    roots: Iterable[MessageType], rules: Rules, *, inputs: bool
) -> tuple[dict[str, MessageType], dict[str, EnumType]]:
    """All messages and enums that these lead to, by full name; scalars and empty messages are none."""
    messages: dict[str, MessageType] = {}
    enums: dict[str, EnumType] = {}
    waiting = list(roots)
    while waiting:
        message = waiting.pop()
        if message.full_name in messages or message.full_name in WELL_KNOWN:
            continue
        fields = usable_fields(message, rules, inputs=inputs)
        if not fields:
            continue
        messages[message.full_name] = message
        for field in fields:
            if field.message is not None:
                waiting.append(field.message)
            elif field.enum is not None:
                enums[field.enum.full_name] = field.enum
    return messages, enums


def usable_fields(message: MessageType, rules: Rules, *, inputs: bool) -> list[Field]:
    """The fields that this side of the schema has."""
    return [
        field
        for field in message.fields
        if not rule_of(rules, message, field).hide
        and not (field.output_only if inputs else field.input_only)
    ]
