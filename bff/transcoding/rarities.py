"""What few messages hold, and what the quick ways round the codec would miss."""

from typing import Any

from protobuf import DescEnum, DescField, DescMessage

__all__ = ["has_rarities", "is_extendable"]


def is_extendable(desc: DescMessage) -> bool:
    """Whether proto2 extensions may stand in this message, or in one below it."""
    return any(each.proto.extension_range for each in _below(desc))


def has_rarities(desc: DescMessage) -> bool:
    """Whether a plan would miss something: extensions, required fields, enum values with names of their own."""
    return any(
        each.proto.extension_range or any(map(_is_rare, each.fields)) for each in _below(desc)
    )


def _is_rare(field: DescField) -> bool:
    names = [each for each in _held(field) if isinstance(each, DescEnum)]
    return field.presence.name == "LEGACY_REQUIRED" or any(
        value.json_name is not None for enum in names for value in enum.values
    )


def _below(desc: DescMessage) -> list[DescMessage]:
    """A message and all that it may hold."""
    found, seen = [desc], {desc.type_name}
    # Grows while it is walked.
    for here in found:
        for field in here.fields:
            for inner in _held(field):
                if isinstance(inner, DescMessage) and inner.type_name not in seen:
                    seen.add(inner.type_name)
                    found.append(inner)
    return found


def _held(field: DescField) -> list[Any]:
    value: Any = field.value
    return [getattr(value, name, None) for name in ("message", "enum", "element", "value")]
