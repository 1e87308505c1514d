"""Service files as compiled routes: each HTTP rule with its guard, its limits and its work, in the trie."""

from msgspec import Struct, structs

from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.presets import SwitchInForce
from bff.config.routes import ServiceFile
from bff.config.switches import Stream
from bff.core.problems import Problem, Where
from bff.core.schema import HttpBinding, Method, Service
from bff.pipeline.route import CompiledRoute
from bff.snapshot.bindings import (
    Entry,
    bindings_of,
    colon_literals,
    entries_of,
    hidden_names,
    is_unbound,
    rule_problem,
    service_of,
)
from bff.snapshot.findings import Findings
from bff.snapshot.inner import InnerCompiler
from bff.snapshot.levels import Levels, Merged, gateway_switch_level
from bff.snapshot.one_route import make_route
from bff.snapshot.policies import AuthLevel, PolicyCompiler
from bff.snapshot.protocols import ProtocolCompiler
from bff.snapshot.reserved import ReservedPaths
from bff.snapshot.switches import RouteSwitches, SwitchCompiler, reads_path
from bff.snapshot.upstreams import UpstreamCompiler
from bff.snapshot.vain_keys import judge_entry
from bff.snapshot.works import Rule, WorkCompiler
from bff.transcoding.descriptors import Descriptors
from bff.transcoding.http_rules import check_binding, named_binding, unbound_binding
from bff.transcoding.path_template import Template, TemplateError, parse_template
from bff.transcoding.route_trie import RouteTrie
from bff.transcoding.switches import Switches
from bff.transcoding.type_sets import CodecOf

__all__ = ["RouteCompiler", "ServedBinding"]


class ServedBinding(Struct, frozen=True, kw_only=True):
    """One HTTP binding that is served: for OpenAPI and `bff routes`."""

    route: CompiledRoute
    method: Method
    binding: HttpBinding
    upstream: str
    docs: bool
    secured: bool
    switches: RouteSwitches
    stream: Stream
    # What the preset fixes of the blocks `stream` and `metadata`.
    beside: tuple[SwitchInForce, ...] = ()
    # Kinds of credential that count, and the scopes that they must have.
    kinds: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    status: int = 200
    # Whether it can be had over WebSocket too.
    socketed: bool = False

    @property
    def all_switches(self) -> tuple[SwitchInForce, ...]:
        """Every switch in force, with the word that gave it."""
        return self.switches.in_force + self.beside


