"""A configuration compiled without opening anything: what `check`, `routes` and documents look at."""

from collections.abc import AsyncIterator
from pathlib import Path

from bff.config.documents import Document
from bff.config.load import load
from bff.core.errors import GatewayBug
from bff.core.events import silent
from bff.core.ports import SystemClock, system_random
from bff.ratelimit.limiter import LocalStore, RemoteStore
from bff.ratelimit.memory_store import MemoryStore
from bff.snapshot.compiler import Compiled, Compiler, read_sources
from bff.snapshot.parts import Parts
from bff.transcoding.sources import SourceSet
from bff.upstream.upstream import Endpoint, UpstreamSettings
from bff.wire.channel import Channel, Metadata, UnaryReply

__all__ = ["compile_offline", "compile_with_sources"]


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
        self, path: str, message: bytes, metadata: Metadata, deadline_s: float | None
    ) -> AsyncIterator[bytes]:
        """Never called."""
        yield b""
        raise GatewayBug(f"{path} called offline")

    async def close(self) -> None:
        """Nothing is open."""


def _connect(_settings: UpstreamSettings, _endpoint: Endpoint) -> Channel:
    return _NoChannel()  # type: ignore[return-value] # never called, so its exact types do not matter


def compile_offline(mappings: Path) -> tuple[Document, Compiled]:
    """Load, check and compile. Raises ConfigError with every problem."""
    document, _, compiled = compile_with_sources(mappings)
    return document, compiled


def compile_with_sources(mappings: Path) -> tuple[Document, list[SourceSet], Compiled]:
    """As `compile_offline`, with the descriptors that were read on the way."""
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
    document = load(mappings)
    sources = read_sources(document)
    return document, sources, Compiler(parts).compile(document, sources)
