"""A whole gateway in the test's own process: real sockets, the real service, one loop for all of it.

async with Talker() as talker, TalkGateway(tmp_path, talker, "stream: {idle: 100ms}") as gateway:
    ...                        # gateway.port; gateway.door; gateway.ends; gateway.events

For what only a look from inside can tell: tasks that are left, and what is said to whom in which turn.
"""

import asyncio
from pathlib import Path
from typing import Any, Self

import uvicorn
from uvicorn.server import ServerState

from bff.config.load import load
from bff.core.events import Event
from bff.core.exchange import Reply, Request
from bff.core.ports import SystemClock, system_random
from bff.fronts.address import AddressReader
from bff.fronts.door import Door, DoorSettings
from bff.fronts.exchange import Exchange
from bff.fronts.http1 import Http1Protocol, Http1Settings
from bff.fronts.websocket_protocol import SocketProtocol
from bff.ratelimit.memory_store import MemoryStore
from bff.snapshot.compiler import Compiler
from bff.snapshot.current import Current
from bff.snapshot.parts import Parts
from bff.snapshot.type_sources import read_sources
from bff.wire.channel import Channel
from bff.wire.grpcio import GrpcioChannel
from tests.support.config_files import write
from tests.support.proto_sets import compile_set
from tests.support.talker import TALK, Talker
from tests.support.tapped_channel import Tap, TappedChannel

__all__ = ["TalkGateway"]

_ROUTES = """
  - {rpc: Down, get: "/down", websocket: true}
  - {rpc: File, get: "/file"}
  - {rpc: Up, post: "/up", body: "*", websocket: true}
  - {rpc: Both, post: "/both", body: "*", websocket: true}
  - {rpc: Deaf, post: "/deaf", body: "*", websocket: true, transcoding: {bidi_http1: half_duplex}}
  - {rpc: Load, post: "/load/{topic}", body: file, transcoding: {body_formats: [json, multipart]}}
  - {rpc: Load, id: form, post: "/form/{topic}", body: "*", transcoding: {body_formats: [json, multipart]}}
  - {rpc: Pour, post: "/pour", body: "*", transcoding: {body_formats: [json, multipart]}}
  - {rpc: Idle, post: "/idle", body: file, transcoding: {body_formats: [json, multipart]}}
  - {rpc: Down, id: texts, get: "/texts", response_body: text}
"""
_SETS: list[bytes] = []


class TalkGateway:
    """One worker's worth of gateway. `service` is YAML of the service file, beside its routes.

    `ends` has status and reason of each request that is over, -1 for one without a reply. With a
    `tap` the way to the service is watched, or broken.
    """

    settings = Http1Settings(idle_s=30.0, connections=1000)
    date_line = b""

    def __init__(
        self,
        folder: Path,
        talker: Talker,
        service: str = "",
        *,
        ping_s: float = 20.0,
        tap: Tap | None = None,
    ) -> None:
        if not _SETS:
            _SETS.append(compile_set(TALK))
        (folder / "types.binpb").write_bytes(_SETS[0])
        files = {
            "gateway.yaml": "gateway: {name: talk, domain: talk.example}\n"
            "tiers: {guest: 30000/min}\n"
            "transcoding: {protocols: [grpc_web]}\n"
            f"descriptors: [{{set: {folder / 'types.binpb'}}}]\n"
            f'upstreams: {{talk: {{endpoints: ["{talker.address}"], retry: "off"}}}}\n',
            "talk.yaml": f"service: talk.v1.Talk\nupstream: talk\n{service}\nroutes:{_ROUTES}",
        }
        self._clock = SystemClock()
        self._document = load(write(folder, files))
        self._ping_s = ping_s
        self._tap = tap
        self.connections: set[Http1Protocol] = set()
        self.events: list[Event] = []
        self.ends: list[tuple[int, str]] = []
        self.now_s = self._clock.now_s
        self.port = 0
        self.door: Door
        self._config: uvicorn.Config
        self._state = ServerState()
        self._server: asyncio.Server
        self._current: Current
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._parts = Parts(
            clock=self._clock,
            random=system_random(),
            emit=self.events.append,
            connect=self._connect,
            make_store=lambda _settings: MemoryStore(clock=self._clock),
        )
        compiled = Compiler(self._parts).compile(self._document, read_sources(self._document))
        await self._parts.go_live(compiled.lease)
        self._current = Current(compiled.tools)
        self.door = Door(
            current=self._current,
            clock=self._clock,
            random=system_random(),
            settings=DoorSettings(addresses=AddressReader(trusted=()), flood=lambda _: True),
            finished=self._finished,
            active=lambda _: None,
        )
        self._config = uvicorn.Config(
            self._upgrade,
            interface="asgi3",
            proxy_headers=False,
            ws=SocketProtocol,
            ws_max_size=1024 * 1024,
            ws_ping_interval=self._ping_s,
            ws_ping_timeout=self._ping_s,
            ws_per_message_deflate=False,
            log_config=None,
            lifespan="off",
        )
        self._config.load()
        self._server = await loop.create_server(lambda: Http1Protocol(self, loop), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        for connection in list(self._state.connections):
            connection.transport.abort()
        await self._server.wait_closed()
        await self._current.close()
        await self._parts.close()

    def _connect(self, _settings: object, endpoint: Any) -> Channel:
        channel = GrpcioChannel(endpoint.address, tls=None, authority=None, clock=self._clock)
        return channel if self._tap is None else TappedChannel(channel, self._tap)

    def _finished(
        self,
        request: Request,
        reply: Reply | None,
        _bytes_in: int,
        _bytes_out: int,
        aborted: bool,
        _version: str,
    ) -> None:
        status = -1 if reply is None else reply.status
        self.ends.append((499 if aborted else status, request.reason))

    async def _upgrade(self, scope: Any, receive: Any, send: Any) -> None:
        await self.door.upgrade(scope, receive, send)

    # The site of its connections

    def refused(self, reason: str) -> None:
        """Nobody counts here."""

    def answer(self, exchange: Exchange) -> asyncio.Task[None]:
        """Begin to answer a request."""
        task = asyncio.get_running_loop().create_task(self.door.serve(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def upgraded(self, exchange: Exchange) -> asyncio.Protocol | None:
        """WebSocket, where a route takes it."""
        if exchange.headers.get(b"upgrade") is None or not self.door.takes_websocket(
            exchange.raw_path
        ):
            return None
        return SocketProtocol(config=self._config, server_state=self._state, app_state={})
