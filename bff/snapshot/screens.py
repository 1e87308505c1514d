"""Aggregate files as compiled routes: plans checked against the types of their sources' operations."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import structs

from bff.aggregate.build import build_plan
from bff.aggregate.plan import OnError, Plan, ReplyKey
from bff.aggregate.specs import JoinSpec, SourceSpec
from bff.config.aggregates import AggregateFile, OnErrorDefault, Source
from bff.config.blocks import effective
from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.policies import AggregateCaps
from bff.core.exchange import Json
from bff.core.expressions import ExprError, Expression
from bff.core.problems import Where, nearest
from bff.pipeline.route import CompiledRoute, InnerOperation
from bff.pipeline.screens import Screen
from bff.snapshot.findings import Findings
from bff.snapshot.policies import AuthLevel, LimitLevel, PolicyCompiler, policy_names
from bff.snapshot.reserved import ReservedPaths
from bff.snapshot.routes import RouteCompiler
from bff.transcoding.openapi import OpenApiOperation
from bff.transcoding.path_template import Template, TemplateError, parse_template
from bff.transcoding.route_trie import RouteTrie
from bff.transform.condition import ConditionError, compile_condition
from bff.transform.expr import binding_fault, compile_expr
from bff.transform.shapes import ANY

__all__ = ["ScreenCompiler"]

_INPUTS = ("path", "query", "body", "request", "auth")
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


class ScreenCompiler:
    """Compiles aggregate files into the trie."""

    def __init__(
        self,
        *,
        gateway: Placed[GatewayFile],
        routes: RouteCompiler,
        policies: PolicyCompiler,
        reserved: ReservedPaths,
        find: Findings,
    ) -> None:
        self._reserved = reserved
        self._gateway = gateway
        self._routes = routes
        self._policies = policies
        self._find = find
        self.documents: list[OpenApiOperation] = []

    def compile(
        self, file: Placed[AggregateFile], trie: RouteTrie[CompiledRoute]
    ) -> CompiledRoute | None:
        """The route of one aggregate, or None and its problems noted."""
        written = file.value
        method, _, text = written.aggregate.partition(" ")
        template = self._template(file, text, len(method) + 1)
        specs = self._specs(file)
        if template is None or specs is None:
            return None
        caps = effective(AggregateCaps, self._gateway.value.caps, written.caps)
        deadline_s = written.deadline or self._gateway.value.deadline
        plan, faults = build_plan(
            specs,
            written.reply if isinstance(written.reply, dict) or written.reply is None else {},
            inputs=dict.fromkeys(_INPUTS, ANY),
            compile_expr=compile_expr,
            check_binding=binding_fault,
            compile_when=_compile_when,
            deadline_s=deadline_s,
            status=written.status,
            problems_key=None if written.problems == "none" else written.problems,
            max_keys=caps.keys,
            max_sources=caps.sources,
        )
        for fault in faults:
            path = tuple(fault.path.split("."))
            self._find.add(file, fault.message, *path, hint=fault.hint, column=fault.column)
        if isinstance(written.reply, str):
            self._find.add(
                file,
                "a reply that is one expression is not built in this version",
                "reply",
                hint="write one key per part of the reply",
            )
            return None
        if plan is None or faults:
            return None
        route = self._route(file, method, template, caps, deadline_s, plan)
        held = trie.insert(template, method, route)
        if held is not None:
            self._find.add(
                file,
                f"{method} {template.text} is served by {held.id} already"
                f" ({held.method} {held.template}, {self._routes.place_of(held)})",
                "aggregate",
            )
            return None
        self.documents.append(
            _document(file, route, plan, *self._policies.credentials(self._auth_levels(file)))
        )
        return route

    def _template(self, file: Placed[AggregateFile], text: str, before: int) -> Template | None:
        """The template, which stands behind so many characters of its key's value."""
        try:
            template = parse_template(text)
        except TemplateError as error:
            at = file.where_text("aggregate")
            where = Where(at.file, at.line, at.column + before + error.column - 1)
            told = file.problem(
                f"{text}: {error.message}", "aggregate", hint=error.hint, code="BFF-S001"
            )
            self._find.note(structs.replace(told, where=where))
            return None
        owner = self._reserved.owner_of(template)
        if owner is not None:
            hint = "write another path, or move the feature by that key"
            self._find.add(file, f"{text} belongs to {owner}", "aggregate", hint=hint)
        return template if owner is None else None

    def _why_no_operation(self, rpc: str) -> tuple[str, str]:
        if self._routes.is_stream(rpc):
            return f"{rpc} is a stream", "a source is one call: name a unary method"
        close = nearest(rpc, self._routes.methods)
        hint = f"did you mean {close}?" if close else ""
        return f"no operation {rpc}", hint or "operations are upstream.Method of a service file"

    def _specs(self, file: Placed[AggregateFile]) -> list[SourceSpec] | None:
        specs = []
        for name, source in file.value.sources.items():
            found = self._routes.methods.get(source.rpc)
            if found is None:
                message, hint = self._why_no_operation(source.rpc)
                self._find.add(file, message, "sources", name, "rpc", hint=hint)
                continue
            specs.append(
                SourceSpec(
                    name=name,
                    input=found.input,
                    output=found.output,
                    bind=source.with_,
                    join=_join_spec(source),
                    when=source.when,
                    on_error=_on_error(source),
                    timeout_s=source.timeout,
                )
            )
        return specs if len(specs) == len(file.value.sources) else None

    def _route(
        self,
        file: Placed[AggregateFile],
        method: str,
        template: Template,
        caps: AggregateCaps,
        deadline_s: float,
        plan: Plan,
    ) -> CompiledRoute:
        written = file.value
        route_id = f"{method} {template.text}"
        levels = self._auth_levels(file)
        limits: list[LimitLevel] = [
            (self._gateway.value.limit, self._gateway, ("limit",)),
            (written.limit, file, ("limit",)),
        ]
        access = self._policies.access(levels)
        return CompiledRoute(
            id=route_id,
            template=template.text,
            method=method,
            upstream="",
            deadline_s=deadline_s,
            authenticator=self._policies.authenticator,
            access=access,
            limits=self._policies.limits(
                limits,
                route_id=route_id,
                upstream="",
                service="",
                method=method,
                headers_mode=self._gateway.value.limit_headers,
            ),
            work=Screen(
                plan=plan,
                operations=self._operations(written),
                query_names=_query_names(plan),
                takes_body=method in _BODY_METHODS,
                body_cap_bytes=caps.body,
                max_parameters=self._gateway.value.caps.params,
            ),
            variables=tuple(".".join(variable.path) for variable in template.variables),
            operation=", ".join(source.rpc for source in written.sources.values()),
            guard="required" if access.required else "open",
            policies=tuple(policy_names(limits)),
        )

    def _auth_levels(self, file: Placed[AggregateFile]) -> list[AuthLevel]:
        levels: list[AuthLevel] = [(self._gateway.value.auth, self._gateway, ("auth",))]
        if file.value.auth is not None:
            levels.append((file.value.auth, file, ("auth",)))
        return levels

    def _operations(self, written: AggregateFile) -> dict[str, InnerOperation]:
        return {name: self._routes.inner[source.rpc] for name, source in written.sources.items()}


