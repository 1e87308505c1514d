"""What a document and its variables may cost before anything is asked: counts with fragments expanded.

`text_limits` has the pass over the text before it; no visitor ever sees a document that it refused.
"""

from collections.abc import Iterator

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)
from msgspec import Struct

from bff.core.exchange import Json
from bff.gql.faults import RequestFault, coded

__all__ = ["Caps", "check_expanded", "check_variables", "exceeded"]

# Expanded counts stop here; a bomb is a number, not a walk.
_SATURATED = 10**9


class Caps(Struct, frozen=True, kw_only=True):
    """The limits of one request; sizes in bytes of UTF-8, the rest are counts."""

    text_bytes: int = 16 * 1024
    tokens: int = 1000
    comments: int = 100
    nesting: int = 32
    depth: int = 8
    introspection_depth: int = 15
    aliases: int = 15
    root_fields: int = 10
    directives: int = 20
    same_name: int = 4
    fragments: int = 20
    spreads: int = 40
    operations: int = 5
    list_items: int = 1000
    input_depth: int = 8
    string_bytes: int = 16 * 1024
    variables: int = 30
    errors: int = 100
    calls: int = 16


def exceeded(limit: str, most: int, actual: int) -> RequestFault:
    """The refusal of a document that has more of this than it may."""
    message = f"The document exceeds its limit of {most} for {limit}."
    error = coded(message, "LIMIT_EXCEEDED", limit=limit, max=most, actual=actual)
    return RequestFault("limit", (error,))


class _Counts(Struct):
    """What a selection set comes to with its fragments expanded."""

    depth: int = 0
    introspection_depth: int = 0
    aliases: int = 0
    fields: int = 0


def check_expanded(document: DocumentNode, caps: Caps) -> RequestFault | None:
    """Depth, aliases and root fields with every fragment in its place.

    Each fragment is counted once, however often it is spread. Unknown fragments and circles are
    refused here, before validation.
    """
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    order, fault = _fragment_order(fragments)
    if fault is not None:
        return fault
    counted: dict[str, _Counts] = {}
    for name in order:
        counted[name] = _count(fragments[name].selection_set, counted)
    for node in document.definitions:
        if not isinstance(node, OperationDefinitionNode):
            continue
        missing = [name for name in _spreads(node.selection_set) if name not in fragments]
        if missing:
            return _invalid(f"Unknown fragment '{missing[0]}'.")
        counts = _count(node.selection_set, counted)
        for limit, actual in (
            ("depth", counts.depth),
            ("introspection_depth", counts.introspection_depth),
            ("aliases", counts.aliases),
            ("root_fields", counts.fields),
        ):
            most = getattr(caps, limit)
            if actual > most:
                return exceeded(limit, most, actual)
    return None


def _invalid(message: str) -> RequestFault:
    return RequestFault("validation", (coded(message, "GRAPHQL_VALIDATION_FAILED"),))


def _fragment_order(
    fragments: dict[str, FragmentDefinitionNode],
) -> tuple[list[str], RequestFault | None]:
    """Fragments so that each comes after those it spreads; iterative, since chains may be long."""
    spreads = {name: list(_spreads(node.selection_set)) for name, node in fragments.items()}
    order: list[str] = []
    state: dict[str, int] = {}
    for first in fragments:
        stack = [first]
        while stack:
            name = stack[-1]
            if state.get(name) == 2:
                stack.pop()
                continue
            if name not in fragments:
                return [], _invalid(f"Unknown fragment '{name}'.")
            if state.get(name) == 1:
                state[name] = 2
                order.append(name)
                stack.pop()
                continue
            state[name] = 1
            for below in spreads[name]:
                if state.get(below) == 1:
                    return [], _invalid(f"Cannot spread fragment '{below}' within itself.")
                if state.get(below) is None:
                    stack.append(below)
    return order, None


def _spreads(selections: SelectionSetNode) -> Iterator[str]:
    """Names of the fragments spread anywhere below; the depth is that of the text, which is capped."""
    for node in selections.selections:
        if isinstance(node, FragmentSpreadNode):
            yield node.name.value
        else:
            below: SelectionSetNode | None = getattr(node, "selection_set", None)
            if below is not None:
                yield from _spreads(below)


def _count(selections: SelectionSetNode, counted: dict[str, _Counts]) -> _Counts:
    """Counts of one selection set; `fields` are those directly in it."""
    total = _Counts()
    for node in selections.selections:
        if isinstance(node, FieldNode):
            total.fields += 1
            total.aliases += node.alias is not None
            below = _count(node.selection_set, counted) if node.selection_set else _Counts()
            is_meta = node.name.value in {"__schema", "__type"}
            total.aliases += below.aliases
            if is_meta:
                deepest = max(below.depth, below.introspection_depth)
                total.introspection_depth = max(total.introspection_depth, deepest + 1)
            else:
                total.depth = max(total.depth, below.depth + 1)
                total.introspection_depth = max(
                    total.introspection_depth, below.introspection_depth
                )
        else:
            below = (
                counted.get(node.name.value, _Counts())
                if isinstance(node, FragmentSpreadNode)
                else _count(_selections(node), counted)
            )
            total.fields += below.fields
            total.aliases += below.aliases
            total.depth = max(total.depth, below.depth)
            total.introspection_depth = max(total.introspection_depth, below.introspection_depth)
    total.fields = min(total.fields, _SATURATED)
    total.aliases = min(total.aliases, _SATURATED)
    return total


def _selections(node: SelectionNode) -> SelectionSetNode:
    assert isinstance(node, InlineFragmentNode)
    return node.selection_set


def check_variables(variables: Json, caps: Caps) -> RequestFault | None:
    """Size of the variables' values: nesting, list lengths, text lengths."""
    if len(variables) > caps.variables:
        return exceeded("variables", caps.variables, len(variables))
    level = list(variables.values())
    depth = 1
    while level:
        if depth > caps.input_depth:
            return exceeded("input_depth", caps.input_depth, depth)
        below: list[Json] = []
        for value in level:
            if isinstance(value, str):
                # Four bytes a character at most: short texts need no encoding to be judged.
                if len(value) * 4 > caps.string_bytes and len(value.encode()) > caps.string_bytes:
                    return exceeded("string", caps.string_bytes, len(value.encode()))
            elif isinstance(value, list):
                if len(value) > caps.list_items:
                    return exceeded("list_items", caps.list_items, len(value))
                below.extend(value)
            elif isinstance(value, dict):
                below.extend(value.values())
        level = below
        depth += 1
    return None
