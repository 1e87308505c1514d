"""Serves a sample service over grpc.aio; the same lines start users, catalog and orders.

Around each method: faults and counting. Beside it: health, reflection and `FaultService`.

Messages cross this file as bytes: that is what lets a fault answer with bytes that are none.
"""

import argparse
import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import unquote

import grpc
import msgspec
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sample_services.faults import CallBook, CallRecord, Fault, FaultControl, FaultTable
from sample_services.generated.sample.faults.v1 import faults_pb2
from sample_services.lifetime import say_ready, stop_event
from sample_services.refusal import Refused

__all__ = ["Caller", "Collecting", "Conversing", "Service", "Streaming", "Unary", "main"]

_MAX_RUNNING_CALLS = 2000
_GRACE_S = 1.0
# Field 0 does not exist (protobuf encoding, "message structure"), so no parser takes this.
_GARBAGE = b"\x00\xff\xff\xffgarbage"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who the gateway says is calling: `x-user-id` and `x-scopes`; no user id = an inner call."""

    user_id: str | None
    scopes: frozenset[str]

    def may_act_for(self, user_id: str) -> bool:
        """True for the user, for an administrator and for a caller that nobody named."""
        return self.user_id is None or self.user_id == user_id or "admin" in self.scopes


Unary = Callable[[Any, Caller], Awaitable[Any]]
Streaming = Callable[[Any, Caller], AsyncIterator[Any]]
# Where the caller streams, its messages come as an iterator.
Collecting = Callable[[AsyncIterator[Any], Caller], Awaitable[Any]]
Conversing = Callable[[AsyncIterator[Any], Caller], AsyncIterator[Any]]
Metadata = Mapping[str, str]


class Service(Protocol):
    """What a sample service is to this file: its methods by their names in the proto."""

    unary: Mapping[str, Unary | Collecting]
    streaming: Mapping[str, Streaming | Conversing]

    async def close(self) -> None:
        """Give back what `open` took."""
        ...


Opener = Callable[[Path], Awaitable[Service]]


def main(*, name: str, descriptor: ServiceDescriptor, opener: Opener) -> None:
    """Be the process of one service: read arguments, serve, say where, stop when told."""
    parser = argparse.ArgumentParser(prog=f"python -m sample_services.{name}")
    parser.add_argument("--port", type=int, default=0, help="0 = a free one")
    parser.add_argument("--folder", type=Path, help="for the SQLite file; default: for this run")
    parser.add_argument("--stop-with-stdin", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(_run(name=name, descriptor=descriptor, opener=opener, arguments=arguments))


async def _run(
    *, name: str, descriptor: ServiceDescriptor, opener: Opener, arguments: argparse.Namespace
) -> None:
    stop = stop_event(with_stdin=arguments.stop_with_stdin)
    async with contextlib.AsyncExitStack() as stack:
        folder = arguments.folder
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sample-")))
        service = await opener(folder)
        stack.push_async_callback(service.close)
        server, port = await _make_server(descriptor, service, port=arguments.port)
        await server.start()
        stack.push_async_callback(server.stop, _GRACE_S)
        say_ready({name: f"127.0.0.1:{port}"})
        await stop.wait()


async def _make_server(
    descriptor: ServiceDescriptor, service: Service, *, port: int
) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(
        # Without this, a second process on a taken port would start and get half the calls.
        options=(("grpc.so_reuseport", 0),),
        maximum_concurrent_rpcs=_MAX_RUNNING_CALLS,
    )
    faults, calls = FaultTable(), CallBook()
    harness = _Harness(faults=faults, calls=calls)
    control = FaultControl(faults=faults, calls=calls)
    control_descriptor = faults_pb2.DESCRIPTOR.services_by_name["FaultService"]
    server.add_generic_rpc_handlers(
        (
            harness.handlers(descriptor, service.unary, service.streaming),
            # A harness of its own: the control's calls are neither faulted nor counted.
            _Harness(faults=FaultTable(), calls=CallBook()).handlers(
                control_descriptor, control.unary, {}
            ),
        )
    )
    health_pb2_grpc.add_HealthServicer_to_server(await _healthy(descriptor.full_name), server)
    names = (descriptor.full_name, control_descriptor.full_name, health.SERVICE_NAME)
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
    return server, server.add_insecure_port(f"127.0.0.1:{port}")


async def _healthy(name: str) -> Any:
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # its stubs know the sync one only
    for service in (health.OVERALL_HEALTH, name):
        await servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    return servicer


class _Harness:
    """Wraps each method: count, suffer a fault, parse, answer, translate a refusal."""

    def __init__(self, *, faults: FaultTable, calls: CallBook) -> None:
        self._faults = faults
        self._calls = calls

    def handlers(
        self,
        descriptor: ServiceDescriptor,
        unary: Mapping[str, Unary | Collecting],
        streaming: Mapping[str, Streaming | Conversing],
    ) -> "grpc.GenericRpcHandler[Any, Any]":
        """Handlers for every method of the descriptor. Raises KeyError if one is not written."""
        made: dict[str, Any] = {}
        for method in descriptor.methods:
            make = _MAKERS[method.client_streaming, method.server_streaming]
            if method.server_streaming:
                made[method.name] = make(self._streaming(method, streaming[method.name]))
            else:
                made[method.name] = make(self._unary(method, unary[method.name]))
        return grpc.method_handlers_generic_handler(descriptor.full_name, made)

    def _unary(self, method: MethodDescriptor, behaviour: Any) -> Any:
        name = _name_of(method)
        parse = _parser(method)

        async def answer(raw: Any, context: Any) -> bytes:
            metadata = _readable(context)
            with self._watching(name, metadata, context):
                try:
                    if await self._suffer(name, metadata, context):
                        return _GARBAGE
                    reply = await behaviour(parse(raw), _caller(metadata))
                except (Refused, DecodeError) as error:
                    await _abort(context, error)
                done: bytes = reply.SerializeToString()
                return done

        return answer

    def _streaming(self, method: MethodDescriptor, behaviour: Any) -> Any:
        name = _name_of(method)
        parse = _parser(method)

        # A coroutine that writes, not a generator: a generator that grpc drops half-way
        # is closed whenever the collector comes by, and its end would be counted late.
        async def answer(raw: Any, context: Any) -> None:
            metadata = _readable(context)
            with self._watching(name, metadata, context):
                try:
                    if await self._suffer(name, metadata, context):
                        await context.write(_GARBAGE)
                        return
                    replies = behaviour(parse(raw), _caller(metadata))
                    async with contextlib.aclosing(replies):
                        async for reply in replies:
                            await context.write(reply.SerializeToString())
                except (Refused, DecodeError) as error:
                    await _abort(context, error)

        return answer

    @contextlib.contextmanager
    def _watching(self, name: str, metadata: Metadata, context: Any) -> Any:
        record: CallRecord = self._calls.of(name)
        record.metadata = metadata
        record.time_remaining_s = context.time_remaining()
        with record:
            try:
                yield
            except asyncio.CancelledError:
                record.cancelled += 1
                raise

    async def _suffer(self, name: str, metadata: Metadata, context: Any) -> bool:
        """Do what the call's fault says; True if the answer shall be garbage."""
        fault: Fault | None = self._faults.take(name, metadata)
        if fault is None:
            return False
        match fault.kind:
            case "delay":
                await asyncio.sleep(fault.delay_s)
            case "fail":
                raise Refused(fault.code, "this fault was asked for", reason="FAULT_INJECTED")
            case "hang":
                await asyncio.Event().wait()
            case "drop":
                _cut_connection(context.peer())
                await asyncio.Event().wait()
            case "garbage":
                return True
        return False


