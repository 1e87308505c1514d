"""Fields of Query and Mutation: each owns one call, whose request its arguments make."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from graphql import GraphQLArgument, GraphQLError, GraphQLField, GraphQLNonNull, GraphQLResolveInfo
from msgspec import Struct

from bff.core.exchange import Json
from bff.core.expressions import EvalError, Expression
from bff.core.problems import did_you_mean
from bff.core.schema import Field, MessageType, Method
from bff.gql.input_trees import tree_of_input
from bff.gql.joins import Run
from bff.gql.naming import field_name
from bff.gql.scalars import WELL_KNOWN
from bff.gql.schema_faults import Faults
from bff.gql.shown import Rules, usable_fields
from bff.gql.types import TypeMaker

__all__ = ["PageSize", "RootField", "RootMaker", "is_legal_name", "picked_of"]

# GraphQL 2.1.9.
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_NAME_HINT = "letters, digits and _, no digit first"
# A query with at most so many fields, and no oneof, takes them as arguments of its own.
_MAX_FLAT_ARGUMENTS = 8
# From coerced arguments to the request's tree.
_RequestOf = Callable[[dict[str, Any]], dict[str, Json]]
_Arguments = tuple[dict[str, GraphQLArgument], _RequestOf]


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


def is_legal_name(name: str, path: str, faults: Faults) -> bool:
    """Whether GraphQL allows this name; a fault at `path` if it does not."""
    if _NAME.fullmatch(name) is None:
        faults.add(path, f"{name!r} is no GraphQL name", _NAME_HINT)
        return False
    return True


def picked_of(field: RootField, faults: Faults) -> tuple[MessageType | None, tuple[str, ...]]:
    """The message that is shown and the JSON names that lead to it; None and a fault if there is none."""
    if not field.pick:
        return field.method.output, ()
    fields = faults.walk(field.method.output, field.pick, f"{field.path}.pick")
    if fields is None:
        return None, ()
    if fields[-1].message is None or any(one.repeated for one in fields):
        faults.add(f"{field.path}.pick", f"{field.pick} leads to no single message")
        return None, ()
    return fields[-1].message, tuple(one.json_name for one in fields)


class RootMaker:
    """Makes root fields over the types of one schema; what is wrong goes to `faults`."""

    def __init__(self, types: TypeMaker, rules: Rules, faults: Faults) -> None:
        self._types = types
        self._rules = rules
        self._faults = faults

    def make(
        self, field: RootField, message: MessageType | None, pick: Iterable[str]
    ) -> GraphQLField | None:
        """The field with its resolver, over what `picked_of` gave; None and a fault if it cannot be."""
        if field.method.client_streaming or field.method.server_streaming:
            self._faults.add(
                field.path, f"{field.operation} streams; a {field.kind} takes one reply"
            )
            return None
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

    def _arguments(self, field: RootField) -> _Arguments | None:
        message = field.method.input
        hidden = {
            found.name
            for name in field.fill
            if (found := self._faults.field(message, name, f"{field.path}.with.{name}")) is not None
        }
        if message.full_name in WELL_KNOWN:
            self._faults.add(field.path, f"{message.full_name} cannot be a request here")
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
            self._faults.add(
                f"{field.path}.args", "arguments can be renamed only where they are flat"
            )
            return None
        if hidden and any(one.required for one in message.fields if one.name in hidden):
            self._faults.add(f"{field.path}.with", "a REQUIRED field of an input cannot be filled")
            return None
        input_type = self._types.input_of(message)
        needed = field.kind == "mutation" or any(one.required for one in usable)
        argument = GraphQLArgument(GraphQLNonNull(input_type) if needed else input_type)
        return {"input": argument}, lambda values: dict(values.get("input") or {})

    def _renamed(self, field: RootField, message: MessageType) -> dict[str, str] | None:
        """Argument by proto name."""
        renamed: dict[str, str] = {}
        for argument, name in field.args.items():
            path = f"{field.path}.args.{argument}"
            if not is_legal_name(argument, path, self._faults):
                return None
            found = self._faults.field(message, name, path)
            if found is None:
                return None
            renamed[found.name] = argument
        return renamed

    def _flat(
        self, field: RootField, usable: Sequence[Field], renamed: Mapping[str, str]
    ) -> _Arguments | None:
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
            hint = did_you_mean(page.arg, args)
            self._faults.add(
                f"{field.path}.list_size.arg", f"there is no argument '{page.arg}'", hint
            )
            return None
        name = args[page.arg].out_name or page.arg
        return args, lambda values: _paged(convert(values), name, page)


def _paged(request: dict[str, Json], name: str, page: PageSize) -> dict[str, Json]:
    size = request.get(name)
    if size is None:
        request[name] = page.default
    elif int(size) < 0:
        raise GraphQLError(f"{page.arg} cannot be negative.", extensions={"code": "BAD_USER_INPUT"})
    elif int(size) > page.max:
        request[name] = page.max
    return request


def _root_resolver(
    field: RootField,
    request_of: _RequestOf,
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
