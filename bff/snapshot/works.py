"""What a route does with a request: its binder, the writer of its reply, or the frames of its stream."""

from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.policies import Caps
from bff.core.exchange import Json
from bff.core.schema import Field, HttpBinding, MessageType, Method
from bff.pipeline.calls import Bound, Download, PickyUnary, Unary
from bff.pipeline.client_streams import ClientStreamed, Conversation
from bff.pipeline.read_masks import Masked
from bff.pipeline.rpc import RpcParts
from bff.pipeline.sockets import Socketed
from bff.pipeline.streams import Streamed
from bff.snapshot.bindings import Entry, rule_problem
from bff.snapshot.crossing import (
    compile_inward,
    compile_outward,
    judge_metadata,
)
from bff.snapshot.findings import Findings
from bff.snapshot.levels import Levels
from bff.snapshot.policies import PolicyCompiler
from bff.snapshot.sockets import carries_files, make_socket
from bff.snapshot.streams import StreamFault, Work, file_reader, stream_form, with_body
from bff.snapshot.translators import Translators, Write
from bff.snapshot.upstreams import UpstreamCompiler
from bff.transcoding.binding import (
    Binder,
    judge_content_type,
    take_any_content_type,
)
from bff.transcoding.path_template import Template
from bff.transcoding.read_masks import ReadMask
from bff.transcoding.switches import Switches
from bff.transcoding.type_sets import CodecOf

__all__ = ["Rule", "WorkCompiler"]


class Rule(Struct, frozen=True, kw_only=True):
    """One HTTP rule of an entry, with what was worked out about it."""

    entry: Entry
    binding: HttpBinding
    template: Template
    upstream: str
    levels: Levels
    caps: Caps
    switches: Switches


