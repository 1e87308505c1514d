"""Service files as compiled routes: rules from annotations and mapping, each with everything it needs."""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from bff.auth.identity import compile_identity
from bff.config.blocks import effective
from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.policies import Caps
from bff.config.routes import Binding, Route, ServiceFile
from bff.config.switches import Metadata, Stream
from bff.core.problems import Problem, nearest
from bff.core.schema import HttpBinding, MessageType, Method, Service
from bff.pipeline.calls import Bound, Download, PickyUnary, Unary
from bff.pipeline.route import CompiledRoute, Identify, InnerOperation
from bff.pipeline.streams import Streamed
from bff.snapshot.findings import Findings
from bff.snapshot.policies import AuthLevel, LimitLevel, PolicyCompiler, policy_names
from bff.snapshot.streams import StreamFault, Work, stream_form, with_body
from bff.snapshot.switches import RouteSwitches, SwitchCompiler, SwitchLevel, reads_path
from bff.snapshot.upstreams import UpstreamCompiler
from bff.transcoding.binding import (
    Binder,
    compile_binder,
    judge_content_type,
    take_any_content_type,
)
from bff.transcoding.descriptors import Descriptors
from bff.transcoding.forms import http_body_reader
from bff.transcoding.http_rules import check_binding, find_field_path, unbound_binding
from bff.transcoding.json_codec import Codec
from bff.transcoding.path_template import Template, TemplateError, parse_template
from bff.transcoding.route_trie import RouteTrie
from bff.transcoding.switches import Switches

__all__ = ["RouteCompiler", "ServedBinding"]

_HTTP_BODY = "google.api.HttpBody"
_VERBS = ("get", "put", "post", "delete", "patch")


class ServedBinding(Struct, frozen=True, kw_only=True):
    """One HTTP binding that is served: for OpenAPI and `bff routes`."""

    route: CompiledRoute
    method: Method
    binding: HttpBinding
    upstream: str
    docs: bool
    secured: bool
    switches: RouteSwitches
    status: int = 200


class _Entry(Struct, frozen=True):
    """One route of a service file after wildcards were spread: the entries that speak for the method."""

    method: Method
    route: Route
    index: int
    # The wildcard entry behind it, whose keys hold where the exact one is silent.
    wildcard: Route | None
    # A wildcard spread to every method skips those without a rule; an exact entry may not.
    exact: bool


