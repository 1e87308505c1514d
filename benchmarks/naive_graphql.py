"""GraphQL as it is written by hand in front of gRPC: graphql-core, a schema as text, resolvers over the messages.

Documents are parsed and validated once and then remembered, which not every team would think of.
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from inspect import isawaitable
from typing import Any

from graphql import DocumentNode, GraphQLResolveInfo, build_schema, execute, parse, validate

__all__ = ["Answer", "make_answer"]

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

_DOCUMENTS_KEPT = 128
_SCHEMA = """\
type Query {
  order(orderId: String): Order
  customer(customerId: String): Customer
  shipment(orderId: String): Shipment
}
type Order {
  orderId: String! customerId: String! status: Status total: Money createdAt: String updatedAt: String
  shipTo: Address items: [Item!]! revision: String!
}
type Item {
  productId: String! title: String! quantity: Int! unitPrice: Money gift: Boolean! tags: [String!]!
  promisedAt: String status: Status stockKeepingUnit: String!
}
type Money { currencyCode: String! units: String! nanos: Int! }
type Address {
  recipient: String! lines: [String!]! city: String! postalCode: String! regionCode: String!
}
type Customer {
  customerId: String! displayName: String! email: String! tier: Tier openOrders: Int! memberSince: String
}
type Shipment { orderId: String! carrier: String! trackingCode: String! events: [Event!]! }
type Event { place: String! note: String! at: String }
enum Status { PLACED PAID SHIPPED }
enum Tier { STANDARD PREMIUM }
"""


def make_answer(orders: Any, messages: Any) -> Answer:
    """Answers a request's JSON tree by calls on the stub `orders`, made of `messages`."""
    schema = build_schema(_SCHEMA)
    enums = {name: getattr(messages, name) for name in ("Status", "Tier")}
    snake = {
        field: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in field)
        for kind in schema.type_map.values()
        for field in getattr(kind, "fields", ())
    }

    async def order(_root: object, _info: object, **given: str) -> Any:
        return await orders.GetMedium(
            messages.GetOrderRequest(order_id=given["orderId"]), timeout=5
        )

    async def customer(_root: object, _info: object, **given: str) -> Any:
        asked = messages.GetCustomerRequest(customer_id=given["customerId"])
        return await orders.GetCustomer(asked, timeout=5)

    async def shipment(_root: object, _info: object, **given: str) -> Any:
        return await orders.GetShipment(
            messages.GetOrderRequest(order_id=given["orderId"]), timeout=5
        )

    assert schema.query_type is not None
    for field in (order, customer, shipment):
        schema.query_type.fields[field.__name__].resolve = field

    def resolve(source: Any, info: GraphQLResolveInfo[None], **_given: Any) -> Any:
        value = getattr(source, snake[info.field_name])
        kind = str(info.return_type)
        if kind in enums:
            return enums[kind].Name(value).removeprefix(f"{kind.upper()}_")
        return value.ToJsonString() if hasattr(value, "ToJsonString") else value

    @lru_cache(maxsize=_DOCUMENTS_KEPT)
    def document_of(text: str) -> DocumentNode:
        document = parse(text)
        if found := validate(schema, document):
            raise ValueError(found[0].message)
        return document

    async def answer(asked: dict[str, Any]) -> dict[str, Any]:
        result = execute(
            schema,
            document_of(asked["query"]),
            variable_values=asked.get("variables"),
            operation_name=asked.get("operationName"),
            field_resolver=resolve,
        )
        return dict((await result if isawaitable(result) else result).formatted)

    return answer
