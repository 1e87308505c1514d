"""Routes whose reply is known at load: the OpenAPI document, its page, the assets of GraphiQL."""

import hashlib

from msgspec import Struct

from bff.auth.access import compile_access
from bff.core.exchange import Inputs, Json, Reply, Request, Ticket
from bff.pipeline.route import CompiledRoute, Match, Tools
from bff.ratelimit.policies import RouteLimits

__all__ = ["Page", "Static", "static_route"]


class Page(Struct, frozen=True):
    """A document that is served as it is: its path, body, media type and further header fields."""

    path: str
    body: bytes
    content_type: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Static(Struct, kw_only=True, eq=False):
    """One body, with a strong validator (RFC 9110 8.8.3)."""

    body: bytes
    etag: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """Nothing is read; a known validator is noted for `fetch`."""
        return Inputs(ticket=ticket)

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """True if the client has this very body."""
        known = request.headers.get(b"if-none-match")
        return known is not None and self.etag in known

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """The body, or 304."""
        if answers:
            return Reply(304, [(b"etag", self.etag)])
        return Reply(200, list(self.headers), self.body)


def static_route(
    path: str,
    body: bytes,
    content_type: str,
    *,
    limits: RouteLimits | None,
    extra: tuple[tuple[bytes, bytes], ...] = (),
    cache: bytes = b"no-cache",
) -> CompiledRoute:
    """An open GET route with a fixed body; `extra` are further header fields."""
    etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:16].encode()
    return CompiledRoute(
        id=path.strip("/") or "root",
        template=path,
        method="GET",
        upstream="",
        deadline_s=5.0,
        authenticator=None,
        access=compile_access(required=False, kinds=frozenset(), rules=()),
        limits=limits,
        work=Static(
            body=body,
            etag=etag,
            headers=(
                (b"content-type", content_type.encode()),
                (b"etag", etag),
                (b"cache-control", cache),
                (b"x-content-type-options", b"nosniff"),
                *extra,
            ),
        ),
        body_cap_bytes=0,
        guard="open",
    )
