"""The stages before a service is asked: match, authenticate, authorize, take tokens, validate.

Each hands on a value that only it makes, and the next demands it, so none can be left out.
"""

from collections.abc import Awaitable, Mapping

from bff.core.errors import ClientError
from bff.core.exchange import ANONYMOUS, Inputs, Json, Permit, Principal, Reply, Request, Ticket
from bff.core.status import REASONS
from bff.pipeline.query import query_tree
from bff.pipeline.route import CompiledRoute, Match, Tools, scope_of
from bff.ratelimit.limiter import Taken
from bff.transcoding.route_trie import Found, WrongMethod

__all__ = [
    "authenticate",
    "authenticate_now",
    "authorize",
    "enter",
    "find_route",
    "take_tokens",
    "take_tokens_now",
    "validate",
]


def find_route(request: Request, tools: Tools) -> Match | Reply:
    """The route of a request. Raises 404 NO_ROUTE, 405 METHOD_NOT_ALLOWED with Allow.

    Where the path's routes say so, a wrong method is 501 UNIMPLEMENTED or 404 instead.

    OPTIONS without a rule of its own is answered here: 204 with Allow (RFC 9110 9.3.7).
    """
    found = tools.trie.find(request.method, request.path)
    if found is None:
        request.stage = "match"
        raise ClientError("NO_ROUTE")
    if isinstance(found, WrongMethod):
        request.stage = "match"
        allow = ", ".join(found.allow).encode()
        if request.method == "OPTIONS":
            return Reply(204, [(b"allow", allow)])
        raise _wrong_method(found.status, allow)
    return enter(request, found)


def enter(request: Request, found: Found[CompiledRoute]) -> Match:
    """Note the route of a request and lower its deadline."""
    route = found.value
    request.route_id = route.id
    request.template = route.template
    request.upstream = route.upstream
    request.log_share = route.log_share
    request.error_form = route.error_form
    ends_s = request.started_s + route.deadline_s
    request.deadline_s = min(request.deadline_s, ends_s)
    return Match(route, found.captures)


def _wrong_method(status: int, allow: bytes) -> ClientError:
    if status == 404:
        return ClientError("NO_ROUTE")
    reason = "METHOD_NOT_ALLOWED" if status == 405 else "UNIMPLEMENTED"
    text = REASONS["METHOD_NOT_ALLOWED"].text
    return ClientError(reason, text, headers=((b"allow", allow),))


def authenticate_now(request: Request, match: Match) -> Principal | None:
    """Who calls: a Principal, or 401; None where `authenticate` has to wait for something."""
    request.stage = "authenticate"
    authenticator = match.route.authenticator
    if authenticator is None:
        return ANONYMOUS
    principal = authenticator.authenticate_now(request.headers, request.address)
    if principal is not None:
        request.principal = principal
    return principal


async def authenticate(request: Request, match: Match) -> Principal:
    """As `authenticate_now`, with the wait for a key set that must be fetched."""
    authenticator = match.route.authenticator
    if authenticator is None:
        return ANONYMOUS
    principal = await authenticator.authenticate(request.headers, request.address)
    request.principal = principal
    return principal


def authorize(request: Request, principal: Principal, match: Match) -> Permit:
    """May they: a Permit, or 401 without a credential, 403 with the rule's name."""
    request.stage = "authorize"
    access = match.route.access
    access.check_kind(principal)
    if access.has_rules:

        def scope() -> Mapping[str, Json]:
            # Made only if a rule reads it.
            path = path_of(match.route, match.captures)
            return scope_of(request, principal, path, query_tree(request.query))

        access.check_rules(principal, scope)
    return Permit(principal)


def take_tokens_now(request: Request, permit: Permit, match: Match, tools: Tools) -> Ticket | None:
    """Tokens of every bucket that applies, all or none: a Ticket, or 429; None where a store must be asked."""
    limits = match.route.limits
    if limits is None:
        return Ticket(permit)
    request.stage = "limit"
    taken = tools.limiter.take_now(limits, permit.principal, request.address, request.headers)
    return None if taken is None else _ticket(request, permit, taken)


async def take_tokens(request: Request, permit: Permit, match: Match, tools: Tools) -> Ticket:
    """As `take_tokens_now`, with the wait for the store."""
    limits = match.route.limits
    if limits is None:
        return Ticket(permit)
    taken = await tools.limiter.take(limits, permit.principal, request.address, request.headers)
    return _ticket(request, permit, taken)


def _ticket(request: Request, permit: Permit, taken: Taken) -> Ticket:
    request.ticket_headers = taken.headers
    return Ticket(permit, taken.headers)


def validate(request: Request, ticket: Ticket, match: Match) -> Awaitable[Inputs]:
    """Read and judge what was sent: Inputs, or 400, 413, 415."""
    request.stage = "validate"
    return match.route.work.validate(request, ticket, match)


def path_of(route: CompiledRoute, captures: tuple[str, ...]) -> dict[str, Json]:
    """Path variables by name; a variable with dots is found under its whole text and its last part."""
    named: dict[str, Json] = {}
    for name, text in zip(route.variables, captures, strict=True):
        named[name] = text
        named.setdefault(name.rpartition(".")[2], text)
    return named
