"""The schema: root fields and joins of the mappings over types made from descriptors, checked at load."""

from collections.abc import Mapping, Sequence

from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    print_schema,
    validate_schema,
)
from msgspec import Struct

from bff.core.schema import MessageType
from bff.gql.join_fields import JoinField, JoinMaker, entity_of
from bff.gql.root_fields import RootField, RootMaker, is_legal_name, picked_of
from bff.gql.schema_faults import Faults, SchemaFault
from bff.gql.shown import Rules
from bff.gql.types import TypeMaker

__all__ = ["GqlSchema", "build_schema"]


class GqlSchema(Struct, frozen=True, kw_only=True, eq=False):
    """A schema ready to execute. `sdl` is its text; `fields` the root fields by `Query.name`."""

    schema: GraphQLSchema
    sdl: str
    fields: Mapping[str, RootField]


def build_schema(
    fields: Sequence[RootField],
    joins: Sequence[JoinField] = (),
    *,
    rules: Rules | None = None,
    all_nullable: bool = False,
) -> tuple[GqlSchema | None, list[SchemaFault]]:
    """The schema, or None and everything that is wrong.

    `rules` are by (message's full name, field's proto name).
    """
    builder = _Builder(fields, joins, rules or {}, all_nullable=all_nullable)
    return builder.build()


class _Builder:
    """Looks up every message that is shown, then makes the types and the fields over them."""

    def __init__(
        self,
        fields: Sequence[RootField],
        joins: Sequence[JoinField],
        rules: Rules,
        *,
        all_nullable: bool,
    ) -> None:
        self._fields = fields
        self._joins = joins
        self._faults = Faults()
        # By message: the fields that joins add to it.
        self._joined: dict[str, dict[str, GraphQLField]] = {}
        self._entities = [entity_of(join, self._faults) for join in joins]
        self._picked = [picked_of(field, self._faults) for field in fields]
        self._types = TypeMaker(
            outputs=[
                *(message for message, _ in self._picked if isinstance(message, MessageType)),
                *(entity for entity in self._entities if entity is not None),
            ],
            inputs=[field.method.input for field in fields],
            requests=frozenset(field.method.input.full_name for field in fields),
            rules=rules,
            extra_fields=lambda message: self._joined.get(message.full_name, {}),
            all_nullable=all_nullable,
        )
        self._join_maker = JoinMaker(self._types, self._faults)
        self._root_maker = RootMaker(self._types, rules, self._faults)

    def build(self) -> tuple[GqlSchema | None, list[SchemaFault]]:
        """Joins first, since output types ask for them; then the roots."""
        for name in self._types.doubled:
            self._faults.add("graphql", f"two types would be named {name}")
        for join, entity in zip(self._joins, self._entities, strict=True):
            joined = self._join_maker.make(join, entity)
            if joined is not None:
                parent, field = joined
                self._joined.setdefault(parent.full_name, {})[join.name] = field
        roots = self._roots()
        if not roots["query"] and not self._faults.found:
            self._faults.add("graphql.queries", "a schema needs at least one query")
        if self._faults.found:
            return None, self._faults.found
        return self._finish(roots)

    def _roots(self) -> dict[str, dict[str, GraphQLField]]:
        roots: dict[str, dict[str, GraphQLField]] = {"query": {}, "mutation": {}}
        for field, (message, pick) in zip(self._fields, self._picked, strict=True):
            if not is_legal_name(field.name, field.path, self._faults):
                continue
            made = self._root_maker.make(field, message, pick)
            if field.name in roots[field.kind]:
                self._faults.add(field.path, f"the {field.kind} {field.name} is there twice")
            elif made is not None:
                roots[field.kind][field.name] = made
        return roots

    def _finish(
        self, roots: Mapping[str, dict[str, GraphQLField]]
    ) -> tuple[GqlSchema | None, list[SchemaFault]]:
        mutation = roots["mutation"]
        try:
            schema = GraphQLSchema(
                query=GraphQLObjectType("Query", roots["query"]),
                mutation=GraphQLObjectType("Mutation", mutation) if mutation else None,
            )
        except (TypeError, GraphQLError) as error:
            # The library's own rules: names that are not legal, types that are there twice.
            return None, [SchemaFault("graphql", str(error))]
        errors = validate_schema(schema)
        if errors:
            return None, [SchemaFault("graphql", error.message) for error in errors]
        named = {f"{field.kind.capitalize()}.{field.name}": field for field in self._fields}
        return GqlSchema(schema=schema, sdl=print_schema(schema), fields=named), []
