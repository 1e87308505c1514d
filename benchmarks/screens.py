"""One screen of three calls, asked for as an aggregate and as GraphQL: what each gateway is to answer with."""

import json
from datetime import datetime
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from msgspec import structs

from benchmarks.canned import SERVICE, Canned

__all__ = ["MAPPING", "QUERY", "canned_screens", "hive_screen"]

_CUSTOMER_ID = "cus-7f3a91"
_ORDER_ID = "ord-0001"

# The aggregate as our mapping writes it. What it picks is what `_picked` picks.
MAPPING = """\
aggregate: GET /v1/screens/{customer_id}/{order_id}
limit: LIMIT
sources:
  customer: {rpc: orders.GetCustomer, with: {customer_id: path.customer_id}}
  order: {rpc: orders.GetMedium, with: {order_id: path.order_id}}
  shipment: {rpc: orders.GetShipment, with: {order_id: path.order_id}}
reply:
  customer: "customer.{name: display_name, tier: tier}"
  order: >-
    order.{id: order_id, status: status, total: total,
    items: items[].{title: title, quantity: quantity, price: unit_price}}
  shipment: "shipment.{carrier: carrier, events: events[].{place: place, at: at}}"
"""

# The same picks; GraphQL tells enums without the prefix of their type.
QUERY = """\
query Screen($customer: String!, $order: String!) {
  customer(customerId: $customer) { name: displayName tier }
  order(orderId: $order) {
    id: orderId
    status
    total { ...Amount }
    items { title quantity price: unitPrice { ...Amount } }
  }
  shipment(orderId: $order) { carrier events { place at } }
}
fragment Amount on Money { currencyCode units nanos }
"""

# And as Mesh names them: fields as in the proto, roots by their method, times in their parts.
_HIVE_QUERY = """\
query Screen($customer: String!, $order: String!) {
  customer: bench_v1_OrderService_GetCustomer(input: { customer_id: $customer }) {
    name: display_name
    tier
  }
  order: bench_v1_OrderService_GetMedium(input: { order_id: $order }) {
    id: order_id
    status
    total { ...Amount }
    items { title quantity price: unit_price { ...Amount } }
  }
  shipment: bench_v1_OrderService_GetShipment(input: { order_id: $order }) {
    carrier
    events { place at { seconds } }
  }
}
fragment Amount on bench__v1__Money { currencyCode: currency_code units nanos }
"""

_CUSTOMER = {
    "customerId": _CUSTOMER_ID,
    "displayName": "Zoë Ångström",
    "email": "zoe@example.com",
    "tier": "TIER_PREMIUM",
    "openOrders": 3,
    "memberSince": "2021-06-01T08:30:00Z",
}
_PLACES = ("Springfield", "Shelbyville", "Ogdenville", "North Haverbrook")
_SHIPMENT: dict[str, Any] = {
    "orderId": _ORDER_ID,
    "carrier": "Example Post",
    "trackingCode": "EP-2026-000184999",
    "events": [
        {"place": place, "note": f"scan {n} of the parcel", "at": f"2026-03-{16 + n}T06:45:00Z"}
        for n, place in enumerate(_PLACES)
    ],
}


def canned_screens(pool: descriptor_pool.DescriptorPool, order: Any) -> tuple[Canned, Canned]:
    """The screen as an aggregate and as GraphQL; `order` is the tree of the order of the middle size."""
    picked = _picked(order)
    aggregate = Canned(
        size="aggregate",
        rest_path=f"/v1/screens/{_CUSTOMER_ID}/{_ORDER_ID}",
        grpc_path=f"/{SERVICE}/GetCustomer",
        message=_wire(pool, "Customer", _CUSTOMER),
        beside={f"/{SERVICE}/GetShipment": _wire(pool, "Shipment", _SHIPMENT)},
        tree=picked,
        json_bytes=len(_compact(picked)),
    )
    data = _picked(order, tier="PREMIUM", status=str(order["status"]).removeprefix("STATUS_"))
    graphql = Canned(
        size="graphql",
        rest_path="/graphql",
        grpc_path=aggregate.grpc_path,
        message=aggregate.message,
        beside=aggregate.beside,
        tree={"data": data},
        json_bytes=len(_compact({"data": data})),
        body=_asked(QUERY),
    )
    return aggregate, graphql


def hive_screen(screen: Canned) -> Canned:
    """The same screen of Hive Gateway; `screen` is the aggregate."""
    picked = screen.tree
    order = picked["order"]
    items = [{**item, "price": _counted(item["price"])} for item in order["items"]]
    events = [
        {
            "place": event["place"],
            "at": {"seconds": round(datetime.fromisoformat(event["at"]).timestamp())},
        }
        for event in picked["shipment"]["events"]
    ]
    data = {
        "customer": picked["customer"],
        "order": {**order, "total": _counted(order["total"]), "items": items},
        "shipment": {**picked["shipment"], "events": events},
    }
    return structs.replace(
        screen, size="graphql", rest_path="/graphql", tree={"data": data}, body=_asked(_HIVE_QUERY)
    )


def _counted(money: dict[str, Any]) -> dict[str, Any]:
    return {**money, "units": int(money["units"])}


def _asked(query: str) -> bytes:
    """As a client's library sends it: text and variables with every request."""
    variables = {"customer": _CUSTOMER_ID, "order": _ORDER_ID}
    return _compact({"query": query, "operationName": "Screen", "variables": variables})


def _picked(order: Any, *, tier: str = "TIER_PREMIUM", status: str = "") -> dict[str, Any]:
    items = [
        {"title": item["title"], "quantity": item["quantity"], "price": item["unitPrice"]}
        for item in order["items"]
    ]
    return {
        "customer": {"name": _CUSTOMER["displayName"], "tier": tier},
        "order": {
            "id": order["orderId"],
            "status": status or order["status"],
            "total": order["total"],
            "items": items,
        },
        "shipment": {
            "carrier": _SHIPMENT["carrier"],
            "events": [
                {"place": event["place"], "at": event["at"]} for event in _SHIPMENT["events"]
            ],
        },
    }


def _wire(pool: descriptor_pool.DescriptorPool, name: str, tree: dict[str, Any]) -> bytes:
    make = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"bench.v1.{name}"))
    return json_format.ParseDict(tree, make()).SerializeToString(deterministic=True)


def _compact(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()
