"""The schema: root fields and joins of the mappings over types made from descriptors, checked at load."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    print_schema,
    validate_schema,
)
from msgspec import Struct
from msgspec.json import encode

from bff.core.exchange import Json
from bff.core.expressions import EvalError, Expression
from bff.core.joining import zero_key
from bff.core.problems import nearest
from bff.core.schema import Field, MessageType, Method
from bff.gql.joins import JoinPlan, Run
from bff.gql.naming import field_name
from bff.gql.scalars import WELL_KNOWN
from bff.gql.types import FieldRule, TypeMaker, tree_of_input, usable_fields

__all__ = [
    "FieldRule",
    "GqlSchema",
    "JoinField",
    "PageSize",
    "RootField",
    "SchemaFault",
    "build_schema",
]

# GraphQL 2.1.9.
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_NAME_HINT = "letters, digits and _, no digit first"
# A query with at most so many fields, and no oneof, takes them as arguments of its own.
_MAX_FLAT_ARGUMENTS = 8


class PageSize(Struct, frozen=True, kw_only=True):
    """The argument that bounds a list: its value without one, and the most it may be."""

    arg: str
    default: int = 20
    max: int = 100


class RootField(Struct, frozen=True, kw_only=True):
    """A field of Query or Mutation: one operation, `operation` by the name that `call` takes.

    `args` renames (GraphQL name to field of the request), `fill` sets fields that no client sees,
    `pick` is the path in the reply that is shown. `path` is its key in the mapping, for faults.
    """

    kind: Literal["query", "mutation"]
    name: str
    method: Method
    operation: str
    args: Mapping[str, str] = {}
    fill: Mapping[str, Expression] = {}
    pick: str = ""
    page_size: PageSize | None = None
    timeout_s: float | None = None
    path: str = ""


class JoinField(Struct, frozen=True, kw_only=True):
    """A field that a join adds to a type (by GraphQL or full name); words as in a mapping."""

    type: str
    name: str
    method: Method
    operation: str
    keys: str
    into: str
    entities: str = ""
    entity_key: str = ""
    mode: Literal["one", "many"] = "one"
    match: Literal["key", "index"] = "key"
    max_batch: int = 100
    parallel: int | None = None
    fixed: Mapping[str, Json] = {}
    timeout_s: float | None = None
    allow_n_plus_one: bool = False
    path: str = ""


class SchemaFault(Struct, frozen=True):
    """What is wrong, at which key of the mapping (`graphql.joins.Order.customer.keys`), and the fix.

    `is_missing_type`: a join onto a type that the schema does not have.
    """

    path: str
    message: str
    hint: str = ""
    is_missing_type: bool = False


class GqlSchema(Struct, frozen=True, kw_only=True, eq=False):
    """A schema ready to execute. `sdl` is its text; `fields` the root fields by `Query.name`."""

    schema: GraphQLSchema
    sdl: str
    fields: Mapping[str, RootField]


def build_schema(
    fields: Sequence[RootField],
    joins: Sequence[JoinField] = (),
    *,
    rules: Mapping[tuple[str, str], FieldRule] | None = None,
    all_nullable: bool = False,
) -> tuple[GqlSchema | None, list[SchemaFault]]:
    """The schema, or None and everything that is wrong.

    `rules` are by (message's full name, field's proto name).
    """
    builder = _Builder(fields, joins, rules or {}, all_nullable=all_nullable)
    return builder.build()


class _Builder:
    """Collects faults while the schema grows."""

    def __init__(
        self,
        fields: Sequence[RootField],
        joins: Sequence[JoinField],
        rules: Mapping[tuple[str, str], FieldRule],
        *,
        all_nullable: bool,
    ) -> None:
        self._fields = fields
        self._joins = joins
        self._rules = rules
        self._faults: list[SchemaFault] = []
        self._joined: dict[str, dict[str, GraphQLField]] = {}
        entities = [self._entity(join) for join in joins]
        picked = [self._picked(field) for field in fields]
        self._picked_by_field = dict(zip((id(field) for field in fields), picked, strict=True))
        self._entity_by_join = dict(zip((id(join) for join in joins), entities, strict=True))
        self._types = TypeMaker(
            outputs=[
                *(one[0] for one in picked if isinstance(one[0], MessageType)),
                *(one for one in entities if one is not None),
            ],
            inputs=[field.method.input for field in fields],
            requests=frozenset(field.method.input.full_name for field in fields),
            rules=rules,
            extra_fields=lambda message: self._joined.get(message.full_name, {}),
            all_nullable=all_nullable,
        )

    def build(self) -> tuple[GqlSchema | None, list[SchemaFault]]:
        """Joins first, since output types ask for them; then the roots."""
        for name in self._types.doubled:
            self._fault("graphql", f"two types would be named {name}")
        for join in self._joins:
            self._join(join)
        roots: dict[str, dict[str, GraphQLField]] = {"query": {}, "mutation": {}}
        for field in self._fields:
            if _NAME.fullmatch(field.name) is None:
                self._fault(field.path, f"{field.name!r} is no GraphQL name", _NAME_HINT)
                continue
            made = self._root(field)
            if field.name in roots[field.kind]:
                self._fault(field.path, f"the {field.kind} {field.name} is there twice")
            elif made is not None:
                roots[field.kind][field.name] = made
        if not roots["query"] and not self._faults:
            self._fault("graphql.queries", "a schema needs at least one query")
        if self._faults:
            return None, self._faults
        return self._finish(roots)

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

    def _fault(self, path: str, message: str, hint: str = "") -> None:
        self._faults.append(SchemaFault(path, message, hint))

    def _field(self, message: MessageType, name: str, path: str) -> Field | None:
        field = message.by_name.get(name)
        if field is None:
            known = nearest(name, [one.name for one in message.fields])
            hint = f"did you mean '{known}'?" if known else ""
            self._fault(path, f"{message.full_name} has no field '{name}'", hint)
        return field

    def _walk(self, message: MessageType, dotted: str, path: str) -> list[Field] | None:
        """The fields along a path of names; None and a fault if it does not exist."""
        fields: list[Field] = []
        below: MessageType | None = message
        for name in dotted.split("."):
            if below is None:
                self._fault(path, f"'{name}' is read from a field that is no message")
                return None
            field = self._field(below, name, path)
            if field is None:
                return None
            fields.append(field)
            below = None if field.is_map else field.message
        return fields

    # Root fields

    def _picked(self, field: RootField) -> tuple[MessageType | None, tuple[str, ...]]:
        if not field.pick:
            return field.method.output, ()
        fields = self._walk(field.method.output, field.pick, f"{field.path}.pick")
        if fields is None:
            return None, ()
        if fields[-1].message is None or any(one.repeated for one in fields):
            self._fault(f"{field.path}.pick", f"{field.pick} leads to no single message")
            return None, ()
        return fields[-1].message, tuple(one.json_name for one in fields)

    def _root(self, field: RootField) -> GraphQLField | None:
        if field.method.client_streaming or field.method.server_streaming:
            self._fault(field.path, f"{field.operation} streams; a {field.kind} takes one reply")
            return None
        message, pick = self._picked_by_field[id(field)]
        if message is None:
            return None
        arguments = self._arguments(field)
        if arguments is None:
            return None
        args, request_of = arguments
        type_, convert = self._types.output_of(message)
        return GraphQLField(
            type_,
            args=args,
            resolve=_root_resolver(field, request_of, pick, convert),
            description=field.method.comment or None,
            deprecation_reason="Deprecated by its service" if field.method.deprecated else None,
        )

    def _arguments(
        self, field: RootField
    ) -> tuple[dict[str, GraphQLArgument], Callable[[dict[str, Any]], dict[str, Json]]] | None:
        message = field.method.input
        hidden = {
            found.name
            for name in field.fill
            if (found := self._field(message, name, f"{field.path}.with.{name}")) is not None
        }
        if message.full_name in WELL_KNOWN:
            self._fault(field.path, f"{message.full_name} cannot be a request here")
            return None
        usable = [
            one
            for one in usable_fields(message, self._rules, inputs=True)
            if one.name not in hidden
        ]
        renamed = self._renamed(field, message)
        if renamed is None:
            return None
        if not usable:
            return {}, dict
        flat = field.kind == "query" and len(usable) <= _MAX_FLAT_ARGUMENTS and not message.oneofs
        if flat:
            return self._flat(field, usable, renamed)
        if renamed:
            self._fault(f"{field.path}.args", "arguments can be renamed only where they are flat")
            return None
        if hidden and any(one.required for one in message.fields if one.name in hidden):
            self._fault(f"{field.path}.with", "a REQUIRED field of an input cannot be filled")
            return None
        input_type = self._types.input_of(message)
        needed = field.kind == "mutation" or any(one.required for one in usable)
        argument = GraphQLArgument(GraphQLNonNull(input_type) if needed else input_type)
        return {"input": argument}, lambda values: dict(values.get("input") or {})

    def _renamed(self, field: RootField, message: MessageType) -> dict[str, str] | None:
        """Argument by proto name."""
        renamed: dict[str, str] = {}
        for argument, name in field.args.items():
            if _NAME.fullmatch(argument) is None:
                path = f"{field.path}.args.{argument}"
                self._fault(path, f"{argument!r} is no GraphQL name", _NAME_HINT)
                return None
            found = self._field(message, name, f"{field.path}.args.{argument}")
            if found is None:
                return None
            renamed[found.name] = argument
        return renamed

    def _flat(
        self, field: RootField, usable: Sequence[Field], renamed: Mapping[str, str]
    ) -> tuple[dict[str, GraphQLArgument], Callable[[dict[str, Any]], dict[str, Json]]] | None:
        message = field.method.input
        args = {
            renamed.get(one.name, field_name(one)): GraphQLArgument(
                self._types.input_field_type(message, one),
                description=one.comment or None,
                out_name=one.json_name,
            )
            for one in usable
        }
        convert = tree_of_input(message, usable)
        page = field.page_size
        if page is None:
            return args, convert
        if page.arg not in args:
            known = nearest(page.arg, args)
            hint = f"did you mean '{known}'?" if known else ""
            self._fault(f"{field.path}.list_size.arg", f"there is no argument '{page.arg}'", hint)
            return None
        name = args[page.arg].out_name or page.arg
        return args, lambda values: _paged(convert(values), name, page)

    # Joins

    def _entity(self, join: JoinField) -> MessageType | None:
        """The type of a join's entities."""
        if not join.entities:
            return join.method.output
        fields = self._walk(join.method.output, join.entities, f"{join.path}.entities")
        if fields is None:
            return None
        if fields[-1].message is None:
            self._fault(f"{join.path}.entities", f"{join.entities} holds no messages")
            return None
        return fields[-1].message

    def _join(self, join: JoinField) -> None:
        entity = self._entity_by_join[id(join)]
        parent = self._types.message_named(join.type)
        if parent is None:
            known = nearest(join.type, self._types.output_names)
            hint = f"did you mean '{known}'?" if known else ""
            message = f"there is no type '{join.type}'"
            self._faults.append(SchemaFault(join.path, message, hint, is_missing_type=True))
            return
        if entity is None:
            return
        if any(field_name(one) == join.name for one in parent.fields):
            self._fault(join.path, f"{join.type} has a field '{join.name}' of its own")
            return
        keys = self._walk(parent, join.keys, f"{join.path}.keys")
        into = self._field(join.method.input, join.into, f"{join.path}.into")
        if keys is None or into is None:
            return
        plan = self._join_plan(join, entity, keys[-1], into)
        if plan is None:
            return
        many_keys = keys[-1].repeated
        type_, _ = self._types.output_of(entity)
        if join.mode == "many":
            type_ = GraphQLList(GraphQLNonNull(type_))
        if many_keys:
            type_ = GraphQLList(type_)
        path = tuple(one.json_name for one in keys)
        self._joined.setdefault(parent.full_name, {})[join.name] = GraphQLField(
            type_,
            resolve=_join_resolver(plan, path, zero_key(keys[-1]), many_keys=many_keys),
            description=join.method.comment or None,
        )

    def _join_plan(
        self, join: JoinField, entity: MessageType, key: Field, into: Field
    ) -> JoinPlan | None:
        entities = self._walk(join.method.output, join.entities, join.path) if join.entities else []
        entity_key = None
        if entities and join.match == "key":
            entity_key = self._field(entity, join.entity_key, f"{join.path}.entity_key")
            if entity_key is None:
                return None
        for other, name in ((into, "into"), (entity_key, "entity_key")):
            if other is not None and _key_kind(other) != _key_kind(key):
                message = f"{other.name} is {other.kind}, the key {key.name} is {key.kind}"
                self._fault(f"{join.path}.{name}", message)
                return None
        names = tuple(one.json_name for one in entities or ())
        key_name = entity_key.json_name if entity_key else ""
        fixed = encode(dict(sorted(join.fixed.items()))).decode()
        store = (join.operation, fixed, into.json_name, *names, key_name, join.mode, join.match)
        return JoinPlan(
            store=store,
            operation=join.operation,
            fixed=join.fixed,
            into=into.json_name,
            batch=into.repeated,
            entities=names,
            entity_key=key_name,
            zero=zero_key(key),
            index=join.match == "index",
            many=join.mode == "many",
            max_batch=join.max_batch,
            parallel=join.parallel or (4 if into.repeated else 8),
            timeout_s=join.timeout_s,
            unbounded=join.allow_n_plus_one,
        )


