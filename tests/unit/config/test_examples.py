"""The parts of the language that are built, in documents as teams write them."""

from pathlib import Path

import pytest

from bff.config.policies import Auth
from bff.config.secret_refs import SecretRef
from bff.config.units import Rate
from bff.config.upstreams import Retry
from tests.support.config_files import loaded

GATEWAY = """
format: 1
gateway:
  name: shop
  domain: api.example.com
  protos: [../protos, ../build/legacy.binpb]
  listen: [{address: 0.0.0.0:8443, tls: {cert: tls.pem, key: file:/run/tls.key}}]
  admin: {address: 127.0.0.1:9901}
  trusted_proxies: [10.0.0.0/8]
stores:
  main: {redis: "redis://redis.internal:6379", password: env:REDIS_PASSWORD}
upstreams:
  orders:
    endpoints: [10.0.1.10:50051, 10.0.1.11:50051]
    tls: mesh
    retry: {attempts: 3}
    operations: {PlaceOrder: {timeout: 4s, retry: off}}
  users: {endpoints: [{host: users.internal, port: 50051, weight: 2}], tls: {ca: ca.pem}}
  catalog: {endpoints: ["[::1]:50051"], balance: least_in_flight}
auth:
  issuers:
    main:
      issuer: "https://id.example.com"
      audience: ["https://api.example.com"]
      claims: {tenant: tenant_id, tier: plan}
      tier_map: {gold: premium}
  api_keys: {file: keys.yaml, pepper: env:KEY_PEPPER}
tiers: {guest: 60/min, standard: 1000/min, premium: {rate: 5000/min, burst: 5000}}
limits:
  tenant-per-route: {rate: 1000/min, by: [tenant, route]}
limiter: {store: main}
identity: [x-user-id]
limit: [tenant-per-route]
transcoding: {preset: strict}
telemetry: {log: 1%}
"""
ORDERS = """
service: sample.orders.v1.OrderService
upstream: orders
routes:
  - rpc: GetOrder
    auth: {scopes: [orders.read], when: "auth.sub == query.user_id || 'admin' in auth.roles"}
    limit: [tenant-per-route]
  - {rpc: ListOrders, get: "/v2/users/{user_id}/orders", also: [{get: "/v2/tenants/{tenant_id}/orders"}]}
  - {rpc: WatchOrder, get: "/v2/orders/{order_id}:watch", stream: {default: sse}}
  - {rpc: PlaceOrder, post: /v2/orders, body: "*", status: 201, caps: {body: 64KiB}}
graphql:
  queries: {order: GetOrder}
  mutations: {placeOrder: PlaceOrder}
  joins:
    Order.customer: {rpc: users.BatchGetUsers, keys: customer_id, into: user_ids, entities: users,
                     entity_key: user_id}
"""
HOME = """
aggregate: GET /v1/mobile/home
deadline: 800ms
auth: {required: true}
sources:
  profile:  {rpc: users.GetUser, with: {user_id: auth.sub}}
  orders:   {rpc: orders.ListOrders, with: {user_id: auth.sub, page_size: 5}, on_error: {default: {orders: []}}}
  products: {rpc: catalog.BatchGetProducts, on_error: omit, timeout: 200ms,
             join: {keys: "orders.orders[].items[].product_id", into: ids, entities: products,
                    entity_key: product_id, as: product}}
reply: {name: profile.display_name, orders: "orders.orders[].{id: id, total: total}", products: products.products}
"""


def test_a_whole_shop_loads_with_the_values_it_writes(tmp_path: Path) -> None:
    document = loaded(tmp_path, GATEWAY, ORDERS, HOME)

    gateway = document.gateway.value
    orders, users = gateway.upstreams["orders"], gateway.upstreams["users"]
    assert gateway.stores["main"].password == SecretRef("env:REDIS_PASSWORD")
    assert orders.operations["PlaceOrder"].retry == "off"
    assert orders.operations["PlaceOrder"].timeout == 4.0
    assert orders.retry == Retry()
    assert [endpoint.target for endpoint in users.endpoints] == ["users.internal:50051"]
    assert gateway.auth.issuers["main"].algorithms == ("RS256", "ES256")
    assert gateway.limits["tenant-per-route"].rate == Rate(1000, 60.0)
    assert gateway.telemetry.log == pytest.approx(0.01)

    assert (gateway.identity, gateway.limit) == (("x-user-id",), ("tenant-per-route",))

    routes = document.services[0].value.routes
    assert [route.rpc for route in routes] == ["GetOrder", "ListOrders", "WatchOrder", "PlaceOrder"]
    assert routes[1].also[0].get == "/v2/tenants/{tenant_id}/orders"
    assert routes[3].caps is not None
    assert (routes[3].status, routes[3].caps.body) == (201, 65_536)
    graphql = document.services[0].value.graphql
    assert graphql is not None
    assert graphql.queries["order"].rpc == "GetOrder"
    assert graphql.joins["Order.customer"].max_batch == 100

    home = document.aggregates[0]
    products = home.value.sources["products"]
    assert products.join is not None
    assert (products.timeout, products.join.as_) == (0.2, "product")
    assert home.value.sources["orders"].with_ == {"user_id": "auth.sub", "page_size": 5}
    assert home.where("sources", "products", "timeout").line > home.where("deadline").line


def test_silence_about_auth_means_required_once_a_provider_exists() -> None:
    keys = {"api_keys": {"file": "keys.yaml"}}

    assert Auth().effective_default == "open"
    assert Auth.model_validate(keys).effective_default == "required"
    assert Auth.model_validate({**keys, "default": "optional"}).effective_default == "optional"
