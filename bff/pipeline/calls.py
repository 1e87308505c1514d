"""What a mapped route does with one call: a message as JSON, or a download (google.api.HttpBody)."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from bff.core.errors import ClientError, UpstreamError
from bff.core.exchange import FixedFields, Inputs, Json, Principal, Reply, Request, Ticket
from bff.core.media import accepts
from bff.core.status import Code
from bff.pipeline.crossing import Inward, Outward, judge_size
from bff.pipeline.outbound import upstream_metadata
from bff.pipeline.route import Identify, Match, Tools
from bff.transcoding.binding import Binder, judge_content_type
from bff.upstream.call import Operation, UpstreamStack
from bff.wire.channel import UnaryReply

__all__ = ["Bound", "Download", "FileBound", "PickyUnary", "Unary"]

_JSON = (b"content-type", b"application/json")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_JSON_FIELDS = FixedFields(_JSON, _NO_STORE, _NOSNIFF)


class Bound(Struct, kw_only=True, eq=False):
    """What every mapped route has: the binder in front, the call behind.

    `inward` is what of the client's fields crosses, `outward` what metadata of the reply comes
    back as fields; None where nothing does. `judge` raises ClientError for a
    content type that is no JSON, `drops_body` reads a body that the rule has no place for and goes on.
    """

    binder: Binder
    operation: Operation
    stack: UpstreamStack
    identity: Identify
    body_cap_bytes: int
    metadata_cap_bytes: int
    reply_cap_bytes: int
    inward: Inward | None = None
    outward: Outward | None = None
    judge: Callable[[bytes | None], None] = judge_content_type
    drops_body: bool = False

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """Bind path, query and body to the request message."""
        binder = self.binder
        body = b""
        if binder.takes_body:
            # Before the body is read where one is announced; over HTTP/2 it need not be.
            is_judged = request.announces_body
            if is_judged:
                self.judge(request.headers.get(b"content-type"))
            body = await request.read_body(self.body_cap_bytes)
            if body and not is_judged:
                self.judge(request.headers.get(b"content-type"))
        elif (
            # Over HTTP/2 the end of the stream alone tells that there is none (RFC 9113 8.1).
            (request.announces_body or request.protocol == "2")
            and await request.read_body(self.body_cap_bytes)
            and not self.drops_body
        ):
            raise ClientError("BODY_NOT_ALLOWED")
        return Inputs(ticket=ticket, message=binder.bind(match.captures, request.query, body))

    async def call(
        self, request: Request, inputs: Inputs, more: tuple[tuple[str, str | bytes], ...] = ()
    ) -> UnaryReply:
        """The one call, under the request's deadline, with `more` metadata.

        Raises REPLY_TOO_LARGE beyond `caps.reply`.
        """
        metadata = self.metadata(request, inputs.ticket.permit.principal)
        reply = await self.stack.unary(
            self.operation,
            inputs.message,
            (*metadata, *more) if more else metadata,
            request.deadline_s,
            request.calls,
            want_metadata=self.outward is not None,
        )
        if len(reply.message) > self.reply_cap_bytes:
            raise self.too_large(reply)
        return reply

    def too_large(self, reply: UnaryReply) -> UpstreamError:
        """The error for a reply beyond `caps.reply`."""
        return UpstreamError(
            "REPLY_TOO_LARGE",
            code=Code.RESOURCE_EXHAUSTED,
            origin="local",
            upstream=self.stack.name,
            detail=f"{len(reply.message)} bytes, the cap is {self.reply_cap_bytes}",
        )

    def metadata(
        self, request: Request, principal: Principal
    ) -> tuple[tuple[str, str | bytes], ...]:
        """Everything that crosses to the service: ours, identity, and what the route lets in."""
        metadata = (*upstream_metadata(request), *self.identity(principal))
        if self.inward is not None:
            metadata = (*metadata, *self.inward.of(request.headers))
        # What crosses comes from the request's headers and its token, so small ones need no count.
        if request.headers_bytes > self.metadata_cap_bytes // 2:
            judge_size(metadata, self.metadata_cap_bytes)
        return metadata


class FileBound(Bound, kw_only=True):
    """As `Bound`, with a body that is a google.api.HttpBody: octets of any type, never parsed."""

    wrap: Callable[[bytes, bytes], bytes]

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """Bind path and query, and put the body's octets behind them."""
        head = self.binder.bind(match.captures, request.query, b"")
        body = await request.read_body(self.body_cap_bytes)
        content_type = request.headers.get(b"content-type") or b""
        return Inputs(ticket=ticket, message=head + self.wrap(content_type, body))


class Unary(Struct, kw_only=True, eq=False):
    """One call, its reply message as JSON."""

    bound: Bound
    write: Callable[[bytes], bytes]
    status: int = 200

    def validate(self, request: Request, ticket: Ticket, match: Match) -> Awaitable[Inputs]:
        """As `Bound`."""
        return self.bound.validate(request, ticket, match)

    def fetch(
        self, request: Request, inputs: Inputs, match: Match, tools: Tools
    ) -> Awaitable[Json]:
        """Wire bytes of the reply, and its metadata where the route lists some."""
        return self.bound.call(request, inputs)

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """JSON of the reply message."""
        reply = Reply(self.status, [], self.write(answers.message), fixed=_JSON_FIELDS)
        if self.bound.outward is not None:
            self.bound.outward.dress(reply, answers)
        return reply


class PickyUnary(Unary, kw_only=True, eq=False):
    """As `Unary`, for clients that accept JSON; others read 406."""

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """As `Bound`. Raises ClientError NOT_ACCEPTABLE (RFC 9110 15.5.7)."""
        self.judge_accept(request)
        return await self.bound.validate(request, ticket, match)

    def judge_accept(self, request: Request) -> None:
        """Raise ClientError NOT_ACCEPTABLE for a client that does not accept JSON."""
        accept = b", ".join(request.headers.all(b"accept"))
        if accept and not accepts(accept, "application/json"):
            raise ClientError("NOT_ACCEPTABLE")


class Download(Struct, kw_only=True, eq=False):
    """One call whose reply is a google.api.HttpBody: its octets, under its own media type."""

    bound: Bound
    read: Callable[[bytes], tuple[str, bytes]]
    status: int = 200

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """As `Bound`."""
        return await self.bound.validate(request, ticket, match)

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """Wire bytes of the HttpBody."""
        return await self.bound.call(request, inputs)

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """The octets as they are."""
        content_type, data = self.read(answers.message)
        headers = [(b"content-type", content_type.encode()), _NO_STORE, _NOSNIFF]
        reply = Reply(self.status, headers, data)
        if self.bound.outward is not None:
            self.bound.outward.dress(reply, answers)
        return reply
