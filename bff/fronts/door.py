"""The door: in front of everything. Judges a request's outside, hands it to the line, writes the reply.

Nothing here knows a route. What the door decides: sizes, the canonical path, the client's address,
ids, the request's own deadline, the flood bucket; then it reads the body for whoever asks, watches
for a client that leaves, and writes.
"""

import asyncio
import re
from collections.abc import Callable

from msgspec import Struct

from bff.core.errors import ClientError, GatewayError, LimitedError
from bff.core.events import Noted
from bff.core.exchange import Reply, ReplyStream, Request, StreamCutError, Trailers
from bff.core.ports import Clock, Random
from bff.fronts.address import AddressReader
from bff.fronts.asgi import AsgiExchange, Receive, Scope, Send
from bff.fronts.canonical import canonical_path, check_query
from bff.fronts.caps import DoorCaps
from bff.fronts.coded_body import CodedBody
from bff.fronts.exchange import CLOSE, PART_BYTES, Exchange
from bff.fronts.header_rules import HARD_DEADLINE_S, Judged, judge_headers, missing_host
from bff.fronts.websocket import SocketExchange
from bff.pipeline.inbound import find_route
from bff.pipeline.respond import error_reply
from bff.pipeline.run import Find, handle
from bff.pipeline.sockets import find_socket
from bff.snapshot.current import Current
from bff.telemetry.traces import parse_traceparent
from bff.transcoding.route_trie import Found

__all__ = ["Door", "DoorSettings", "Finished"]

# request, reply (None: nothing was sent), octets of the body in and out, aborted, version served on
Finished = Callable[[Request, Reply | None, int, int, bool, str], None]

