"""Operations for aggregates and GraphQL: the unary methods of a service file, whether routed or not."""

from collections.abc import Sequence

from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.routes import Route, ServiceFile
from bff.core.schema import Method, Service
from bff.pipeline.route import InnerOperation
from bff.snapshot.bindings import Entry
from bff.snapshot.crossing import compile_inward, judge_metadata
from bff.snapshot.findings import Findings
from bff.snapshot.levels import Levels, Merged
from bff.snapshot.policies import PolicyCompiler
from bff.snapshot.upstreams import UpstreamCompiler
from bff.transcoding.http_rules import find_field_path
from bff.transcoding.type_sets import CodecOf

__all__ = ["InnerCompiler", "names_in"]


class InnerCompiler:
    """Compiles inner operations. Both tables: by "upstream.Method", and by "package.Service/Method"."""

    def __init__(
        self,
        *,
        gateway: Placed[GatewayFile],
        codec_of: CodecOf,
        policies: PolicyCompiler,
        upstreams: UpstreamCompiler,
        merged: Merged,
        find: Findings,
    ) -> None:
        self._gateway = gateway
        self._codec_of = codec_of
        self._policies = policies
        self._upstreams = upstreams
        self._merged = merged
        self._find = find
        self.operations: dict[str, InnerOperation] = {}
        self.methods: dict[str, Method] = {}

    def compile(
        self,
        file: Placed[ServiceFile],
        service: Service,
        entries: Sequence[Entry],
        variables: dict[str, list[tuple[str, ...]]],
    ) -> None:
        """All unary methods of a file. `variables` are those of the paths that serve a method, by its name."""
        by_method = {entry.method.name: entry for entry in reversed(entries)}
        for method in service.methods.values():
            if method.client_streaming or method.server_streaming:
                continue
            entry = by_method.get(method.name) or Entry(
                file, method, Route.model_construct(rpc=method.name), 0, None, exact=False
            )
            inner = self._operation(entry, variables.get(method.name, ()))
            for key in (
                f"{file.value.upstream}.{method.name}",
                f"{method.service}/{method.name}",
            ):
                self.operations[key] = inner
                self.methods[key] = method

    def _operation(self, entry: Entry, variables: Sequence[tuple[str, ...]]) -> InnerOperation:
        method, upstream = entry.method, entry.file.value.upstream
        levels = Levels(self._gateway, entry, self._merged)
        operation = self._upstreams.operation(upstream, method, bound_to="")
        metadata = levels.metadata()
        prefix = (metadata.prefix or "").lower()
        judge_metadata(levels.metadata_levels(), prefix, levels.caps().metadata, self._find)
        return InnerOperation(
            operation=operation,
            stack=self._upstreams.stacks[upstream],
            access=self._policies.access(levels.auth()),
            limits=self._policies.limits(
                levels.limits(),
                route_id=f"{upstream}.{entry.route.id or method.name}",
                upstream=upstream,
                service=method.service,
                method="",
                headers_mode="never",
                inner=True,
            ),
            identity=self._policies.identity(levels.identity(upstream), upstream),
            inward=compile_inward(
                metadata, prefix, operation=operation.name, emit=self._policies.emit
            ),
            metadata_cap_bytes=levels.caps().metadata,
            names=names_in(method, variables),
            encode=self._codec_of(method).tree_reader(method.input.full_name),
            decode=self._codec_of(method).tree_writer(method.output.full_name),
        )


def names_in(
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
