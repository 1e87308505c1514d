"""The composition root of one worker: builds every object, owns start, reload and the end.

The public app is FastAPI with the door in front of it: FastAPI carries the lifespan (and whatever an
embedder mounts), the door answers every request that FastAPI has no route for, without its router.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from fastapi import FastAPI
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from bff.config.documents import Document
from bff.config.secret_refs import SecretRef
from bff.control.accepted import read_accepted
from bff.control.link import Drain, Hello, Link, LinkClosed, Loaded, Reload, WorkerState
from bff.core.errors import ConfigError
from bff.core.events import AttemptEnded, Event, LimitDecided, LimitsPassed
from bff.core.exchange import Reply, Request
from bff.core.ports import SystemClock, system_random
from bff.fronts.address import AddressReader
from bff.fronts.caps import DoorCaps
from bff.fronts.door import Door, DoorSettings
from bff.fronts.pages import load_pages
from bff.ratelimit.address_buckets import AddressBuckets
from bff.ratelimit.bucket import Bucket
from bff.ratelimit.limiter import LocalStore, RemoteStore
from bff.ratelimit.memory_store import MemoryStore
from bff.ratelimit.redis_opening import OpenedStore, redis_store
from bff.ratelimit.shared_store import SharedStore
from bff.snapshot.compiler import Compiled, Compiler
from bff.snapshot.current import Current
from bff.snapshot.parts import Parts
from bff.snapshot.stores import StoreSettings
from bff.telemetry.access_log import AccessLog
from bff.telemetry.line_writer import LineWriter
from bff.telemetry.logs import EventLog
from bff.telemetry.metrics import Metrics
from bff.transcoding.type_sets import KnownTypes
from bff.upstream.upstream import Endpoint, UpstreamSettings
from bff.wire.channel import Channel
from bff.wire.grpcio import GrpcioChannel
from bff.wire.http2.headers import BlockMemo
from bff.wire.http2.lane import LaneChannel
from bff.wire.split import SplitChannel

__all__ = ["Gateway", "WorkerSettings", "worker_app"]

_PR_SET_PDEATHSIG = 1
# New containers, less those that are gone again, between two looks of the collector.
_GC_ALLOCATIONS = 20_000
# What the last frames of streams get to be written, of the time that a drain takes.
_LAST_FRAME_S = 1.0
# What the log lines of requests that a drain cuts off get to be written.
_LAST_LINES_S = 0.3
_COUNTED_ONLY = frozenset({AttemptEnded, LimitDecided, LimitsPassed})
_MISSES = frozenset({"NO_ROUTE", "METHOD_NOT_ALLOWED"})


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """What a worker is told at its start.

    `accepted` is the file of the accepted version, `shared_buckets` the node's table (empty for one
    worker).
    """

    accepted: str
    link: str
    shared_buckets: str = ""
    metrics_folder: str = ""
    user_hash_key: bytes = b""


class Gateway(FastAPI):
    """FastAPI with the door in front. `worker` is made when the lifespan starts, on the worker's loop."""

    def __init__(self, settings: WorkerSettings, types: KnownTypes) -> None:
        super().__init__(
            title="bff", docs_url=None, redoc_url=None, openapi_url=None, lifespan=self._live
        )
        self._settings = settings
        self._types = types
        self._door: Door | None = None
        # Counts a connection that no request came from, by reason; set while the lifespan runs.
        self.refused: Callable[[str], None] = _ignore
        # Done before the node hears that this worker is ready: from then on clients may come.
        self.before_ready: Callable[[], None] | None = None
        # Awaited before that where the server listens by itself, and only once the lifespan has begun.
        self.until_listening: Callable[[], Awaitable[None]] | None = None

    @contextlib.asynccontextmanager
    async def _live(self, _app: FastAPI) -> AsyncIterator[None]:
        async with _Worker(
            self._settings, self._types, self.before_ready, self.until_listening
        ) as worker:
            self._door = worker.door
            self.refused = worker.count_refused
            yield

    @property
    def door(self) -> Door:
        """For servers that hand it requests without ASGI between; there while the lifespan runs."""
        assert self._door is not None
        return self._door

    def takes_websocket(self, raw_path: bytes) -> bool:
        """Whether an upgrade to WebSocket at this path is for the app; else it is ignored (RFC 9110 7.8)."""
        return self.door.takes_websocket(raw_path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand requests to the door; everything else (and mounted routes) to FastAPI."""
        door = self._door
        if door is not None and scope["type"] != "lifespan" and not self._is_mounted(scope):
            answer = door if scope["type"] == "http" else door.upgrade
            await answer(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    def _is_mounted(self, scope: Scope) -> bool:
        routes = self.router.routes
        return bool(routes) and any(
            scope["path"].startswith(getattr(route, "path", "\0")) for route in routes
        )


class _Worker:
    """One worker's objects, opened in order and closed in reverse."""

    def __init__(
        self,
        settings: WorkerSettings,
        types: KnownTypes,
        before_ready: Callable[[], None] | None,
        until_listening: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._settings = settings
        self._before_ready = before_ready
        self._until_listening = until_listening
        self._clock = SystemClock()
        self._random = system_random()
        self._metrics, self._metrics_lost = _metrics_in(settings.metrics_folder)
        self._lines = LineWriter(fd=1, count_dropped=self._count_dropped)
        self._event_lines = LineWriter(fd=2, count_dropped=self._count_dropped)
        self._events = EventLog(
            write=self._event_lines.write, clock=self._clock, worker=os.getpid()
        )
        self._exits = contextlib.AsyncExitStack()
        self._stores: list[OpenedStore] = []
        self._header_memo = BlockMemo()
        self._started_stores: set[int] = set()
        self._parts = Parts(
            clock=self._clock,
            random=self._random,
            emit=self._emit,
            connect=self._connect,
            make_store=self._make_store,
        )
        self._compiler = Compiler(self._parts, pages=load_pages, types=types)
        self._version = ""
        self._routes = 0
        self._told_version = ""
        self._flood: tuple[Bucket, AddressBuckets] | None = None
        self._link: Link | None = None
        self.door: Door
        self._current: Current

    async def __aenter__(self) -> Self:
        """Load, compile, open; raises ConfigError if the files are not sound."""
        try:
            return await self._open()
        except Exception as error:
            # The server ends a worker that cannot start without a word of why.
            trace = "".join(traceback.format_exception(error)[-6:])
            self._events.note("worker_not_started", why=str(error), trace=trace)
            await self._exits.aclose()
            raise

    async def _open(self) -> Self:
        settings = self._settings
        for lines in (self._event_lines, self._lines):
            lines.start()
            self._exits.push_async_callback(lines.close)
        if self._metrics_lost:
            self._events.note("metrics_not_shared", why=self._metrics_lost)
        document, compiled = await self._compile()
        self._current = Current(compiled.tools)
        self.door = Door(
            current=self._current,
            clock=self._clock,
            random=self._random,
            settings=self._door_settings(document),
            finished=self._finished,
            active=self._metrics.gauge("http_server_active_requests").set,
        )
        await self._go_live(document, compiled)
        del document, compiled
        _settle_garbage()
        if self._before_ready is not None:
            self._before_ready()
        if settings.link:
            await self._open_link(settings.link)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close in reverse order."""
        await self._exits.aclose()
        await self._current.close()
        await self._parts.close()
        for store in self._stores:
            await store.close()

    # What is built

    async def _compile(self) -> tuple[Document, Compiled]:
        accepted = await asyncio.to_thread(read_accepted, Path(self._settings.accepted))
        document = accepted.document
        compiled = self._compiler.compile(document, accepted.sources, openapi=accepted.openapi)
        return document, compiled

    async def _go_live(self, document: Document, compiled: Compiled) -> None:
        """Start what the version needs, then let everything that does not travel with a snapshot follow it."""
        await self._parts.go_live(compiled.lease)
        for store in self._stores:
            if id(store) not in self._started_stores:
                self._started_stores.add(id(store))
                await store.start()
        self.door.settings = self._door_settings(document)
        self._access_log = AccessLog(
            write=self._lines.write,
            clock=self._clock,
            random=self._random,
            worker=os.getpid(),
            user_id=document.gateway.value.telemetry.user_id,
            hash_key=self._settings.user_hash_key,
        )
        self._version = compiled.tools.version
        self._routes = len(compiled.routes)
        if self._told_version and self._told_version != self._version:
            self._metrics.gauge("bff_config_info", self._told_version, "").set(0)
        self._metrics.gauge("bff_config_info", self._version, "").set(1)
        self._told_version = self._version

    def _door_settings(self, document: Document) -> DoorSettings:
        gateway = document.gateway.value
        drain = gateway.gateway.drain
        self._drain_s = drain.grace + drain.finish
        caps = gateway.caps
        highest = max(tier.burst or tier.rate.count for tier in gateway.tiers.values())
        flood = gateway.limiter.per_address
        bucket = Bucket(flood.rate.count, flood.rate.period_s, max(flood.burst, highest))
        if self._flood is None or self._flood[0] != bucket:
            # An unchanged guard keeps its fill over a change of something else.
            self._flood = (bucket, AddressBuckets(bucket=bucket, clock=self._clock))
        return DoorSettings(
            addresses=AddressReader(trusted=gateway.gateway.trusted_proxies),
            flood=self._flood[1].allow,
            caps=DoorCaps(
                path_bytes=caps.path,
                query_bytes=caps.query,
                headers_bytes=caps.headers,
                header_fields=caps.header_fields,
                header_value_bytes=caps.header_value,
                inflight=caps.inflight,
            ),
        )

    def _connect(self, settings: UpstreamSettings, endpoint: Endpoint) -> Channel:
        def grpcio() -> Channel:
            return GrpcioChannel(
                endpoint.address, tls=settings.tls, authority=settings.authority, clock=self._clock
            )

        if settings.transport == "grpcio":
            return grpcio()
        lane = LaneChannel(
            endpoint.address,
            tls=settings.tls,
            authority=settings.authority,
            clock=self._clock,
            random=self._random,
            emit=self._emit,
            settings=settings.lane,
            memo=self._header_memo,
        )
        return SplitChannel(lane, grpcio)

    def _make_store(self, settings: object) -> LocalStore | RemoteStore:
        assert isinstance(settings, StoreSettings)
        table: MemoryStore | SharedStore = MemoryStore(clock=self._clock)
        if self._settings.shared_buckets:
            table = SharedStore(
                path=Path(self._settings.shared_buckets), clock=self._clock, emit=self._emit
            )
        if not settings.url:
            return table
        store = redis_store(
            url=settings.url,
            user=settings.user or None,
            password=SecretRef(settings.password_ref).resolve() if settings.password_ref else None,
            timeout_s=settings.timeout_s,
            clock=self._clock,
            random=self._random,
            emit=self._emit,
            # While the store is lost the workers of a node decide together, as without a store.
            fallback=table,
        )
        self._stores.append(store)
        return store

    # What is heard

    def _emit(self, event: Event) -> None:
        self._metrics.emit(event)
        # Some come with every request; they are counted and never told one by one.
        if type(event) not in _COUNTED_ONLY:
            self._events.emit(event)

    def _count_dropped(self, reason: str, lines: int) -> None:
        self._metrics.counter("bff_telemetry_dropped_total", "log", reason).add(lines)

    def _finished(
        self,
        request: Request,
        reply: Reply | None,
        bytes_in: int,
        bytes_out: int,
        aborted: bool,
        version: str,
    ) -> None:
        """Count and log one request; called after its last byte."""
        status = 499 if reply is None or aborted else reply.status
        reason = request.reason
        template = request.template
        self._metrics.request_ended(
            request.method,
            template,
            status,
            reason if status >= 500 else "",
            self._clock.now_s() - request.started_s,
        )
        if reason:
            self._count_refusal(request, reason)
        share = request.log_share
        self._access_log.log(
            request,
            status=status,
            route_id=request.route_id or None,
            path_template=template or None,
            upstream=request.upstream or None,
            version=version,
            stage=request.stage if reason else None,
            reason=reason or None,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            aborted=aborted,
            partial=request.partial,
            graphql_operation=request.graphql_operation or None,
            share=share,
        )

    def _count_refusal(self, request: Request, reason: str) -> None:
        if reason in _MISSES:
            self._metrics.counter("bff_route_misses_total", reason).add()
        self._metrics.counter("bff_refused_total", request.template, request.stage, reason).add()

    def count_refused(self, reason: str) -> None:
        """Count a connection that was ended before there was a request."""
        self._metrics.counter("bff_connections_refused_total", reason).add()

    # The node

    async def _open_link(self, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        self._link = Link(reader, writer)
        self._exits.push_async_callback(self._link.close)
        await self._link.send(Hello(os.getpid()))
        listening = asyncio.get_running_loop().create_task(self._listen(self._link))

        async def stop() -> None:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening

        self._exits.push_async_callback(stop)

    async def _tell_state(self) -> None:
        assert self._link is not None
        state = WorkerState(ready=True, version=self._version, routes=self._routes)
        await self._link.send(state)

    async def _listen(self, link: Link) -> None:
        """Say that this worker is ready, and answer the node until it is gone."""
        with contextlib.suppress(LinkClosed):
            if self._until_listening is not None:
                await self._until_listening()
            await self._tell_state()
            while True:
                match await link.receive():
                    case Reload(ask):
                        await link.send(await self._reload(ask))
                        await self._tell_state()
                    case Drain():
                        self._drain()
                    case other:
                        self._events.note("link_message_unexpected", kind=type(other).__name__)

    def _drain(self) -> None:
        """Ask clients to leave; streams that still run end in good order before they would be cut."""
        self.door.draining = True
        wait_s = max(0.0, self._drain_s - min(_LAST_FRAME_S, self._drain_s / 2))
        loop = asyncio.get_running_loop()
        loop.call_later(wait_s, self.door.finish_streams)
        # What still runs then is ended by us, with its log line, and not by a signal.
        loop.call_later(max(0.0, self._drain_s - _LAST_LINES_S), self.door.cancel_all)

    async def _reload(self, ask: int) -> Loaded:
        """Compile what the node has accepted and swap; a refusal leaves everything as it was."""
        try:
            document, compiled = await self._compile()
        except ConfigError as error:
            return await self._refuse(ask, tuple(str(p) for p in error.problems[:20]))
        except Exception as error:
            # A supervisor's broad except: a bug in the compiler must not end a worker that serves.
            trace = "".join(traceback.format_exception(error)[-6:])
            self._events.note("bug", stage="reload", trace=trace)
            return await self._refuse(ask, (f"fault of the gateway itself: {error!r}",))
        await self._go_live(document, compiled)
        old = self._current.swap(compiled.tools)
        has_new_types = old.codec is not compiled.tools.codec
        del document, compiled, old
        _settle_garbage(anew=has_new_types)
        return Loaded(ask, ok=True, version=self._version)

    async def _refuse(self, ask: int, problems: tuple[str, ...]) -> Loaded:
        await self._parts.close_unused()
        self._metrics.counter("bff_config_refused_total", "compile").add()
        return Loaded(ask, ok=False, version=self._version, problems=problems)


def _ignore(_reason: str) -> None:
    """What is heard before the lifespan began, by nobody."""


def _metrics_in(folder: str) -> tuple[Metrics, str]:
    """The table that the node reads too; where the disk has no room for it, one of the worker's own, and why."""
    if not folder:
        return Metrics(), ""
    try:
        return Metrics(path=Path(folder) / str(os.getpid())), ""
    except OSError as error:
        # Serving uncounted is better than to die once more each time that a worker is replaced.
        return Metrics(), error.strerror or str(error)


def _settle_garbage(*, anew: bool = False) -> None:
    """Keep the collector away from what lives as long as a version: tens of thousands of objects.

    A request's own objects end by their reference counts; the collector is only for circles, so it
    may come seldom (looking each 700 allocations cost 6 % of a request). The routes of an old version
    end by their counts too. Its types are circles: `anew` looks at all that was settled before.
    """
    if anew:
        # Not each time: it copies, in this process, the pages of modules that all workers share.
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS, 20, 50)


def worker_app(settings: WorkerSettings, types: KnownTypes | None = None) -> Any:
    """The ASGI app of one worker; called once in its process. `types` are those that the node knows."""
    # A worker whose listener died would serve on, unseen and unmanaged.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # A terminal that closes is the node's affair.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return Gateway(settings, types or KnownTypes())
