"""Methods under their gRPC paths, for the protocols that `transcoding: {protocols: ..}` lists."""

from collections.abc import Callable, Sequence

from msgspec import structs

from bff.auth.access import Access
from bff.core.exchange import Request
from bff.core.schema import Method
from bff.pipeline.connect import open_connect
from bff.pipeline.connect_streams import open_connect_stream
from bff.pipeline.framings import EventFields
from bff.pipeline.grpc_web import open_grpc_web
from bff.pipeline.route import CompiledRoute, Speak
from bff.pipeline.rpc import Guard, Rpc, RpcCall, first_of
from bff.pipeline.streams import StreamForm
from bff.snapshot.bindings import rule_problem
from bff.snapshot.findings import Findings
from bff.snapshot.inner import names_in
from bff.snapshot.one_route import make_route
from bff.snapshot.policies import AuthLevel, PolicyCompiler
from bff.snapshot.works import Rule, WorkCompiler
from bff.transcoding.route_trie import RouteTrie

__all__ = ["ProtocolCompiler"]

_CONNECT_TYPES = "application/proto, application/json"
_CONNECT_STREAM_TYPES = "application/connect+proto, application/connect+json"
_WEB_TYPES = "application/grpc-web+proto, application/grpc-web+json, application/grpc-web-text"


class ProtocolCompiler:
    """Compiles these paths into the trie; `routes` are what it made, `speakers` tell errors by route id."""

    def __init__(
        self,
        *,
        policies: PolicyCompiler,
        works: WorkCompiler,
        trie: RouteTrie[CompiledRoute],
        find: Findings,
    ) -> None:
        self._policies = policies
        self._works = works
        self._trie = trie
        self._find = find
        self.routes: list[CompiledRoute] = []
        self.speakers: dict[str, Speak] = {}
        self.shown_errors: dict[str, frozenset[str]] = {}

    def compile(
        self,
        rule: Rule,
        variables: Sequence[tuple[str, ...]],
        rest: CompiledRoute | None,
        name: str,
    ) -> list[CompiledRoute]:
        """The path of one method: the routes that are new.

        `variables` are what its other rules take from a URL, `rest` is what is served on the path
        without a protocol: an unbound method. `name` is the route whose buckets are shared.
        """
        method = rule.entry.method
        if not _is_spoken(rule) or (rest is not None and method.client_streaming):
            return []
        levels = rule.levels.auth()
        access = self._policies.access(levels)
        work = self._work(rule, access, variables, rest)
        if work is None:
            return []
        before = access
        if access.needs_request:
            before = self._policies.access(_before_the_message(levels))
        if rest is not None:
            rest.work, rest.access = work, before
            post = rest
        else:
            post = make_route(
                rule, f"{name}-rpc", work, before, levels, self._policies, limited_as=name
            )
        return self._serve(rule, post, is_new=rest is None)

    def _serve(self, rule: Rule, post: CompiledRoute, *, is_new: bool) -> list[CompiledRoute]:
        routes = [post] if is_new else []
        if _is_got(rule):
            routes.append(structs.replace(post, method="GET", id=f"{post.id}-get"))
        for route in routes:
            # One spelling, and 405 for a wrong method: these paths are a protocol's, not the mapping's.
            held = self._trie.insert(rule.template, route.method, route, implied_head=False)
            if held is not None:
                message = (
                    f"{route.method} {route.template} is the path of {route.operation} in the "
                    f"protocols, but {held.id} is mapped there"
                )
                hint = "write another path for the mapped one"
                self._find.note(rule_problem(rule.binding, message, hint=hint))
                return []
        self.routes += routes
        work = post.work
        assert isinstance(work, Rpc)  # made above
        for route in (post, *routes):
            self.speakers[route.id] = work.speak
            if rule.switches.show_errors:
                self.shown_errors[route.id] = frozenset(rule.switches.show_errors)
        return routes

    def _work(
        self,
        rule: Rule,
        access: Access,
        variables: Sequence[tuple[str, ...]],
        rest: CompiledRoute | None,
    ) -> Rpc | None:
        parts = self._works.rpc_parts(rule)
        if parts is None:
            return None
        method, guard = rule.entry.method, None
        if access.needs_request:
            names, decode = names_in(method, variables), self._works.decoder(method)
            guard = Guard(access=access, names=names, decode=decode)
        openers, taken = _openers(rule, method, is_shared=rest is not None)
        return Rpc(
            parts=parts,
            open=first_of(openers),
            taken=", ".join(taken).encode(),
            guard=guard,
            rest=None if rest is None else rest.work,
        )


def _is_unary(method: Method) -> bool:
    return not (method.client_streaming or method.server_streaming)


def _is_spoken(rule: Rule) -> bool:
    """Whether a listed protocol has a form for the method: clients' streams of Connect are not built."""
    protocols = rule.switches.protocols
    one_message = not rule.entry.method.client_streaming
    return "grpc_web" in protocols or ("connect" in protocols and one_message)


def _is_got(rule: Rule) -> bool:
    """Whether Connect calls it by GET too: methods without side effects."""
    method = rule.entry.method
    is_safe = method.idempotency == "no_side_effects" and _is_unary(method)
    return is_safe and "connect" in rule.switches.protocols


def _openers(
    rule: Rule, method: Method, *, is_shared: bool
) -> tuple[list[Callable[[Request], RpcCall | None]], list[str]]:
    openers: list[Callable[[Request], RpcCall | None]] = []
    taken: list[str] = []
    protocols = rule.switches.protocols
    if "grpc_web" in protocols:
        timing = _timing(rule) if method.server_streaming else None
        openers.append(open_grpc_web(takes_stream=method.client_streaming, timing=timing))
        taken.append(_WEB_TYPES)
    if "connect" in protocols and _is_unary(method):
        openers.append(open_connect(is_shared=is_shared))
        taken.append(_CONNECT_TYPES)
    elif "connect" in protocols and not method.client_streaming:
        openers.append(open_connect_stream(_timing(rule)))
        taken.append(_CONNECT_STREAM_TYPES)
    return openers, taken


def _timing(rule: Rule) -> StreamForm:
    stream = rule.levels.stream()
    return StreamForm(
        write=bytes,
        events=EventFields(),
        first_wait_s=stream.first_wait,
        write_timeout_s=stream.write_timeout,
        max_duration_s=stream.max_duration,
        idle_s=stream.idle,
    )


def _before_the_message(levels: Sequence[AuthLevel]) -> list[AuthLevel]:
    """The rules that can be judged before the message is read: all but conditions and tenants."""
    return [
        (level.model_copy(update={"when": None, "tenant": None}), placed, path)
        for level, placed, path in levels
    ]
