"""What is wrong with a schema's mapping, collected while its parts look up the names that it gives."""

from msgspec import Struct

from bff.core.problems import did_you_mean
from bff.core.schema import Field, MessageType

__all__ = ["Faults", "SchemaFault"]


class SchemaFault(Struct, frozen=True):
    """What is wrong, at which key of the mapping (`graphql.joins.Order.customer.keys`), and the fix.

    `is_missing_type`: a join onto a type that the schema does not have.
    """

    path: str
    message: str
    hint: str = ""
    is_missing_type: bool = False


class Faults:
    """Everything found so far, in the order of finding."""

    def __init__(self) -> None:
        self.found: list[SchemaFault] = []

    def add(self, path: str, message: str, hint: str = "") -> None:
        """One more, at this key of the mapping."""
        self.found.append(SchemaFault(path, message, hint))

    def field(self, message: MessageType, name: str, path: str) -> Field | None:
        """The field of this name, proto or JSON; None and a fault if there is none."""
        field = message.by_name.get(name)
        if field is None:
            hint = did_you_mean(name, [one.name for one in message.fields])
            self.add(path, f"{message.full_name} has no field '{name}'", hint)
        return field

    def walk(self, message: MessageType, dotted: str, path: str) -> list[Field] | None:
        """The fields along a path of names; None and a fault if it does not exist."""
        fields: list[Field] = []
        below: MessageType | None = message
        for name in dotted.split("."):
            if below is None:
                self.add(path, f"'{name}' is read from a field that is no message")
                return None
            field = self.field(below, name, path)
            if field is None:
                return None
            fields.append(field)
            below = None if field.is_map else field.message
        return fields
