"""A configuration compiled without opening anything: what `check`, `routes` and documents look at."""

from collections.abc import AsyncIterator
from pathlib import Path

from msgspec import Struct

from bff.cli.report import print_problems
from bff.config.documents import Document
from bff.config.load import load
from bff.control.held_types import HeldTypes
from bff.core.errors import ConfigError, GatewayBug
from bff.core.events import silent
from bff.core.ports import SystemClock, system_random
from bff.core.problems import Problem, Where
from bff.ratelimit.limiter import LocalStore, RemoteStore
from bff.ratelimit.memory_store import MemoryStore
from bff.snapshot.compiler import Compiled, Compiler
from bff.snapshot.parts import Parts
from bff.snapshot.type_sources import Sources, read_sources
from bff.transcoding.type_sets import KnownTypes
from bff.upstream.upstream import Endpoint, UpstreamSettings
from bff.wire.channel import Channel, Metadata, UnaryReply

__all__ = ["Judged", "compile_held", "compile_offline", "print_if_partial"]


class _NoChannel:
    """An endpoint that is never called."""

    async def unary(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float,
        *,
        want_metadata: bool = False,
    ) -> UnaryReply:
        """Never called."""
        raise GatewayBug(f"{path} called offline")

    async def stream(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncIterator[bytes]:
        """Never called."""
        yield b""
        raise GatewayBug(f"{path} called offline")

    async def close(self) -> None:
        """Nothing is open."""


def _connect(_settings: UpstreamSettings, _endpoint: Endpoint) -> Channel:
    return _NoChannel()  # type: ignore[return-value] # never called, so its exact types do not matter


class Judged(Struct, frozen=True, kw_only=True, eq=False):
    """A sound configuration. `refused` says why the newest types of a service do not fit it, if they do not."""

    document: Document
    sources: Sources
    compiled: Compiled
    refused: tuple[Problem, ...] = ()


def compile_offline(mappings: Path) -> tuple[Document, Compiled]:
    """Load, check and compile. Services that give their types themselves are asked for them.

    One that is down is judged by what a node has stored of it, with a warning. Raises ConfigError
    with every problem.
    """
    document = load(mappings)
    held = HeldTypes()
    held.gather(document)
    compiled = _compile(document, read_sources(document, fetch=held.newest))
    unreached = held.unreached()
    compiled.is_partial = compiled.is_partial or bool(unreached)
    compiled.warnings += tuple(
        Problem(
            Where("descriptors"),
            f"{origin}: judged by the types that a node has stored: {why}",
            severity="warning",
        )
        for origin, why in unreached
    )
    return document, compiled


def compile_held(mappings: Path, held: HeldTypes, types: KnownTypes) -> Judged:
    """As `compile_offline`, for a node: types that are new and do not fit give way to those that do.

    `types` are kept from one time to the next. Raises ConfigError with every problem.
    """
    document = load(mappings)
    held.gather(document)
    try:
        sources = read_sources(document, fetch=held.newest, present=held.origins)
        compiled = _compile(document, sources, types)
        return Judged(document=document, sources=sources, compiled=compiled)
    except ConfigError as error:
        if not held.has_newer():
            raise
        try:
            sources = read_sources(document, fetch=held.last_good, present=held.origins)
            compiled = _compile(document, sources, types)
        except ConfigError:
            # With either types something is wrong; what is written for the newest is what to mend.
            raise error from None
        held.refuse(str(error.problems[0]))
        return Judged(
            document=document, sources=sources, compiled=compiled, refused=tuple(error.problems)
        )


def print_if_partial(compiled: Compiled) -> None:
    """Why a listing may lack something, on standard error; a whole one comes without warnings."""
    if compiled.is_partial:
        print_problems(compiled.warnings)


def _compile(document: Document, sources: Sources, types: KnownTypes | None = None) -> Compiled:
    clock = SystemClock()

    def make_store(_settings: object) -> LocalStore | RemoteStore:
        return MemoryStore(clock=clock)

    parts = Parts(
        clock=clock,
        random=system_random(),
        emit=silent,
        connect=_connect,
        make_store=make_store,
    )
    return Compiler(parts, types=types).compile(document, sources)
