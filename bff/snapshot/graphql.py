"""GraphQL blocks as a schema and its route."""

from collections.abc import Sequence

from msgspec import Struct

from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.routes import ServiceFile
from bff.pipeline.route import CompiledRoute
from bff.snapshot.findings import Findings
from bff.snapshot.policies import PolicyCompiler
from bff.snapshot.routes import RouteCompiler
from bff.transcoding.route_trie import RouteTrie

__all__ = ["GraphqlCompiler", "GraphqlFront"]


class GraphqlFront(Struct, kw_only=True, eq=False):
    """What the schema became: its SDL, and the routes that serve it."""

    sdl: str
    routes: tuple[CompiledRoute, ...]


class GraphqlCompiler:
    """Compiles every `graphql` block into one schema."""

    def __init__(
        self,
        *,
        gateway: Placed[GatewayFile],
        routes: RouteCompiler,
        policies: PolicyCompiler,
        find: Findings,
    ) -> None:
        self._gateway = gateway
        self._routes = routes
        self._policies = policies
        self._find = find

    def compile(
        self, services: Sequence[Placed[ServiceFile]], trie: RouteTrie[CompiledRoute]
    ) -> GraphqlFront | None:
        """The schema's front, or None where no file exposes anything."""
        return None
