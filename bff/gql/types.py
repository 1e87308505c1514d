"""GraphQL types of messages and enums: output types with their resolvers, input types with their way back.

Resolvers read ProtoJSON trees: what is absent is the default, or null where presence is kept.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLError,
    GraphQLField,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLString,
)
from msgspec import Struct

from bff.core.exchange import Json
from bff.core.schema import EnumType, Field, MessageType
from bff.gql.naming import (
    assign_names,
    enum_names,
    field_name,
    input_name,
    is_unspecified,
    local_name,
    pascal,
)
from bff.gql.scalars import JSON, SCALAR_OF_KIND, WELL_KNOWN, Convert, finite

__all__ = ["FieldRule", "TypeMaker", "collect_messages", "tree_of_input"]

_DEPRECATED = "Deprecated by its service"


class FieldRule(Struct, frozen=True, kw_only=True):
    """What a mapping says of one field: hidden, or printed as another scalar."""

    hide: bool = False
    as_: Literal["", "ID", "Int", "JSON"] = ""


_PLAIN = FieldRule()
_AS: dict[str, tuple[GraphQLScalarType, Convert | None]] = {
    "ID": (GraphQLID, None),
    "Int": (GraphQLInt, int),
    "JSON": (JSON, None),
}
# Fields by (message's full name, proto name of the field).
Rules = Mapping[tuple[str, str], FieldRule]


def _is_scalar(message: MessageType) -> bool:
    return message.full_name in WELL_KNOWN


def collect_messages(
    roots: Iterable[MessageType], rules: Rules, *, inputs: bool
) -> tuple[dict[str, MessageType], dict[str, EnumType]]:
    """All messages and enums that these lead to, by full name; scalars and empty messages are none."""
    messages: dict[str, MessageType] = {}
    enums: dict[str, EnumType] = {}
    waiting = list(roots)
    while waiting:
        message = waiting.pop()
        if message.full_name in messages or _is_scalar(message):
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
        if not rules.get((message.full_name, field.name), _PLAIN).hide
        and not (field.output_only if inputs else field.input_only)
    ]


class TypeMaker:
    """Makes each type once. `extra_fields` are those that joins add, by message; asked for late."""

    def __init__(
        self,
        *,
        outputs: Iterable[MessageType],
        inputs: Iterable[MessageType],
        requests: frozenset[str],
        rules: Rules,
        extra_fields: Callable[[MessageType], dict[str, GraphQLField]],
        all_nullable: bool = False,
    ) -> None:
        self._rules = rules
        self._extra_fields = extra_fields
        self._all_nullable = all_nullable
        self.output_messages, enums = collect_messages(outputs, rules, inputs=False)
        self.input_messages, more_enums = collect_messages(inputs, rules, inputs=True)
        self._names, self.doubled = assign_names(self._wanted(enums | more_enums, requests))
        self._outputs: dict[str, GraphQLObjectType] = {}
        self._inputs: dict[str, GraphQLInputObjectType] = {}
        self._enums: dict[str, GraphQLEnumType | GraphQLScalarType] = {}

    def _wanted(
        self, enums: Mapping[str, EnumType], requests: frozenset[str]
    ) -> dict[str, tuple[str, str]]:
        wanted: dict[str, tuple[str, str]] = {}
        for name, message in self.output_messages.items():
            wanted[f"out {name}"] = (message.package, local_name(name, message.package))
        for name, message in self.input_messages.items():
            local = input_name(local_name(name, message.package), is_request=name in requests)
            wanted[f"in {name}"] = (message.package, local)
        for name, enum in enums.items():
            wanted[f"enum {name}"] = (enum.package, local_name(name, enum.package))
        return wanted

    def message_named(self, type_name: str) -> MessageType | None:
        """The message behind an output type, by its GraphQL name or its full name."""
        for name, message in self.output_messages.items():
            if type_name in {name, self._names[f"out {name}"]}:
                return message
        return None

    @property
    def output_names(self) -> list[str]:
        """GraphQL names of the output types."""
        return [self._names[f"out {name}"] for name in self.output_messages]

    # Output

    def output_of(self, message: MessageType) -> tuple[Any, Convert | None]:
        """The nullable type of a message, and how its value is read."""
        known = WELL_KNOWN.get(message.full_name)
        if known is not None:
            return known
        if message.full_name not in self.output_messages:
            return GraphQLBoolean, _present
        made = self._outputs.get(message.full_name)
        if made is None:
            made = self._outputs[message.full_name] = GraphQLObjectType(
                self._names[f"out {message.full_name}"],
                lambda: self._output_fields(message),
                description=message.comment or None,
            )
        return made, None

    def _output_fields(self, message: MessageType) -> dict[str, GraphQLField]:
        fields = {
            field_name(field): self._output_field(message, field)
            for field in usable_fields(message, self._rules, inputs=False)
        }
        return {**fields, **self._extra_fields(message)}

    def _output_field(self, message: MessageType, field: Field) -> GraphQLField:
        rule = self._rules.get((message.full_name, field.name), _PLAIN)
        whole = rule.as_ == "JSON" and (field.is_map or field.repeated)
        single, convert = _AS[rule.as_] if rule.as_ else self._single_output(field)
        if field.is_map and not whole:
            type_, resolve = self._map_output(message, field, single, convert)
        elif field.repeated and not whole:
            item = single if _may_be_null(field) else GraphQLNonNull(single)
            type_, resolve = GraphQLNonNull(GraphQLList(item)), _list_reader(field, convert)
        else:
            is_null = field.has_presence or field.message is not None or _may_be_null(field)
            type_ = single if is_null and not whole else GraphQLNonNull(single)
            resolve = _reader(field, None if whole else convert, _empty_of(field, whole=whole))
        if self._all_nullable and isinstance(type_, GraphQLNonNull):
            type_ = type_.of_type
        return GraphQLField(
            type_,
            resolve=resolve,
            description=field.comment or None,
            deprecation_reason=_DEPRECATED if field.deprecated else None,
        )

    def _single_output(self, field: Field) -> tuple[Any, Convert | None]:
        if field.message is not None:
            return self.output_of(field.message)
        if field.enum is not None:
            return self._enum(field.enum), _enum_reader(field.enum)
        scalar = SCALAR_OF_KIND[field.kind]
        return scalar, finite if field.kind in {"double", "float"} else None

    def _map_output(
        self, message: MessageType, field: Field, single: Any, convert: Convert | None
    ) -> tuple[Any, Callable[..., Any]]:
        assert field.map_key is not None
        name = f"{self._names[f'out {message.full_name}']}_{pascal(field.name)}Entry"
        value = single if _may_be_null(field) else GraphQLNonNull(single)
        entry = GraphQLObjectType(
            name,
            {
                "key": GraphQLField(
                    GraphQLNonNull(SCALAR_OF_KIND[field.map_key]),
                    resolve=lambda pair, _info: pair[0],
                ),
                "value": GraphQLField(
                    value,
                    resolve=(lambda pair, _info: pair[1])
                    if convert is None
                    else (lambda pair, _info: convert(pair[1])),
                ),
            },
        )
        return GraphQLNonNull(GraphQLList(GraphQLNonNull(entry))), _map_reader(field)

    def _enum(self, enum: EnumType) -> GraphQLEnumType | GraphQLScalarType:
        made = self._enums.get(enum.full_name)
        if made is not None:
            return made
        names = enum_names(enum)
        by_name = {value.name: value for value in enum.values}
        # An enum whose one value means "not said" has nothing to list.
        made = (
            GraphQLEnumType(
                self._names[f"enum {enum.full_name}"],
                {
                    name: GraphQLEnumValue(
                        proto,
                        description=by_name[proto].comment or None,
                        deprecation_reason=_DEPRECATED if by_name[proto].deprecated else None,
                    )
                    for proto, name in names.items()
                },
                description=enum.comment or None,
            )
            if names
            else GraphQLString
        )
        self._enums[enum.full_name] = made
        return made

    # Input

    def input_of(self, message: MessageType) -> Any:
        """The nullable input type of a message."""
        known = WELL_KNOWN.get(message.full_name)
        if known is not None:
            return known[0]
        if message.full_name not in self.input_messages:
            return GraphQLBoolean
        made = self._inputs.get(message.full_name)
        if made is None:
            fields = usable_fields(message, self._rules, inputs=True)
            made = self._inputs[message.full_name] = GraphQLInputObjectType(
                self._names[f"in {message.full_name}"],
                lambda: {
                    field_name(field): GraphQLInputField(
                        self.input_field_type(message, field),
                        description=field.comment or None,
                        out_name=field.json_name,
                    )
                    for field in fields
                },
                description=message.comment or None,
                out_type=tree_of_input(message, fields),
            )
        return made

    def input_field_type(self, message: MessageType, field: Field) -> Any:
        """A field's input type: nullable unless the field is REQUIRED."""
        rule = self._rules.get((message.full_name, field.name), _PLAIN)
        single: Any
        if rule.as_:
            single = _AS[rule.as_][0]
        elif field.message is not None:
            single = self.input_of(field.message)
        elif field.enum is not None:
            single = self._enum(field.enum)
        else:
            single = SCALAR_OF_KIND[field.kind]
        if field.is_map:
            single = self._map_input(message, field, single)
        elif field.repeated:
            single = GraphQLList(GraphQLNonNull(single))
        return GraphQLNonNull(single) if field.required else single

    def _map_input(self, message: MessageType, field: Field, single: Any) -> Any:
        assert field.map_key is not None
        name = self._names[f"in {message.full_name}"].removesuffix("Input")
        entry = GraphQLInputObjectType(
            f"{name}_{pascal(field.name)}EntryInput",
            {
                "key": GraphQLInputField(GraphQLNonNull(SCALAR_OF_KIND[field.map_key])),
                "value": GraphQLInputField(GraphQLNonNull(single)),
            },
        )
        return GraphQLList(GraphQLNonNull(entry))


