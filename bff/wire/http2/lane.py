"""The unary lane to one endpoint as a `Channel`: encodes a call, waits for it, reads its end.

It runs for each call: one future, no task, no timer, no lock. CPU of a call with six fields of
metadata and a reply of 726 octets, user and system time of the client (`python -m benchmarks.lane`):
11 us with 32 at once and 60 alone, where grpcio takes 116 and 206; half of the latter is the kernel's.
"""

import asyncio
import struct
import zlib
from collections.abc import AsyncGenerator
from importlib.metadata import version

from msgspec import Struct

from bff.core.errors import GatewayBug
from bff.core.events import Emit
from bff.core.ports import Clock, Random
from bff.core.status import Code
from bff.wire.channel import Metadata, UnaryReply
from bff.wire.grpcio import TlsSettings
from bff.wire.http2.dialling import Dialler
from bff.wire.http2.headers import FIELD_EXTRA_BYTES, BlockMemo, RequestBlocks, measured
from bff.wire.http2.pool import Pool
from bff.wire.http2.reply import error_of, failure_of, message_of, metadata_of
from bff.wire.http2.stream import Fault, Stream

__all__ = ["LaneChannel", "LaneSettings"]

_MESSAGE_MAX_BYTES = 4 * 1024 * 1024
_REQUEST_LIST_MAX_BYTES = 6 * 1024
_GZIP_MIN_BYTES = 1024
# The time that a service is told is so much less than what is left, at most: one that keeps to it may
# be the first to say that it is over.
_TOLD_STEP_S = 0.001

_PREFIX = struct.Struct(">BI").pack
_CLOSED = Fault(
    reason="UPSTREAM_UNAVAILABLE", code=Code.UNAVAILABLE, sent="never",
    detail="the channel is closed",
)  # fmt: skip
_LIST_TOO_LARGE = Fault(
    reason="METADATA_TOO_LARGE", code=Code.RESOURCE_EXHAUSTED, sent="never", origin="local",
    detail="request headers over their bound",
)  # fmt: skip
_MESSAGE_TOO_LARGE = Fault(
    reason="BODY_TOO_LARGE", code=Code.RESOURCE_EXHAUSTED, sent="never", origin="local",
    detail="a request message over its limit",
)  # fmt: skip
_NO_TIME = Fault(
    reason="NO_TIME", code=Code.DEADLINE_EXCEEDED, sent="never", origin="local",
    detail="less than 1 ms was left",
)  # fmt: skip


class LaneSettings(Struct, frozen=True, kw_only=True):
    """How a lane behaves. `keepalive_s` None: no periodic pings; `gzip`: compress what is worth it.

    `warm`: connect at once, not at the first call.
    """

    connect_s: float = 1.0
    keepalive_s: float | None = None
    max_age_s: float = 1800.0
    gzip: bool = False
    header_memo: bool = True
    connections: int = 4
    warm: bool = False


