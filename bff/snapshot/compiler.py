"""Configuration to snapshot: every problem collected, nothing half built, unchanged parts carried over.

The order below is the order of dependence: types, policies, upstreams, routes, aggregates, GraphQL,
documents. A compiler lives as long as its worker and remembers what earlier snapshots use.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from bff.auth.challenges import Challenges
from bff.config.documents import Document
from bff.config.gateway import GatewayFile
from bff.config.presets import SwitchInForce
from bff.core.errors import ConfigError
from bff.core.problems import Problem
from bff.core.schema import Method
from bff.pipeline.documents import Page, Pages, page_route, static_route
from bff.pipeline.route import CompiledRoute, Tools
from bff.ratelimit.address_buckets import AddressBuckets
from bff.ratelimit.bucket import Bucket
from bff.ratelimit.limiter import Limiter
from bff.snapshot.absent import without_absent
from bff.snapshot.documents import openapi_of
from bff.snapshot.findings import Findings
from bff.snapshot.graphql import GraphqlCompiler
from bff.snapshot.parts import Lease, Parts
from bff.snapshot.policies import PolicyCompiler
from bff.snapshot.reserved import reserved_paths
from bff.snapshot.routes import RouteCompiler, ServedBinding
from bff.snapshot.screens import ScreenCompiler
from bff.snapshot.stores import store_settings
from bff.snapshot.type_sources import Sources
from bff.snapshot.upstreams import UpstreamCompiler
from bff.transcoding.descriptors import Descriptors
from bff.transcoding.openapi import colliding_operations
from bff.transcoding.path_template import parse_template
from bff.transcoding.route_trie import RouteTrie
from bff.transcoding.type_sets import KnownTypes

__all__ = ["Compiled", "Compiler"]


class Compiled(Struct, kw_only=True, eq=False):
    """A version, ready to go live, and what people want to know of it.

    `is_partial`: a source of types is not there, or is known from an earlier time alone.
    """

    tools: Tools
    lease: Lease
    routes: tuple[CompiledRoute, ...]
    served: tuple[ServedBinding, ...]
    # Every route to one method, paths of protocols included, with its switches in force.
    switches: tuple[tuple[CompiledRoute, tuple[SwitchInForce, ...]], ...]
    # Operations of aggregates and GraphQL, by "upstream.Method" and "package.Service/Method".
    methods: Mapping[str, Method]
    openapi: bytes
    sdl: str
    warnings: tuple[Problem, ...]
    is_partial: bool = False


class Compiler:
    """Makes snapshots; belongs to one worker and its event loop.

    `pages` gives what people may look at, for the path of the OpenAPI document; None: nothing.
    `types` may know the types already.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        pages: Callable[[str], Pages] | None = None,
        types: KnownTypes | None = None,
    ) -> None:
        self._parts = parts
        self._load_pages = pages
        self._pages: tuple[str, Pages] | None = None
        self._failures: tuple[object, AddressBuckets] | None = None
        self._types = types or KnownTypes()

    def compile(self, document: Document, sources: Sources, *, openapi: bytes = b"") -> Compiled:
        """A snapshot of this document. Raises ConfigError with every problem.

        `openapi` is the OpenAPI document where somebody has rendered it already.
        """
        gateway = document.gateway
        find = Findings()
        lease = Lease()
        types = self._types.of(sources.sets)
        descriptors = types.descriptors
        whole, document = document, without_absent(document, descriptors, sources, find)
        policies = PolicyCompiler(
            gateway, self._parts, lease, find, self._failure_buckets(gateway.value)
        )
        upstreams = UpstreamCompiler(gateway, self._parts, lease, find)
        trie: RouteTrie[CompiledRoute] = RouteTrie()
        sockets: RouteTrie[CompiledRoute] = RouteTrie()
        reserved = reserved_paths(whole)
        routes = RouteCompiler(
            gateway=gateway,
            descriptors=descriptors,
            codec_of=types.codec_of,
            policies=policies,
            upstreams=upstreams,
            trie=trie,
            sockets=sockets,
            reserved=reserved,
            find=find,
        )
        for service in document.services:
            routes.compile(service)
        routes.finish()
        if document is whole:
            # Without some types nobody can tell a wrong name from one that is still to come.
            upstreams.check_operation_names(routes.methods_at)
        screens = ScreenCompiler(
            gateway=gateway, routes=routes, policies=policies, reserved=reserved, find=find
        )
        compiled_routes = [binding.route for binding in routes.served] + routes.protocols.routes
        for aggregate in document.aggregates:
            screen = screens.compile(aggregate, trie)
            if screen is not None:
                compiled_routes.append(screen)
        pages = self._pages_of(gateway.value.gateway.openapi)
        graphql = GraphqlCompiler(
            gateway=gateway,
            routes=routes,
            policies=policies,
            find=find,
            page=pages.graphiql_page if pages is not None else None,
            is_partial=document is not whole,
        )
        front = graphql.compile(document.services, trie)
        if front is not None:
            compiled_routes.extend(front.routes)
        store = store_settings(gateway, find)
        if find.problems:
            raise ConfigError(find.problems)
        version = _version(document, descriptors, policies, upstreams.tls_digest)
        openapi = openapi or self._openapi(document, routes, screens, version, find)
        self._serve_openapi(openapi, document, trie, policies, find)
        if find.problems:
            raise ConfigError(find.problems)
        if pages is not None:
            has_graphiql = front is not None and gateway.value.graphql.graphiql
            _insert_pages(pages.graphiql_assets if has_graphiql else (), trie)
            has_docs = gateway.value.gateway.openapi != "off"
            _insert_pages(pages.docs if has_docs else (), trie)
        tools = Tools(
            version=version,
            clock=self._parts.clock,
            emit=self._parts.emit,
            limiter=Limiter(store=self._parts.store(store), emit=self._parts.emit),
            codec=types.codec,
            trie=trie,
            sockets=sockets,
            domain=gateway.value.gateway.domain or gateway.value.gateway.name,
            challenge=Challenges(policies.realm).missing,
            error_form=routes.error_form,
            shown_errors=routes.shown_errors,
            speakers=routes.protocols.speakers,
        )
        tools.closing = self._parts.closing(lease)
        return Compiled(
            tools=tools,
            lease=lease,
            routes=tuple(compiled_routes),
            served=tuple(routes.served),
            switches=(*((each.route, each.all_switches) for each in routes.served), *routes.spoken),
            methods=routes.methods,
            openapi=openapi,
            sdl=front.sdl if front is not None else "",
            warnings=(*document.warnings, *sources.warnings, *find.warnings),
            is_partial=bool(sources.absent),
        )

    def _failure_buckets(self, gateway: GatewayFile) -> AddressBuckets:
        rate = gateway.limiter.failures
        if self._failures is None or self._failures[0] != rate:
            bucket = Bucket(rate.count, rate.period_s)
            self._failures = (rate, AddressBuckets(bucket=bucket, clock=self._parts.clock))
        return self._failures[1]

    def _pages_of(self, openapi_path: str) -> Pages | None:
        """The pages for this path; their files are read once."""
        if self._load_pages is None:
            return None
        if self._pages is None or self._pages[0] != openapi_path:
            self._pages = (openapi_path, self._load_pages(openapi_path))
        return self._pages[1]

    def _openapi(
        self,
        document: Document,
        routes: RouteCompiler,
        screens: ScreenCompiler,
        version: str,
        find: Findings,
    ) -> bytes:
        name = document.gateway.value.gateway.name
        tree = openapi_of(name, routes.served, screens.documents, version, routes.service_comments)
        for path, first, other in colliding_operations(tree):
            message = f"{other} and {first} are both {path} in OpenAPI; it shows them as one"
            find.warn(document.gateway.problem(message, "gateway", code="BFF-S004"))
        return msgspec.json.encode(tree)

    def _serve_openapi(
        self,
        openapi: bytes,
        document: Document,
        trie: RouteTrie[CompiledRoute],
        policies: PolicyCompiler,
        find: Findings,
    ) -> None:
        path = document.gateway.value.gateway.openapi
        if path != "off":
            limits = policies.open_limits("openapi")
            route = static_route(path, openapi, "application/json", limits=limits)
            self._serve(route, trie, document, find)

    def _serve(
        self,
        route: CompiledRoute,
        trie: RouteTrie[CompiledRoute],
        document: Document,
        find: Findings,
    ) -> None:
        """A path of our own: a mapping may not take it."""
        held = trie.insert(parse_template(route.template), "GET", route)
        if held is not None:
            message = f"GET {route.template} is the gateway's own, but {held.id} is mapped there"
            find.add(document.gateway, message, "gateway", "openapi")


def _insert_pages(pages: Sequence[Page], trie: RouteTrie[CompiledRoute]) -> None:
    # Last of all, since a route that is mapped at the same place stays. No tokens: one look at a
    # page asks for ten files, and the flood guard bounds them all the same.
    for page in pages:
        trie.insert(parse_template(page.path), "GET", page_route(page, limits=None))


def _version(
    document: Document, descriptors: Descriptors, policies: PolicyCompiler, tls_digest: str
) -> str:
    """Twelve digits that stand for the content: mappings, types, API keys, the files of `tls`."""
    content = f"{document.digest}:{descriptors.digest}:{policies.key_file_digest}{tls_digest}"
    return hashlib.sha256(content.encode()).hexdigest()[:12]
