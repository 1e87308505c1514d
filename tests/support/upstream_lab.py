"""Services on port 0 that do what a test tells them: gRPC servers, and peers that speak anything.

async with UpstreamLab() as lab:
    lab.on("/shop.v1.Orders/Get", Step(message=b"one"), Step(code=Code.NOT_FOUND, details="no"))
    ...                                     # the last step is repeated
    assert lab.calls("/shop.v1.Orders/Get")[0].message == b"asked"
"""

import asyncio
import datetime as dt
import inspect
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bff.core.status import Code
from bff.wire.http2.frames import HEADERS, PREFACE, settings_frame

__all__ = [
    "RawPeer",
    "Seen",
    "Step",
    "UpstreamLab",
    "refused_address",
    "self_signed",
]

Pairs = Sequence[tuple[str, str | bytes]]
_STATUS = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, kw_only=True)
class Step:
    """How one call goes, in the order of the fields.

    `gate` is awaited first (hold calls until the test sets it); `hang` then waits until cancelled.
    `message` may be a function of the request's bytes, plain or async; `messages` answer a stream,
    each waiting for one token of `pace` if given.
    """

    initial: Pairs = ()
    gate: asyncio.Event | None = None
    hang: bool = False
    message: bytes | Callable[[bytes], Any] = b""
    messages: Sequence[bytes] = ()
    pace: asyncio.Semaphore | None = None
    hang_after: bool = False
    code: Code = Code.OK
    details: str = ""
    trailers: Pairs = ()


@dataclass
class Seen:
    """One call as the service saw it; `left_s` is what its deadline allowed, None without one."""

    path: str
    message: bytes
    metadata: tuple[tuple[str, str | bytes], ...]
    left_s: float | None
    sent: int = 0
    cancelled: bool = False
    done: bool = False

    def all(self, name: str) -> list[str | bytes]:
        """The values of one metadata name."""
        return [value for key, value in self.metadata if key == name]


