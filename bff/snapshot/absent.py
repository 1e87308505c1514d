"""What is left of a configuration while a source of types is not there: everything that does not need it.

Service files, aggregates and GraphQL fields without types are left out, each with a warning. The
source comes later, a new version is compiled from the whole document, and they are there.
"""

from collections.abc import Mapping

import msgspec

from bff.config.aggregates import AggregateFile
from bff.config.documents import Document, Placed
from bff.config.graphql import GraphqlService
from bff.config.routes import ServiceFile
from bff.snapshot.findings import Findings
from bff.snapshot.type_sources import AbsentSource, Sources
from bff.transcoding.descriptors import Descriptors

__all__ = ["without_absent"]


def without_absent(
    document: Document, descriptors: Descriptors, sources: Sources, find: Findings
) -> Document:
    """The document without what needs types of an absent source; itself if none is absent."""
    if not sources.absent:
        return document
    return _Pruning(document, descriptors, sources.absent, find).run()


class _Pruning:
    def __init__(
        self,
        document: Document,
        descriptors: Descriptors,
        absent: tuple[AbsentSource, ...],
        find: Findings,
    ) -> None:
        self._document = document
        self._descriptors = descriptors
        self._absent = absent
        self._find = find
        self._left_out = {
            file.value.service for file in document.services if self._is_absent(file.value.service)
        }
        kept = [file for file in document.services if file.value.service not in self._left_out]
        self._operations = {
            f"{file.value.upstream}.{method}"
            for file in kept
            for method in self._methods(file.value.service)
        }
        self._upstreams_left_out = {
            file.value.upstream
            for file in document.services
            if file.value.service in self._left_out
        }

    def run(self) -> Document:
        services = []
        for file in self._document.services:
            if file.value.service in self._left_out:
                self._warn(file, f"{file.value.service} is not served", "service")
            else:
                services.append(self._without_fields(file))
        aggregates = []
        for aggregate in self._document.aggregates:
            missing = [s.rpc for s in aggregate.value.sources.values() if self._lacks(s.rpc)]
            if missing:
                message = f"this aggregate is not served: there is no {', '.join(missing)}"
                self._warn(aggregate, message, "aggregate")
            else:
                aggregates.append(aggregate)
        return msgspec.structs.replace(
            self._document, services=tuple(services), aggregates=tuple(aggregates)
        )

    def _is_absent(self, service: str) -> bool:
        """Whether the types of this service may come with a source that is not there."""
        return service not in self._descriptors.services and any(
            not source.services or service in source.services for source in self._absent
        )

    def _methods(self, service: str) -> Mapping[str, object]:
        found = self._descriptors.services.get(service)
        return found.methods if found else {}

    def _lacks(self, rpc: str, at_home: str = "") -> bool:
        """Whether an operation is one of those left out. A name that nothing has is no matter of ours."""
        service, slash, _ = rpc.partition("/")
        if slash:
            return service in self._left_out
        name = rpc if "." in rpc else f"{at_home}.{rpc}"
        return name not in self._operations and name.partition(".")[0] in self._upstreams_left_out

    def _without_fields(self, file: Placed[ServiceFile]) -> Placed[ServiceFile]:
        block = file.value.graphql
        if block is None:
            return file
        left: dict[str, dict[str, object]] = {}
        for kind in ("queries", "mutations", "joins"):
            fields = getattr(block, kind)
            left[kind] = {}
            for name, field in fields.items():
                if self._lacks(field.rpc, file.value.upstream):
                    message = f"{name} is not in the schema: there is no {field.rpc}"
                    self._warn(file, message, "graphql", kind, name)
                else:
                    left[kind][name] = field
        changed: GraphqlService = block.model_copy(update=left)
        value = file.value.model_copy(update={"graphql": changed})
        return msgspec.structs.replace(file, value=value)

    def _warn(
        self, file: Placed[ServiceFile] | Placed[AggregateFile], message: str, *path: str
    ) -> None:
        origins = ", ".join(source.origin for source in self._absent)
        self._find.warn(
            file.problem(
                f"{message}, since no types came from {origins}", *path, severity="warning"
            )
        )