class WorkCompiler:
    """Compiles the works of routes; notes why a rule can have none."""

    def __init__(
        self,
        *,
        gateway: Placed[GatewayFile],
        codec_of: CodecOf,
        policies: PolicyCompiler,
        upstreams: UpstreamCompiler,
        find: Findings,
    ) -> None:
        self._max_parameters = gateway.value.caps.params
        self._hears_http2 = any(
            listener.http == 2 or (listener.tls is not None and listener.http == "auto")
            for listener in gateway.value.gateway.listen
        )
        self._translators = Translators(codec_of, max_parameters=self._max_parameters)
        self._codec_of = codec_of
        self._policies = policies
        self._upstreams = upstreams
        self._find = find

    def compile(self, rule: Rule) -> Work | None:
        """The work of a rule; None where a problem was noted."""
        if not self._is_maskable(rule):
            return None
        replying = self._replying(rule)
        work = replying and self._with_body(rule, replying)
        written = rule.entry.route.read_mask
        if written is None or not isinstance(work, Unary):
            return work
        read_mask = ReadMask(
            parameter=written.param,
            message=rule.entry.method.output,
            response_body=rule.binding.response_body,
            proto_names=rule.switches.names == "proto",
            max_parameters=self._max_parameters,
            switches=rule.switches,
        )
        return Masked(unary=work, read_mask=read_mask, forwards=written.mode == "forward")

    def _is_maskable(self, rule: Rule) -> bool:
        """Note a problem where a read mask is written and cannot be."""
        entry, written = rule.entry, rule.entry.route.read_mask
        if written is None:
            return True
        method = entry.method
        place: tuple[str | int, ...] = ("routes", entry.index, "read_mask")
        if method.server_streaming or method.client_streaming:
            message, hint = f"{method.name} is a stream", "read masks are for unary methods"
        elif file_reader(method, rule.binding.response_body) is not None:
            message, hint = f"{method.name} answers with a file", "a file has no fields"
        elif method.input.by_name.get(written.param.partition(".")[0]) is not None:
            message = f"`{written.param}` is a field of the request already"
            place, hint = (*place, "param"), "name a parameter of its own, such as $fields"
        else:
            return True
        self._find.add(entry.file, message, *place, hint=hint)
        return False

    def rpc_parts(self, rule: Rule) -> RpcParts | None:
        """What RPC protocols need of a method; None where a problem was noted."""
        try:
            return RpcParts(bound=self._bound(rule, self._binder(rule)), write=self._writer(rule))
        except ValueError as error:
            self._find.note(rule_problem(rule.binding, str(error)))
            return None

    def decoder(self, method: Method) -> Callable[[bytes], Json]:
        """Wire octets of a request to its tree."""
        return self._codec_of(method).tree_writer(method.input.full_name)

    def _replying(self, rule: Rule) -> Unary | Download | Streamed | None:
        """The work as the method's reply asks for it."""
        method, switches, status = rule.entry.method, rule.switches, rule.entry.route.status
        try:
            binder = self._binder(rule)
            write = self._writer(rule)
        except ValueError as error:
            self._find.note(rule_problem(rule.binding, str(error)))
            return None
        bound = self._bound(rule, binder)
        read = file_reader(method, rule.binding.response_body)
        if read is not None and not method.server_streaming:
            return Download(bound=bound, read=read, status=status)
        if method.server_streaming:
            return self._streamed(rule, bound, write)
        kind = Unary if switches.not_acceptable == "json" else PickyUnary
        return kind(bound=bound, write=write, status=status)

    def _binder(self, rule: Rule) -> Binder:
        return self._translators.binder(
            rule.entry.method,
            rule.entry.method.input,
            [variable.path for variable in rule.template.variables],
            _passing_over(rule),
            body=rule.binding.body,
            patch_mask=rule.switches.patch_mask and rule.binding.method == "PATCH",
        )

    def _writer(self, rule: Rule) -> Write:
        method, switches = rule.entry.method, rule.switches
        return self._translators.writer(method, switches, rule.binding.response_body)

    def _bound(self, rule: Rule, binder: Binder) -> Bound:
        upstream, switches, metadata = rule.upstream, rule.switches, rule.levels.metadata()
        operation = self._upstreams.operation(
            upstream, rule.entry.method, bound_to=rule.binding.method
        )
        prefix = (metadata.prefix or "").lower()
        judge_metadata(rule.levels.metadata_levels(), prefix, rule.caps.metadata, self._find)
        name, emit = operation.name, self._policies.emit
        return Bound(
            binder=binder,
            operation=operation,
            stack=self._upstreams.stacks[upstream],
            identity=self._policies.identity(rule.levels.identity(upstream), upstream),
            body_cap_bytes=rule.caps.body,
            metadata_cap_bytes=rule.caps.metadata,
            reply_cap_bytes=rule.caps.reply,
            inward=compile_inward(metadata, prefix, operation=name, emit=emit),
            outward=compile_outward(
                metadata, prefix, trails=metadata.trailers == "te", operation=name, emit=emit
            ),
            judge=judge_content_type if switches.content_type == 415 else take_any_content_type,
            drops_body=switches.unexpected_body == "ignore",
        )

    def _streamed(
        self, rule: Rule, bound: Bound, write: Callable[[bytes], bytes]
    ) -> Streamed | None:
        form = stream_form(
            rule.levels.stream(),
            rule.entry.method,
            codec=self._codec_of(rule.entry.method),
            write=write,
            response_body=rule.binding.response_body,
            status=rule.entry.route.status,
        )
        if not isinstance(form, list):
            return Streamed(bound=bound, form=form)
        for fault in form:
            path = ("stream", *fault.path) if fault.path else ("rpc",)
            self._find.add(
                rule.entry.file,
                fault.message,
                "routes",
                rule.entry.index,
                *path,
                hint=fault.hint,
            )
        return None

    def _with_body(self, rule: Rule, work: Unary | Download | Streamed) -> Work | None:
        """The work as the method's requests and the media types of the route ask for it."""
        method, switches = rule.entry.method, rule.switches

        make = self._translators.binder

        def later() -> Binder:
            return make(method, method.input, (), switches, body=rule.binding.body)

        def form(message: MessageType, field: Field | None) -> tuple[Binder, tuple[int, ...]]:
            paths = [each.path for each in rule.template.variables]
            depth = 0 if field is None else 1
            within = tuple(
                index
                for index, path in enumerate(paths)
                if field is None or (len(path) > 1 and method.input.by_name[path[0]] is field)
            )
            return make(method, message, [paths[at][depth:] for at in within], switches), within

        made = with_body(
            work,
            method,
            body=rule.binding.body,
            make_later=later,
            make_form=form,
            switches=switches,
            stream=rule.levels.stream(),
            caps=rule.caps,
        )
        if isinstance(made, StreamFault):
            self._find.note(rule_problem(rule.binding, made.message, hint=made.hint))
            return None
        if isinstance(made, Conversation):
            made.socketed = rule.entry.route.websocket
            if not (made.socketed or made.whole or self._hears_http2):
                self._warn_unheard(rule)
        return made

    def _warn_unheard(self, rule: Rule) -> None:
        problem = rule_problem(
            rule.binding,
            f"{rule.entry.method.name} talks both ways, and no listener speaks HTTP/2: all get 426",
            hint="write `websocket: true`, `transcoding: {bidi_http1: half_duplex}`, or give "
            "gateway.listen `tls` or `http: 2`",
        )
        self._find.warn(structs.replace(problem, severity="warning"))

    def socket_of(self, rule: Rule, work: object) -> Socketed | None:
        """What the route does over WebSocket; None where it cannot."""
        entry = rule.entry
        if not isinstance(work, Streamed | ClientStreamed | Conversation):
            message = f"{entry.method.name} is no stream, and WebSocket is for streams"
            self._note_socket(rule, message, "remove `websocket`")
            return None
        if carries_files(entry.method, rule.binding.body, rule.binding.response_body):
            message = f"{entry.method.name} carries a file, and frames are JSON messages"
            self._note_socket(rule, message, "leave files to HTTP")
            return None

        def bind(body: str, variables: Sequence[tuple[str, ...]], switches: Switches) -> Binder:
            make = self._translators.binder
            return make(entry.method, entry.method.input, variables, switches, body=body)

        return make_socket(
            work,
            body=rule.binding.body,
            bind=bind,
            variables=[variable.path for variable in rule.template.variables],
            switches=rule.switches,
            write=self._writer(rule),
            stream=rule.levels.stream(),
        )

    def _note_socket(self, rule: Rule, message: str, hint: str) -> None:
        """Only for a route that asks: a wildcard means those that can."""
        entry = rule.entry
        written = entry.file.value.routes[entry.index].model_fields_set
        if not entry.exact or "websocket" not in written:
            return
        self._find.add(entry.file, message, "routes", entry.index, "websocket", hint=hint)


def _passing_over(rule: Rule) -> Switches:
    """The switches, under which the parameter of a read mask names no field of the request."""
    written, switches = rule.entry.route.read_mask, rule.switches
    if written is None or written.param in switches.query_ignore:
        return switches
    return structs.replace(switches, query_ignore=(*switches.query_ignore, written.param))
