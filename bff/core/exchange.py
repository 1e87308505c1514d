"""What the stages of the straight line hand on. Each value is the proof that its stage has passed.

Request -> Principal -> Permit -> Ticket -> Inputs -> Reply. All are cheap to make, since each
request makes one of each; none is changed after its stage made it, but for the notes of `Request`
that the access log reads.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol, Self

from msgspec import Struct, field

from bff.core.headers import Headers

__all__ = [
    "ANONYMOUS",
    "NO_FIELDS",
    "BodyLimits",
    "FixedFields",
    "Inputs",
    "Json",
    "Memo",
    "Permit",
    "Principal",
    "PrincipalKind",
    "Reply",
    "ReplyStream",
    "Request",
    "StreamCutError",
    "Ticket",
    "Trailers",
    "UpstreamCall",
]

# A JSON tree: dict, list, str, int, float, bool or None. Any instead of a recursive type, with
# which every step of a walk over a tree would be a cast; trees are checked where they enter.
Json = Any

PrincipalKind = Literal["anonymous", "jwt", "opaque", "api_key", "cert", "session"]


class Memo(dict[Any, Any]):
    """What stages have worked out for one caller, each under a key object of its own; no part of who it is."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        """Never a difference between two callers."""
        return isinstance(other, Memo)

    __hash__ = None

    def __repr__(self) -> str:
        """Its size; what it holds is not for logs."""
        return f"Memo({len(self)})"


class Principal(Struct, frozen=True, kw_only=True):
    """Who calls. Made by `auth` alone; times are Unix seconds.

    `memo` lives as long as this object, for callers with a token that is the time it is remembered.
    """

    kind: PrincipalKind = "anonymous"
    sub: str = ""
    tenant: str = ""
    client_id: str = ""
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    tier: str = ""
    claims: Mapping[str, Json] = {}
    expires_unix_s: float = 0.0
    # Which credential it was, for buckets and logs: an API key's id, a token's issuer. Never a secret.
    key_id: str = ""
    provider: str = ""
    memo: Memo = field(default_factory=Memo)


ANONYMOUS = Principal()


class UpstreamCall(Struct, kw_only=True):
    """One attempt-chain to a service, for the access log: how it ended and how long it took."""

    operation: str
    upstream: str
    code: str
    ms: float
    attempts: int = 1
    source: str = ""


class BodyLimits(Struct, frozen=True, kw_only=True):
    """What bounds a body that is read in parts.

    `cap_bytes` in all. `paced`: it has to come within the time and at the rate of an upload; one
    that is not is a conversation, whose silences are those of both sides and bounded elsewhere.
    """

    cap_bytes: int
    paced: bool = True


class Request:
    """One request as the door has judged it.

    `path` is the canonical text (percent-encoded), `query` the raw octets without `?`,
    `address` the client's address after trusted proxies, times monotonic seconds.
    `read_body` reads the whole body under the route's cap; `read_parts` gives it as it comes: at
    most one of them, once.
    """

    __slots__ = (
        "address",
        "announces_body",
        "calls",
        "deadline_s",
        "detail",
        "error_form",
        "graphql_operation",
        "headers",
        "headers_bytes",
        "host",
        "log_share",
        "method",
        "partial",
        "path",
        "principal",
        "protocol",
        "query",
        "read_body",
        "read_parts",
        "reason",
        "request_id",
        "route_id",
        "scheme",
        "span_id",
        "stage",
        "started_s",
        "template",
        "ticket_headers",
        "trace_id",
        "trace_sampled",
        "upstream",
    )

    def __init__(  # noqa: PLR0917 - one is made per request, and names would cost 0.5 us
        self,
        method: str,
        query: bytes,
        headers: Headers,
        address: str,
        scheme: str,
        protocol: str,
        request_id: str,
        span_id: str,
        started_s: float,
        deadline_s: float,
        read_body: Callable[[int], Awaitable[bytes]],
        read_parts: Callable[[BodyLimits], AsyncGenerator[bytes, None]] | None = None,
        *,
        path: str = "",
        host: str = "",
        trace_id: str = "",
        trace_sampled: bool = False,
    ) -> None:
        self.method = method
        self.query = query
        self.headers = headers
        self.address = address
        self.scheme = scheme
        self.protocol = protocol
        self.request_id = request_id
        self.span_id = span_id
        self.started_s = started_s
        # The client's hint or the hard cap; the route's deadline lowers it at match.
        self.deadline_s = deadline_s
        self.read_body = read_body
        # None where a body cannot come in parts: requests that we make ourselves.
        self.read_parts = read_parts
        # Known once the door has judged them.
        self.path = path
        self.host = host
        # A request that continues no trace begins one under its own id.
        self.trace_id = trace_id or request_id
        self.trace_sampled = trace_sampled
        # All header fields together, as the door has counted them.
        self.headers_bytes = 0
        # Whether its fields say that a body comes; one that we make ourselves is asked for its body.
        self.announces_body = True
        # Notes for the access log, written as the stages pass.
        self.principal: Principal = ANONYMOUS
        self.calls: list[UpstreamCall] = []
        self.route_id = ""
        self.template = ""
        self.upstream = ""
        self.stage = "door"
        self.reason = ""
        # What the log may know of the reason and the client may not.
        self.detail = ""
        self.graphql_operation = ""
        # The route's form of errors; before a route is known, the gateway's.
        self.error_form = "aip193"
        # True when the answer is not complete, though its status is a success.
        self.partial = False
        # The part of good requests that the access log has.
        self.log_share = 1.0
        # RateLimit fields, once tokens are taken: errors of later stages show them too.
        self.ticket_headers: tuple[tuple[bytes, bytes], ...] = ()


class Permit(Struct, frozen=True):
    """The right of this principal to call this route."""

    principal: Principal


class Ticket(Struct, frozen=True):
    """Tokens taken. `headers` are the RateLimit fields that the reply shows."""

    permit: Permit
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Inputs(Struct, frozen=True, kw_only=True):
    """What the client asked for, checked and bound.

    `message` is the upstream's request in wire bytes (mapped calls); `tree` holds `path`, `query`
    and `body` by name (aggregates, GraphQL). `messages` are those of a client's stream, as they come.
    """

    ticket: Ticket
    message: bytes = b""
    messages: AsyncGenerator[bytes, None] | None = None
    tree: Mapping[str, Json] = {}


class StreamCutError(Exception):
    """A stream ends badly in a form that has no word for it: the client has to see a cut."""


class ReplyStream(Protocol):
    """Parts of a body as they are made. Whoever has it closes it, read or not."""

    # Longest time that the client may take nothing, in seconds.
    write_timeout_s: float

    def __aiter__(self) -> Self:
        """Itself."""
        ...

    async def __anext__(self) -> bytes:
        """The next part, which may be empty. Raises StreamCutError if the body cannot be ended."""
        ...

    def finish(self) -> None:
        """Ask it to end soon, in good order."""
        ...

    async def aclose(self) -> None:
        """End what makes the parts."""
        ...


class Trailers(Struct):
    """Fields for behind the body, where server and client take any (RFC 9110 6.5).

    `names` announces them; those of a stream are filled in when it ends.
    """

    names: bytes
    fields: list[tuple[bytes, bytes]]


class FixedFields:
    """Header fields known at load, as pairs and as the lines that HTTP/1.1 has for them."""

    __slots__ = ("lines", "pairs")

    def __init__(self, *pairs: tuple[bytes, bytes]) -> None:
        self.pairs = pairs
        self.lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])


NO_FIELDS = FixedFields()


class Reply:
    """What goes back: either `body`, or `stream` with parts that are written as they come.

    `fixed` are header fields before `headers`, prepared once for all replies of their kind.
    """

    __slots__ = ("body", "fixed", "headers", "reason", "status", "stream", "trailers")

    def __init__(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes = b"",
        *,
        stream: ReplyStream | None = None,
        reason: str = "",
        fixed: FixedFields = NO_FIELDS,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.stream = stream
        # Why it is no success, from the closed list of `core.status`; empty otherwise.
        self.reason = reason
        self.trailers: Trailers | None = None
        self.fixed = fixed
