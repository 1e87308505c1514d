"""Channels over grpcio: server streams, and the reference for unary calls.

One channel is one endpoint; our balancer picks between them. Calls go to the core that grpc.aio
itself stands on, for two reasons. grpc.aio stops a call by cancelling the task that awaits the
core's batch, which loses the batch's memory (github.com/grpc/grpc/issues/43360; measured with
1.85.1: 1 KiB per cancelled call); here the batch always runs to its end and only the waiting for it
is given up (measured: none). And grpc.aio spends a task, an ordered dict and a weak set on each
call: without them a unary call costs about 15 % less CPU.
The core's interface is not promised, hence the upper bound on grpcio in pyproject.toml.
"""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs leave the core out
from msgspec import Struct

from bff.core.errors import GatewayBug, GatewayError, UpstreamError
from bff.core.ports import Clock
from bff.core.status import Code
from bff.wire.channel import Metadata, UnaryReply
from bff.wire.grpcio_faults import RawStatus, fault_of, no_message

__all__ = ["GrpcioChannel", "TlsSettings"]

# The limit that gRPC itself defaults to for replies; we hold requests to it as well.
_MESSAGE_MAX_BYTES = 4 * 1024 * 1024
_METADATA_MAX_BYTES = 16 * 1024
# ConnectivityState.READY of the core.
_READY = 2
_LEFT = "the caller left"


class TlsSettings(Struct, frozen=True, kw_only=True):
    """How to speak TLS: PEM bytes, and the name that the certificate must carry.

    Without `ca` the roots that grpcio ships are trusted. `cert` and `key` go together (mTLS).
    """

    ca: bytes | None = None
    name: str | None = None
    cert: bytes | None = None
    key: bytes | None = None

    def __repr__(self) -> str:
        """Without the key: a repr ends up in logs."""
        return f"TlsSettings(name={self.name!r}, ca={self.ca is not None}, cert={self.cert is not None})"

    def __rich_repr__(self) -> Any:
        """As `__repr__`, for tracebacks printed by rich."""
        yield "name", self.name


class _Flight:
    """A coroutine of the core, run to its end by callbacks, whoever stops waiting for `ended`.

    Its first step runs at once, so that the request leaves without another turn of the loop.
    """

    __slots__ = ("_channel", "_send", "call", "ended")

    def __init__(
        self, channel: "GrpcioChannel", call: Any, coroutine: Coroutine[Any, Any, Any]
    ) -> None:
        self._channel = channel
        self._send = coroutine.send
        self.call = call
        self.ended: asyncio.Future[Any] = channel.loop.create_future()
        channel.flights.add(self)
        self._step(None)

    def _step(self, _ready: object) -> None:
        try:
            waits_for = self._send(None)
        except StopIteration as end:
            self._land()
            if not self.ended.done():
                self.ended.set_result(end.value)
        except Exception as error:  # as a task does: what a coroutine raises is for its awaiter
            self._land()
            if not self.ended.done():
                self.ended.set_exception(error)
        else:
            # What Task does with a future that a coroutine yields.
            waits_for._asyncio_future_blocking = False  # noqa: SLF001 - the protocol of awaiting
            waits_for.add_done_callback(self._step)

    def _land(self) -> None:
        channel = self._channel
        channel.flights.discard(self)
        landed = channel.all_landed
        # A stream may take one more step after that, to find out that it was cancelled.
        if landed is not None and not channel.flights and not landed.done():
            landed.set_result(None)