class LaneChannel:
    """One endpoint, `host:port`, `[v6]:port` or `unix:/path`. Made inside the running event loop.

    `authority` is what the service reads as `:authority`; unset it is the TLS name, else the
    address. `memo` may be shared by all channels of a worker. It connects at the first call.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: TlsSettings | None,
        authority: str | None,
        max_message_bytes: int = _MESSAGE_MAX_BYTES,
        clock: Clock,
        random: Random,
        emit: Emit,
        settings: LaneSettings = LaneSettings(),  # noqa: B008 - frozen
        memo: BlockMemo | None = None,
    ) -> None:
        self._max_bytes = max_message_bytes
        self._now_s = clock.now_s
        self._gzip = settings.gzip
        self._create_future = asyncio.get_running_loop().create_future
        name = authority or (tls.name if tls else None)
        self._blocks = RequestBlocks(
            scheme="http" if tls is None else "https",
            authority=name or ("localhost" if address.startswith("unix:") else address),
            user_agent=f"grpc-python-bff/{version('bff-gateway')}",
            accept="identity,gzip" if settings.gzip else "identity",
        )
        self._pool = Pool(
            address,
            dialler=Dialler(
                address,
                tls=tls,
                connect_s=settings.connect_s,
                max_age_s=settings.max_age_s,
                keepalive_s=settings.keepalive_s,
                reply_max_bytes=max_message_bytes,
                memo=(memo or BlockMemo()) if settings.header_memo else None,
                now_s=clock.now_s,
                random=random,
            ),
            connections=settings.connections,
            now_s=clock.now_s,
            random=random,
            emit=emit,
        )
        self._submit = self._pool.submit
        if settings.warm:
            self._pool.warm()

    @property
    def open_calls(self) -> int:
        """Calls that wait or run, given-up ones included while they hold a stream."""
        return self._pool.open_calls

    @property
    def connections(self) -> int:
        """Connections that are there, those that drain included."""
        return self._pool.connections

    async def unary(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float,
        *,
        want_metadata: bool = False,
    ) -> UnaryReply:
        """Call `path`, with the time until `deadline_s` as `grpc-timeout`. Raises UpstreamError."""
        stream = self._start(path, message, metadata, deadline_s)
        try:
            reply = await stream.owner
        finally:
            if not stream.is_ended:
                self._pool.abandon(stream)
        if reply is None:
            reply = message_of(stream, max_bytes=self._max_bytes)
        if reply is None:
            raise failure_of(stream, overdue=self._now_s() >= stream.deadline_s - _TOLD_STEP_S)
        if want_metadata:
            return UnaryReply(reply, *metadata_of(stream))
        return UnaryReply(reply)

    def stream(
        self,
        path: str,
        message: bytes,  # noqa: ARG002 - the protocol's shape
        metadata: Metadata,  # noqa: ARG002 - as above
        deadline_s: float | None,  # noqa: ARG002 - as above
        *,
        received: list[tuple[str, str | bytes]] | None = None,  # noqa: ARG002 - as above
    ) -> AsyncGenerator[bytes, None]:
        """Streams go another way."""
        raise GatewayBug(f"the unary lane was asked for a stream of {path}")

    def bidi(
        self,
        path: str,
        messages: AsyncGenerator[bytes, None],  # noqa: ARG002 - the protocol's shape
        metadata: Metadata,  # noqa: ARG002 - as above
        deadline_s: float | None,  # noqa: ARG002 - as above
        *,
        received: list[tuple[str, str | bytes]] | None = None,  # noqa: ARG002 - as above
    ) -> AsyncGenerator[bytes, None]:
        """Streams go another way."""
        raise GatewayBug(f"the unary lane was asked for a stream of {path}")

    async def close(self) -> None:
        """End all calls with UNAVAILABLE, and the connections with GOAWAY."""
        await self._pool.close()

    def _start(self, path: str, message: bytes, metadata: Metadata, deadline_s: float) -> Stream:
        if self._pool.is_closed:
            raise error_of(_CLOSED)
        now_s = self._now_s()
        milliseconds = int((deadline_s - now_s) * 1000)
        size = len(message)
        if milliseconds < 1:
            raise error_of(_NO_TIME)
        if size > self._max_bytes:
            raise error_of(_MESSAGE_TOO_LARGE)
        blocks = self._blocks
        shared = blocks.known.get(path) or blocks.of(path)
        block = shared.encoded + (blocks.timeouts.get(milliseconds) or blocks.timeout(milliseconds))
        list_bytes = shared.list_bytes
        if self._gzip and size >= _GZIP_MIN_BYTES:
            metadata = (*metadata, ("grpc-encoding", "gzip"))
            body = _gzipped(message)
        else:
            body = _PREFIX(0, size) + message
        if metadata:
            more = blocks.of_metadata(metadata)
            block += more
            list_bytes += len(more) + FIELD_EXTRA_BYTES * len(metadata)
        if list_bytes > _REQUEST_LIST_MAX_BYTES and measured(block) > _REQUEST_LIST_MAX_BYTES:
            raise error_of(_LIST_TOO_LARGE)
        stream = Stream(block, body, deadline_s, list_bytes, self._create_future())
        self._submit(stream, now_s)
        return stream


def _gzipped(message: bytes) -> bytes:
    machine = zlib.compressobj(wbits=31)
    packed = machine.compress(message) + machine.flush()
    return _PREFIX(1, len(packed)) + packed
