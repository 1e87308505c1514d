"""What the snapshot prepares for one route: everything a request needs, worked out when config is read.

A stage that a route does not use is absent here (None), not skipped by a test at request time.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from msgspec import Struct

from bff.auth.access import Access, principal_view
from bff.auth.authenticator import Authenticator
from bff.core.errors import GatewayError
from bff.core.events import Emit
from bff.core.exchange import Inputs, Json, Principal, Reply, Request, Ticket
from bff.core.ports import Clock
from bff.pipeline.crossing import Inward
from bff.ratelimit.limiter import Limiter
from bff.ratelimit.policies import RouteLimits
from bff.transcoding.json_codec import Codec
from bff.transcoding.route_trie import RouteTrie
from bff.upstream.call import Operation, UpstreamStack

__all__ = [
    "CompiledRoute",
    "Identify",
    "InnerOperation",
    "Match",
    "Speak",
    "Tools",
    "Work",
    "auth_of",
    "scope_of",
]


# Metadata that tells a service who calls.
Identify = Callable[[Principal], tuple[tuple[str, str | bytes], ...]]


class Work(Protocol):
    """What a route does with a ticket in hand: one call, a stream, an aggregate, a GraphQL operation."""

    def validate(self, request: Request, ticket: Ticket, match: "Match") -> Awaitable[Inputs]:
        """Read and judge the request: 400, 413, 415. The first line that may read the body."""
        ...

    def fetch(
        self, request: Request, inputs: Inputs, match: "Match", tools: "Tools"
    ) -> Awaitable[Json]:
        """Ask the services. What comes back is the work's own business until `shape`."""
        ...

    def shape(self, answers: Json, ticket: Ticket, match: "Match") -> Reply:
        """Turn the answers into the public reply."""
        ...


class CompiledRoute(Struct, kw_only=True, eq=False):
    """One route, ready to run. `template` is the label of logs and metrics, `deadline_s` a duration."""

    id: str
    template: str
    method: str
    upstream: str
    deadline_s: float
    authenticator: Authenticator | None
    access: Access
    limits: RouteLimits | None
    work: Work
    # Names of the path variables, in template order.
    variables: tuple[str, ...] = ()
    # The part of good requests that the access log has; failed ones are always there.
    log_share: float = 1.0
    # What an error looks like: aip193, status (google.rpc.Status), problem (RFC 9457) or graphql.
    error_form: str = "aip193"
    # Shown by `bff routes`: what is called, how it is guarded.
    operation: str = ""
    guard: str = ""
    policies: tuple[str, ...] = ()


class Match(Struct):
    """The route of this request and the texts of its path variables, decoded, in template order."""

    route: CompiledRoute
    captures: tuple[str, ...]


class InnerOperation(Struct, kw_only=True, eq=False):
    """An operation as aggregates and GraphQL call it: its own permit, its own limits, trees for messages.

    `encode` turns a request tree into wire bytes (ClientError where a value does not fit), `decode`
    the reply's wire bytes into a tree.
    """

    operation: Operation
    stack: UpstreamStack
    access: Access
    limits: RouteLimits | None
    identity: Identify
    # What of the client's header fields goes along; None: nothing.
    inward: Inward | None
    metadata_cap_bytes: int
    # What `path.x` and `query.x` of its rules mean here: a name, and where the request tree has it.
    names: tuple[tuple[str, tuple[str, ...]], ...]
    encode: Callable[[Json], bytes]
    decode: Callable[[bytes], Json]


# An error in the words of an RPC protocol: HTTP status, Content-Type and body; None where the request
# is plain REST.
Speak = Callable[[GatewayError, Request, "Tools"], tuple[int, tuple[bytes, bytes], bytes] | None]


class Tools(Struct, kw_only=True, eq=False):
    """What every stage may use, for as long as its snapshot lives."""

    version: str
    clock: Clock
    emit: Emit
    limiter: Limiter
    codec: Codec
    trie: RouteTrie[CompiledRoute]
    # Those behind an upgrade to WebSocket, as GET.
    sockets: RouteTrie[CompiledRoute]
    # ErrorInfo's domain.
    domain: str
    # WWW-Authenticate for a 401 that a service gave (RFC 9110 15.5.2: there is one on every 401).
    challenge: tuple[tuple[bytes, bytes], ...]
    # The form of errors before a route is known.
    error_form: str = "aip193"
    # Codes whose text is not hidden, by route id; routes that hide all are absent.
    shown_errors: Mapping[str, frozenset[str]] = {}
    # Errors of routes that speak RPC protocols, by route id.
    speakers: Mapping[str, Speak] = {}
    # Requests that hold this snapshot; the last one out closes what nobody else uses.
    leases: int = 0
    closing: Callable[[], Awaitable[None]] | None = None


def scope_of(
    request: Request, principal: Principal, path: Mapping[str, Json], query: Mapping[str, Json]
) -> dict[str, Json]:
    """The names that access rules and expressions read: `auth`, `path`, `query`, `request`."""
    return {
        "auth": auth_of(principal),
        "path": path,
        "query": query,
        "request": {
            "method": request.method,
            "host": request.host,
            "address": request.address,
            "path": request.path,
        },
    }


def auth_of(principal: Principal) -> dict[str, Json]:
    """The principal as expressions see it; claims first, so that none can pose as a checked value."""
    return {**principal.claims, **principal_view(principal)}
