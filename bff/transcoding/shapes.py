"""The codec's own descriptors as the plain types of `core.schema`.

They are read by their attributes alone: nothing here depends on the codec's library.
"""

from typing import Any

from bff.core.schema import EnumType, EnumValue, Field, Kind, MessageType, kind_of

__all__ = ["Shapes"]


class Shapes:
    """Makes each type once; the same name gives the same object."""

    def __init__(self) -> None:
        self._messages: dict[str, MessageType] = {}
        self._enums: dict[str, EnumType] = {}

    def message(self, desc: Any) -> MessageType:
        """The message of a descriptor, with everything that it refers to."""
        found = self._messages.get(desc.type_name)
        if found is not None:
            return found
        made = MessageType(full_name=desc.type_name, package=desc.file.proto.package)
        # Kept before its fields are made: they may lead back here.
        self._messages[desc.type_name] = made
        made.fields = tuple(self.field(each) for each in desc.fields)
        made.by_name.update({each.name: each for each in made.fields})
        made.by_name.update({each.json_name: each for each in made.fields})
        for each in made.fields:
            if each.oneof:
                made.oneofs[each.oneof] = (*made.oneofs.get(each.oneof, ()), each)
        return made

    def field(self, desc: Any) -> Field:
        """One field of a message."""
        value = desc.value
        kind, map_key, element = kind_of(desc.proto.type), None, None
        if hasattr(value, "key"):
            map_key, element = kind_of(value.key), value.value
            kind = _element_kind(element)
        elif hasattr(value, "element"):
            element = value.element
        else:
            element = getattr(value, "message", None) or getattr(value, "enum", None)
        if getattr(value, "delimited_encoding", False):
            # Editions write groups as messages with a feature.
            kind = "group"
        oneof = getattr(value, "oneof", None)
        return Field(
            name=desc.name,
            json_name=desc.json_name,
            number=desc.number,
            kind=kind,
            repeated=hasattr(value, "element"),
            map_key=map_key,
            message=self.message(element) if hasattr(element, "fields") else None,
            enum=self._enum(element) if hasattr(element, "values") else None,
            has_presence=desc.presence.name != "IMPLICIT",
            oneof=oneof.name if oneof else None,
        )

    def _enum(self, desc: Any) -> EnumType:
        if desc.type_name not in self._enums:
            self._enums[desc.type_name] = EnumType(
                full_name=desc.type_name,
                package=desc.file.proto.package,
                values=tuple(EnumValue(name=each.name, number=each.number) for each in desc.values),
                closed=not desc.open,
            )
        return self._enums[desc.type_name]


def _element_kind(element: Any) -> Kind:
    if hasattr(element, "fields"):
        return "message"
    return "enum" if hasattr(element, "values") else kind_of(element)