# A client that left is noticed by the first sweep after its request is this old; looking earlier
# would cost every fast request a task.
_SWEEP_S = 0.02
_SERVER = (b"server", b"bff")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,128}").fullmatch


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
        self._inflight: set[Exchange] = set()
        self._sweeping = False
        self._finishing = False
        self.draining = False

    @property
    def inflight(self) -> int:
        """Requests that have not got their last byte."""
        return len(self._inflight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request of an ASGI server."""
        await self.serve(AsgiExchange(scope, receive, send, self._now_s))

    async def upgrade(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one upgrade to WebSocket, and hold the session that follows."""
        await self.serve(SocketExchange(scope, receive, send, self._now_s), find_socket)

    def takes_websocket(self, raw_path: bytes) -> bool:
        """Whether a route of the live snapshot may be upgraded at this path."""
        sockets = self._current.live.sockets
        try:
            return isinstance(sockets.find("GET", canonical_path(raw_path)), Found)
        except ClientError:
            return False

    async def serve(self, exchange: Exchange, find: Find = find_route) -> None:
        """Answer one request, and tell of its end; runs in the task that `exchange.task` names."""
        request = self._admit(exchange)
        self._inflight.add(exchange)
        if not self._sweeping:
            self._start_sweeping()
        tools = self._current.lease()
        reply: Reply | None = None
        sent = 0
        aborted = True
        try:
            try:
                self._judge(request, exchange)
            except GatewayError as error:
                reply = error_reply(error, request, tools)
            else:
                reply = await handle(request, tools, find)
            sent = await self._write(request, reply, exchange)
            aborted = False
        except asyncio.CancelledError:
            if not exchange.gone:
                raise
            # Ours, from the sweep or the server: the client left, or takes nothing.
            exchange.task.uncancel()
            request.reason = "CLIENT_GONE"
            if exchange.cut and reply is None:
                # We leave, not the client: it learns so while it can still be told.
                reply = error_reply(
                    GatewayError("OVERLOADED", "The gateway leaves."), request, tools
                )
                sent = await self._write(request, reply, exchange)
                aborted = False
            if exchange.stalled:
                tools.emit(Noted("slow_reader", {"request_id": request.request_id}))
                exchange.abort()
        except StreamCutError:
            exchange.abort()
        finally:
            self._inflight.discard(exchange)
            exchange.close()
            self._current.release(tools)
            self._finished(request, reply, exchange.body_bytes, sent, aborted, tools.version)

    # What the request looks like from outside

    def _admit(self, exchange: Exchange) -> Request:
        """The Request with nothing judged yet; ids first, so that every refusal has one."""
        now_s = exchange.started_s
        # RFC 9562 UUIDv7, whose 32 digits are a W3C trace id as well: one making, two names.
        digits = f"{self._bits(140):035x}"
        variant = "89ab"[int(digits[0], 16) & 3]
        trace_id = f"{int(self._unix_s() * 1000):012x}7{digits[1:4]}{variant}{digits[4:19]}"
        return Request(
            exchange.method,
            exchange.query,
            exchange.headers,
            exchange.peer,
            exchange.scheme,
            exchange.protocol,
            trace_id,
            # Never all zeros (W3C Trace Context 3.2.2.4).
            digits[19:34] + "1",
            now_s,
            now_s + HARD_DEADLINE_S,
            exchange.read_body,
            exchange.read_parts,
        )

    def _judge(self, request: Request, exchange: Exchange) -> None:
        settings = self.settings
        caps = settings.caps
        if len(self._inflight) > caps.inflight:
            raise GatewayError("OVERLOADED", headers=CLOSE)
        path = exchange.raw_path
        if len(path) > caps.path_bytes or len(request.query) > caps.query_bytes:
            raise ClientError("TARGET_TOO_LONG", headers=CLOSE)
        # First of all that may be refused: the path tells in which protocol.
        request.path = canonical_path(path)
        headers = exchange.headers
        judged: Judged | None = headers.judged
        if judged is None or judged.caps is not caps:
            judged = headers.judged = judge_headers(headers, caps)
        request.host = judged.host
        if not judged.host and request.protocol != "1.0":
            raise missing_host()
        request.headers_bytes = judged.size_bytes
        request.announces_body = judged.announces_body
        exchange.declared_bytes = judged.declared_bytes
        if judged.coding is not None:
            body = CodedBody(exchange, judged.coding)
            request.read_body = body.read_body
            request.read_parts = body.read_parts
        if judged.hint_s is not None:
            request.deadline_s = min(request.deadline_s, request.started_s + judged.hint_s)
        if request.query:
            check_query(request.query)
        peer = request.address
        request.address = settings.addresses.read(peer, request.headers)
        if settings.addresses.is_trusted(peer):
            self._believe(request)
        if not settings.flood(request.address):
            raise LimitedError("RATE_LIMITED", retry_after_s=1)

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

    async def _write(self, request: Request, reply: Reply, exchange: Exchange) -> int:
        """Write the reply; returns the octets of its body. Large bodies go in parts, each under a stall limit."""
        if not request.reason:
            request.stage = "respond"
        headers = reply.headers
        fixed = reply.fixed
        headers.append((b"x-request-id", request.request_id.encode()))
        headers.append(_SERVER)
        if self.draining or exchange.unread:
            headers.append((b"connection", b"close"))
        if reply.trailers is not None:
            _place_trailers(reply, request, exchange)
        if reply.stream is not None:
            return await self._write_stream(reply, reply.stream, exchange)
        body = reply.body
        status = reply.status
        if reply.trailers is not None:
            return await self._write_trailed(reply, reply.trailers, exchange)
        if status != 204:
            headers.append((b"content-length", b"%d" % len(body)))
        if request.method == "HEAD":
            body = b""
        if len(body) <= PART_BYTES:
            await exchange.send_whole(status, headers, body, fixed)
            return len(body)
        await exchange.start(status, [*fixed.pairs, *headers])
        for start in range(0, len(body), PART_BYTES):
            more = start + PART_BYTES < len(body)
            await exchange.send_timed(body[start : start + PART_BYTES], more=more)
        return len(body)

    async def _write_trailed(self, reply: Reply, trailers: Trailers, exchange: Exchange) -> int:
        """A whole body in parts, since its length is not said, and fields behind it."""
        body = reply.body
        await exchange.start(reply.status, [*reply.fixed.pairs, *reply.headers])
        for start in range(0, len(body), PART_BYTES):
            await exchange.send_timed(body[start : start + PART_BYTES], more=True)
        await exchange.send_trailers(trailers.fields)
        return len(body)

    async def _write_stream(self, reply: Reply, parts: ReplyStream, exchange: Exchange) -> int:
        """Each part is handed to the server before the next is made, so at most one waits here."""
        written = 0
        size = exchange.part_bytes
        exchange.stream = parts
        exchange.stall_s = parts.write_timeout_s
        if self._finishing:
            parts.finish()
        try:
            await exchange.start(reply.status, [*reply.fixed.pairs, *reply.headers])
            async for part in parts:
                # An empty part flushes the header fields.
                for start in range(0, len(part) or 1, size):
                    await exchange.send_timed(part[start : start + size], more=True)
                written += len(part)
            if reply.trailers is None:
                await exchange.send_timed(b"", more=False)
            else:
                await exchange.send_trailers(reply.trailers.fields)
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
            elif exchange.watchable and not exchange.watched and exchange.started_s <= oldest_s:
                exchange.watch()
        asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def cancel_all(self) -> int:
        """End every request that is still running (the last step of a drain); how many there were."""
        running = list(self._inflight)
        for exchange in running:
            exchange.cut = True
            exchange.leave()
        return len(running)


def _place_trailers(reply: Reply, request: Request, exchange: Exchange) -> None:
    """Announce the fields behind the body, or put them before it where nothing can come behind."""
    trailers = reply.trailers
    assert trailers is not None
    # HEAD and 204 have no body to come behind.
    if exchange.takes_trailers and request.method != "HEAD" and reply.status != 204:
        reply.headers.append((b"trailer", trailers.names))
    else:
        reply.headers += trailers.fields
        reply.trailers = None
