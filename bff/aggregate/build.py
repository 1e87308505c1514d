"""From what a mapping says to a Plan: expressions compiled against types, order found, everything checked.

All problems are found at once. The compiler of expressions is an argument, so that this package does
not know where expressions come from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from bff.aggregate.plan import (
    FAIL,
    MAX_DEPTH,
    MAX_KEYS,
    MAX_SOURCES,
    Attachment,
    Binding,
    Join,
    OnError,
    Plan,
    ReplyKey,
    Source,
    Spread,
)
from bff.core.exchange import Json
from bff.core.expressions import ExprError, Expression, Origin
from bff.core.joining import attached_type, zero_key
from bff.core.problems import nearest
from bff.core.schema import Field, MessageType
from bff.core.status import Code

__all__ = ["Compile", "JoinSpec", "PlanFault", "Scalar", "SourceSpec", "build_plan"]

Scalar = str | float | bool | None
# What a name in an expression may be: a message, or whatever else the compiler understands.
RootType = Any
Compile = Callable[[Scalar, Mapping[str, RootType]], Expression]
CompileWhen = Callable[
    [str, Mapping[str, RootType]], tuple[Callable[[Mapping[str, Json]], bool], frozenset[str]]
]
# Any: it takes the expressions that its own compiler makes.
CheckBinding = Callable[[Any, Field, str], ExprError | None]


class PlanFault(Struct, frozen=True):
    """What is wrong, at which key (`sources.products.join.keys`), and at which column of its text."""

    path: str
    message: str
    column: int = 1
    hint: str = ""


class JoinSpec(Struct, frozen=True, kw_only=True):
    """A `join` as written; `attach` is its `as`."""

    keys: Scalar
    into: str
    entities: str = ""
    entity_key: str = ""
    attach: str = ""
    mode: str = "one"
    match: str = "key"
    max_batch: int = 100
    parallel: int | None = None


class SourceSpec(Struct, frozen=True, kw_only=True):
    """A source as written, its operation's types looked up."""

    name: str
    input: MessageType
    output: MessageType
    bind: Mapping[str, Scalar] = {}
    join: JoinSpec | None = None
    when: str | None = None
    on_error: OnError = FAIL
    timeout_s: float | None = None
    statuses: Mapping[Code, int] = {}


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
    reply: Mapping[str, Scalar | Sequence[object]] | None,
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
        self._compile_expr = compile_expr
        self._check_binding = check_binding
        self._compile_when = compile_when
        self._max_keys = max_keys
        self._max_sources = max_sources
        self._faults: list[PlanFault] = []
        self._names = frozenset(spec.name for spec in specs)
        self._roots: dict[str, RootType] = {
            **{spec.name: spec.output for spec in specs},
            **inputs,
        }
        self._attachments: list[Attachment] = []

    def build(
        self,
        reply: Mapping[str, Scalar | Sequence[object]] | None,
        *,
        deadline_s: float,
        status: int,
        problems_key: str | None,
    ) -> tuple[Plan | None, list[PlanFault]]:
        """The steps in order; later ones run although earlier ones found faults."""
        self._check_names()
        joins = self._joins()
        drafts = [self._draft(spec, joins.get(spec.name)) for spec in self._specs]
        self._order(drafts)
        shown = self._reply(reply, problems_key)
        if self._faults:
            return None, self._faults
        plan = Plan(
            sources=tuple(self._source(draft, shown) for draft in drafts),
            reply=tuple(shown),
            attachments=tuple(self._attachments),
            deadline_s=deadline_s,
            status=status,
            problems_key=problems_key,
            calls_worst=sum(_calls_worst(draft.join) for draft in drafts),
        )
        return plan, []

    def _fault(self, path: str, message: str, hint: str = "", column: int = 1) -> None:
        self._faults.append(PlanFault(path, message, column, hint))

    def _compile(self, path: str, source: Scalar) -> Expression | None:
        try:
            return self._compile_expr(source, self._roots)
        except ExprError as error:
            self._fault(path, error.message, error.hint, error.column)
            return None

    def _check_names(self) -> None:
        if len(self._specs) > self._max_sources:
            most = self._max_sources
            self._fault("sources", f"{len(self._specs)} sources; at most {most} are allowed")
        for spec in self._specs:
            if spec.name in self._inputs:
                self._fault(f"sources.{spec.name}", f"'{spec.name}' is a reserved name")

    # Joins first: what they attach changes the types that other expressions read.

    def _joins(self) -> dict[str, Join]:
        """Joins by source. One may read what another attaches, so those that fail are tried again."""
        waiting = [spec for spec in self._specs if spec.join is not None]
        done: dict[str, Join] = {}
        while waiting:
            before = len(self._faults)
            failed = []
            for spec in waiting:
                assert spec.join is not None
                made = self._join(spec, spec.join)
                if made is None:
                    failed.append(spec)
                else:
                    done[spec.name] = made
            if len(failed) == len(waiting):
                return done
            waiting = failed
            del self._faults[before:]
        return done

    def _join(self, spec: SourceSpec, join: JoinSpec) -> Join | None:
        path = f"sources.{spec.name}.join"
        before = len(self._faults)
        keys = self._compile(f"{path}.keys", join.keys)
        into = self._field(spec.input, join.into, f"{path}.into")
        entity, entities = self._entities(spec, join, path)
        key = None
        if join.match == "key" and entities and entity is not None:
            key = self._field(entity, join.entity_key, f"{path}.entity_key")
        if keys is None or into is None or len(self._faults) > before:
            return None
        many = join.mode == "many"
        if join.attach:
            self._attach(spec.name, keys, join.attach, entity or spec.output, many, f"{path}.as")
        if len(self._faults) > before:
            return None
        return Join(
            keys=keys,
            into=into.json_name,
            batch=into.repeated,
            entities=entities,
            entity_key=key.json_name if key else "",
            zero=zero_key(into),
            index=join.match == "index",
            many=many,
            max_batch=join.max_batch,
            parallel=join.parallel or (4 if into.repeated else 8),
            max_keys=self._max_keys,
        )

    def _entities(
        self, spec: SourceSpec, join: JoinSpec, path: str
    ) -> tuple[MessageType | None, tuple[str, ...]]:
        if not join.entities:
            return spec.output, ()
        names, message = [], spec.output
        for name in join.entities.split("."):
            field = self._field(message, name, f"{path}.entities")
            if field is None:
                return None, ()
            if field.message is None:
                self._fault(f"{path}.entities", f"{message.full_name}.{name} holds no messages")
                return None, ()
            names.append(field.json_name)
            message = field.message
        return message, tuple(names)

    def _attach(
        self, name: str, keys: Expression, attach: str, entity: MessageType, many: bool, path: str
    ) -> None:
        where = keys.path
        if where is None or where[0] not in self._names or len(where) < 2:
            hint = "write keys as a path such as orders.orders[].id"
            self._fault(path, "only a plain path into a source has objects to attach to", hint)
            return
        root, holder, key = where[0], where[1:-1], where[-1]
        try:
            self._roots[root] = attached_type(self._roots[root], holder, attach, entity, many=many)
        except ValueError as error:
            self._fault(path, str(error))
            return
        self._attachments.append(
            Attachment(join=name, root=root, path=holder, key=key, name=attach)
        )

    def _field(self, message: MessageType, name: str, path: str) -> Field | None:
        field = message.by_name.get(name)
        if field is None:
            known = nearest(name, [one.name for one in message.fields])
            hint = f"did you mean '{known}'?" if known else ""
            self._fault(path, f"{message.full_name} has no field '{name}'", hint)
        return field

    # Sources

    def _draft(self, spec: SourceSpec, join: Join | None) -> _Draft:
        draft = _Draft(spec=spec, bindings=[], join=join)
        for name, source in spec.bind.items():
            self._bind(draft, name, source)
        if join is not None:
            self._read(draft, join.keys)
        if spec.when is not None and self._compile_when is not None:
            try:
                draft.when, roots = self._compile_when(spec.when, self._roots)
            except ExprError as error:
                path = f"sources.{spec.name}.when"
                self._fault(path, error.message, error.hint, error.column)
            else:
                draft.waits_for |= roots & self._names
        return draft

    def _bind(self, draft: _Draft, name: str, source: Scalar) -> None:
        path = f"sources.{draft.spec.name}.with.{name}"
        expr = self._compile(path, source)
        names: list[str] = []
        message: MessageType | None = draft.spec.input
        field: Field | None = None
        for part in name.split("."):
            if message is None:
                self._fault(path, f"'{part}' is read from a scalar")
                return
            field = self._field(message, part, path)
            if field is None:
                return
            names.append(field.json_name)
            message = None if field.repeated or field.is_map else field.message
        if expr is None or field is None:
            return
        fault = self._check_binding(expr, field, draft.spec.input.full_name.rpartition(".")[2])
        if fault is not None:
            self._fault(path, fault.message, fault.hint, fault.column)
        from_client = bool(expr.roots) and expr.roots <= {"path", "query", "body"}
        draft.bindings.append(
            Binding(path=tuple(names), expr=expr, required=field.required, from_client=from_client)
        )
        self._read(draft, expr)

    def _read(self, draft: _Draft, expr: Expression) -> None:
        sources = self._sources_read(expr)
        draft.reads |= expr.reads
        draft.waits_for |= sources
        draft.needs |= expr.needs & self._names

    def _sources_read(self, expr: Expression) -> frozenset[str]:
        """The sources that an expression reads, by name or by what they attached to another one."""
        attached = {
            one.join for one in self._attachments if any(_reads(path, one) for path in expr.reads)
        }
        return (expr.roots & self._names) | attached

    def _order(self, drafts: list[_Draft]) -> None:
        by_name = {draft.spec.name: draft for draft in drafts}
        circle = _circle({name: draft.waits_for for name, draft in by_name.items()})
        if circle:
            self._fault(f"sources.{circle[0]}", " -> ".join(circle), "sources wait for each other")
            return
        depth = max((_depth(name, by_name) for name in by_name), default=0)
        if depth > MAX_DEPTH:
            self._fault(
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
                    self._fault(path, message, hint)

    def _source(self, draft: _Draft, shown: Sequence[ReplyKey | Spread]) -> Source:
        spec = draft.spec
        attachments = tuple(
            one for one in self._attachments if any(_reads(path, one) for path in draft.reads)
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
            places=self._places(spec.name, shown),
        )

    # The reply

    def _reply(
        self, reply: Mapping[str, Scalar | Sequence[object]] | None, problems_key: str | None
    ) -> list[ReplyKey | Spread]:
        if reply is None:
            reply = {spec.name: spec.name for spec in self._specs}
        shown: list[ReplyKey | Spread] = []
        owners: dict[str, str] = {problems_key: "problems"} if problems_key else {}
        for name, written in reply.items():
            if isinstance(written, Sequence) and not isinstance(written, str):
                for source in written:
                    if isinstance(source, str):
                        self._spread(source, shown, owners)
                    else:
                        self._fault(f"reply.{name}", "a list names the sources that are spread")
                continue
            self._claim(name, f"reply.{name}", owners)
            expr = self._compile(f"reply.{name}", written)
            if expr is not None:
                sources = self._sources_read(expr)
                only = bool(expr.roots) and expr.roots <= self._names
                shown.append(ReplyKey(name=name, expr=expr, sources=sources, only_sources=only))
        return shown

    def _spread(self, source: str, shown: list[ReplyKey | Spread], owners: dict[str, str]) -> None:
        message = self._roots.get(source) if source in self._names else None
        if not isinstance(message, MessageType):
            known = nearest(source, self._names)
            hint = f"did you mean '{known}'?" if known else ""
            self._fault("reply['...']", f"'{source}' is no source with a type", hint)
            return
        for field in message.fields:
            self._claim(field.json_name, f"reply['...'].{source}", owners)
        shown.append(Spread(source))

    def _claim(self, name: str, path: str, owners: dict[str, str]) -> None:
        if name in owners:
            self._fault(path, f"the reply has '{name}' twice, here and at {owners[name]}")
        owners[name] = path

    def _places(self, source: str, shown: Sequence[ReplyKey | Spread]) -> tuple[str, ...]:
        """Where the reply shows a source: the shortest paths only."""
        places: list[str] = []
        for key in shown:
            if isinstance(key, Spread):
                places += [key.source] if key.source == source else []
                continue
            places += [
                key.name + output.place
                for output in key.expr.outputs
                if any(self._shows(path, source) for path in output.reads)
            ]
        shortest: list[str] = []
        for place in sorted(places, key=len):
            if not any(_is_under(place, above) for above in shortest):
                shortest.append(place)
        return tuple(shortest)

    def _shows(self, path: Origin, source: str) -> bool:
        owners = [one.join for one in self._attachments if _reads(path, one)]
        return source in owners if owners else path[0] == source


def _reads(path: Origin, attachment: Attachment) -> bool:
    """Does this path lead through what was attached?"""
    whole = (attachment.root, *attachment.path, attachment.name)
    return path[: len(whole)] == whole


def _is_under(place: str, above: str) -> bool:
    return place == above or place.startswith((f"{above}.", f"{above}[]"))


def _circle(waits_for: Mapping[str, Iterable[str]]) -> list[str]:
    """A circle of names, its first one repeated at the end; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for below in sorted(waits_for.get(name, ())):
            found = walk(below, [*trail, name])
            if found:
                return found
        done.add(name)
        return []

    return next((found for name in waits_for if (found := walk(name, []))), [])


def _depth(name: str, by_name: Mapping[str, _Draft]) -> int:
    return 1 + max((_depth(below, by_name) for below in by_name[name].waits_for), default=0)


def _calls_worst(join: Join | None) -> int:
    if join is None:
        return 1
    return -(-join.max_keys // join.max_batch) if join.batch else join.max_keys
