"""Models: what holds for requests - identity, authorization, limits, caps, log."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from bff.config.blocks import Block
from bff.config.switches import Metadata, Stream, Transcoding
from bff.config.units import Rate
from bff.config.values import Duration, Named, OneOf, RateValue, Secret, Seq, Share, Size, Timeout

__all__ = [
    "BUILT_IN_TIERS",
    "AggregateCaps",
    "ApiKeys",
    "Auth",
    "AuthRules",
    "Caps",
    "Claims",
    "CommonRules",
    "Expression",
    "GatewayCaps",
    "GatewayTelemetry",
    "Issuer",
    "Limit",
    "LimiterBlock",
    "PerAddress",
    "Policies",
    "ServiceRules",
    "Telemetry",
    "Tier",
    "TierMap",
]

# An expression is at most 1 KiB (JMESPath and CEL alike).
Expression = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Count = Annotated[int, Field(ge=1)]


class CommonRules(Block):
    """`auth`, the part of every level: who may. Rules of gateway, service and route add up."""

    scopes: Seq[str] = ()
    """All of these."""
    any_scopes: Seq[str] = ()
    """One of these."""
    roles: Seq[str] = ()
    """One of these."""
    tenant: Expression | None = None
    """JMESPath: equals the tenant of the caller."""
    when: Expression | None = None
    """CEL: must hold."""
    hide: bool | None = None
    """A refusal reads as 404."""


class ServiceRules(CommonRules):
    """`auth` of a service file."""

    required: bool | None = None
    """Whether a credential is needed; unset = `auth.default` of the gateway."""
    any: Seq[Literal["jwt", "opaque", "api_key", "session", "cert"]] | None = None
    """Kinds of credential that count here; unset = all that have a provider."""


class AuthRules(ServiceRules):
    """`auth` of a route or an aggregate."""

    public: Annotated[str, StringConstraints(min_length=1)] | None = None
    """Open to everyone; the text is the reason."""


class Claims(Block):
    """`auth.issuers.NAME.claims`: which claim of a token holds what."""

    tenant: str | None = None
    tier: str | None = None
    roles: str = "roles"
    client_id: str = "client_id"


class Issuer(Block):
    """`auth.issuers.NAME`: one issuer of JWTs."""

    issuer: str
    """Equals the `iss` claim exactly."""
    audience: Seq[str] = ()
    """One of these is in `aud`."""
    algorithms: Seq[str] = ("RS256", "ES256")
    """Signature algorithms that are taken."""
    typ: Seq[str] = ("at+jwt",)
    """Values of the `typ` header that are taken."""
    jwks: str | None = None
    """URL of the key set; unset = found at the issuer."""
    require: Seq[str] = ()
    """Further claims that must be present."""
    exp_skew: Annotated[Duration, Field(le=60)] = 0.0
    """Leeway of `exp`, at most 60s."""
    stale_limit: Annotated[Duration, Field(ge=3600, le=72 * 3600)] = 86_400.0
    """Age to which the last good key set serves while the issuer is down, 1h to 72h."""
    claims: Claims = Claims()
    """Which claims make the principal."""
    tier_map: dict[str, str] = Field(default_factory=dict)
    """Value of the tier claim to tier."""


class ApiKeys(Block):
    """`auth.api_keys`: keys from a file of hashes."""

    file: str
    """The key file."""
    pepper: Secret | None = None
    """Keys the hashes."""


class Auth(CommonRules):
    """`auth` of the gateway file: providers, the default, and rules for every route."""

    default: Literal["required", "optional", "open"] | None = None
    """Where nothing is said; unset = `required` once a provider exists, else `open`."""
    issuers: Named[Issuer] = Field(default_factory=dict)
    """Issuers of JWTs."""
    api_keys: ApiKeys | None = None
    """API keys."""

    @property
    def has_provider(self) -> bool:
        """Whether anything here makes principals."""
        return bool(self.issuers) or self.api_keys is not None

    @property
    def effective_default(self) -> Literal["required", "optional", "open"]:
        """`default`, or what silence means."""
        return self.default or ("required" if self.has_provider else "open")


class Tier(Block):
    """`tiers.NAME`: what a caller of this tier may spend."""

    short = "rate"
    rate: RateValue
    """Requests per time."""
    burst: Count | None = None
    """Requests at once; unset = the count of the rate."""


BUILT_IN_TIERS = {
    "guest": Tier(rate=Rate(60, 60.0)),
    "standard": Tier(rate=Rate(1000, 60.0)),
    "premium": Tier(rate=Rate(5000, 60.0)),
}


def _beside_built_in(value: Any) -> Any:
    return {**BUILT_IN_TIERS, **value} if isinstance(value, dict) else value


TierMap = Annotated[Named[Tier], BeforeValidator(_beside_built_in)]


class Limit(Block):
    """`limits.NAME`: one policy of the limiter."""

    rate: Annotated[RateValue | Literal["tier"], OneOf("a rate")] | None = None
    """Requests per time, or `tier`: the rate of the caller's tier."""
    burst: Count | None = None
    """Requests at once; unset = the count of the rate."""
    by: Annotated[Seq[str], Field(max_length=6)] = ("caller",)
    """What has a bucket of its own; `[]` = one bucket for all."""
    cost: Annotated[int, Field(ge=0)] = 1
    """Tokens of one request."""
    algorithm: Literal["token_bucket", "leaky_bucket", "sliding_window", "fixed_window"] = (
        "token_bucket"
    )
    """How it counts."""
    shadow: bool = False
    """Count, but never refuse."""
    strict: bool = False
    """No leases: exact, one store call more."""
    on_store_loss: Literal["local", "deny", "open"] = "local"
    """What happens while the store is lost."""


