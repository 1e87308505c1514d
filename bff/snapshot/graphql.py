"""GraphQL blocks as one schema, with its two routes."""

from collections.abc import Sequence

from msgspec import Struct

from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.graphql import GraphqlCaps, GraphqlField, GraphqlJoin
from bff.config.routes import ServiceFile
from bff.core.problems import nearest
from bff.core.schema import Method
from bff.gql.documents import DocumentCache
from bff.gql.join_fields import JoinField
from bff.gql.limits import Caps
from bff.gql.root_fields import PageSize, RootField
from bff.gql.schema import GqlSchema, build_schema
from bff.gql.schema_faults import SchemaFault
from bff.pipeline.documents import Page
from bff.pipeline.graphql import GraphqlFront, GraphqlWork
from bff.pipeline.route import CompiledRoute
from bff.snapshot.findings import Findings
from bff.snapshot.policies import PolicyCompiler
from bff.snapshot.routes import RouteCompiler
from bff.transcoding.path_template import parse_template
from bff.transcoding.route_trie import RouteTrie
from bff.transcoding.type_shapes import reachable

__all__ = ["CompiledGraphql", "GraphqlCompiler"]


class CompiledGraphql(Struct, kw_only=True, eq=False):
    """What the blocks became: the schema's text, and the routes that serve it."""

    sdl: str
    routes: tuple[CompiledRoute, ...]