class RouteCompiler:
    """Compiles all service files into `trie`; keeps what GraphQL, aggregates and documents need."""

    def __init__(
        self,
        *,
        gateway: Placed[GatewayFile],
        descriptors: Descriptors,
        codec: Codec,
        policies: PolicyCompiler,
        upstreams: UpstreamCompiler,
        trie: RouteTrie[CompiledRoute],
        find: Findings,
    ) -> None:
        self._gateway = gateway
        self._descriptors = descriptors
        self._codec = codec
        self._policies = policies
        self._upstreams = upstreams
        self._trie = trie
        self._find = find
        self._ids: dict[str, Problem] = {}
        self._switches = SwitchCompiler()
        self.served: list[ServedBinding] = []
        # By "upstream.Method", and by "package.Service/Method".
        self.inner: dict[str, InnerOperation] = {}
        self.methods: dict[str, Method] = {}
        self.methods_at: dict[str, set[str]] = {}

    @property
    def error_form(self) -> str:
        """The form of errors where no route is known: the gateway's."""
        level: SwitchLevel = (self._gateway.value.transcoding, self._gateway, ("transcoding",))
        return self._switches.compile([level]).values.error_format

    @property
    def shown_errors(self) -> dict[str, frozenset[str]]:
        """Codes whose text the routes show, by route id."""
        return {
            served.route.id: frozenset(served.switches.values.show_errors)
            for served in self.served
            if served.switches.values.show_errors
        }

    def compile(self, file: Placed[ServiceFile]) -> None:
        """All routes of one service file, and its methods for aggregates and GraphQL."""
        service = self._descriptors.services.get(file.value.service)
        if service is None:
            close = nearest(file.value.service, self._descriptors.services)
            self._find.add(
                file,
                f"no service {file.value.service} in the descriptors",
                "service",
                hint=f"did you mean {close}?" if close else "look at gateway.protos",
            )
            return
        if file.value.upstream not in self._upstreams.stacks:
            # Its own problem was noted when the upstream was compiled, or by the cross-file check.
            return
        self.methods_at.setdefault(file.value.upstream, set()).update(service.methods)
        entries = list(self._entries(file, service))
        for entry in entries:
            self._compile_entry(file, entry)
        self._compile_inner(file, service, entries)

    # Which routes

    def _entries(self, file: Placed[ServiceFile], service: Service) -> Iterator[_Entry]:
        routes = file.value.routes
        wildcard = next((r for r in routes if r.rpc == "*"), None)
        exact = {r.rpc for r in routes if r.rpc != "*"}
        for index, route in enumerate(routes):
            if route.rpc == "*":
                if any(getattr(route, verb) is not None for verb in (*_VERBS, "custom")):
                    self._find.add(
                        file,
                        "a pattern on every method would be one path for all",
                        "routes",
                        index,
                        hint="name the rpc",
                    )
                    continue
                for method in service.methods.values():
                    if method.name not in exact:
                        yield _Entry(method, route, index, None, exact=False)
                continue
            named = service.methods.get(route.rpc)
            if named is None:
                close = self._descriptors.nearest_method(route.rpc, service=service.full_name)
                self._find.add(
                    file,
                    f"no method {route.rpc} in {service.full_name}",
                    "routes",
                    index,
                    "rpc",
                    hint=f"nearest: {close}" if close else "",
                )
                continue
            yield _Entry(named, route, index, wildcard, exact=True)

    def _bindings(self, file: Placed[ServiceFile], entry: _Entry) -> list[HttpBinding]:
        route, index = entry.route, entry.index
        written = _binding_of(route, file, index, ())
        bindings = [written] if written is not None else []
        for number, also in enumerate(route.also):
            made = _binding_of(also, file, index, ("also", number))
            if made is not None:
                bindings.append(made)
        if written is None or route.annotation == "keep":
            bindings.extend(entry.method.http)
        unbound = route.unbound or (entry.wildcard is not None and entry.wildcard.unbound)
        if not bindings and unbound:
            return [unbound_binding(entry.method)]
        if not bindings and entry.exact and not _only_inner(file, entry.method.name):
            self._find.add(
                file,
                f"{entry.method.name} has no HTTP rule",
                "routes",
                index,
                "rpc",
                hint="write get:, post: ... or unbound: true",
            )
        return bindings

    # One route

    def _compile_entry(self, file: Placed[ServiceFile], entry: _Entry) -> None:
        bindings = self._bindings(file, entry)
        if not bindings:
            return
        switches = self._switches.compile(self._switch_levels(file, entry))
        for number, binding in enumerate(bindings):
            template = self._template(entry, binding, switches.values)
            if template is not None:
                self._compile_binding(file, entry, binding, template, number, switches)

    def _template(self, entry: _Entry, binding: HttpBinding, switches: Switches) -> Template | None:
        try:
            template = parse_template(binding.template, tail=switches.template_tail == "allow")
        except TemplateError as error:
            self._note_at(binding, f"{binding.template}: {error.message}", error.column)
            return None
        found = check_binding(
            entry.method,
            binding,
            template,
            body_on_get=switches.body_on_get == "allow",
            body_on_delete=switches.body_on_delete == "allow",
        )
        for problem in found:
            self._find.note(problem)
        return None if found else template

    def _note_at(self, binding: HttpBinding, message: str, column: int = 1) -> None:
        where = binding.where
        if where.line:
            where = type(where)(where.file, where.line, where.column + column - 1)
        self._find.note(Problem(where, message, code="BFF-S002"))

    def _compile_binding(
        self,
        file: Placed[ServiceFile],
        entry: _Entry,
        binding: HttpBinding,
        template: Template,
        number: int,
        switches: RouteSwitches,
    ) -> None:
        route, method = entry.route, entry.method
        levels = (self._gateway.value, file.value, entry.wildcard, route)
        caps = effective(Caps, *(level.caps for level in levels if level is not None))
        upstream = route.upstream or file.value.upstream
        if upstream not in self._upstreams.stacks:
            return
        route_id = route.id or (method.name if number == 0 else f"{method.name}-{number + 1}")
        base = f"{upstream}.{route_id}" if route.id is None else route_id
        auth_levels = self._auth_levels(file, entry)
        access = self._policies.access(auth_levels)
        if self._lets_path_be_overruled(file, entry, template, switches.values, auth_levels):
            return
        replying = self._work(file, entry, binding, template, upstream, caps, switches.values)
        work = replying and self._with_body(
            file, entry, binding, template, replying, caps, switches.values
        )
        if work is None:
            return
        compiled = CompiledRoute(
            id=base,
            template=binding.template,
            method=binding.method,
            upstream=upstream,
            deadline_s=_nearest(levels, "deadline") or 5.0,
            authenticator=self._policies.authenticator,
            access=access,
            limits=self._policies.limits(
                self._limit_levels(file, entry),
                route_id=base,
                upstream=upstream,
                service=method.service,
                method=binding.method,
                headers_mode=_nearest(levels, "limit_headers") or "always",
            ),
            work=work,
            body_cap_bytes=caps.body,
            variables=tuple(".".join(variable.path) for variable in template.variables),
            log_share=_log_share(levels),
            error_form=switches.values.error_format,
            operation=f"{upstream}.{method.name}",
            guard=_guard_text(auth_levels, access.required),
            policies=tuple(policy_names(self._limit_levels(file, entry))),
        )
        # A stream cannot be run for its header fields alone, so HEAD is no method of its path.
        held = self._trie.insert(
            template,
            binding.method,
            compiled,
            implied_head=not method.server_streaming,
            switches=switches.values,
        )
        if held is not None:
            self._note_at(
                binding,
                f"{binding.method} {binding.template} is served by {held.operation} already "
                f"({held.method} {held.template})",
            )
            return
        self._claim_id(file, entry, base)
        self.served.append(
            ServedBinding(
                route=compiled,
                method=method,
                binding=binding,
                upstream=upstream,
                docs=route.docs,
                secured=access.required,
                switches=switches,
                status=route.status,
            )
        )

    def _lets_path_be_overruled(
        self,
        file: Placed[ServiceFile],
        entry: _Entry,
        template: Template,
        switches: Switches,
        auth_levels: Sequence[AuthLevel],
    ) -> bool:
        """Note a problem where a caller could pass a rule with one value and be served another."""
        loses = switches.same_field in {"body_wins", "query_wins"} and template.variables
        if not loses or not reads_path(auth_levels):
            return False
        self._find.add(
            file,
            f"`same_field: {switches.same_field}` would let a copy overrule the path, which a rule "
            "of `auth` reads",
            "routes",
            entry.index,
            "transcoding",
            "same_field",
            hint="write path_wins or reject",
        )
        return True

    def _claim_id(self, file: Placed[ServiceFile], entry: _Entry, route_id: str) -> None:
        problem = file.problem(
            f"the route id {route_id} is taken", "routes", entry.index, code="BFF-S003"
        )
        first = self._ids.setdefault(route_id, problem)
        if first is not problem:
            self._find.add(
                file,
                f"the route id {route_id} stands at {first.where} too",
                "routes",
                entry.index,
                hint="give one of them an `id`",
            )

    def _work(
        self,
        file: Placed[ServiceFile],
        entry: _Entry,
        binding: HttpBinding,
        template: Template,
        upstream: str,
        caps: Caps,
        switches: Switches,
    ) -> Unary | Download | Streamed | None:
        method, route = entry.method, entry.route
        levels = (self._gateway.value, file.value, entry.wildcard, route)
        metadata = effective(Metadata, *_blocks(levels, "metadata"))
        try:
            binder = compile_binder(
                codec=self._codec,
                message=method.input,
                variables=[variable.path for variable in template.variables],
                body=binding.body,
                max_parameters=self._gateway.value.caps.params,
                patch_mask=switches.patch_mask and binding.method == "PATCH",
                switches=switches,
            )
            write = self._codec.writer(
                method.output.full_name,
                emit_unpopulated=switches.emit_unpopulated,
                proto_names=switches.names == "proto",
                enum_numbers=switches.enums == "number",
                long_numbers=switches.int64 == "number",
                short_enums=switches.enums == "no_prefix",
                response_body=binding.response_body,
            )
        except ValueError as error:
            self._note_at(binding, str(error))
            return None
        bound = Bound(
            binder=binder,
            operation=self._upstreams.operation(upstream, method, bound_to=binding.method),
            stack=self._upstreams.stacks[upstream],
            identity=self.identity(upstream, file, route),
            body_cap_bytes=caps.body,
            metadata_cap_bytes=caps.metadata,
            reply_cap_bytes=caps.reply,
            metadata_in=tuple((n.lower().encode(), n.lower()) for n in metadata.in_),
            metadata_set=tuple((n.lower(), v) for n, v in metadata.set.items()),
            metadata_out=frozenset(n.lower() for n in metadata.out),
            judge=judge_content_type if switches.content_type == 415 else take_any_content_type,
            drops_body=switches.unexpected_body == "ignore",
        )
        if method.output.full_name == _HTTP_BODY and not method.server_streaming:
            return Download(bound=bound, read=http_body_reader(), status=route.status)
        if method.server_streaming:
            form = stream_form(
                effective(Stream, *_blocks(levels, "stream")),
                method,
                codec=self._codec,
                write=write,
                response_body=binding.response_body,
            )
            if isinstance(form, list):
                for fault in form:
                    path = ("stream", *fault.path) if fault.path else ("rpc",)
                    self._find.add(
                        file, fault.message, "routes", entry.index, *path, hint=fault.hint
                    )
                return None
            return Streamed(bound=bound, form=form)
        kind = Unary if switches.not_acceptable == "json" else PickyUnary
        return kind(bound=bound, write=write, status=route.status)

    def _with_body(
        self,
        file: Placed[ServiceFile],
        entry: _Entry,
        binding: HttpBinding,
        template: Template,
        work: Unary | Download | Streamed,
        caps: Caps,
        switches: Switches,
    ) -> Work | None:
        levels = (self._gateway.value, file.value, entry.wildcard, entry.route)

        def later() -> Binder:
            return compile_binder(
                codec=self._codec,
                message=entry.method.input,
                variables=(),
                body=binding.body,
                switches=switches,
            )

        def form(message: MessageType, with_path: bool) -> Binder:
            variables = [variable.path for variable in template.variables] if with_path else ()
            return compile_binder(
                codec=self._codec,
                message=message,
                variables=variables,
                max_parameters=self._gateway.value.caps.params,
                switches=switches,
            )

        made = with_body(
            work,
            entry.method,
            body=binding.body,
            make_later=later,
            make_form=form,
            switches=switches,
            stream=effective(Stream, *_blocks(levels, "stream")),
            caps=caps,
        )
        if isinstance(made, StreamFault):
            self._note_at(binding, made.message + "; " + made.hint)
            return None
        return made

    def identity(
        self, upstream: str, file: Placed[ServiceFile] | None, route: Route | None
    ) -> Identify:
        """What tells a service who calls: the nearest `identity`, of route, file, upstream, gateway."""
        written = (
            (route.identity if route is not None else None)
            or (file.value.identity if file is not None else None)
            or self._gateway.value.upstreams[upstream].identity
            or self._gateway.value.identity
        )
        try:
            return compile_identity(
                () if written == "none" else tuple(written), realm=self._policies.realm
            )
        except ValueError as error:
            self._find.add(self._gateway, str(error), "upstreams", upstream, "identity")
            return compile_identity(())

    # What each level says

    def _auth_levels(self, file: Placed[ServiceFile], entry: _Entry) -> list[AuthLevel]:
        levels: list[AuthLevel] = [(self._gateway.value.auth, self._gateway, ("auth",))]
        if file.value.auth is not None:
            levels.append((file.value.auth, file, ("auth",)))
        if entry.wildcard is not None and entry.wildcard.auth is not None:
            index = file.value.routes.index(entry.wildcard)
            levels.append((entry.wildcard.auth, file, ("routes", index, "auth")))
        if entry.route.auth is not None:
            levels.append((entry.route.auth, file, ("routes", entry.index, "auth")))
        return levels

    def _switch_levels(self, file: Placed[ServiceFile], entry: _Entry) -> list[SwitchLevel]:
        levels: list[SwitchLevel] = [
            (self._gateway.value.transcoding, self._gateway, ("transcoding",)),
            (file.value.transcoding, file, ("transcoding",)),
        ]
        if entry.wildcard is not None:
            index = file.value.routes.index(entry.wildcard)
            path = ("routes", index, "transcoding")
            levels.append((entry.wildcard.transcoding, file, path))
        levels.append((entry.route.transcoding, file, ("routes", entry.index, "transcoding")))
        return levels

    def _limit_levels(self, file: Placed[ServiceFile], entry: _Entry) -> list[LimitLevel]:
        return [
            (self._gateway.value.limit, self._gateway, ("limit",)),
            (file.value.limit, file, ("limit",)),
            (entry.wildcard.limit if entry.wildcard else (), file, ("routes",)),
            (entry.route.limit, file, ("routes", entry.index, "limit")),
        ]

    # For aggregates and GraphQL

    def _variables_of(self, file: Placed[ServiceFile], entry: _Entry) -> list[tuple[str, ...]]:
        paths: list[tuple[str, ...]] = []
        for served in self.served:
            if served.method is entry.method and served.upstream == file.value.upstream:
                paths.extend(tuple(name.split(".")) for name in served.route.variables)
        return paths

    def _compile_inner(
        self, file: Placed[ServiceFile], service: Service, entries: list[_Entry]
    ) -> None:
        upstream = file.value.upstream
        by_method = {entry.method.name: entry for entry in reversed(entries)}
        for method in service.methods.values():
            if method.client_streaming or method.server_streaming:
                continue
            entry = by_method.get(method.name) or _Entry(
                method, Route.model_construct(rpc=method.name), 0, None, exact=False
            )
            name = f"{upstream}.{method.name}"
            inner = InnerOperation(
                operation=self._upstreams.operation(upstream, method, bound_to=""),
                stack=self._upstreams.stacks[upstream],
                access=self._policies.access(self._auth_levels(file, entry)),
                limits=self._policies.limits(
                    self._limit_levels(file, entry),
                    route_id=f"{upstream}.{entry.route.id or method.name}",
                    upstream=upstream,
                    service=method.service,
                    method="",
                    headers_mode="never",
                    inner=True,
                ),
                identity=self.identity(upstream, file, entry.route),
                names=_names_in(method, self._variables_of(file, entry)),
                encode=self._codec.tree_reader(method.input.full_name),
                decode=self._codec.tree_writer(method.output.full_name),
            )
            for key in (name, f"{method.service}/{method.name}"):
                self.inner[key] = inner
                self.methods[key] = method