class PerAddress(Block):
    """`limiter.per_address`: the flood bucket of each client address."""

    rate: RateValue = Rate(500, 1.0)
    burst: Count = 1000


class LimiterBlock(Block):
    """`limiter`: where buckets live."""

    store: str = "memory"
    """`memory` or a name of `stores`."""
    timeout: Timeout = 0.005
    """Longest wait for the store."""
    per_address: PerAddress = PerAddress()
    """The flood bucket of each client address."""
    failures: RateValue = Rate(20, 60.0)
    """Failed credentials of one address."""


class Caps(Block):
    """`caps` of every level: sizes of one request."""

    body: Annotated[Size, Field(ge=1, le=16 << 20)] = 1 << 20
    """Request body, at most 16MiB."""
    upload: Annotated[Size, Field(ge=1, le=1 << 30)] = 16 << 20
    """Request body that is passed on in parts, at most 1GiB."""
    reply: Size = 4 << 20
    """Reply to the client."""
    metadata: Size = 6 << 10
    """Metadata of a call."""


class GatewayCaps(Caps):
    """`caps` of the gateway file."""

    path: Size = 8 << 10
    """Request path."""
    query: Size = 8 << 10
    """Query string."""
    params: Count = 256
    """Query parameters."""
    headers: Size = 32 << 10
    """All header fields."""
    header_fields: Count = 100
    """Number of header fields."""
    header_value: Size = 8 << 10
    """One header value."""
    inflight: Count = 1024
    """Requests at once in one worker."""


class AggregateCaps(Caps):
    """`caps` of an aggregate."""

    sources: Count = 8
    """Sources."""
    keys: Count = 200
    """Keys of one join."""


class Telemetry(Block):
    """`telemetry` of a service or route."""

    log: Annotated[Share | Literal["all", "errors"], OneOf("a share such as 5%")] = "all"
    """Which requests the access log has."""


class GatewayTelemetry(Telemetry):
    """`telemetry` of the gateway file."""

    user_id: Literal["plain", "hash", "off"] = "plain"
    """How the log names the user."""


class Policies(Block):
    """What gateway, service and route may each say; the nearest wins, key by key (`effective`)."""

    deadline: Timeout | None = None
    """Of the whole request, at most 30s."""
    limit: Annotated[Seq[str] | Literal["none"], OneOf("a list of policies")] = ()
    """Policies beside the built-in `per-caller`; `none` on a route lifts that too."""
    limit_headers: Literal["always", "refused", "never"] | None = None
    """When replies carry RateLimit fields."""
    metadata: Metadata | None = None
    """What crosses to and from services."""
    stream: Stream | None = None
    """Server streams."""
    transcoding: Transcoding | None = None
    """Switches of the JSON side."""
    identity: Annotated[Seq[str] | Literal["none"], OneOf("a list of names")] | None = None
    """Metadata that tell services who calls."""