class GraphqlCompiler:
    """Compiles every `graphql` block into one schema. `page` is GraphiQL, where it is wanted.

    `is_partial`: a source of types is not there, so joins may lack the type they stand on.
    """

    def __init__(
        self,
        *,
        gateway: Placed[GatewayFile],
        routes: RouteCompiler,
        policies: PolicyCompiler,
        find: Findings,
        page: Page | None = None,
        is_partial: bool = False,
    ) -> None:
        self._gateway = gateway
        self._routes = routes
        self._policies = policies
        self._find = find
        self._page = page
        self._is_partial = is_partial
        # Which file wrote a root field or join: the schema's faults name only the key.
        self._files: dict[str, Placed[ServiceFile]] = {}

    def compile(
        self, services: Sequence[Placed[ServiceFile]], trie: RouteTrie[CompiledRoute]
    ) -> CompiledGraphql | None:
        """The routes, or None where no file exposes anything (or something is wrong with it)."""
        fields: list[RootField] = []
        joins: list[JoinField] = []
        for file in services:
            block = file.value.graphql
            if block is None:
                continue
            for name, query in block.queries.items():
                self._add_root(file, "queries", name, query, fields)
            for name, mutation in block.mutations.items():
                self._add_root(file, "mutations", name, mutation, fields)
            for name, join in block.joins.items():
                self._add_join(file, name, join, joins)
        if not fields or (self._is_partial and all(field.kind != "query" for field in fields)):
            return None
        if self._has_clashes([*fields, *joins]):
            return None
        schema, faults = self._build(fields, joins)
        for fault in faults:
            self._note(fault.path, fault.message, fault.hint)
        return self._serve(schema, trie) if schema is not None and not faults else None

    def _build(
        self, fields: list[RootField], joins: list[JoinField]
    ) -> tuple[GqlSchema | None, list[SchemaFault]]:
        schema, faults = build_schema(fields, joins)
        unplaced = {fault.path for fault in faults if fault.is_missing_type}
        if not unplaced or not self._is_partial:
            return schema, faults
        for path in unplaced:
            self._warn_unplaced(path)
        return build_schema(fields, [join for join in joins if join.path not in unplaced])

    def _has_clashes(self, parts: Sequence[RootField | JoinField]) -> bool:
        """Note types of one name that are not the same: a schema has one of each name."""
        known: dict[str, tuple[int, str]] = {}
        clashes: dict[str, str] = {}
        for part in parts:
            for root in (part.method.input, part.method.output):
                for message in reachable(root):
                    name, variant = message.full_name, message.variant
                    first, path = known.setdefault(name, (variant, part.path))
                    if first != variant and name not in clashes:
                        clashes[name] = part.path
                        text = f"{name} is another type here than at {path}; a schema has one of a name"
                        hint = "let both sources of types have the same files"
                        self._note(part.path, text, hint)
        return bool(clashes)

    def _warn_unplaced(self, path: str) -> None:
        block, kind, name = path.split(".", 2)
        message = f"the join {name} is left out: its type is not there, as a source of types is not"
        file = self._files[path]
        self._find.warn(file.problem(message, block, kind, name, severity="warning"))

    def _note(self, path: str, message: str, hint: str) -> None:
        for key, file in self._files.items():
            if path.startswith(key):
                block, kind, *rest = key.split(".")
                self._find.add(file, message, block, kind, ".".join(rest), hint=hint)
                return
        self._find.add(self._gateway, f"{path}: {message}", "graphql", hint=hint)

    def _add_root(
        self,
        file: Placed[ServiceFile],
        block: str,
        name: str,
        field: GraphqlField,
        fields: list[RootField],
    ) -> None:
        method = self._method(file, field.rpc, "graphql", block, name)
        if method is None:
            return
        key = f"graphql.{block}.{name}"
        if key in self._files:
            self._find.add(
                file,
                f"{name} stands at {self._files[key].where('graphql', block, name)} too",
                "graphql",
                block,
                name,
            )
            return
        self._files[key] = file
        page = field.list_size
        fields.append(
            RootField(
                kind="query" if block == "queries" else "mutation",
                name=name,
                method=method,
                operation=self._operation_name(file, field.rpc),
                args=field.args,
                page_size=None
                if page is None
                else PageSize(arg=page.arg, default=page.default, max=page.max),
                timeout_s=field.timeout,
                path=key,
            )
        )

    def _add_join(
        self, file: Placed[ServiceFile], name: str, join: GraphqlJoin, joins: list[JoinField]
    ) -> None:
        owner, dot, field = name.rpartition(".")
        if not dot:
            self._find.add(file, f"{name}: a join is named Type.field", "graphql", "joins", name)
            return
        method = self._method(file, join.rpc, "graphql", "joins", name, "rpc")
        if method is None:
            return
        key = f"graphql.joins.{name}"
        self._files[key] = file
        joins.append(
            JoinField(
                type=owner,
                name=field,
                method=method,
                operation=self._operation_name(file, join.rpc),
                keys=join.keys,
                into=join.into,
                entities=join.entities,
                entity_key=join.entity_key,
                max_batch=join.max_batch,
                parallel=join.parallel,
                timeout_s=join.timeout,
                path=key,
            )
        )

    def _operation_name(self, file: Placed[ServiceFile], rpc: str) -> str:
        """An operation is `GetOrder` inside its service's file, `orders.GetOrder` elsewhere."""
        own = f"{file.value.upstream}.{rpc}"
        return own if own in self._routes.methods else rpc

    def _method(self, file: Placed[ServiceFile], rpc: str, *path: str | int) -> Method | None:
        method = self._routes.methods.get(self._operation_name(file, rpc))
        if method is None:
            own = [n.partition(".")[2] for n in self._routes.methods if "/" not in n]
            close = nearest(rpc, (*self._routes.methods, *own))
            message, hint = f"no unary operation {rpc}", f"did you mean {close}?" if close else ""
            if any(map(self._routes.is_stream, (rpc, f"{file.value.upstream}.{rpc}"))):
                message, hint = f"{rpc} is a stream", "fields and joins take unary methods"
            self._find.add(file, message, *path, hint=hint)
        return method

    def _serve(self, schema: GqlSchema, trie: RouteTrie[CompiledRoute]) -> CompiledGraphql:
        written = self._gateway.value.graphql
        caps = _caps(written.caps)
        front = GraphqlFront(
            schema=schema,
            documents=DocumentCache(schema=schema.schema, caps=caps),
            caps=caps,
            body_cap_bytes=written.caps.body,
            operations=self._routes.inner,
            introspection=written.introspection,
            page=self._page if written.graphiql else None,
        )
        template = parse_template(written.path)
        routes = []
        for method in ("GET", "POST"):
            route = self._route(written.path, method, front)
            held = trie.insert(template, method, route)
            if held is not None:
                self._find.add(
                    self._gateway,
                    f"{method} {written.path} is GraphQL's, but {held.id} is mapped there",
                    "graphql",
                    "path",
                )
            routes.append(route)
        return CompiledGraphql(sdl=schema.sdl, routes=tuple(routes))

    def _route(self, path: str, method: str, front: GraphqlFront) -> CompiledRoute:
        gateway = self._gateway.value
        route_id = f"graphql-{method.lower()}"
        return CompiledRoute(
            id=route_id,
            template=path,
            method=method,
            upstream="",
            deadline_s=gateway.graphql.deadline,
            authenticator=self._policies.authenticator,
            # Each field's operation has its own rules; a document without any needs nobody.
            access=self._policies.open_access(),
            limits=self._policies.open_limits(route_id),
            work=GraphqlWork(front=front, is_get=method == "GET"),
            error_form="graphql",
            operation="GraphQL",
            guard="by field",
            policies=("per-caller",),
        )


def _caps(written: GraphqlCaps) -> Caps:
    return Caps(
        text_bytes=written.text,
        tokens=written.tokens,
        comments=written.comments,
        nesting=written.nesting,
        depth=written.depth,
        aliases=written.aliases,
        root_fields=written.root_fields,
        directives=written.directives,
        same_name=written.same_name,
        fragments=written.fragments,
        spreads=written.spreads,
        operations=written.operations,
        list_items=written.list_items,
        input_depth=written.input_depth,
        string_bytes=written.string,
        variables=written.variables,
        errors=written.errors,
        calls=written.calls,
    )
