"""The fast way between wire octets and JSON, for messages and texts in which nothing is unusual.

`_plain_json` goes from one to the other without making objects (2 us for a reply of 1.7 KB, where the
codec takes 20). It takes what nearly all services and clients send, and leaves the rest to the codec:
types with a JSON of their own beyond times and wrappers, extensions, groups, fields given twice,
texts spelled in rare ways, everything that is malformed. It is C and optional: where it could not be
compiled, the codec does all the work.
"""

from collections.abc import Callable
from typing import NamedTuple, get_args

from msgspec import json

from bff.core.schema import LONG_KINDS, EnumType, Field, Kind, MessageType
from bff.transcoding.enum_names import short_names
from bff.transcoding.scalars import WRAPPERS

try:
    from bff.transcoding._plain_json import Plan
except ImportError:

    class Plan:  # type: ignore[no-redef]
        """Names the type where nothing is compiled; none is made then."""

    IS_COMPILED = False
else:
    IS_COMPILED = True

__all__ = ["IS_COMPILED", "Convert", "Plan", "Spelling", "plan_of"]

# Wire octets to JSON, or JSON to wire octets; None: not plain.
Convert = Callable[[bytes], bytes | None]

# As FieldDescriptorProto.Type counts them.
_KINDS = {name: number for number, name in enumerate(get_args(Kind), start=1)}
_REPEATED, _MAP, _PRESENCE, _FOREIGN, _OPEN = 1, 2, 4, 8, 16
_OBJECT, _TIMESTAMP, _DURATION, _WRAPPER = range(4)
_FORMS = {
    "google.protobuf.Timestamp": _TIMESTAMP,
    "google.protobuf.Duration": _DURATION,
    "google.protobuf.Empty": _OBJECT,
    **dict.fromkeys(WRAPPERS, _WRAPPER),
}
# The fields that such a type must have; a source may bring a type of its own under the name.
_TIMES = ((1, "int64", False), (2, "int32", False))
_FIELDS: dict[str, tuple[tuple[int, str, bool], ...]] = {
    "google.protobuf.Timestamp": _TIMES,
    "google.protobuf.Duration": _TIMES,
    "google.protobuf.Empty": (),
    **{name: ((1, kind, False),) for name, kind in WRAPPERS.items()},
}
# The bounds of a plan; what is beyond them is the codec's.
_MOST_FIELDS, _MOST_NUMBER, _MOST_ONEOFS, _MOST_TYPES = 128, 511, 64, 10_000


class Spelling(NamedTuple):
    """How replies are spelled, as the switches of a route say."""

    emit_unpopulated: bool = False
    proto_names: bool = False
    enum_numbers: bool = False
    long_numbers: bool = False
    short_enums: bool = False


def plan_of(message: MessageType, spelling: Spelling = Spelling()) -> Plan | None:  # noqa: B008 - frozen
    """The plan of a type; None if it has no plain form, or nothing is compiled here."""
    if not IS_COMPILED or not _is_plain(message):
        return None
    types = _Planner(spelling).types_of(message)
    return None if types is None else Plan(types, long_numbers=spelling.long_numbers)


def _is_plain(message: MessageType) -> bool:
    if message.package == "google.protobuf":
        fields = tuple((each.number, each.kind, each.repeated) for each in message.fields)
        return _FIELDS.get(message.full_name) == fields
    return (
        len(message.fields) <= _MOST_FIELDS
        and len(message.oneofs) <= _MOST_ONEOFS
        and all(field.number <= _MOST_NUMBER for field in message.fields)
        # proto2 lets two fields have one JSON name.
        and len({field.json_name for field in message.fields}) == len(message.fields)
    )


