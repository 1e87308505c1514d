"""The shop's GraphQL schema, and its services as functions of the request."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from bff.gql.documents import DocumentCache
from bff.gql.execute import Result, execute
from bff.gql.join_fields import JoinField
from bff.gql.limits import Caps
from bff.gql.root_fields import PageSize, RootField
from bff.gql.schema import GqlSchema, build_schema
from tests.support.shop_types import Shop, make_shop

__all__ = ["Backend", "fields_of", "joins_of", "run", "schema_of"]


def fields_of(shop: Shop) -> list[RootField]:
    return [
        RootField(
            kind="query", name="order", method=shop.get_order, operation="orders.GetOrder",
            path="graphql.queries.order",
        ),
        RootField(
            kind="query", name="orders", method=shop.list_orders, operation="orders.ListOrders",
            args={"first": "page_size", "after": "page_token"},
            page_size=PageSize(arg="first"), path="graphql.queries.orders",
        ),
        RootField(
            kind="mutation", name="placeOrder", method=shop.place_order,
            operation="orders.PlaceOrder", path="graphql.mutations.placeOrder",
        ),
    ]  # fmt: skip


def joins_of(shop: Shop) -> list[JoinField]:
    return [
        JoinField(
            type="Order", name="customer", method=shop.batch_users, operation="users.BatchGetUsers",
            keys="customer_id", into="user_ids", entities="users", entity_key="user_id",
            path="graphql.joins.Order.customer",
        ),
        JoinField(
            type="Order_Item", name="product", method=shop.batch_products,
            operation="catalog.BatchGetProducts", keys="product_id", into="ids",
            entities="products", entity_key="product_id", path="graphql.joins.Order_Item.product",
        ),
    ]  # fmt: skip


def schema_of(
    fields: list[RootField] | None = None, joins: list[JoinField] | None = None, **more: Any
) -> GqlSchema:
    """A schema that must be right."""
    shop = make_shop()
    made, faults = build_schema(
        fields_of(shop) if fields is None else fields,
        joins_of(shop) if joins is None else joins,
        **more,
    )
    assert made is not None, faults
    return made


class Backend:
    """Answers by operation: a tree, an error, or a function of the request. `calls` is what was asked."""

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self._answers = {**self.usual(), **(answers or {})}
        self.calls: list[tuple[str, dict[str, Any], list[Any]]] = []

    def usual(self) -> dict[str, Any]:
        return {
            "users.BatchGetUsers": lambda request: {
                "users": [
                    {"userId": key, "displayName": key.upper()}
                    for key in reversed(request["userIds"])
                    if key != "gone"
                ]
            },
            "catalog.BatchGetProducts": lambda request: {
                "products": [{"productId": key, "name": f"name of {key}"} for key in request["ids"]]
            },
        }

    @property
    def asked(self) -> list[str]:
        return [call[0] for call in self.calls]

    async def call(self, operation: str, request: dict[str, Any], path: list[Any]) -> Any:
        self.calls.append((operation, request, path))
        await asyncio.sleep(0)
        answer = self._answers[operation]
        if isinstance(answer, Callable):  # type: ignore[arg-type] # the abstract class is fit for isinstance
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def run(
    text: str,
    backend: Backend | None = None,
    variables: dict[str, Any] | None = None,
    *,
    schema: GqlSchema | None = None,
    caps: Caps | None = None,
    operation: str | None = None,
    **more: Any,
) -> Result:
    """One request over a schema of its own."""
    schema = schema or schema_of()
    caps = caps or Caps()
    return await execute(
        schema,
        text,
        operation,
        variables,
        call=(backend or Backend()).call,
        documents=DocumentCache(schema=schema.schema, caps=caps),
        caps=caps,
        **more,
    )
