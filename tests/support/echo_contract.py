"""One contract that servers of several implementations keep, so that two clients can be held to each other.

A request is a line of JSON, then filling: `size` octets of reply (the request's digest, repeated),
`code` and `details` of another end, `initial` and `trailers` (octets in base64), `hang` until
cancelled. Request metadata that begin with `x-` come back in the trailers. `{"ask": ""}` is answered
with two numbers: calls that began to hang, and those of them that were cancelled.
"""

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.protocol import H2Protocol
from grpclib.server import Server

__all__ = ["aio_server", "grpclib_server", "sync_server"]

_PATH = "/shop.v1.Orders/Get"
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 5 << 20),
    ("grpc.max_send_message_length", 5 << 20),
)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_HANG_S = 30.0

Pairs = list[tuple[str, str | bytes]]


class _Script:
    """What a request asks for."""

    def __init__(self, request: bytes, metadata: Any) -> None:
        asked = json.loads(request[: request.index(b"\n")])
        self.asks = "ask" in asked
        self.hangs = bool(asked.get("hang"))
        self.code = int(asked.get("code", 0))
        self.details = str(asked.get("details", ""))
        self.initial = _pairs(asked.get("initial"))
        back = [(f"echo-{name}", value) for name, value in metadata if name.startswith("x-")]
        self.trailers = (*_pairs(asked.get("trailers")), *back)
        size = int(asked.get("size", 0))
        digest = hashlib.sha256(request).digest()
        self.reply = (digest * (size // len(digest) + 1))[:size]


def _pairs(listed: Any) -> Pairs:
    return [
        (name, base64.b64decode(value) if name.endswith("-bin") else value)
        for name, value in listed or ()
    ]


def _algorithm(*, gzip: bool) -> tuple[str, int]:
    chosen = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
    return "grpc.default_compression_algorithm", int(chosen.value)


class _Methods(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    def __init__(self, answer: Any) -> None:
        self._handler = grpc.unary_unary_rpc_method_handler(answer)

    def service(self, _details: Any) -> Any:
        return self._handler


@asynccontextmanager
async def aio_server(*, gzip: bool) -> AsyncIterator[str]:
    """grpc.aio."""
    begun = cancelled = 0

    async def answer(request: bytes, context: Any) -> bytes:
        nonlocal begun, cancelled
        script = _Script(request, context.invocation_metadata())
        if script.asks:
            return b"%d %d" % (begun, cancelled)
        try:
            if script.hangs:
                begun += 1
                await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled += 1
            raise
        if script.initial:
            await context.send_initial_metadata(script.initial)
        context.set_trailing_metadata(script.trailers)
        if script.code:
            await context.abort(_STATUS[script.code], script.details, script.trailers)
        return script.reply

    server = grpc.aio.server(options=[*_OPTIONS, _algorithm(gzip=gzip)])
    server.add_generic_rpc_handlers((_Methods(answer),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def sync_server(*, gzip: bool) -> AsyncIterator[str]:
    """grpcio with threads."""
    begun: list[int] = []
    cancelled: list[int] = []

    def answer(request: bytes, context: Any) -> bytes:
        script = _Script(request, context.invocation_metadata())
        if script.asks:
            return b"%d %d" % (len(begun), len(cancelled))
        if script.hangs:
            begun.append(1)
            gone = threading.Event()
            if not context.add_callback(gone.set) or gone.wait(_HANG_S):
                cancelled.append(1)
        if script.initial:
            context.send_initial_metadata(script.initial)
        context.set_trailing_metadata(script.trailers)
        if script.code:
            context.set_code(_STATUS[script.code])
            context.set_details(script.details)
        return script.reply

    server = grpc.server(ThreadPoolExecutor(8), options=[*_OPTIONS, _algorithm(gzip=gzip)])
    server.add_generic_rpc_handlers((_Methods(answer),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await asyncio.to_thread(server.stop(None).wait)


class _Octets(CodecBase):
    """Messages as they are, under the content type that clients send."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class _Service:
    """As grpclib wants one."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0

    def __mapping__(self) -> dict[str, Handler]:
        return {_PATH: Handler(self.answer, Cardinality.UNARY_UNARY, bytes, bytes)}

    async def answer(self, stream: Any) -> None:
        request = await stream.recv_message()
        script = _Script(request, list(stream.metadata.items()))
        if script.asks:
            await stream.send_message(b"%d %d" % (self.begun, self.cancelled))
            return
        try:
            if script.hangs:
                self.begun += 1
                await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if script.initial:
            await stream.send_initial_metadata(metadata=script.initial)
        if script.code:
            await stream.send_trailing_metadata(
                status=Status(script.code), status_message=script.details, metadata=script.trailers
            )
            return
        await stream.send_message(script.reply)
        await stream.send_trailing_metadata(metadata=script.trailers)


@asynccontextmanager
async def grpclib_server(*, gzip: bool) -> AsyncIterator[str]:
    """grpclib, which never compresses."""
    assert not gzip
    server = _Server([_Service()], codec=_Octets())
    await server.start("127.0.0.1", 0)
    try:
        sockets = server._server.sockets  # type: ignore[union-attr]  # it has no other way to tell its port
        yield f"127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        # It leaves connections to the collector; clients have closed theirs by now.
        if server.lost:
            await asyncio.wait(server.lost)


class _Server(Server):
    """Knows when each of its connections is gone."""

    def __init__(self, services: Any, *, codec: CodecBase) -> None:
        super().__init__(services, codec=codec)
        self.lost: list[asyncio.Future[None]] = []

    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost.append(gone)
        tell = made.connection_lost

        def connection_lost(error: BaseException | None) -> None:
            tell(error)
            gone.set_result(None)

        made.connection_lost = connection_lost  # type: ignore[method-assign, assignment]  # it offers no hook
        return made