def _key_kind(field: Field) -> str:
    """Kinds that are written alike in a tree count as one."""
    if field.kind in {"int64", "uint64", "sint64", "fixed64", "sfixed64"}:
        return "text number"
    return "text" if field.kind in {"string", "bytes", "enum"} else "number"


def _paged(request: dict[str, Json], name: str, page: PageSize) -> dict[str, Json]:
    size = request.get(name)
    if size is None:
        request[name] = page.default
    elif int(size) < 0:
        raise GraphQLError(f"{page.arg} cannot be negative.", extensions={"code": "BAD_USER_INPUT"})
    elif int(size) > page.max:
        request[name] = page.max
    return request


# Resolvers of fields that own a call.


def _root_resolver(
    field: RootField,
    request_of: Callable[[dict[str, Any]], dict[str, Json]],
    pick: Iterable[str],
    convert: Callable[[Json], Json] | None,
) -> Callable[..., Any]:
    operation, timeout_s = field.operation, field.timeout_s
    path = tuple(pick)
    fill = tuple(
        (field.method.input.by_name[name].json_name, expr)
        for name, expr in field.fill.items()
        if name in field.method.input.by_name
    )

    async def resolve(_source: Any, info: GraphQLResolveInfo[Any], /, **values: Any) -> Json:
        run: Run = info.context
        request = request_of(values)
        for name, expr in fill:
            request[name] = _filled(expr, run.scope)
        tree = await run.ask_field(operation, request, info.path.as_list(), timeout_s=timeout_s)
        for name in path:
            tree = tree.get(name) if isinstance(tree, dict) else None
        return tree if convert is None or tree is None else convert(tree)

    return resolve


def _filled(expr: Expression, scope: Mapping[str, Json]) -> Json:
    try:
        return expr.evaluate(scope)
    except EvalError as error:
        raise GraphQLError(
            "The request could not be made.", extensions={"code": "INTERNAL"}
        ) from error


def _join_resolver(
    plan: JoinPlan, path: tuple[str, ...], zero: Json, *, many_keys: bool
) -> Callable[..., Any]:
    *above, last = path
    nothing: Json = [] if plan.many else None

    def resolve(source: Any, info: GraphQLResolveInfo[Any], /) -> Any:
        for name in above:
            source = source.get(name) if isinstance(source, dict) else None
        key = source.get(last) if isinstance(source, dict) else None
        run: Run = info.context
        if many_keys:
            return [
                nothing if one in ("", zero) else run.load(plan, one, info.path.as_list)
                for one in key or ()
            ]
        # An unset, empty or zero key names nothing; nobody is asked.
        if key is None or key in ("", zero):
            return nothing
        return run.load(plan, key, info.path.as_list)

    return resolve