def _join_spec(source: Source) -> JoinSpec | None:
    join = source.join
    if join is None:
        return None
    return JoinSpec(
        keys=join.keys,
        into=join.into,
        entities=join.entities,
        entity_key=join.entity_key,
        attach=join.as_ or "",
        max_batch=join.max_batch,
        parallel=join.parallel,
    )


def _on_error(source: Source) -> OnError:
    if isinstance(source.on_error, OnErrorDefault):
        return OnError("default", source.on_error.default)
    return OnError(source.on_error)


def _query_names(plan: Plan) -> frozenset[str]:
    """The query parameters that the plan reads; any other is unknown."""
    expressions: list[Expression] = [key.expr for key in plan.reply if isinstance(key, ReplyKey)]
    for source in plan.sources:
        expressions.extend(binding.expr for binding in source.bindings)
        if source.join is not None:
            expressions.append(source.join.keys)
    reads = (path for expr in expressions for path in expr.reads)
    return frozenset(path[1] for path in reads if path[0] == "query" and len(path) > 1)


def _compile_when(
    text: str, roots: Mapping[str, Any]
) -> tuple[Callable[[Mapping[str, Json]], bool], frozenset[str]]:
    """A source's condition and the roots it reads. Raises ExprError."""
    try:
        condition = compile_condition(text, frozenset(roots))
    except ConditionError as error:
        raise ExprError(error.message, getattr(error, "column", 1)) from error
    return condition.holds, condition.names


def _document(
    file: Placed[AggregateFile],
    route: CompiledRoute,
    plan: Plan,
    kinds: tuple[str, ...],
    scopes: tuple[str, ...],
) -> OpenApiOperation:
    names = [key.name for key in plan.reply if isinstance(key, ReplyKey)]
    work = route.work
    assert isinstance(work, Screen)
    return OpenApiOperation(
        id=route.id,
        http_method=route.method,
        template=route.template,
        reply={"type": "object", "properties": {name: {} for name in names}},
        parameters=tuple(
            {"name": name, "in": "query", "schema": {"type": "string"}}
            for name in sorted(work.query_names)
        ),
        status=plan.status,
        security=kinds,
        scopes=scopes,
        anonymous=not route.access.required,
        limited=route.limits is not None,
        summary=f"{file.value.aggregate}: " + ", ".join(file.value.sources),
        tags=("screens",),
    )
