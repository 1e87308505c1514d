"""The stages after the ticket: ask the services, shape the reply.

`call_inner` is how aggregates and GraphQL ask: each of their calls passes authorize, take tokens
and the upstream's layers exactly as a REST call of the same operation does.
"""

from collections.abc import Awaitable, Mapping

from bff.core.errors import UpstreamError
from bff.core.exchange import Inputs, Json, Permit, Reply, Request, Ticket
from bff.pipeline.crossing import judge_size
from bff.pipeline.route import InnerOperation, Match, Tools, scope_of
from bff.transcoding.rpc_status import decode_details

__all__ = ["call_inner", "fetch_all", "shape_reply", "upstream_metadata"]


_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def fetch_all(request: Request, inputs: Inputs, match: Match, tools: Tools) -> Awaitable[Json]:
    """Ask every service that the route's plan names. Raises UpstreamError where the route has no answer."""
    request.stage = "fetch"
    return match.route.work.fetch(request, inputs, match, tools)


def shape_reply(answers: Json, ticket: Ticket, match: Match) -> Reply:
    """Make the public reply of the answers; RateLimit fields come from the ticket."""
    reply = match.route.work.shape(answers, ticket, match)
    if ticket.headers:
        reply.headers.extend(ticket.headers)
    return reply


def upstream_metadata(request: Request) -> tuple[tuple[str, str | bytes], ...]:
    """What every call carries beside identity: correlation, and the one address we vouch for."""
    return (
        ("x-request-id", request.request_id),
        ("traceparent", traceparent(request)),
        ("x-forwarded-for", request.address),
    )


def traceparent(request: Request) -> str:
    """W3C Trace Context, version 00; our span is the parent of the service's."""
    flags = "-01" if request.trace_sampled else "-00"
    return "00-" + request.trace_id + "-" + request.span_id + flags


async def call_inner(
    inner: InnerOperation,
    tree: Json,
    *,
    request: Request,
    ticket: Ticket,
    tools: Tools,
    deadline_s: float,
    source: str = "",
) -> Json:
    """One call of an aggregate's source or a GraphQL field: permit, tokens of its own route, call.

    Takes and returns JSON trees. Raises DeniedError, LimitedError, ClientError (a value that does
    not fit), UpstreamError. The outer ticket proves that the request as a whole was let in.
    """
    principal = ticket.permit.principal

    def scope() -> Mapping[str, Json]:
        named = {name: _at(tree, path) for name, path in inner.names}
        return scope_of(request, principal, named, named)

    inner.access.check(principal, scope)
    permit = Permit(principal)
    if inner.limits is not None:
        await _take_inner(inner, permit, request, tools)
    message = inner.encode(tree)
    metadata = (*upstream_metadata(request), *inner.identity(principal))
    if inner.inward is not None:
        metadata = (*metadata, *inner.inward.of(request.headers))
        judge_size(metadata, inner.metadata_cap_bytes)
    try:
        reply = await inner.stack.unary(
            inner.operation, message, metadata, deadline_s, notes=request.calls, source=source
        )
    except UpstreamError as error:
        if error.details_bin:
            error.service_reason = _service_reason(error, tools)
        raise
    return inner.decode(reply.message)


def _service_reason(error: UpstreamError, tools: Tools) -> str:
    """The reason of the service's ErrorInfo: its part of the reply speaks for itself."""
    _, details = decode_details(error.details_bin, error.code, tools.codec)
    for detail in details:
        if isinstance(detail, dict) and detail.get("@type") == _ERROR_INFO:
            reason = detail.get("reason")
            return reason if isinstance(reason, str) else ""
    return ""


async def _take_inner(
    inner: InnerOperation, permit: Permit, request: Request, tools: Tools
) -> None:
    assert inner.limits is not None
    taken = tools.limiter.take_now(inner.limits, permit.principal, request.address, request.headers)
    if taken is None:
        await tools.limiter.take(inner.limits, permit.principal, request.address, request.headers)


def _at(tree: Json, path: tuple[str, ...]) -> Json:
    for name in path:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(name)
    return tree
