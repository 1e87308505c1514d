"""GraphQL types of messages and enums: output types with their resolvers, input types with their way back."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLEnumValue,
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

from bff.core.schema import EnumType, Field, MessageType
from bff.gql.input_trees import tree_of_input
from bff.gql.naming import (
    assign_names,
    enum_names,
    field_name,
    input_name,
    local_name,
    pascal,
)
from bff.gql.readers import (
    Resolver,
    empty_of,
    enum_reader,
    field_reader,
    list_reader,
    map_reader,
    may_be_null,
    present,
)
from bff.gql.scalars import JSON, SCALAR_OF_KIND, WELL_KNOWN, Convert, finite
from bff.gql.shown import Rules, collect_messages, rule_of, usable_fields

__all__ = ["TypeMaker"]

_DEPRECATED = "Deprecated by its service"
_AS: dict[str, tuple[GraphQLScalarType, Convert | None]] = {
    "ID": (GraphQLID, None),
    "Int": (GraphQLInt, int),
    "JSON": (JSON, None),
}


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
            return GraphQLBoolean, present
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
        rule = rule_of(self._rules, message, field)
        whole = rule.as_ == "JSON" and (field.is_map or field.repeated)
        single, convert = _AS[rule.as_] if rule.as_ else self._single_output(field)
        if field.is_map and not whole:
            type_, resolve = self._map_output(message, field, single, convert)
        elif field.repeated and not whole:
            item = single if may_be_null(field) else GraphQLNonNull(single)
            type_, resolve = GraphQLNonNull(GraphQLList(item)), list_reader(field, convert)
        else:
            is_null = field.has_presence or field.message is not None or may_be_null(field)
            type_ = single if is_null and not whole else GraphQLNonNull(single)
            resolve = field_reader(field, None if whole else convert, empty_of(field, whole=whole))
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
            return self._enum(field.enum), enum_reader(field.enum)
        scalar = SCALAR_OF_KIND[field.kind]
        return scalar, finite if field.kind in {"double", "float"} else None

    def _map_output(
        self, message: MessageType, field: Field, single: Any, convert: Convert | None
    ) -> tuple[Any, Resolver]:
        assert field.map_key is not None
        name = f"{self._names[f'out {message.full_name}']}_{pascal(field.name)}Entry"
        value = single if may_be_null(field) else GraphQLNonNull(single)
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
        return GraphQLNonNull(GraphQLList(GraphQLNonNull(entry))), map_reader(field)

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
        rule = rule_of(self._rules, message, field)
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
