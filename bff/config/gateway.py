"""Models: the gateway file - listeners, descriptors, stores, and what holds everywhere."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bff.config.blocks import Block
from bff.config.graphql import GraphqlGateway
from bff.config.policies import (
    BUILT_IN_TIERS,
    Auth,
    GatewayCaps,
    GatewayTelemetry,
    Limit,
    LimiterBlock,
    Policies,
    TierMap,
)
from bff.config.switches import Metadata, Stream, Transcoding
from bff.config.upstreams import Upstream
from bff.config.values import (
    Address,
    Cidr,
    Duration,
    Named,
    OneOf,
    Secret,
    Seq,
    Timeout,
    Unit,
    refuse,
)

__all__ = [
    "IDENTITY_NAMES",
    "REFLECTION",
    "Admin",
    "Control",
    "Descriptor",
    "Drain",
    "GatewayBlock",
    "GatewayFile",
    "Listener",
    "ListenerTls",
    "Store",
]

# Metadata that tell a service who calls, where nothing else is said.
IDENTITY_NAMES = ("x-user-id", "x-tenant-id", "x-scopes", "x-client-id", "x-auth-kind")


class ListenerTls(Block):
    """`listen[].tls`."""

    cert: str
    """File of the certificate chain."""
    key: Secret
    """Its key."""
    min: Literal["tls1.2", "tls1.3"] = "tls1.2"


class Listener(Block):
    """`listen[]`: one public listener."""

    short = "address"
    address: Address
    tls: ListenerTls | None = None
    http: Literal["auto", 1, 2] = "auto"
    """HTTP version; `auto` = as the client asks."""


class Admin(Block):
    """`admin`: the listener of the admin API."""

    short = "address"
    address: Address = "127.0.0.1:9901"


class Drain(Block):
    """`drain`: how a node leaves."""

    grace: Duration = 5.0
    """Time it still takes new requests while it says it leaves."""
    finish: Duration = 25.0
    """Time that running requests get."""


def _one_or_many(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        text = f"expected an address such as 127.0.0.1:8080, got the number {value}"
        raise refuse(text, hint=f"write 127.0.0.1:{value}, or 0.0.0.0:{value} for every interface")
    return [value] if isinstance(value, str) else value


REFLECTION = "reflection://"


def _check_source(text: str) -> str:
    if not text or text == REFLECTION:
        what = "folder of .proto files, a *.binpb or reflection://UPSTREAM"
        raise refuse(
            f"expected a {what}, got {text!r}" if text else f"expected a {what}, got an empty text"
        )
    return text


def _check_folder(text: str) -> str:
    if text.startswith(REFLECTION):
        hint = f"write `reflection: {text.removeprefix(REFLECTION) or 'UPSTREAM'}`"
        raise refuse("`protos` is a folder of .proto files here", hint=hint)
    if not text:
        raise refuse("expected a folder of .proto files, got an empty text")
    return text


ProtoSource = Annotated[str, AfterValidator(_check_source)]


def _check_realm(name: str) -> str:
    # It stands in a quoted string of WWW-Authenticate (RFC 9110 11.5).
    fits = name.isascii() and name.isprintable() and not set(name) & {'"', "\\"}
    if name and not fits:
        raise refuse("a name is printable ASCII without quotes or backslashes")
    return name


class GatewayBlock(Block):
    """`gateway`."""

    name: Annotated[str, AfterValidator(_check_realm)] = "bff"
    """Realm, and name in telemetry."""
    domain: str | None = None
    """Domain of errors and of problem URLs."""
    protos: Seq[ProtoSource] = ()
    """Folders of .proto files, *.binpb or reflection://UPSTREAM; the short form of `descriptors`."""
    listen: Annotated[Seq[Listener], Field(min_length=1), BeforeValidator(_one_or_many)] = (
        Listener(address="127.0.0.1:8080"),
    )
    """Public listeners."""
    admin: Admin = Admin()
    """The admin API."""
    trusted_proxies: Seq[Cidr] = ()
    """Who may tell the client's address."""
    forwarded: Literal["x-forwarded-for"] = "x-forwarded-for"
    """In which field they tell it."""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Processes; unset = CPU cores."""
    drain: Drain = Drain()
    openapi: Annotated[str, Unit("path or off")] = "/openapi.json"
    """Where the OpenAPI document is; `off` = nowhere."""

    @model_validator(mode="after")
    def _openapi_is_a_path(self) -> "GatewayBlock":
        if self.openapi != "off" and not self.openapi.startswith("/"):
            raise refuse(f"`openapi` is a path or off, got {self.openapi[:60]!r}")
        return self


class Descriptor(Block):
    """`descriptors[]`: one set of types."""

    protos: Annotated[str, AfterValidator(_check_folder)] | None = None
    """Folder of .proto files."""
    set: Annotated[str, Field(min_length=1)] | None = None
    """File with a descriptor set."""
    reflection: str | None = None
    """Upstream that gives its types itself, by server reflection."""
    services: Annotated[Seq[str], Field(min_length=1)] | None = None
    """With `reflection`: the services wanted; unset = all that it lists but those of grpc.*."""
    every: Annotated[Duration, Field(ge=1)] = 60.0
    """With `reflection`: how often it is asked again; least 1s."""
    required: bool = True
    """`false`: without this source the node starts without its routes."""
    service_config: str | None = None
    """File with a google service config (YAML or JSON), whose `http: rules:` beat the annotations."""

    @model_validator(mode="after")
    def _has_one_source(self) -> "Descriptor":
        if sum(source is not None for source in (self.protos, self.set, self.reflection)) != 1:
            raise refuse("a set of types has one of `protos`, `set` and `reflection`")
        if self.reflection is None:
            for key in ("services", "every"):
                if key in self.model_fields_set:
                    raise refuse(f"`{key}` belongs to a set of types by `reflection`")
        return self


class Control(Block):
    """`control`: how versions are kept."""

    state: Annotated[str, Field(min_length=1), Unit("folder")] | None = None
    """Folder for the last good state, such as types by reflection; unset = `state` where the node was started."""


def _check_redis(value: Any) -> Any:
    # The URL may hold a password, so no message repeats it.
    if not isinstance(value, str):
        return value
    scheme, separator, rest = value.partition("://")
    if scheme not in ("redis", "rediss") or not separator or not rest:
        raise refuse("expected a URL such as redis://127.0.0.1:6379", code="BFF-C017")
    if "@" in rest or "?" in rest:
        hint = "write `user` and `password: env:NAME` beside it"
        raise refuse(
            "a store's URL carries no credentials and no query", hint=hint, code="BFF-C017"
        )
    return value


class Store(Block):
    """`stores.NAME`: a Redis or Valkey."""

    redis: Annotated[str, BeforeValidator(_check_redis)]
    """redis:// or rediss:// URL."""
    mode: Literal["single"] = "single"
    user: str | None = None
    password: Secret | None = None


class GatewayFile(Policies):
    """All gateway documents together."""

    format: Literal[1] = 1
    """Version of this language."""
    gateway: GatewayBlock = GatewayBlock()
    descriptors: Seq[Descriptor] = ()
    """Sets of types."""
    control: Control = Control()
    stores: Named[Store] = Field(default_factory=dict)
    limiter: LimiterBlock = LimiterBlock()
    upstreams: Annotated[Named[Upstream], Field(max_length=256)] = Field(default_factory=dict)
    """The services behind."""
    auth: Auth = Auth()
    tiers: TierMap = BUILT_IN_TIERS
    limits: Named[Limit] = Field(default_factory=dict)
    graphql: GraphqlGateway = GraphqlGateway()
    deadline: Timeout = 5.0
    limit_headers: Literal["always", "refused", "never"] = "always"
    metadata: Metadata = Metadata()
    stream: Stream = Stream()
    caps: GatewayCaps = GatewayCaps()
    transcoding: Transcoding = Transcoding()
    telemetry: GatewayTelemetry = GatewayTelemetry()
    identity: Annotated[Seq[str] | Literal["none"], OneOf("a list of names")] = IDENTITY_NAMES