class _Planner:
    """Numbers the types that are met, the first one 0."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self._numbers: dict[str, int] = {}
        self._todo: list[MessageType | Field] = []

    def types_of(self, message: MessageType) -> tuple[object, ...] | None:
        """All types, each its form and its fields; None if there are too many."""
        self._number(message.full_name, message)
        made = []
        # Grows while it is walked.
        for each in self._todo:
            if len(self._todo) > _MOST_TYPES:
                return None
            made.append(self._entry(each) if isinstance(each, Field) else self._type(each))
        return tuple(made)

    def _number(self, name: str, what: MessageType | Field) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._todo)
            self._todo.append(what)
        return self._numbers[name]

    def _type(self, message: MessageType) -> tuple[object, ...]:
        oneofs = list(message.oneofs)
        fields = []
        for field in message.fields:
            # A name that means two fields is left to the codec.
            names = {field.name, field.json_name}
            clear = tuple(
                name.encode()
                for name in names
                if sum(name in {each.name, each.json_name} for each in message.fields) == 1
            )
            oneof = oneofs.index(field.oneof) + 1 if field.oneof else 0
            fields.append(self._field(message, field, oneof, clear))
        return _FORMS.get(message.full_name, _OBJECT), tuple(fields)

    def _field(
        self, message: MessageType, field: Field, oneof: int, names: tuple[bytes, ...]
    ) -> tuple[object, ...]:
        flags = _REPEATED if field.repeated else _MAP if field.is_map else 0
        flags |= _PRESENCE if field.has_presence else 0
        flags |= _OPEN if field.enum and not field.enum.closed else 0
        flags |= _FOREIGN if _is_foreign(field) else 0
        sub = -1
        if field.is_map:
            sub = self._number(f"{message.full_name}/{field.name}", field)
        elif field.message is not None and not flags & _FOREIGN:
            sub = self._number(field.message.full_name, field.message)
        name = field.name if self._spelling.proto_names else field.json_name
        return (
            field.number,
            _KINDS["message" if field.is_map else field.kind],
            flags,
            oneof,
            sub,
            json.encode(name) + b":",
            self._zero(message, field),
            self._shown(field.enum),
            _known(field.enum),
            names,
        )

    def _entry(self, field: Field) -> tuple[object, ...]:
        """The entries of a map: a message of key and value, both always there."""
        assert field.map_key is not None
        key = Field(name="key", json_name="key", number=1, kind=field.map_key, has_presence=True)
        value = Field(
            name="value", json_name="value", number=2, kind=field.kind, message=field.message,
            enum=field.enum, has_presence=True,
        )  # fmt: skip
        entry = MessageType(full_name=field.name, package="")
        return _OBJECT, (self._field(entry, key, 0, ()), self._field(entry, value, 0, ()))

    def _zero(self, message: MessageType, field: Field) -> bytes:
        """What stands for a field that is not there, if anything does."""
        if message.full_name in WRAPPERS:
            return _zero_scalar(field.kind, long_numbers=self._spelling.long_numbers)
        if not self._spelling.emit_unpopulated or field.has_presence:
            return b""
        if field.is_map or field.repeated:
            return b"{}" if field.is_map else b"[]"
        if field.enum is not None:
            return next((text for number, text in self._shown(field.enum) if not number), b"0")
        return _zero_scalar(field.kind, long_numbers=self._spelling.long_numbers)

    def _shown(self, enum: EnumType | None) -> tuple[tuple[int, bytes], ...]:
        """The text of each number, ascending."""
        if enum is None:
            return ()
        # Of aliases the codec prints the last, which is the first of the `.proto`.
        names = {each.number: each.name for each in enum.values}
        if self._spelling.enum_numbers:
            return tuple((number, b"%d" % number) for number in sorted(names))
        short = short_names(enum) if self._spelling.short_enums else {}
        return tuple(
            (number, json.encode(short.get(name, name))) for number, name in sorted(names.items())
        )


def _known(enum: EnumType | None) -> tuple[tuple[int, bytes], ...]:
    """The number of each name, the shortest name first: so they are searched."""
    names = [(each.number, each.name.encode()) for each in enum.values] if enum else []
    return tuple(sorted(names, key=lambda one: (len(one[1]), one[1])))


def _is_foreign(field: Field) -> bool:
    """Whether the codec has to read the values of a field."""
    if field.kind == "group" or (field.message is not None and not _is_plain(field.message)):
        return True
    return field.enum is not None and field.enum.full_name == "google.protobuf.NullValue"


def _zero_scalar(kind: str, *, long_numbers: bool) -> bytes:
    if kind in LONG_KINDS:
        return b"0" if long_numbers else b'"0"'
    return {"string": b'""', "bytes": b'""', "bool": b"false", "double": b"0.0", "float": b"0.0"}.get(
        kind, b"0"
    )  # fmt: skip
