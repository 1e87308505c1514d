"""GraphQL from the text to the reply: what is executed is within every limit, by a count of its own."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)

from bff.core.errors import ClientError, UpstreamError
from bff.core.json_text import read_json
from bff.core.status import Code
from bff.gql.limits import Caps
from tests.support.shop_graphql import Backend, run, schema_of

__all__ = ["OPERATION_SEEDS", "operations"]

_ORDER = {
    "id": "o-1", "customerId": "u-1", "cents": "9007199254740993", "status": "ORDER_STATUS_PAID", "weight": 1.5,
    "items": [{"productId": "p-1", "quantity": 2}, {"productId": "gone"}], "labels": {"b": "2", "a": "1"},
    "created": "2026-01-02T03:04:05.678Z", "digest": "AQI=", "card": {"lastFour": "1234"},
}  # fmt: skip
_MORE = b'fragment f on Order { id s: status @include(if: true) customer { userId } }\n\n{"id": "bad", "n": 3}'
# The document, an empty line, and its variables.
OPERATION_SEEDS = (
    b'{ order(orderId: "o-1") { id customer { displayName } items { quantity product { name } } cents } }',
    b"query q($id: ID!, $n: Int = 2) { a: order(orderId: $id) { ...f } orders(first: $n) { orders { id } } } " + _MORE,
    b'mutation m($i: PlaceOrderInput!) { placeOrder(input: $i) { card { lastFour } } }\n\n{"i": {"customerId": "c"}}',
    b'{ order(orderId: "down") { total { units } labels { key } } o: order(orderId: "x") @skip(if: false) { id } }',
    b"{ a: __typename b: __typename c: __typename d: __typename e: __typename f: __typename g: __typename }",
    b"query a { ...x } query b { __schema { types { fields { type { name } } } } } fragment x on Query { a }",
    b'query ($s: [ID!] = ["a"], $f: Float = 1e999) { orders(after: "\\ud83d") { orders { id } } }\n\n{"s": [[]]}',
)  # fmt: skip

_SCHEMA = schema_of()
_CAPS = Caps()


def operations(raw: bytes) -> None:
    """A reply that JSON can carry, no more calls than the cap, and no bug; data has the fields asked for."""
    head, _, tail = raw.partition(b"\n\n")
    text = head.decode("utf-8", "surrogateescape")
    try:
        variables = read_json(tail)
    except ClientError:
        variables = None
    services = _Services()
    result = asyncio.run(
        run(
            text, services, variables if isinstance(variables, dict) else None,
            schema=_SCHEMA, caps=_CAPS, introspection=len(raw) % 2 == 0, on_bug=_raise,
        )
    )  # fmt: skip
    json.dumps(result.body(), allow_nan=False).encode()
    assert result.calls == len(services.calls) <= _CAPS.calls
    assert len(result.errors) <= _CAPS.errors + 1
    if result.fault is not None:
        assert not services.calls
        assert result.errors
        assert "data" not in result.body()
        return
    document = parse(text)
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            _judge(definition, document)
    names = _only_operation(document)
    data = result.body()["data"]
    if names is not None and data is not None:
        assert set(data) <= set(names)
        assert "@" in text or list(data) == list(dict.fromkeys(names))


class _Services(Backend):
    """Orders of every kind: there, with a fault, and none."""

    def usual(self) -> dict[str, Any]:
        return super().usual() | {
            "orders.GetOrder": _get_order,
            "orders.ListOrders": lambda request: {
                "orders": [_ORDER] * min(request.get("pageSize", 1), 5)
            },
            "orders.PlaceOrder": lambda _request: _ORDER,
        }


def _get_order(request: dict[str, Any]) -> Any:
    if request["orderId"] == "down":
        return UpstreamError(
            "UPSTREAM_UNAVAILABLE", code=Code.UNAVAILABLE, origin="local", upstream="orders"
        )
    return {} if request["orderId"] == "bad" else _ORDER


def _raise(error: BaseException) -> None:
    raise error


def _judge(operation: OperationDefinitionNode, document: DocumentNode) -> None:
    """The limits by walking the operation with every fragment written out where it is spread."""
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    depths = [1]
    aliases = 0
    waiting = [(node, 1) for node in _fields(operation.selection_set, fragments)]
    assert len(waiting) <= _CAPS.root_fields
    while waiting:
        node, depth = waiting.pop()
        aliases += node.alias is not None
        if node.name.value in {"__schema", "__type"}:
            continue
        depths.append(depth)
        if node.selection_set is not None:
            waiting += [(below, depth + 1) for below in _fields(node.selection_set, fragments)]
    assert max(depths) <= _CAPS.depth
    assert aliases <= _CAPS.aliases


def _fields(
    selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]
) -> Iterator[FieldNode]:
    for node in selections.selections:
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, FragmentSpreadNode):
            yield from _fields(fragments[node.name.value].selection_set, fragments)
        else:
            yield from _fields(node.selection_set, fragments)  # type: ignore[attr-defined]  # an inline fragment


def _only_operation(document: DocumentNode) -> list[str] | None:
    """The names of its data, where there is one operation."""
    found = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(found) != 1:
        return None
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    return [(node.alias or node.name).value for node in _fields(found[0].selection_set, fragments)]
