"""From a coerced input object back to the ProtoJSON tree that a service is asked with."""

from collections.abc import Callable, Iterable
from typing import Any

from graphql import GraphQLError

from bff.core.exchange import Json
from bff.core.schema import Field, MessageType
from bff.gql.scalars import WELL_KNOWN

__all__ = ["tree_of_input"]


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
        if field.message is not None
        and not field.message.fields
        and field.message.full_name not in WELL_KNOWN
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
