"""Routes whose reply is known at load: the OpenAPI document, its page, the assets of GraphiQL."""

import hashlib
import re
from collections.abc import Sequence

from msgspec import Struct

from bff.auth.access import compile_access
from bff.core.exchange import Inputs, Json, Reply, Request, Ticket
from bff.pipeline.route import CompiledRoute, Match, Tools
from bff.ratelimit.policies import RouteLimits

__all__ = ["Page", "Pages", "Static", "has_entity_tag", "page_route", "static_route"]

_VALIDATORS = frozenset({b"etag", b"cache-control", b"vary"})
# RFC 9110 8.8.3; If-None-Match compares weakly, so a `W/` before it says nothing (13.1.2).
_ENTITY_TAGS = re.compile(rb'"[\x21\x23-\x7e\x80-\xff]*"').findall


class Page(Struct, frozen=True):
    """A document that is served as it is; `headers` are all its fields but Content-Type."""

    path: str
    body: bytes
    content_type: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Pages(Struct, frozen=True, kw_only=True):
    """What people may look at: the page of the OpenAPI document with its assets, GraphiQL and its assets.

    `graphiql_page` is served by the GraphQL route itself, so its own path says nothing.
    """

    docs: tuple[Page, ...]
    graphiql_page: Page
    graphiql_assets: tuple[Page, ...]


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
        return has_entity_tag(request.headers.all(b"if-none-match"), self.etag)

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """The body, or 304."""
        if answers:
            # RFC 9110 15.4.5: the fields that guide caches, as the 200 would have them.
            return Reply(304, [field for field in self.headers if field[0] in _VALIDATORS])
        return Reply(200, list(self.headers), self.body)


def has_entity_tag(fields: Sequence[bytes], etag: bytes) -> bool:
    """Whether If-None-Match names this entity tag, or any (RFC 9110 13.1.2)."""
    return any(field.strip(b" \t") == b"*" or etag in _ENTITY_TAGS(field) for field in fields)


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
    fields = ((b"cache-control", cache), (b"x-content-type-options", b"nosniff"), *extra)
    page = Page(path=path, body=body, content_type=content_type, headers=fields)
    return page_route(page, limits=limits)


def page_route(page: Page, *, limits: RouteLimits | None) -> CompiledRoute:
    """An open GET route that answers with the page."""
    etag = b'"%s"' % hashlib.sha256(page.body).hexdigest()[:16].encode()
    return CompiledRoute(
        id=page.path.strip("/") or "root",
        template=page.path,
        method="GET",
        upstream="",
        deadline_s=5.0,
        authenticator=None,
        access=compile_access(required=False, kinds=frozenset(), rules=()),
        limits=limits,
        work=Static(
            body=page.body,
            etag=etag,
            headers=(
                (b"content-type", page.content_type.encode()),
                (b"etag", etag),
                *page.headers,
            ),
        ),
        guard="open",
    )
