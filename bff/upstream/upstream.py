"""The values of an upstream: its endpoints, its settings, and its operations. All comparable.

A snapshot's compiler keeps a running stack when the new settings equal the old ones, so all that
decides how a stack is built stands in `UpstreamSettings` and nothing else does.
"""

from typing import Literal

from msgspec import Struct

from bff.core.status import Code
from bff.wire.grpcio import TlsSettings
from bff.wire.http2.lane import LaneSettings

__all__ = [
    "Balance",
    "BreakerSettings",
    "Endpoint",
    "Operation",
    "Repeat",
    "RetrySettings",
    "Transport",
    "UpstreamSettings",
]

# auto and lane: unary calls on the lane, streams on grpcio.
Transport = Literal["auto", "lane", "grpcio"]
Balance = Literal["p2c", "round_robin", "random", "least_in_flight"]
# always: no side effects, or bound to GET; idempotent: a second time changes nothing more; never:
# all the rest.
Repeat = Literal["always", "idempotent", "never"]


class Endpoint(Struct, frozen=True):
    """One address of a service (`host:port`) and its share of the traffic (> 0)."""

    address: str
    weight: float = 1.0


class RetrySettings(Struct, frozen=True, kw_only=True):
    """When a failed attempt is repeated: `attempts` in all (1..5), on which codes, each within `per_try_s`."""

    attempts: int = 3
    codes: frozenset[Code] = frozenset({Code.UNAVAILABLE})
    per_try_s: float | None = None


class BreakerSettings(Struct, frozen=True, kw_only=True):
    """When calls are paused: from `min_calls` in 10 s on, at these shares (0..1) of failed or slow ones."""

    min_calls: int = 20
    failures: float = 0.5
    slow: float = 0.8


class Operation(Struct, frozen=True, kw_only=True):
    """One method of a service as the stack needs to know it. Made at load, one value per operation.

    `name` is the mapping's (`orders.GetOrder`), `path` the wire's (`/package.Service/Method`).
    `timeout_s` caps one call with its retries; None leaves the deadline alone. `retry` and
    `breaker` are what holds for this operation after the upstream's defaults; None is off.
    """

    name: str
    path: str
    upstream: str
    repeat: Repeat = "never"
    timeout_s: float | None = None
    retry: RetrySettings | None = RetrySettings()
    breaker: BreakerSettings | None = BreakerSettings()


class UpstreamSettings(Struct, frozen=True, kw_only=True):
    """All that decides how an upstream's stack is built.

    `limit` is the number of calls in flight (None: no bulkhead), `bulkhead_wait_s` the longest wait
    for a slot, `budget` the retries per first attempt that are earned (0..0.5).
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    balance: Balance = "p2c"
    limit: int | None = 200
    bulkhead_wait_s: float = 0.1
    budget: float = 0.2
    tls: TlsSettings | None = None
    authority: str | None = None
    transport: Transport = "auto"
    lane: LaneSettings = LaneSettings()