# Readers: from a tree's object to a field's value. Prepared at load, run for each object.

Resolver = Callable[..., Any]


def _may_be_null(field: Field) -> bool:
    """Open enums, whose unknown values read as null, and JSON, which may be null itself."""
    if field.enum is not None:
        return not field.enum.closed
    return field.message is not None and field.message.full_name == "google.protobuf.Value"


def _empty_of(field: Field, *, whole: bool) -> Json:
    if whole:
        return {} if field.is_map else []
    if field.has_presence or field.message is not None:
        return None
    if field.enum is not None:
        return field.enum.values[0].name
    if field.kind in {"string", "bytes"}:
        return ""
    if field.kind == "bool":
        return False
    return "0" if field.kind in {"int64", "uint64", "sint64", "fixed64", "sfixed64"} else 0


def _reader(field: Field, convert: Convert | None, default: Json) -> Resolver:
    name = field.json_name
    if convert is None:
        return lambda source, _info: source.get(name, default)

    def read(source: dict[str, Json], _info: Any) -> Json:
        value = source.get(name, default)
        return None if value is None else convert(value)

    return read


def _list_reader(field: Field, convert: Convert | None) -> Resolver:
    name = field.json_name
    if convert is None:
        return lambda source, _info: source.get(name) or []
    return lambda source, _info: [_or_error(convert, item) for item in source.get(name) or ()]


