"""Models: services behind the gateway - addresses, TLS, times, retries, breaker."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bff.config.blocks import Block
from bff.config.values import Address, Duration, Named, OneOf, Secret, Seq, Share, Timeout, refuse
from bff.core.status import Code

__all__ = [
    "Breaker",
    "Bulkhead",
    "Endpoint",
    "OperationRules",
    "Outbound",
    "Retry",
    "Upstream",
    "UpstreamTls",
]

Count = Annotated[int, Field(ge=1)]
Off = Literal["off"]
KeepAlive = Annotated[Duration, Field(ge=10)]
CodeName = Literal[
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
]  # fmt: skip


class Endpoint(Block):
    """`endpoints[]`: one address, as `address` or as `host` and `port`."""

    short = "address"
    address: Address | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    """Share of calls, beside the other endpoints."""

    @model_validator(mode="after")
    def _has_one_form(self) -> "Endpoint":
        pair = self.host is not None, self.port is not None
        if (self.address is not None) == any(pair) or any(pair) != all(pair):
            raise refuse("an endpoint has either `address`, or `host` and `port`")
        return self

    @property
    def target(self) -> str:
        """`host:port`, whatever the form."""
        return self.address or (
            f"[{self.host}]:{self.port}" if ":" in (self.host or "") else f"{self.host}:{self.port}"
        )


class UpstreamTls(Block):
    """`tls` of an upstream."""

    ca: str | None = None
    """File of authorities; unset = those of the system."""
    name: str | None = None
    """Name the certificate must have; unset = the host dialled."""
    cert: str | None = None
    """File of our certificate."""
    key: Secret | None = None
    """Its key."""


class Retry(Block):
    """`retry`: further attempts of one call."""

    attempts: Count = 3
    """Attempts in all."""
    codes: Seq[CodeName] = (Code.UNAVAILABLE.name,)
    """Codes after which a repeat may help."""
    per_try: Timeout | None = None
    """Longest time of one attempt."""
    budget: Share = 0.2
    """Retries, as share of the calls."""


class Breaker(Block):
    """`breaker`: stops calls to a service that fails."""

    min_calls: Count = 20
    """Calls in the window before it may open."""
    failures: Share = 0.5
    """Share of failed calls that opens it."""
    slow: Share = 0.8
    """Share of slow calls that opens it."""


class Bulkhead(Block):
    """`bulkhead`: the queue before the slots of `concurrency`."""

    wait: Duration = 0.1
    """Longest wait for a slot."""


class OperationRules(Block):
    """`operations.METHOD`: what is different for one operation."""

    timeout: Timeout | None = None
    retry: Annotated[Retry | Off, OneOf()] | None = None
    breaker: Annotated[Breaker | Off, OneOf()] | None = None
    idempotent: bool | None = None
    """Whether a repeat does no harm; unset = as the proto says."""


class Outbound(Block):
    """`outbound`: tokens sent to the service."""

    mode: Literal["none"] = "none"


class Upstream(Block):
    """`upstreams.NAME`: one service's set of endpoints."""

    endpoints: Annotated[Seq[Endpoint], Field(min_length=1, max_length=1024)]
    """The static set."""
    transport: Literal["auto", "lane", "grpcio"] = "auto"
    """`auto` and `lane`: our own HTTP/2 for unary calls, grpcio for streams; `grpcio`: for all."""
    tls: Annotated[UpstreamTls | Literal["off", "mesh"], OneOf()] = "off"
    """`off`: clear text; `mesh`: others encrypt."""
    timeout: Timeout | None = None
    """Cap of a call with its retries."""
    connect: Timeout = 1.0
    """Cap of connecting."""
    retry: Annotated[Retry | Off, OneOf()] = Retry()
    hedge: Off = "off"
    breaker: Annotated[Breaker | Off, OneOf()] = Breaker()
    concurrency: Count | None = None
    """Calls at once in one worker; unset = 200."""
    bulkhead: Bulkhead = Bulkhead()
    admission: Off = "off"
    balance: Literal["p2c", "round_robin", "random", "least_in_flight"] = "p2c"
    """How an endpoint is picked."""
    health: Off = "off"
    ejection: Off = "off"
    operations: Named[OperationRules] = Field(default_factory=dict)
    """Rules by operation."""
    outbound: Outbound = Outbound()
    identity: Annotated[Seq[str] | Literal["none"], OneOf("a list of names")] | None = None
    """Metadata that tell the service who calls; unset = the gateway's."""
    warm: bool = False
    """`true`: the unary lane connects when the version is loaded, not at the first call."""
    keepalive: Annotated[KeepAlive | Off, OneOf("a duration")] = "off"
    """Time between pings of the unary lane; least 10s."""
    max_age: Timeout = 1800.0
    """Age at which the unary lane renews a connection."""
    compression: Literal["off", "gzip"] = "off"
    """Of the unary lane's requests from 1 KiB on; replies may come so too."""
    header_memo: bool = True
    """`false`: reply headers are decoded one by one, with a table."""
