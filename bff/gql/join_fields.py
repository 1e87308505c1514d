"""Fields that joins add to a type: each asks for entities by a key that its object has."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from graphql import GraphQLField, GraphQLList, GraphQLNonNull, GraphQLResolveInfo
from msgspec import Struct
from msgspec.json import encode

from bff.core.exchange import Json
from bff.core.joining import zero_key
from bff.core.problems import did_you_mean
from bff.core.schema import LONG_KINDS, Field, MessageType, Method
from bff.gql.joins import JoinPlan, Run
from bff.gql.naming import field_name
from bff.gql.schema_faults import Faults, SchemaFault
from bff.gql.types import TypeMaker

__all__ = ["JoinField", "JoinMaker", "entity_of"]


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


def entity_of(join: JoinField, faults: Faults) -> MessageType | None:
    """The type of a join's entities; None and a fault if there is none."""
    if not join.entities:
        return join.method.output
    fields = faults.walk(join.method.output, join.entities, f"{join.path}.entities")
    if fields is None:
        return None
    if fields[-1].message is None:
        faults.add(f"{join.path}.entities", f"{join.entities} holds no messages")
        return None
    return fields[-1].message


class JoinMaker:
    """Makes fields of joins over the types of one schema; what is wrong goes to `faults`."""

    def __init__(self, types: TypeMaker, faults: Faults) -> None:
        self._types = types
        self._faults = faults

    def make(
        self, join: JoinField, entity: MessageType | None
    ) -> tuple[MessageType, GraphQLField] | None:
        """The field, and the message whose type gets it; None and a fault if it cannot be."""
        parent = self._types.message_named(join.type)
        if parent is None:
            hint = did_you_mean(join.type, self._types.output_names)
            message = f"there is no type '{join.type}'"
            fault = SchemaFault(join.path, message, hint, is_missing_type=True)
            self._faults.found.append(fault)
            return None
        if entity is None:
            return None
        if any(field_name(one) == join.name for one in parent.fields):
            self._faults.add(join.path, f"{join.type} has a field '{join.name}' of its own")
            return None
        keys = self._faults.walk(parent, join.keys, f"{join.path}.keys")
        into = self._faults.field(join.method.input, join.into, f"{join.path}.into")
        if keys is None or into is None:
            return None
        plan = self._plan(join, entity, keys[-1], into)
        if plan is None:
            return None
        many_keys = keys[-1].repeated
        type_, _ = self._types.output_of(entity)
        if join.mode == "many":
            type_ = GraphQLList(GraphQLNonNull(type_))
        if many_keys:
            type_ = GraphQLList(type_)
        path = tuple(one.json_name for one in keys)
        return parent, GraphQLField(
            type_,
            resolve=_resolver(plan, path, zero_key(keys[-1]), many_keys=many_keys),
            description=join.method.comment or None,
        )

    def _plan(
        self, join: JoinField, entity: MessageType, key: Field, into: Field
    ) -> JoinPlan | None:
        entities = (
            self._faults.walk(join.method.output, join.entities, join.path) if join.entities else []
        )
        entity_key = None
        if entities and join.match == "key":
            entity_key = self._faults.field(entity, join.entity_key, f"{join.path}.entity_key")
            if entity_key is None:
                return None
        for other, name in ((into, "into"), (entity_key, "entity_key")):
            if other is not None and _key_kind(other) != _key_kind(key):
                message = f"{other.name} is {other.kind}, the key {key.name} is {key.kind}"
                self._faults.add(f"{join.path}.{name}", message)
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
    if field.kind in LONG_KINDS:
        return "text number"
    return "text" if field.kind in {"string", "bytes", "enum"} else "number"


def _resolver(
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