@dataclass
class UpstreamLab:
    """A grpc.aio server with scripted methods; any path answers, unscripted ones with UNIMPLEMENTED.

    `streams` names the paths that answer with a stream.
    """

    options: Sequence[tuple[str, str | int]] = ()
    credentials: grpc.ServerCredentials | None = None
    port: int = 0
    steps: dict[str, list[Step]] = field(default_factory=dict)
    streams: set[str] = field(default_factory=set)
    seen: list[Seen] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = field(default_factory=list)
    _server: Any = None

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    def on(self, path: str, *steps: Step, stream: bool = False) -> None:
        """Script `path`: one step per call, the last one for all later calls. Starts over."""
        self.steps[path] = list(steps)
        self._counts[path] = 0
        if stream:
            self.streams.add(path)

    def calls(self, path: str | None = None) -> list[Seen]:
        """The calls that arrived, in order; of one path or of all."""
        return [one for one in self.seen if path is None or one.path == path]

    async def until(self, fact: Callable[[], bool], *, within_s: float = 30.0) -> None:
        """Wait until `fact` holds; it is looked at whenever something happened at the service."""
        if fact():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((fact, waiter))
        async with asyncio.timeout(within_s):
            await waiter

    async def start(self, port: int = 0) -> None:
        """Listen; with `port` on the port of a server that was stopped before."""
        self._server = grpc.aio.server(
            options=[("grpc.so_reuseport", 0), *self.options], maximum_concurrent_rpcs=None
        )
        self._server.add_generic_rpc_handlers((_AnyPath(self),))
        where = f"127.0.0.1:{port}"
        if self.credentials is None:
            self.port = self._server.add_insecure_port(where)
        else:
            self.port = self._server.add_secure_port(where, self.credentials)
        await self._server.start()

    async def stop(self, grace_s: float | None = None) -> None:
        """Stop now (connections are reset), or after `grace_s`."""
        await self._server.stop(grace_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    def _changed(self) -> None:
        for fact, waiter in tuple(self._waiting):
            if not waiter.done() and fact():
                waiter.set_result(None)
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]

    def _arrive(self, path: str, message: bytes, context: Any) -> tuple[Seen, Step]:
        seen = Seen(
            path=path,
            message=message,
            metadata=tuple((key, value) for key, value in context.invocation_metadata()),
            left_s=context.time_remaining(),
        )
        self.seen.append(seen)
        steps = self.steps.get(path) or [Step(code=Code.UNIMPLEMENTED)]
        step = steps[min(self._counts[path], len(steps) - 1)]
        self._counts[path] += 1
        self._changed()
        return seen, step

    async def _unary(self, path: str, message: bytes, context: Any) -> bytes:
        seen, step = self._arrive(path, message, context)
        try:
            await self._before(step, context)
            answer = step.message
            if callable(answer):
                answer = answer(message)
                if inspect.isawaitable(answer):
                    answer = await answer
            await self._after(step, context)
            return bytes(answer)
        except asyncio.CancelledError:
            seen.cancelled = True
            raise
        finally:
            seen.done = True
            self._changed()

    async def _stream(self, path: str, message: bytes, context: Any) -> AsyncIterator[bytes]:
        seen, step = self._arrive(path, message, context)
        try:
            await self._before(step, context)
            for part in step.messages:
                if step.pace is not None:
                    await step.pace.acquire()
                await context.write(part)
                seen.sent += 1
                self._changed()
            if step.hang_after:
                await asyncio.Event().wait()
            await self._after(step, context)
        except asyncio.CancelledError:
            seen.cancelled = True
            raise
        finally:
            seen.done = True
            self._changed()
        # Written above, so that `sent` counts what flow control let through.
        for part in ():
            yield part

    async def _before(self, step: Step, context: Any) -> None:
        if step.initial:
            await context.send_initial_metadata(tuple(step.initial))
        if step.gate is not None:
            await step.gate.wait()
        if step.hang:
            await asyncio.Event().wait()

    async def _after(self, step: Step, context: Any) -> None:
        if step.trailers:
            context.set_trailing_metadata(tuple(step.trailers))
        if step.code is not Code.OK:
            await context.abort(_STATUS[step.code], step.details, tuple(step.trailers))


class _AnyPath(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    def __init__(self, lab: UpstreamLab) -> None:
        self._lab = lab

    def service(self, handler_call_details: Any) -> Any:
        path, lab = handler_call_details.method, self._lab
        if path in lab.streams:

            async def write(message: bytes, context: Any) -> None:
                async for _ in lab._stream(path, message, context):
                    pass

            return grpc.unary_stream_rpc_method_handler(write)

        async def answer(message: bytes, context: Any) -> bytes:
            return await lab._unary(path, message, context)

        return grpc.unary_unary_rpc_method_handler(answer)


class RawPeer:
    """A TCP server that sends fixed bytes once a request's HEADERS arrived (or at once), then waits.

    `answer=None` closes each connection at accept. With `close=True` it closes after the answer.
    """

    def __init__(
        self, answer: bytes | None, *, close: bool = False, after_request: bool = True
    ) -> None:
        self._answer = answer
        self._close = close
        self._after_request = after_request
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            if self._answer is None:
                return
            if self._after_request:
                writer.write(settings_frame())
                await _read_headers_frame(reader)
            writer.write(self._answer)
            await writer.drain()
            while not self._close and await reader.read(65_536):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.close()
        await self._server.wait_closed()


async def _read_headers_frame(reader: asyncio.StreamReader) -> None:
    await reader.readexactly(len(PREFACE))
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3]))
        if head[3] == HEADERS:
            return


async def refused_address() -> str:
    """An address where nobody listens: a port that was bound and given back."""
    server = await asyncio.start_server(_nobody, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()
    return address


def _nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Awaitable[None] | None:
    writer.close()
    return None


def self_signed(name: str) -> tuple[bytes, bytes]:
    """A certificate for `name` that is its own authority, and its key; both PEM, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    hour = dt.timedelta(hours=1)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - hour)
        .not_valid_after(now + hour)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return cert.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