def _names_in(
    method: Method, variables: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Names that rules may use for parts of the request, and their JSON names in a request tree."""
    names: dict[str, tuple[str, ...]] = {}
    for field in method.input.fields:
        names[field.name] = names[field.json_name] = (field.json_name,)
    for variable in variables:
        path = tuple(field.json_name for field in find_field_path(method.input, variable))
        names[".".join(variable)] = path
        names.setdefault(variable[-1], path)
    return tuple(names.items())


def _binding_of(
    rule: Binding, file: Placed[ServiceFile], index: int, path: tuple[str | int, ...]
) -> HttpBinding | None:
    for verb in _VERBS:
        template = getattr(rule, verb)
        if template is not None:
            return HttpBinding(
                method=verb.upper(),
                template=template,
                body=rule.body or "",
                response_body=rule.response_body or "",
                where=file.where("routes", index, *path, verb),
            )
    if rule.custom is not None:
        return HttpBinding(
            method=rule.custom.kind,
            template=rule.custom.path,
            body=rule.body or "",
            response_body=rule.response_body or "",
            where=file.where("routes", index, *path, "custom"),
        )
    return None


def _only_inner(file: Placed[ServiceFile], method: str) -> bool:
    """Named for GraphQL alone: such a method needs no path of its own."""
    block = file.value.graphql
    if block is None:
        return False
    fields = (*block.queries.values(), *block.mutations.values())
    return any(field.rpc == method for field in fields)


def _nearest(levels: Sequence[object], key: str) -> Any:
    for level in reversed(levels):
        value = getattr(level, key, None)
        if value is not None:
            return value
    return None


def _blocks(levels: Sequence[object], key: str) -> list[Any]:
    return [getattr(level, key, None) for level in levels]


def _log_share(levels: Sequence[object]) -> float:
    for level in reversed(levels):
        block = getattr(level, "telemetry", None)
        if block is not None and "log" in block.model_fields_set:
            return float({"all": 1.0, "errors": 0.0}.get(block.log, block.log))
    return 1.0


def _guard_text(levels: Sequence[AuthLevel], required: bool) -> str:
    scopes = [scope for level, _, _ in levels for scope in level.scopes]
    rules = [word for level, _, _ in levels for word in ("when", "tenant") if getattr(level, word)]
    base = "required" if required else "open"
    return " ".join([base, *scopes, *dict.fromkeys(rules)])