class RouteCompiler:
    """Compiles all service files into `trie`; keeps what GraphQL, aggregates and documents need."""

    def __init__(
        self,
        *,
        gateway: Placed[GatewayFile],
        descriptors: Descriptors,
        codec_of: CodecOf,
        policies: PolicyCompiler,
        upstreams: UpstreamCompiler,
        trie: RouteTrie[CompiledRoute],
        sockets: RouteTrie[CompiledRoute],
        reserved: ReservedPaths,
        find: Findings,
    ) -> None:
        self._gateway = gateway
        self._reserved = reserved
        self._descriptors = descriptors
        self._policies = policies
        self._upstreams = upstreams
        self._trie = trie
        self._sockets = sockets
        self._find = find
        self._ids: dict[str, Problem] = {}
        # Where the rule of each route stands, by its id.
        self._places: dict[str, Where] = {}
        # How many routes of a method have no name of their own, by upstream and path.
        self._numbers: dict[tuple[object, ...], int] = {}
        # Rules of methods without a rule: they wait until every other rule has its path.
        self._unbound: list[tuple[Rule, RouteSwitches]] = []
        self._switches = SwitchCompiler()
        self._merged = Merged()
        self._works = WorkCompiler(
            gateway=gateway, codec_of=codec_of, policies=policies, upstreams=upstreams, find=find
        )
        self._inner = InnerCompiler(
            gateway=gateway,
            codec_of=codec_of,
            policies=policies,
            upstreams=upstreams,
            merged=self._merged,
            find=find,
        )
        self.protocols = ProtocolCompiler(
            policies=policies, works=self._works, trie=trie, find=find
        )
        # The entry that speaks for each method, and the variables of the method's paths.
        self._speaking: list[tuple[Entry, list[tuple[str, ...]]]] = []
        self.served: list[ServedBinding] = []
        # Paths of protocols, each with its switches in force.
        self.spoken: list[tuple[CompiledRoute, tuple[SwitchInForce, ...]]] = []
        # By "upstream.Method", and by "package.Service/Method".
        self.inner = self._inner.operations
        self.methods = self._inner.methods
        self.methods_at: dict[str, set[str]] = {}

    @property
    def error_form(self) -> str:
        """The form of errors where no route is known: the gateway's."""
        level = gateway_switch_level(self._gateway)
        return self._switches.compile([level]).values.error_format

    @property
    def service_comments(self) -> dict[str, str]:
        """What the types say of each service."""
        return {name: each.comment for name, each in self._descriptors.services.items()}

    @property
    def shown_errors(self) -> dict[str, frozenset[str]]:
        """Codes whose text the routes show, by route id."""
        return {
            served.route.id: frozenset(served.switches.values.show_errors)
            for served in self.served
            if served.switches.values.show_errors
        } | self.protocols.shown_errors

    def is_stream(self, name: str) -> bool:
        """Whether `upstream.Method` is an operation that aggregates and GraphQL cannot call."""
        upstream, _, method = name.rpartition(".")
        return name not in self.methods and method in self.methods_at.get(upstream, ())

    def place_of(self, route: CompiledRoute) -> str:
        """Where a route's rule is written; its id where that is no rule of a service."""
        return str(self._places.get(route.id, route.id))

    def compile(self, file: Placed[ServiceFile]) -> None:
        """All routes of one service file, and its methods for aggregates and GraphQL."""
        service = service_of(file, self._descriptors, self._find)
        if service is None:
            return
        if file.value.upstream not in self._upstreams.stacks:
            # Its own problem was noted when the upstream was compiled, or by the cross-file check.
            return
        self.methods_at.setdefault(file.value.upstream, set()).update(service.methods)
        entries = list(entries_of(file, service, self._descriptors, self._find))
        for entry in entries:
            self._compile_entry(entry)
        variables = self._variables(file, service)
        self._inner.compile(file, service, entries, variables)
        # As below aggregates, the first entry speaks for its method.
        first = {entry.method.name: entry for entry in reversed(entries)}
        self._speaking += [(each, variables.get(name, [])) for name, each in first.items()]

    def finish(self) -> None:
        """After the last file: methods without a rule, where no rule has taken their path; protocols."""
        for rule, switches in self._unbound:
            self._compile_rule(rule, switches)
        for entry, variables in self._speaking:
            self._compile_protocols(entry, variables)

    def _compile_protocols(self, entry: Entry, variables: list[tuple[str, ...]]) -> None:
        levels = Levels(self._gateway, entry, self._merged)
        switches = self._switches.compile(levels.switches())
        upstream = entry.route.upstream or entry.file.value.upstream
        if not switches.values.protocols or upstream not in self._upstreams.stacks:
            return
        binding = unbound_binding(entry.method)
        mine = [s for s in self.served if s.method is entry.method and s.upstream == upstream]
        # What a wildcard finds no rule for stays unserved.
        if not mine and not entry.exact:
            return
        rule = Rule(
            entry=entry,
            binding=binding,
            template=parse_template(binding.template),
            upstream=upstream,
            levels=levels,
            caps=levels.caps(),
            switches=switches.values,
        )
        rest = next((s.route for s in mine if s.binding.template == binding.template), None)
        name = mine[0].route.id if mine else f"{upstream}.{entry.method.name}"
        for route in self.protocols.compile(rule, variables, rest, name):
            self._claim_id(entry, route.id)
            self.spoken.append((route, switches.in_force + levels.beside_switches))

    def _variables(
        self, file: Placed[ServiceFile], service: Service
    ) -> dict[str, list[tuple[str, ...]]]:
        """By method: the variables of the paths that serve it, of this file or one before it."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for served in self.served:
            if (
                served.method.service == service.full_name
                and served.upstream == file.value.upstream
            ):
                paths = found.setdefault(served.method.name, [])
                paths.extend(tuple(name.split(".")) for name in served.route.variables)
        return found

    # One route

    def _compile_entry(self, entry: Entry) -> None:
        levels = Levels(self._gateway, entry, self._merged)
        switches = self._switches.compile(levels.switches())
        bindings = bindings_of(entry, self._find, needs_rule=not switches.values.protocols)
        templates: list[Template] = []
        for binding in bindings:
            template = self._template(entry, binding, switches.values)
            if template is None:
                continue
            templates.append(template)
            rule = Rule(
                entry=entry,
                binding=named_binding(entry.method, binding),
                template=template,
                upstream=entry.route.upstream or entry.file.value.upstream,
                levels=levels,
                caps=levels.caps(),
                switches=switches.values,
            )
            if rule.upstream not in self._upstreams.stacks:
                continue
            if is_unbound(entry, binding):
                self._unbound.append((rule, switches))
            else:
                self._compile_rule(rule, switches)
        if len(templates) == len(bindings):
            judge_entry(entry, templates, self._find)

    def _template(self, entry: Entry, binding: HttpBinding, switches: Switches) -> Template | None:
        try:
            template = parse_template(binding.template, tail=switches.template_tail == "allow")
        except TemplateError as error:
            message = f"{binding.template}: {error.message}"
            self._find.note(rule_problem(binding, message, error.column, hint=error.hint))
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
        owner = self._reserved.owner_of(template)
        if owner is not None:
            hint = "write another path, or move the feature by that key"
            message = f"{binding.template} belongs to {owner}"
            self._find.note(rule_problem(binding, message, hint=hint))
        return None if found or owner else template

    def _compile_rule(self, rule: Rule, switches: RouteSwitches) -> None:
        entry, binding, method = rule.entry, rule.binding, rule.entry.method
        auth_levels = rule.levels.auth()
        access = self._policies.access(auth_levels)
        if self._lets_path_be_overruled(rule, auth_levels):
            return
        work = self._works.compile(rule)
        if work is None:
            return
        compiled = make_route(rule, self._route_id(rule), work, access, auth_levels, self._policies)
        # A stream cannot be run for its header fields alone, so HEAD is no method of its path.
        held = self._trie.insert(
            rule.template,
            binding.method,
            compiled,
            implied_head=not method.server_streaming,
            switches=rule.switches,
        )
        if held is not None and is_unbound(entry, binding):
            return
        if held is not None:
            message = (
                f"{binding.method} {binding.template} is served by {held.operation} already "
                f"({held.method} {held.template}, {self.place_of(held)})"
            )
            self._find.note(
                rule_problem(binding, message, hint="remove one of the two, or move it")
            )
            return
        self._places[compiled.id] = binding.where
        self._claim_id(entry, compiled.id)
        socketed = entry.route.websocket and self._serve_socket(rule, compiled)
        for told in (*hidden_names(method, binding), *colon_literals(binding, rule.template)):
            self._find.warn(told)
        kinds, scopes = self._policies.credentials(auth_levels)
        self.served.append(
            ServedBinding(
                route=compiled,
                method=method,
                binding=binding,
                upstream=rule.upstream,
                docs=entry.route.docs,
                secured=access.required,
                switches=switches,
                stream=rule.levels.stream(),
                beside=rule.levels.beside_switches,
                kinds=kinds,
                scopes=scopes,
                status=entry.route.status,
                socketed=socketed,
            )
        )

    def _serve_socket(self, rule: Rule, route: CompiledRoute) -> bool:
        """The same route behind an upgrade: GET at the rule's path, whatever its verb; False where it cannot."""
        made = self._works.socket_of(rule, route.work)
        if made is None:
            return False
        behind = structs.replace(route, work=made, method="GET")
        held = self._sockets.insert(
            rule.template, "GET", behind, implied_head=False, switches=rule.switches
        )
        if held is not None:
            message = (
                f"a WebSocket at {rule.binding.template} is served by {held.operation} already"
            )
            hint = "leave `websocket` to one of the two"
            self._find.note(rule_problem(rule.binding, message, hint=hint))
        return held is None

    def _lets_path_be_overruled(self, rule: Rule, auth_levels: list[AuthLevel]) -> bool:
        """Note a problem where a caller could pass a rule with one value and be served another."""
        same_field = rule.switches.same_field
        loses = same_field in {"body_wins", "query_wins"} and rule.template.variables
        if not loses or not reads_path(auth_levels):
            return False
        self._find.add(
            rule.entry.file,
            f"`same_field: {same_field}` would let a copy overrule the path, which a rule "
            "of `auth` reads",
            "routes",
            rule.entry.index,
            "transcoding",
            "same_field",
            hint="write path_wins or reject",
        )
        return True

    def _route_id(self, rule: Rule) -> str:
        """What the route writes, else "upstream.Method"; numbered from the second rule on."""
        entry = rule.entry
        method, written = entry.method, entry.route.id
        key: tuple[object, ...] = (rule.upstream, method.path)
        if written is not None:
            # The rules of one route; another route of this id is a problem.
            key = (id(entry.file), entry.index, method.path)
        number = self._numbers[key] = self._numbers.get(key, 0) + 1
        name = written or f"{rule.upstream}.{method.name}"
        return name if number == 1 else f"{name}-{number}"

    def _claim_id(self, entry: Entry, route_id: str) -> None:
        problem = entry.file.problem(
            f"the route id {route_id} is taken", "routes", entry.index, code="BFF-S003"
        )
        first = self._ids.setdefault(route_id, problem)
        if first is not problem:
            self._find.add(
                entry.file,
                f"the route id {route_id} stands at {first.where} too",
                "routes",
                entry.index,
                hint="give one of them an `id`",
            )
