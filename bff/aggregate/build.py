"""From what a mapping says to a Plan: expressions compiled against types, order found, everything checked.

All problems are found at once. The compiler of expressions is an argument, so that this package does
not know where expressions come from.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from bff.aggregate.join_specs import JoinMaker
from bff.aggregate.order import depth_of, find_circle
from bff.aggregate.plan import (
    MAX_DEPTH,
    MAX_KEYS,
    MAX_SOURCES,
    Binding,
    Join,
    Plan,
    ReplyKey,
    Source,
    Spread,
)
from bff.aggregate.reply_keys import Reply, ReplyMaker, places_of
from bff.aggregate.scope import Scope, leads_through
from bff.aggregate.specs import (
    CheckBinding,
    Compile,
    CompileWhen,
    PlanFault,
    RootType,
    Scalar,
    SourceSpec,
)
from bff.core.exchange import Json
from bff.core.expressions import ExprError, Expression, Origin
from bff.core.schema import Field, MessageType

__all__ = ["build_plan"]


class _Draft(Struct, kw_only=True):
    """A source on its way: the expressions of which its order is made."""

    spec: SourceSpec
    bindings: list[Binding]
    join: Join | None = None
    when: Callable[[Mapping[str, Json]], bool] | None = None
    reads: frozenset[Origin] = frozenset()
    needs: frozenset[str] = frozenset()
    waits_for: frozenset[str] = frozenset()


def build_plan(
    specs: Sequence[SourceSpec],
    reply: Reply | None,
    *,
    inputs: Mapping[str, RootType],
    compile_expr: Compile,
    check_binding: CheckBinding,
    compile_when: CompileWhen | None = None,
    deadline_s: float,
    status: int = 200,
    problems_key: str | None = "problems",
    max_keys: int = MAX_KEYS,
    max_sources: int = MAX_SOURCES,
) -> tuple[Plan | None, list[PlanFault]]:
    """The plan, or None and everything that is wrong with it.

    `inputs` are the names that are no sources (`path query body request auth`); without `reply`
    there is one key per source; `"..."` maps to names of sources whose fields are spread.
    """
    builder = _Builder(
        specs, inputs, compile_expr=compile_expr, check_binding=check_binding,
        compile_when=compile_when, max_keys=max_keys, max_sources=max_sources,
    )  # fmt: skip
    return builder.build(reply, deadline_s=deadline_s, status=status, problems_key=problems_key)


class _Builder:
    """Collects faults while the plan grows."""

    def __init__(
        self,
        specs: Sequence[SourceSpec],
        inputs: Mapping[str, RootType],
        *,
        compile_expr: Compile,
        check_binding: CheckBinding,
        compile_when: CompileWhen | None,
        max_keys: int,
        max_sources: int,
    ) -> None:
        self._specs = specs
        self._inputs = inputs
        self._check_binding = check_binding
        self._compile_when = compile_when
        self._max_keys = max_keys
        self._max_sources = max_sources
        self._scope = Scope(specs, inputs, compile_expr)

    def build(
        self,
        reply: Reply | None,
        *,
        deadline_s: float,
        status: int,
        problems_key: str | None,
    ) -> tuple[Plan | None, list[PlanFault]]:
        """The steps in order; later ones run although earlier ones found faults."""
        self._check_names()
        # Joins first: what they attach changes the types that other expressions read.
        joins = JoinMaker(self._scope, max_keys=self._max_keys).make(self._specs)
        drafts = [self._draft(spec, joins.get(spec.name)) for spec in self._specs]
        self._order(drafts)
        if reply is None:
            reply = {spec.name: spec.name for spec in self._specs}
        shown = ReplyMaker(self._scope, problems_key=problems_key).make(reply)
        if self._scope.faults:
            return None, self._scope.faults
        plan = Plan(
            sources=tuple(self._source(draft, shown) for draft in drafts),
            reply=tuple(shown),
            attachments=tuple(self._scope.attachments),
            deadline_s=deadline_s,
            status=status,
            problems_key=problems_key,
        )
        return plan, []

    def _check_names(self) -> None:
        if len(self._specs) > self._max_sources:
            most = self._max_sources
            self._scope.fault("sources", f"{len(self._specs)} sources; at most {most} are allowed")
        for spec in self._specs:
            if spec.name in self._inputs:
                self._scope.fault(f"sources.{spec.name}", f"'{spec.name}' is a reserved name")

    def _draft(self, spec: SourceSpec, join: Join | None) -> _Draft:
        draft = _Draft(spec=spec, bindings=[], join=join)
        for name, source in spec.bind.items():
            self._bind(draft, name, source)
        if join is not None:
            self._read(draft, join.keys)
        if spec.when is not None and self._compile_when is not None:
            try:
                draft.when, roots = self._compile_when(spec.when, self._scope.roots)
            except ExprError as error:
                path = f"sources.{spec.name}.when"
                self._scope.fault(path, error.message, error.hint, error.column)
            else:
                draft.waits_for |= roots & self._scope.names
        return draft

    def _bind(self, draft: _Draft, name: str, source: Scalar) -> None:
        path = f"sources.{draft.spec.name}.with.{name}"
        expr = self._scope.compile(path, source)
        names: list[str] = []
        message: MessageType | None = draft.spec.input
        field: Field | None = None
        for part in name.split("."):
            if message is None:
                self._scope.fault(path, f"'{part}' is read from a scalar")
                return
            field = self._scope.field(message, part, path)
            if field is None:
                return
            names.append(field.json_name)
            message = None if field.repeated or field.is_map else field.message
        if expr is None or field is None:
            return
        fault = self._check_binding(expr, field, draft.spec.input.full_name.rpartition(".")[2])
        if fault is not None:
            self._scope.fault(path, fault.message, fault.hint, fault.column)
        from_client = bool(expr.roots) and expr.roots <= {"path", "query", "body"}
        draft.bindings.append(
            Binding(path=tuple(names), expr=expr, required=field.required, from_client=from_client)
        )
        self._read(draft, expr)

    def _read(self, draft: _Draft, expr: Expression) -> None:
        sources = self._scope.sources_read(expr)
        draft.reads |= expr.reads
        draft.waits_for |= sources
        draft.needs |= expr.needs & self._scope.names

    def _order(self, drafts: list[_Draft]) -> None:
        by_name = {draft.spec.name: draft for draft in drafts}
        waits_for = {name: draft.waits_for for name, draft in by_name.items()}
        circle = find_circle(waits_for)
        if circle:
            self._scope.fault(
                f"sources.{circle[0]}", " -> ".join(circle), "sources wait for each other"
            )
            return
        depth = max((depth_of(name, waits_for) for name in by_name), default=0)
        if depth > MAX_DEPTH:
            self._scope.fault(
                "sources",
                f"sources depend on each other {depth} deep; at most {MAX_DEPTH} are allowed",
            )
        for draft in drafts:
            if draft.spec.on_error.kind != "fail":
                continue
            for name in sorted(draft.needs):
                if by_name[name].spec.on_error.kind != "fail":
                    path = f"sources.{draft.spec.name}"
                    message = f"the required source {draft.spec.name} needs the optional one {name}"
                    hint = (
                        f"give {draft.spec.name} an on_error, or write {name}.. || 'another value'"
                    )
                    self._scope.fault(path, message, hint)

    def _source(self, draft: _Draft, shown: Sequence[ReplyKey | Spread]) -> Source:
        spec = draft.spec
        attachments = tuple(
            one
            for one in self._scope.attachments
            if any(leads_through(path, one) for path in draft.reads)
        )
        return Source(
            name=spec.name,
            bindings=tuple(draft.bindings),
            join=draft.join,
            when=draft.when,
            on_error=spec.on_error,
            timeout_s=spec.timeout_s,
            statuses=spec.statuses,
            waits_for=draft.waits_for,
            hard=draft.needs,
            attachments=attachments,
            from_inputs=not draft.waits_for,
            places=places_of(spec.name, shown, self._scope.attachments),
        )
