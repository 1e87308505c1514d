"""Where a configuration's types come from, as its sources say: folders, descriptor sets, running services.

Reading blocks. A running service is asked through `fetch`, so that a node can answer from what it
holds (`control.held_types`) and a command asks for real.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from msgspec import Struct

from bff.config.documents import Document, Placed
from bff.config.gateway import REFLECTION, Descriptor, GatewayFile
from bff.config.service_config import read_service_config
from bff.core.errors import ConfigError
from bff.core.problems import Problem, nearest
from bff.core.schema import HttpBinding
from bff.snapshot.findings import Findings
from bff.snapshot.upstreams import read_tls
from bff.transcoding.reflection import ReflectionError
from bff.transcoding.reflection_process import ReflectionFetch, ReflectionTarget
from bff.transcoding.source_merge import join_name
from bff.transcoding.sources import SourceSet, compile_protos, read_descriptor_set

__all__ = [
    "AbsentSource",
    "Fetch",
    "Reflected",
    "Sources",
    "fetch_now",
    "files_of_types",
    "read_sources",
    "reflected_sources",
]

_Path = tuple[str | int, ...]
_USUAL = Descriptor.model_construct()
# With how many digits a source is told from others in the names of files.
_KEY_DIGITS = 24


class Reflected(Struct, frozen=True, kw_only=True):
    """A source that is a running service. `key` stays the same as long as it is the same source."""

    key: str
    target: ReflectionTarget
    every_s: float
    required: bool

    @property
    def origin(self) -> str:
        """How people call it."""
        return self.target.origin


Fetch = Callable[[Reflected], SourceSet]


class AbsentSource(Struct, frozen=True, kw_only=True):
    """A source that is not there and need not be. No `services`: nobody knows which it would have."""

    origin: str
    services: tuple[str, ...] = ()


class Sources(Struct, frozen=True, kw_only=True):
    """The types of one version. `reflected` holds by key what running services gave."""

    sets: tuple[SourceSet, ...]
    absent: tuple[AbsentSource, ...] = ()
    reflected: dict[str, SourceSet] = {}
    warnings: tuple[Problem, ...] = ()

    @property
    def origins(self) -> frozenset[str]:
        """The sources that are there."""
        return frozenset(source.origin for source in self.sets)


def fetch_now(source: Reflected) -> SourceSet:
    """Ask the service itself. Blocks. Raises ReflectionError."""
    return ReflectionFetch()(source.target)


def read_sources(
    document: Document, *, fetch: Fetch = fetch_now, present: frozenset[str] = frozenset()
) -> Sources:
    """Every source that the gateway file names. Blocks: call it off the loop.

    A source that need not be there and is not becomes an `AbsentSource`, unless its origin is among
    those `present` already: what serves is not dropped for a fault on disk. Raises ConfigError.
    """
    reading = _Reading(document.gateway, fetch, present)
    for written in _written(document.gateway.value):
        reading.add(written)
    return reading.finish()


def reflected_sources(document: Document) -> list[Reflected]:
    """The sources that are running services, each once. Raises ConfigError: a file of its TLS."""
    find = Findings()
    found: dict[str, Reflected] = {}
    for written in _written(document.gateway.value):
        if written.kind == "reflection":
            source = _reflected(document.gateway, written, find)
            if source is not None:
                found.setdefault(source.key, source)
    if find.problems:
        raise ConfigError(find.problems)
    return list(found.values())


def files_of_types(document: Document) -> list[Path]:
    """Folders and files on disk that the types are made of; some may not exist."""
    gateway = document.gateway
    found: list[Path] = []
    for written in _written(gateway.value):
        if written.kind != "reflection":
            found.append(gateway.resolve(written.text, *written.path))
        if written.block.service_config is not None:
            path = (*written.path[:-1], "service_config")
            found.append(gateway.resolve(written.block.service_config, *path))
    return found


class _Written(Struct, frozen=True, kw_only=True):
    """One source as it stands in the file at `path`. `text` is a path, or an upstream's name."""

    kind: Literal["file", "protos", "set", "reflection"]
    text: str
    path: _Path
    block: Descriptor = _USUAL


def _written(gateway: GatewayFile) -> Iterator[_Written]:
    for index, text in enumerate(gateway.gateway.protos):
        path: _Path = ("gateway", "protos", index)
        if text.startswith(REFLECTION):
            yield _Written(kind="reflection", text=text.removeprefix(REFLECTION), path=path)
        else:
            yield _Written(kind="file", text=text, path=path)
    for index, block in enumerate(gateway.descriptors):
        for kind in ("protos", "set", "reflection"):
            text = getattr(block, kind)
            if text is not None:
                at: _Path = ("descriptors", index, kind)
                yield _Written(kind=kind, text=text, path=at, block=block)