class GrpcioChannel:
    """One endpoint, `host:port`, `[v6]:port` or `unix:/path`. Made inside the running event loop.

    `authority` is what the service reads as `:authority`; with `tls` it defaults to the TLS name.
    It connects at the first call, in 1 s at most, and reconnects by itself after 100 ms to 10 s.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: TlsSettings | None,
        authority: str | None,
        max_message_bytes: int = _MESSAGE_MAX_BYTES,
        clock: Clock,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        # Public to `_Flight` alone: what the core still works on, and who waits for none to be left.
        self.flights: set[_Flight] = set()
        self.all_landed: asyncio.Future[None] | None = None
        self._now_s = clock.now_s
        self._unix_s = clock.unix_s
        self._target = _target(address)
        self._own_mark = _mark(self._target)
        self._channel = _connect(self._target, tls, authority, max_message_bytes)
        core = self._channel._channel  # type: ignore[attr-defined]  # noqa: SLF001 - see module
        self._open_call = core.call
        self._state = core.check_connectivity_state
        self._closed = False

    @property
    def open_calls(self) -> int:
        """Calls that the core still works on, cancelled ones included; back to 0 when all is quiet."""
        return len(self.flights)

    async def unary(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float,
        *,
        want_metadata: bool = False,
    ) -> UnaryReply:
        """Call `path` with the time until `deadline_s` as `grpc-timeout`. Raises UpstreamError.

        A second message in the reply is noticed by the deadline: the core takes the first one and
        waits for an end that stands behind the second. Reading on as for a stream would tell at once,
        and takes 400 us of CPU for each call in place of 230.
        """
        call = self._start(path, deadline_s)
        pairs = metadata if type(metadata) is tuple else tuple(metadata)
        try:
            reply = await _Flight(self, call, call.unary_unary(message, pairs, None)).ended
        except cygrpc.InternalError as error:
            raise GatewayBug(f"grpcio refused the call to {path}: metadata?") from error
        finally:
            if not call.done():
                call.cancel(_LEFT)
        if reply is None:
            raise self._fault(call, deadline_s)
        if want_metadata:
            initial, trailing = _initial_of(call), _trailing_of(call)
            return UnaryReply(reply, (*initial, *trailing), len(initial))
        return UnaryReply(reply)

    async def stream(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Messages one by one; the next is read from the socket's window only when asked for."""
        call = self._start(path, deadline_s)
        try:
            begin = call.initiate_unary_stream(message, tuple(metadata), None)
            await _Flight(self, call, begin).ended
            if received is not None:
                received[:] = _initial_of(call)
            read = call.receive_serialized_message
            while (part := await _Flight(self, call, read()).ended) is not cygrpc.EOF:
                yield part
            await call.status()
            if not call.is_ok():
                raise self._fault(call, deadline_s)
            if received is not None:
                received += _trailing_of(call)
        except cygrpc.InternalError as error:
            raise GatewayBug(f"grpcio refused the stream of {path}: metadata?") from error
        finally:
            if not call.done():
                call.cancel(_LEFT)

    async def bidi(
        self,
        path: str,
        messages: AsyncGenerator[bytes, None],
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Messages both ways. Those of the client are sent by a task that lives as long as the call."""
        call = self._start(path, deadline_s)
        may_send = asyncio.Event()
        begin = call.initiate_stream_stream(tuple(metadata), may_send.set, None)
        began = _Flight(self, call, begin).ended
        sending = self.loop.create_task(self._send(call, may_send, messages))
        try:
            try:
                await began
                if received is not None:
                    received[:] = _initial_of(call)
                read = call.receive_serialized_message
                while (part := await _Flight(self, call, read()).ended) is not cygrpc.EOF:
                    yield part
                await call.status()
            except cygrpc.InternalError as error:
                # Beginning failed: for the connection, which the status tells, or for what we gave.
                if not call.done():
                    call.cancel(_LEFT)
                await call.status()
                if call.is_locally_cancelled():
                    _raise_error_of(sending)
                    raise GatewayBug(f"grpcio refused the stream of {path}: metadata?") from error
            _raise_error_of(sending)
            if not call.is_ok():
                raise self._fault(call, deadline_s)
            if received is not None:
                received += _trailing_of(call)
        finally:
            if not call.done():
                call.cancel(_LEFT)
            sending.cancel()
            await asyncio.wait([sending])

    async def _send(
        self, call: Any, may_send: asyncio.Event, messages: AsyncGenerator[bytes, None]
    ) -> None:
        """Send what the client sends, then close that side. An error of the client's cancels the call."""
        try:
            await may_send.wait()
            async with aclosing(messages):
                async for message in messages:
                    await _Flight(self, call, call.send_serialized_message(message)).ended
            await _Flight(self, call, call.send_receive_close()).ended
        except cygrpc.InternalError:
            # The call has ended, and whoever reads it learns how.
            return
        except GatewayError:
            if not call.done():
                call.cancel(_LEFT)
            raise

    async def close(self) -> None:
        """Cancel what runs (it ends with UNAVAILABLE), wait until the core has let go, disconnect."""
        if self._closed:
            return
        self._closed = True
        if self.flights:
            self.all_landed = self.loop.create_future()
            for flight in tuple(self.flights):
                if not flight.call.done():
                    flight.call.cancel("the channel is closed")
            await self.all_landed
        await self._channel.close(None)

    def _start(self, path: str, deadline_s: float | None) -> Any:
        if self._closed:
            raise _closed("never")
        # The core wants the deadline on the wall clock, and goes on in monotonic time by itself.
        until = None if deadline_s is None else self._unix_s() + (deadline_s - self._now_s())
        return self._open_call(path.encode(), until, None, None, 0)

    def _fault(self, call: Any, deadline_s: float | None) -> UpstreamError | GatewayBug:
        if self._closed and call.is_locally_cancelled():
            return _closed("maybe")
        status = call._status  # noqa: SLF001 - `status()` is a coroutine only because it may wait
        code = status.code()
        if code == 0:
            return no_message()
        return fault_of(
            RawStatus(
                code=code if 0 < code <= 16 else Code.UNKNOWN,
                text=status.details() or "",
                trailing=status.trailing_metadata() or (),
                overdue=deadline_s is not None and self._now_s() >= deadline_s,
                ready=self._state(False) == _READY,
            ),
            own_mark=self._own_mark,
        )


def _initial_of(call: Any) -> list[tuple[str, str | bytes]]:
    # The public way to either is a coroutine, only because it may have to wait.
    return [(name, value) for name, value in call._initial_metadata or ()]  # noqa: SLF001


def _trailing_of(call: Any) -> list[tuple[str, str | bytes]]:
    return [(name, value) for name, value in call._status.trailing_metadata() or ()]  # noqa: SLF001


def _raise_error_of(sending: asyncio.Task[None]) -> None:
    """Raise what the client's own messages ended with, which tells more than the call's cancellation."""
    if sending.done() and not sending.cancelled():
        error = sending.exception()
        if error is not None:
            raise error


def _closed(sent: Any) -> UpstreamError:
    return UpstreamError(
        "UPSTREAM_UNAVAILABLE",
        code=Code.UNAVAILABLE,
        origin="wire",
        sent=sent,
        detail="the channel is closed",
    )


def _target(address: str) -> str:
    """The gRPC name of an address. Numeric ones need no resolver, and get none."""
    if address.startswith("unix:"):
        return address
    host = address.rpartition(":")[0].strip("[]")
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return f"dns:///{address}"
    return f"ipv{version}:{address}"


def _mark(target: str) -> str:
    """What the core's texts about connecting to this target contain: the address, or the port of a name."""
    kind, _, rest = target.partition(":")
    return f":{target.rpartition(':')[2]}" if kind == "dns" else rest


def _connect(
    target: str, tls: TlsSettings | None, authority: str | None, max_message_bytes: int
) -> grpc.aio.Channel:
    options: list[tuple[str, str | int]] = [
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_metadata_size", _METADATA_MAX_BYTES),
        # Windows that grow with the link's speed would hold megabytes for one slow reader.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 10_000),
        # Despite its name this is the time that one attempt to connect may take.
        ("grpc.min_reconnect_backoff_ms", 1_000),
    ]
    name = authority or (tls.name if tls else None)
    if name:
        options.append(("grpc.default_authority", name))
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    if tls.name:
        options.append(("grpc.ssl_target_name_override", tls.name))
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
    return grpc.aio.secure_channel(target, credentials, options=options)
