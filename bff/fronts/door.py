"""The door: raw ASGI in front of FastAPI. Judges a request's outside, hands it to the line, writes the reply.

Nothing here knows a route. What the door decides: sizes, the canonical path, the client's address,
ids, the request's own deadline, the flood bucket; then it reads the body for whoever asks, watches
for a client that leaves, and writes.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any

from msgspec import Struct

from bff.core.deadline import TIMEOUT_FIELDS
from bff.core.errors import ClientError, GatewayError, LimitedError
from bff.core.events import Noted
from bff.core.exchange import BodyLimits, Reply, ReplyStream, Request
from bff.core.headers import Headers
from bff.core.ports import Clock, Random
from bff.fronts.address import AddressReader
from bff.fronts.canonical import canonical_path, check_query
from bff.pipeline.respond import error_reply
from bff.pipeline.route import Tools
from bff.pipeline.run import handle
from bff.snapshot.current import Current
from bff.telemetry.traces import parse_traceparent

__all__ = ["Door", "DoorCaps", "DoorSettings", "Finished"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# request, reply (None: nothing was sent), octets of the body in and out, aborted, version served on
Finished = Callable[[Request, Reply | None, int, int, bool, str], None]

_HARD_DEADLINE_S = 30.0
_LEAST_DEADLINE_S = 0.05
# A client that left is noticed by the first sweep after its request is this old; looking earlier
# would cost every fast request a task.
_SWEEP_S = 0.02
_MAX_NAME_BYTES = 128
_PART_BYTES = 64 * 1024
_STALL_S = 30.0
_NEVER_S = float("inf")
_BODY_BASE_S = 10.0
_BODY_BYTES_PER_S = 64 * 1024
# Slower than this over such a window, and the body is given up.
_RATE_WINDOW_S = 5.0
_RATE_BYTES_PER_S = 1024
_SERVER = (b"server", b"bff")
_CLOSE = ((b"connection", b"close"),)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?").fullmatch
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,128}").fullmatch
# Given twice, two readers could take different ones.
_SINGLE = frozenset(
    {
        b"host",
        b"authorization",
        b"content-type",
        b"content-length",
        b"x-api-key",
        b"origin",
        b"idempotency-key",
        b"accept-version",
        *TIMEOUT_FIELDS,
    }
)
_TIMEOUTS = frozenset(TIMEOUT_FIELDS)


_JUDGED = frozenset({b"transfer-encoding", b"expect", b"content-encoding"})
# Bodies are read as they are (RFC 9110 15.5.16 asks for the codings that would do).
_PLAIN_BODIES = ((b"accept-encoding", b"identity"),)


class DoorCaps(Struct, frozen=True, kw_only=True):
    """Sizes that bound one request, in octets and counts; `inflight` bounds one worker."""

    path_bytes: int = 8 * 1024
    query_bytes: int = 8 * 1024
    headers_bytes: int = 32 * 1024
    header_fields: int = 100
    header_value_bytes: int = 8 * 1024
    inflight: int = 1024


class DoorSettings(Struct, frozen=True, kw_only=True):
    """What a version says of the door. `flood` admits by address."""

    addresses: AddressReader
    flood: Callable[[str], bool]
    caps: DoorCaps = DoorCaps()


class Door:
    """Answers every HTTP request; `finished` hears of every end, `active` now and then how many there are."""

    def __init__(
        self,
        *,
        current: Current,
        clock: Clock,
        random: Random,
        settings: DoorSettings,
        finished: Finished,
        active: Callable[[float], None],
    ) -> None:
        self._current = current
        self._now_s = clock.now_s
        self._unix_s = clock.unix_s
        self._bits = random.getrandbits
        # Replaced as a whole when a new version goes live.
        self.settings = settings
        self._finished = finished
        self._active = active
        self._inflight: set[_Exchange] = set()
        self._sweeping = False
        self._finishing = False
        self.draining = False

    @property
    def inflight(self) -> int:
        """Requests that have not got their last byte."""
        return len(self._inflight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = _Exchange(receive, self._now_s)
        raw: list[tuple[bytes, bytes]] = scope["headers"]
        request = self._admit_shape(scope, raw, exchange)
        self._inflight.add(exchange)
        if not self._sweeping:
            self._start_sweeping()
        tools = self._current.lease()
        reply: Reply | None = None
        sent = 0
        aborted = True
        try:
            reply = await self._answer(request, scope, raw, tools, exchange)
            sent = await self._write(request, reply, send, exchange)
            aborted = False
        except asyncio.CancelledError:
            if not exchange.gone:
                raise
            # Ours, from the sweep: the client left, or takes nothing, and there is nobody to answer.
            exchange.task.uncancel()
            request.reason = "CLIENT_GONE"
            if exchange.cut and reply is None:
                # We leave, not the client: it learns so while it can still be told.
                reply = error_reply(
                    GatewayError("OVERLOADED", "The gateway leaves."), request, tools
                )
                sent = await self._write(request, reply, send, exchange)
                aborted = False
            if exchange.stalled:
                tools.emit(Noted("slow_reader", {"request_id": request.request_id}))
                # The server ends the connection of an app that fails, so that the client sees a cut
                # and never takes a part for the whole.
                raise _StalledError("the client takes nothing") from None
        finally:
            self._inflight.discard(exchange)
            exchange.close()
            self._current.release(tools)
            self._finished(request, reply, exchange.body_bytes, sent, aborted, tools.version)

    # What the request looks like from outside

    def _admit_shape(
        self, scope: Scope, raw: list[tuple[bytes, bytes]], exchange: "_Exchange"
    ) -> Request:
        """The Request with nothing judged yet; ids first, so that every refusal has one."""
        now_s = exchange.started_s
        # RFC 9562 UUIDv7, whose 32 digits are a W3C trace id as well: one making, two names.
        made = (
            (int(self._unix_s() * 1000) << 80)
            | 0x7000_8000_0000_0000_0000
            | (self._bits(12) << 64)
            | self._bits(62)
        )
        trace_id = f"{made:032x}"
        client = scope["client"]
        return Request(
            method=scope["method"],
            path="",
            query=scope["query_string"],
            headers=Headers(raw),
            address=client[0] if client else "",
            host="",
            scheme=scope["scheme"],
            protocol=scope["http_version"],
            request_id=trace_id,
            trace_id=trace_id,
            span_id=f"{self._bits(64) | 1:016x}",
            started_s=now_s,
            deadline_s=now_s + _HARD_DEADLINE_S,
            read_body=exchange.read_body,
            read_parts=exchange.read_parts,
        )

    async def _answer(
        self,
        request: Request,
        scope: Scope,
        raw: list[tuple[bytes, bytes]],
        tools: Tools,
        exchange: "_Exchange",
    ) -> Reply:
        try:
            self._judge(request, scope, raw, exchange)
        except GatewayError as error:
            return error_reply(error, request, tools)
        return await handle(request, tools)

    def _judge(
        self,
        request: Request,
        scope: Scope,
        raw: list[tuple[bytes, bytes]],
        exchange: "_Exchange",
    ) -> None:
        settings = self.settings
        caps = settings.caps
        if len(self._inflight) > caps.inflight:
            raise GatewayError("OVERLOADED", headers=_CLOSE)
        path = scope["raw_path"]
        if len(path) > caps.path_bytes or len(request.query) > caps.query_bytes:
            raise ClientError("TARGET_TOO_LONG", headers=_CLOSE)
        self._judge_headers(request, raw, exchange)
        request.path = canonical_path(path)
        if request.query:
            check_query(request.query)
        peer = request.address
        request.address = settings.addresses.read(peer, request.headers)
        if settings.addresses.is_trusted(peer):
            self._believe(request)
        if not settings.flood(request.address):
            raise LimitedError("RATE_LIMITED", retry_after_s=1)

    def _judge_headers(
        self, request: Request, raw: list[tuple[bytes, bytes]], exchange: "_Exchange"
    ) -> None:
        """Sizes, names, doubles; then what Host, Content-Length and the client's timeouts say."""
        caps = self.settings.caps
        if len(raw) > caps.header_fields:
            raise ClientError("HEADERS_TOO_LARGE", headers=_CLOSE)
        size = 0
        seen: dict[bytes, bytes] = {}
        for name, value in raw:
            size += len(name) + len(value)
            if len(value) > caps.header_value_bytes or len(name) > _MAX_NAME_BYTES:
                raise ClientError("HEADERS_TOO_LARGE", headers=_CLOSE)
            if name in _SINGLE:
                if name in seen:
                    raise _bad_header(name, "is given twice")
                seen[name] = value
            elif name in _JUDGED or b"_" in name:
                _judge_field(name, value)
        request.headers_bytes = size
        if size > caps.headers_bytes:
            raise ClientError("HEADERS_TOO_LARGE", headers=_CLOSE)
        self._read_singles(request, seen, exchange)

    def _read_singles(
        self, request: Request, seen: dict[bytes, bytes], exchange: "_Exchange"
    ) -> None:
        for name, value in seen.items():
            if not value.isascii():
                raise _bad_header(name, "has characters that are not ASCII")
        host = seen.get(b"host")
        if host is None or not _HOST(host):
            raise _bad_header(b"host", "is missing or not valid")
        request.host = host.decode("ascii").lower()
        length = seen.get(b"content-length")
        if length is not None and length.isdigit():
            exchange.declared_bytes = int(length)
        if not _TIMEOUTS.isdisjoint(seen):
            self._take_hints(request, seen)

    @staticmethod
    def _take_hints(request: Request, seen: dict[bytes, bytes]) -> None:
        """The least of what the client says that it waits."""
        for name, (parse, form) in TIMEOUT_FIELDS.items():
            hint = seen.get(name)
            if hint is None:
                continue
            seconds = parse(hint.decode("ascii"))
            if seconds is None:
                raise _bad_header(name, f"is not {form}")
            ends_s = request.started_s + max(seconds, _LEAST_DEADLINE_S)
            request.deadline_s = min(request.deadline_s, ends_s)

    @staticmethod
    def _believe(request: Request) -> None:
        """What only a trusted proxy may say: the request id, and the trace that we continue."""
        given = request.headers.text(b"x-request-id")
        if given is not None and _REQUEST_ID(given):
            request.request_id = given
        parent = request.headers.get(b"traceparent")
        if parent is None:
            return
        parsed = parse_traceparent(parent)
        if parsed is not None:
            request.trace_id, _, request.trace_sampled = parsed

    # Writing

    async def _write(
        self, request: Request, reply: Reply, send: Send, exchange: "_Exchange"
    ) -> int:
        """Write the reply; returns the octets of its body. Large bodies go in parts, each under a stall limit."""
        if not request.reason:
            request.stage = "respond"
        headers = reply.headers
        headers.append((b"x-request-id", request.request_id.encode()))
        headers.append(_SERVER)
        if self.draining or exchange.unread:
            headers.append((b"connection", b"close"))
        head = request.method == "HEAD"
        if reply.stream is not None:
            return await self._write_stream(reply, reply.stream, send, exchange)
        body = reply.body
        if reply.status != 204:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if head:
            body = b""
        if len(body) <= _PART_BYTES:
            await send({"type": "http.response.body", "body": body})
            return len(body)
        for start in range(0, len(body), _PART_BYTES):
            more = start + _PART_BYTES < len(body)
            part = body[start : start + _PART_BYTES]
            await self._send_part(send, part, exchange, more=more)
        return len(body)

    async def _send_part(
        self, send: Send, part: bytes, exchange: "_Exchange", *, more: bool
    ) -> None:
        # The sweep looks at this time, so that no part costs a timer.
        exchange.stalls_s = self._now_s() + exchange.stall_s
        await send({"type": "http.response.body", "body": part, "more_body": more})
        exchange.stalls_s = _NEVER_S

    async def _write_stream(
        self, reply: Reply, parts: ReplyStream, send: Send, exchange: "_Exchange"
    ) -> int:
        """Each part is handed to the server before the next is made, so at most one waits here."""
        written = 0
        exchange.stream = parts
        exchange.stall_s = parts.write_timeout_s
        if self._finishing:
            parts.finish()
        try:
            await send(
                {"type": "http.response.start", "status": reply.status, "headers": reply.headers}
            )
            async for part in parts:
                # An empty part flushes the header fields.
                for start in range(0, len(part) or 1, _PART_BYTES):
                    piece = part[start : start + _PART_BYTES]
                    await self._send_part(send, piece, exchange, more=True)
                written += len(part)
            await self._send_part(send, b"", exchange, more=False)
        finally:
            await parts.aclose()
        return written

    def finish_streams(self) -> None:
        """Let streams end with their last frame: the drain is nearly over."""
        self._finishing = True
        for exchange in self._inflight:
            if exchange.stream is not None:
                exchange.stream.finish()

    # Clients that leave

    def _start_sweeping(self) -> None:
        self._sweeping = True
        asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Watch the connection of each request that is older than one sweep; stop when none is left."""
        self._active(len(self._inflight))
        if not self._inflight:
            self._sweeping = False
            return
        now_s = self._now_s()
        oldest_s = now_s - _SWEEP_S
        for exchange in self._inflight:
            if exchange.stalls_s < now_s:
                exchange.stall()
            elif exchange.watchable and exchange.watcher is None and exchange.started_s <= oldest_s:
                exchange.watch()
        asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def cancel_all(self) -> int:
        """End every request that is still running (the last step of a drain); how many there were."""
        running = list(self._inflight)
        for exchange in running:
            exchange.cut = True
            exchange.leave()
        return len(running)


class _StalledError(Exception):
    """A client took no byte of its reply for too long."""


class _Exchange:
    """One request's connection side: its body, and the wait for a client that leaves."""

    __slots__ = (
        "body_bytes",
        "cut",
        "declared_bytes",
        "early",
        "gone",
        "now_s",
        "reading",
        "receive",
        "stall_s",
        "stalled",
        "stalls_s",
        "started_s",
        "stream",
        "task",
        "unread",
        "watchable",
        "watcher",
    )

    def __init__(self, receive: Receive, now_s: Callable[[], float]) -> None:
        self.receive = receive
        self.now_s = now_s
        self.started_s = now_s()
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.body_bytes = 0
        # Content-Length as sent; 0 where there is none (the server holds a body to what it declares).
        self.declared_bytes = 0
        self.gone = False
        # When the write that runs has taken too long, on the clock; what a write may take.
        self.stalls_s = _NEVER_S
        self.stall_s = _STALL_S
        self.stalled = False
        # Ended by the drain, not by a client that left.
        self.cut = False
        self.stream: ReplyStream | None = None
        # False while a body is being read: only one may wait for messages.
        self.watchable = True
        self.watcher: asyncio.Task[None] | None = None
        # A part of the body that came while we watched, kept for who reads it; who waits for one.
        self.early: list[MutableMapping[str, Any]] = []
        self.reading = False
        self.unread = False

    async def read_body(self, cap_bytes: int) -> bytes:
        """The whole body. Raises BODY_TOO_LARGE beyond the cap, BODY_TIMEOUT if it drips."""
        parts = [part async for part in self.read_parts(BodyLimits(cap_bytes=cap_bytes))]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read_parts(self, limits: BodyLimits) -> AsyncGenerator[bytes, None]:
        """The body as it comes; raises as `read_body` does.

        Only the time that we wait for the client counts, not what the reader does between parts;
        meanwhile the connection is watched, with one part kept at most.
        """
        cap_bytes = limits.cap_bytes
        if self.declared_bytes > cap_bytes:
            self.unread = True
            raise _too_large(cap_bytes)
        # Until the end is read; whoever stops before leaves octets that are no next request.
        self.unread = True
        left_s = _BODY_BASE_S + cap_bytes / _BODY_BYTES_PER_S
        window_s, window_bytes = 0.0, 0
        while True:
            began_s = self.now_s()
            self.watchable = False
            # When the rate over the window falls below the least one, if nothing more comes.
            slow_s = max(_RATE_WINDOW_S, window_bytes / _RATE_BYTES_PER_S) - window_s
            try:
                async with asyncio.timeout(min(left_s, slow_s) if limits.paced else limits.idle_s):
                    part, more = await self._next_part(cap_bytes)
            except TimeoutError as error:
                raise ClientError("BODY_TIMEOUT", headers=_CLOSE) from error
            self.watchable = True
            self.unread = more
            if part:
                yield part
            if not more:
                return
            took_s = self.now_s() - began_s
            left_s -= took_s
            window_s, window_bytes = window_s + took_s, window_bytes + len(part)
            if window_s >= _RATE_WINDOW_S:
                window_s, window_bytes = 0.0, 0

    async def _next_part(self, cap_bytes: int) -> tuple[bytes, bool]:
        """One part, and whether more follow."""
        message = await self._next_message()
        if message["type"] == "http.disconnect":
            self.leave()
            # The cancellation of the request's task ends this wait, here or by way of who reads.
            await asyncio.get_running_loop().create_future()
        part: bytes = message.get("body", b"")
        self.body_bytes += len(part)
        if self.body_bytes > cap_bytes:
            self.unread = True
            raise _too_large(cap_bytes)
        return part, bool(message.get("more_body"))

    async def _next_message(self) -> MutableMapping[str, Any]:
        watcher = self.watcher
        if watcher is not None:
            # It waits for the next message already; to give that up could lose what it brings.
            self.reading = True
            await asyncio.wait([watcher])
            self.reading = False
            self.watcher = None
        if self.early:
            return self.early.pop(0)
        return await self.receive()

    def watch(self) -> None:
        self.watcher = asyncio.get_running_loop().create_task(self._wait_for_leave())

    async def _wait_for_leave(self) -> None:
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self.leave()
                if self.reading:
                    self.early.append(message)
                return
            self.early.append(message)
            if self.reading or message.get("more_body"):
                return

    def stall(self) -> None:
        self.stalls_s = _NEVER_S
        if not self.gone:
            self.stalled = True
            self.leave()

    def leave(self) -> None:
        if not self.gone:
            self.gone = True
            self.task.cancel()

    def _stop_watching(self) -> None:
        if self.watcher is not None:
            self.watcher.cancel()
            self.watcher = None

    def close(self) -> None:
        self._stop_watching()


def _too_large(cap_bytes: int) -> ClientError:
    return ClientError(
        "BODY_TOO_LARGE",
        f"The request body is larger than {cap_bytes} bytes.",
        metadata={"limit": str(cap_bytes)},
    )


def _judge_field(name: bytes, value: bytes) -> None:
    """Fields that we understand in one form only."""
    if b"_" in name:
        raise _bad_header(name, "has an underscore in its name")
    if name == b"transfer-encoding" and value.lower() != b"chunked":
        raise ClientError("TRANSFER_CODING", headers=_CLOSE)
    if name == b"content-encoding" and value.lower() != b"identity":
        raise ClientError(
            "UNSUPPORTED_MEDIA_TYPE",
            "This content coding is not supported.",
            headers=(*_PLAIN_BODIES, *_CLOSE),
        )
    if name == b"expect" and value.lower() != b"100-continue":
        raise ClientError("EXPECTATION", headers=_CLOSE)


def _bad_header(name: bytes, what: str) -> ClientError:
    shown = name.decode("latin-1")
    return ClientError(
        "INVALID_HEADER",
        f"The header {shown} {what}.",
        metadata={"header": shown},
        headers=_CLOSE,
    )
