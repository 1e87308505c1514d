"""Server reflection as a short-lived process of its own: `ReflectionFetch` here, `main` there.

The node forks its listener, and a process that has used the gRPC core must not fork; nor should a
service that answers slowly or without end hold a thread of the node. So whoever wants types starts
`python -m bff.transcoding.reflection_process`, and ends it if it is late.
"""

import asyncio
import subprocess
import sys
from typing import Final

import msgspec
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from msgspec import Struct

from bff.core.errors import ConfigError, UpstreamError
from bff.core.ports import SystemClock
from bff.transcoding.reflection import ReflectionError, fetch_files
from bff.transcoding.sources import MAX_SET_BYTES, SourceSet, make_source
from bff.wire.grpcio import GrpcioChannel, TlsSettings

__all__ = ["ReflectionFetch", "ReflectionTarget", "main"]

# Of one source, all its endpoints together.
_FETCH_S: Final = 10.0
# What the process itself may take on top: Python's start and the parsing of 32 MiB.
_START_S: Final = 20.0


class ReflectionTarget(Struct, frozen=True, kw_only=True):
    """Whom to ask for what. `origin` names the source for people; no `services`: all that are listed."""

    origin: str
    endpoints: tuple[str, ...]
    services: tuple[str, ...] = ()
    tls: TlsSettings | None = None
    authority: str | None = None
    timeout_s: float = _FETCH_S


class _Fetched(Struct, kw_only=True):
    """What the process answers: a FileDescriptorSet, or why there is none."""

    files: bytes = b""
    why: str = ""


class ReflectionFetch:
    """Calls give the types of running services. `end` ends those under way, whichever thread waits."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def __call__(self, target: ReflectionTarget) -> SourceSet:
        """Blocks; call it off the loop. Raises ReflectionError."""
        fetched = self._read(target)
        if fetched.why:
            raise ReflectionError(fetched.why)
        files = list(FileDescriptorSet.FromString(fetched.files).file)
        places = {file.name: f"{target.origin}/{file.name}" for file in files}
        try:
            return make_source(target.origin, files, places=places)
        except ConfigError as error:
            raise ReflectionError("; ".join(p.message for p in error.problems[:5])) from error

    def end(self) -> None:
        """Nobody wants types any more: running fetches end, later ones are refused."""
        self._ended = True
        for process in tuple(self._running):
            process.kill()

    def _read(self, target: ReflectionTarget) -> _Fetched:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "bff.transcoding.reflection_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise ReflectionError(f"no process for the fetch: {error.strerror}") from error
        self._running.add(process)
        if self._ended:
            # `end` may not have seen it.
            process.kill()
        with process:
            try:
                # The target goes in by a pipe: it may hold a private key.
                out, err = process.communicate(
                    msgspec.msgpack.encode(target), timeout=target.timeout_s + _START_S
                )
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise ReflectionError("the fetch took too long and was ended") from error
            finally:
                self._running.discard(process)
        if process.returncode != 0:
            lines = err.decode(errors="replace").strip().splitlines() or ["no word of why"]
            raise ReflectionError(f"the fetch ended with {process.returncode}: {lines[-1]}")
        try:
            return msgspec.msgpack.decode(out, type=_Fetched)
        except msgspec.DecodeError as error:
            raise ReflectionError(f"the fetch gave something else than types: {error}") from error


async def _fetch(target: ReflectionTarget) -> list[FileDescriptorProto]:
    """From the first endpoint that answers. Raises ReflectionError."""
    clock = SystemClock()
    deadline_s = clock.now_s() + target.timeout_s
    why = "the upstream has no endpoint"
    for address in target.endpoints:
        channel = GrpcioChannel(
            address,
            tls=target.tls,
            authority=target.authority,
            max_message_bytes=MAX_SET_BYTES,
            clock=clock,
        )
        try:
            async with asyncio.timeout(deadline_s - clock.now_s()):
                return await fetch_files(channel, target.services, deadline_s=deadline_s)
        except UpstreamError as error:
            why = f"{address}: {error.reason}: {error.detail or error.code.name}"
            if clock.now_s() >= deadline_s:
                raise ReflectionError(_late(target, address)) from error
        except TimeoutError as error:
            raise ReflectionError(_late(target, address)) from error
        finally:
            await channel.close()
    raise ReflectionError(why)


def _late(target: ReflectionTarget, address: str) -> str:
    return f"{address}: not answered in full within {target.timeout_s:g} s"


def main() -> None:
    """Read a target from standard input, write what was fetched to standard output."""
    target = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=ReflectionTarget)
    try:
        files = asyncio.run(_fetch(target))
        fetched = _Fetched(files=FileDescriptorSet(file=files).SerializeToString())
    except ReflectionError as error:
        fetched = _Fetched(why=str(error))
    sys.stdout.buffer.write(msgspec.msgpack.encode(fetched))


if __name__ == "__main__":
    main()