def _or_error(convert: Convert, value: Json) -> Json:
    # An error as the value of an item fails that item alone.
    try:
        return convert(value)
    except GraphQLError as error:
        return error


_KEY_OF_KIND: dict[str, Callable[[str], Json]] = {
    "string": str,
    "bool": "true".__eq__,
    **dict.fromkeys(("int32", "sint32", "sfixed32", "uint32", "fixed32"), int),
}


def _map_reader(field: Field) -> Resolver:
    name, kind = field.json_name, field.map_key
    assert kind is not None
    key_of = _KEY_OF_KIND.get(kind, str)
    # 64-bit keys are text that must be sorted as numbers.
    rank: Callable[[tuple[Json, Json]], Json] = (
        (lambda pair: int(pair[0])) if kind not in _KEY_OF_KIND else (lambda pair: pair[0])
    )

    def read(source: dict[str, Json], _info: Any) -> Json:
        entries = source.get(name)
        if not entries:
            return []
        return sorted(((key_of(key), value) for key, value in entries.items()), key=rank)

    return read


def _present(value: Json) -> Json:
    return value is not None


def _enum_reader(enum: EnumType) -> Convert:
    unspecified = {value.name for value in enum.values if is_unspecified(value.name, value.number)}
    known = {value.name: value.name for value in enum.values if value.name not in unspecified}

    def read(value: Json) -> Json:
        name = known.get(value)
        if name is None and value not in unspecified:
            raise GraphQLError(
                "The service gave an enum value not known here.",
                extensions={"code": "UNKNOWN_ENUM_VALUE"},
            )
        return name

    return read


# The way back: from a coerced input object to a ProtoJSON tree.


def tree_of_input(
    message: MessageType, fields: Iterable[Field]
) -> Callable[[dict[str, Any]], dict[str, Json]]:
    """A function from coerced values by JSON name to the tree; raises GraphQLError.

    Null leaves a field unset; two members of one oneof, or a doubled map key, are errors.
    """
    fields = list(fields)
    maps = [field.json_name for field in fields if field.is_map]
    empties = [
        field.json_name
        for field in fields
        if field.message is not None and not field.message.fields and not _is_scalar(field.message)
    ]
    oneofs = [
        (name, [member.json_name for member in members]) for name, members in message.oneofs.items()
    ]

    def convert(values: dict[str, Any]) -> dict[str, Json]:
        tree = {name: value for name, value in values.items() if value is not None}
        for name, members in oneofs:
            given = [member for member in members if member in tree]
            if len(given) > 1:
                said = " and ".join(given)
                raise _bad_input(f"Only one of the fields of {name} may be given, not {said}.")
        for name in maps:
            if isinstance(tree.get(name), list):
                tree[name] = _map_of(name, tree[name])
        for name in empties:
            if name in tree:
                _set_empty(tree, name)
        return tree

    return convert


def _set_empty(tree: dict[str, Json], name: str) -> None:
    value = tree[name]
    if isinstance(value, list):
        tree[name] = [{} for _ in value]
    elif value:
        tree[name] = {}
    else:
        del tree[name]


def _map_of(name: str, entries: list[dict[str, Any]]) -> dict[str, Json]:
    made: dict[str, Json] = {}
    for entry in entries:
        key = entry["key"]
        text = str(key).lower() if isinstance(key, bool) else str(key)
        if text in made:
            raise _bad_input(f"The key '{text}' of {name} is given twice.")
        made[text] = entry["value"]
    return made


def _bad_input(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_USER_INPUT"})