_MAKERS: Mapping[tuple[bool, bool], Callable[[Any], Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _parser(method: MethodDescriptor) -> Callable[[Any], Any]:
    """Octets to a message; for a caller that streams, an iterator of octets to one of messages."""
    parse = GetMessageClass(method.input_type).FromString
    if not method.client_streaming:
        return parse

    async def parse_each(raw: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for octets in raw:
            yield parse(octets)

    return parse_each


def _name_of(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"


async def _abort(context: Any, error: Refused | DecodeError) -> NoReturn:
    if isinstance(error, DecodeError):
        # As grpc's own servers do where the request does not parse.
        error = Refused(grpc.StatusCode.INTERNAL, "the request is no message of its type")
    await context.abort(error.code, error.message, error.trailers())
    raise AssertionError("abort raises")


def _readable(context: Any) -> Metadata:
    found: dict[str, str] = {}
    for key, value in context.invocation_metadata():
        if isinstance(value, str):
            found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _caller(metadata: Metadata) -> Caller:
    # A list in metadata is comma-joined, each item percent-encoded.
    scopes = frozenset(unquote(scope) for scope in metadata.get("x-scopes", "").split(",") if scope)
    return Caller(user_id=metadata.get("x-user-id"), scopes=scopes)


def _cut_connection(peer: str) -> None:
    """Shut the TCP connection of `peer` ("ipv4:127.0.0.1:4711") at once, with all calls on it.

    grpc keeps its sockets to itself, so we find ours among the open files of this process (Linux).
    """
    _, _, address = peer.partition(":")
    for entry in Path("/proc/self/fd").iterdir():
        # A file that is no connected socket, or is gone by now, is not the one we look for.
        with (
            contextlib.suppress(OSError),
            socket.fromfd(int(entry.name), socket.AF_INET6, socket.SOCK_STREAM) as found,
        ):
            remote = found.getpeername()
            # grpc listens with IPv6 sockets, on which an IPv4 peer is ::ffff:127.0.0.1.
            if isinstance(remote, tuple) and _text_of(remote[0], remote[1]) == address:
                found.shutdown(socket.SHUT_RDWR)
                return


def _text_of(host: str, port: int) -> str:
    return f"{host.removeprefix('::ffff:')}:{port}"
