"""Our own mapping files for each mode of the benchmark, as a service team would write them."""

from pathlib import Path

from benchmarks.canned import SERVICE
from benchmarks.identity import AUDIENCE, Identity
from benchmarks.screens import MAPPING

__all__ = ["has_policies", "write_mappings"]

_GATEWAY = """\
format: 1
gateway:
  protos: [{descriptor_set}]
  listen: 127.0.0.1:0
  admin: 127.0.0.1:0
  workers: 1
  drain: {{grace: 10ms, finish: 2s}}
upstreams:
  orders: {{endpoints: ["127.0.0.1:{upstream_port}"]}}
"""
_LIMITER = "limiter: {per_address: {rate: 10000/s, burst: 1000000}}\n"
_POLICIES = """\
auth:
  issuers:
    bench: {{issuer: "{issuer}", audience: [{audience}], jwks: "{jwks_url}"}}
tiers: {{standard: {{rate: 10000/s, burst: 1000000}}}}
limits:
  per-route: {{rate: 10000/s, burst: 1000000, by: [user, route]}}
"""
# The endpoint of GraphQL always takes from the caller's bucket; routes lift it.
_PLAIN = """\
auth: {default: open}
tiers: {guest: {rate: 10000/s, burst: 1000000}}
telemetry: {log: errors}
"""
_STORE = """\
stores: {{main: {{redis: "{url}"}}}}
limiter: {{store: main, per_address: {{rate: 10000/s, burst: 1000000}}}}
"""
_SERVICE = """\
service: {service}
upstream: orders
routes:
"""
_GRAPHQL = """\
graphql:
  queries: {order: GetMedium, customer: GetCustomer, shipment: GetShipment}
"""
_METHODS = ("GetMedium", "GetLarge", "PlaceOrder", "GetCustomer", "GetShipment")


def has_policies(mode: str) -> bool:
    """Whether requests of this mode carry a token and take from buckets."""
    return mode in {"policies", "redis"}


def write_mappings(
    folder: Path,
    mode: str,
    *,
    descriptor_set: Path,
    upstream_port: int,
    identity: Identity,
    store_url: str,
) -> None:
    """Three files: the gateway, the service, the screen. `store_url` is for the mode `redis`."""
    text = _GATEWAY.format(descriptor_set=descriptor_set, upstream_port=upstream_port)
    if has_policies(mode):
        text += _POLICIES.format(
            issuer=identity.issuer, audience=AUDIENCE, jwks_url=identity.jwks_url
        )
    else:
        text += _PLAIN
    text += _STORE.format(url=store_url) if mode == "redis" else _LIMITER
    limit = "[per-route]" if has_policies(mode) else "none"
    (folder / "gateway.yaml").write_text(text)
    (folder / "bench.yaml").write_text(_service_yaml(mode, limit))
    (folder / "screen.yaml").write_text(MAPPING.replace("LIMIT", limit))


def _service_yaml(mode: str, limit: str) -> str:
    """A route a method; beside them, as many more as the mode says."""
    lines = [f"  - {{rpc: {method}, limit: {limit}}}\n" for method in _METHODS]
    lines.append(f"  - rpc: GetSmall\n    limit: {limit}\n")
    # The screen is a route too.
    more = int(mode.partition("-")[2] or 0) - len(_METHODS) - 2
    if more > 0:
        lines.append("    annotation: keep\n    get: /v1/other/0/{order_id}\n    also:\n")
        lines += [f"      - {{get: '/v1/other/{n}/{{order_id}}'}}\n" for n in range(1, more)]
    return _SERVICE.format(service=SERVICE) + "".join(lines) + _GRAPHQL
