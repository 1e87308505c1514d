"""One field of a message, however deep: read, set, cleared, with the oneofs on the way to it."""

from typing import Any

from protobuf import DescField, DescMessage, Message

__all__ = ["Leaf"]


class Leaf:
    """Reads and writes one singular field, at any depth, of messages that `Codec.parser` made."""

    __slots__ = ("_last", "_path")

    def __init__(self, fields: tuple[DescField, ...]) -> None:
        self._path, self._last = fields[:-1], fields[-1]

    def get(self, message: Message) -> Any:
        """The value, a message as its wire octets; None if unset (or default, without presence)."""
        for field in self._path:
            if field not in message:
                return None
            message = message[field]
        if self._last not in message:
            return None
        value = message[self._last]
        return value.to_binary() if isinstance(value, Message) else value

    def clear(self, message: Message) -> None:
        """Unset the field, and of every oneof on the way to it the member that excludes it."""
        for field in (*self._path, self._last):
            oneof = getattr(field.value, "oneof", None)
            for each in oneof.fields if oneof else ():
                if each in message and (each is not field or field is self._last):
                    del message[each]
            if field not in message:
                return
            if field is self._last:
                del message[field]
                return
            message = message[field]

    def is_excluded(self, message: Message) -> bool:
        """True if the message holds another member of a oneof that this field, or one above it, is in."""
        for field in (*self._path, self._last):
            oneof = getattr(field.value, "oneof", None)
            if oneof and any(each in message for each in oneof.fields if each is not field):
                return True
            if field is self._last or field not in message:
                return False
            message = message[field]
        return False

    def set(self, message: Message, value: Any) -> None:
        """Set the value (a message: its wire octets), making the messages on the way."""
        for field in self._path:
            if field not in message:
                message[field] = _element_class(field)()
            message = message[field]
        is_message = hasattr(self._last.value, "message")
        message[self._last] = _element_class(self._last).from_binary(value) if is_message else value


def _element_class(field: DescField) -> type[Message]:
    found: DescMessage = field.value.message  # type: ignore[union-attr]  # only message fields come here
    return found.type