class _Reading:
    """One run over the sources: what was read, what is wrong."""

    def __init__(self, gateway: Placed[GatewayFile], fetch: Fetch, present: frozenset[str]) -> None:
        self._gateway = gateway
        self._fetch = fetch
        self._present = present
        self._find = Findings()
        self._sets: list[SourceSet] = []
        self._absent: list[AbsentSource] = []
        self._reflected: dict[str, SourceSet] = {}
        # Folders of the short form are roots of one compilation: they may import each other.
        self._folders: list[Path] = []

    def add(self, written: _Written) -> None:
        """Read one source, or note what is wrong with it."""
        if written.kind == "reflection":
            self._ask(written)
            return
        place = self._gateway.resolve(written.text, *written.path)
        if written.kind == "file" and place.is_dir():
            self._folders.append(place)
        elif not place.exists():
            hint = "paths are relative to this file"
            problem = self._gateway.problem(f"there is no {written.text}", *written.path, hint=hint)
            self._miss(written, str(place), [problem])
        else:
            # A folder may be wrong for a set, and a file for a folder; their readers say so.
            self._read(written, place)

    def _read(self, written: _Written, place: Path) -> None:
        try:
            source = (
                compile_protos([place]) if written.kind == "protos" else read_descriptor_set(place)
            )
        except ConfigError as error:
            self._miss(written, str(place), error.problems)
            return
        self._keep(written, source)

    def _ask(self, written: _Written) -> None:
        source = _reflected(self._gateway, written, self._find)
        if source is None:
            return
        try:
            types = self._fetch(source)
        except ReflectionError as error:
            message = f"no types of {written.text} by server reflection: {error}"
            hint = (
                "start the service, name a descriptor set (`set:`) instead, or write"
                " `required: false` to start without its routes"
            )
            problem = self._gateway.problem(message, *written.path, hint=hint)
            self._miss(written, source.origin, [problem])
            return
        self._reflected[source.key] = types
        self._keep(written, types)

    def _miss(self, written: _Written, origin: str, problems: Sequence[Problem]) -> None:
        """A source that cannot be read: a problem, or absent where that is allowed."""
        if written.block.required or origin in self._present:
            for problem in problems:
                self._find.note(problem)
            return
        self._absent.append(AbsentSource(origin=origin, services=written.block.services or ()))
        for problem in problems:
            self._find.warn(msgspec.structs.replace(problem, severity="warning"))

    def _keep(self, written: _Written, source: SourceSet) -> None:
        text = written.block.service_config
        self._sets.append(source if text is None else self._with_rules(written, source, text))

    def _with_rules(self, written: _Written, source: SourceSet, text: str) -> SourceSet:
        """The source with the rules of its service config, each of a method that it has."""
        path: _Path = (*written.path[:-1], "service_config")
        place = self._gateway.resolve(text, *path)
        name = str(place)
        read = read_service_config(place, name)
        for problem in read.problems:
            self._find.note(problem)
        for warning in read.warnings:
            self._find.warn(warning)
        methods = _methods(source)
        rules: dict[str, tuple[HttpBinding, ...]] = {}
        for selector, selected in read.rules.items():
            service, _, method = selector.rpartition(".")
            if service not in methods:
                # Such files name services that others serve (long-running operations, locations).
                message = (
                    f"{selector}: {source.origin} has no service {service}; the rule is not used"
                )
                where = selected.where
                self._find.warn(
                    Problem(where, message, code="BFF-C047", severity="warning",
                            line_text=selected.line_text)
                )  # fmt: skip
            elif method not in methods[service]:
                close = nearest(method, methods[service])
                self._find.note(
                    Problem(
                        selected.where,
                        f"no method {method} in {service}",
                        hint=f"nearest: {close}" if close else "",
                        code="BFF-C046",
                        line_text=selected.line_text,
                    )
                )
            else:
                rules[selector] = selected.bindings
        content = msgspec.json.encode(
            {name: [(b.method, b.template, b.body, b.response_body) for b in bindings]
             for name, bindings in sorted(rules.items())}
        )  # fmt: skip
        digest = hashlib.sha256(source.digest.encode() + content).hexdigest()
        return msgspec.structs.replace(source, rules=rules, digest=digest)

    def finish(self) -> Sources:
        """What was read. Raises ConfigError with every problem."""
        if self._folders and not self._find.problems:
            try:
                self._sets.insert(0, compile_protos(self._folders))
            except ConfigError as error:
                for problem in error.problems:
                    self._find.note(problem)
        if self._find.problems:
            raise ConfigError(self._find.problems)
        return Sources(
            sets=tuple(self._sets),
            absent=tuple(self._absent),
            reflected=self._reflected,
            warnings=tuple(self._find.warnings),
        )


def _reflected(gateway: Placed[GatewayFile], written: _Written, find: Findings) -> Reflected | None:
    """The running service behind a source; None, and problems noted, where its TLS cannot be read."""
    upstream = gateway.value.upstreams[written.text]
    before = len(find.problems)
    tls = read_tls(gateway, written.text, upstream, find)
    if len(find.problems) > before:
        return None
    services = tuple(sorted(set(written.block.services or ())))
    identity = msgspec.json.encode([written.text, services])
    target = ReflectionTarget(
        origin=f"{REFLECTION}{written.text}",
        # Weight 0 takes an endpoint out of use.
        endpoints=tuple(e.target for e in upstream.endpoints if e.weight),
        services=services,
        tls=tls,
        authority=tls.name if tls else None,
    )
    return Reflected(
        key=hashlib.sha256(identity).hexdigest()[:_KEY_DIGITS],
        target=target,
        every_s=written.block.every,
        required=written.block.required,
    )


def _methods(source: SourceSet) -> dict[str, list[str]]:
    """Names of methods by full name of their service."""
    return {
        join_name(file.package, service.name): [method.name for method in service.method]
        for file in FileDescriptorSet.FromString(source.files).file
        for service in file.service
    }
