"""The workers of the HTTP/1.1 listener: forked once everything is imported, replaced when one dies.

Each worker has a socket of its own on the same address (SO_REUSEPORT), one loop, and the app's lifespan
around it; uvicorn's Server owns start, signals and end.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial
from typing import Any

import uvicorn
import uvloop

from bff.core.ports import Clock, SystemClock
from bff.fronts.exchange import Exchange
from bff.fronts.http1 import Http1Protocol, Http1Settings
from bff.fronts.websocket_protocol import SocketProtocol

__all__ = ["Workers"]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
# A worker that ends sooner after its start than this has not served: a fault that will come again.
_QUICK_END_S = 5.0
_QUICK_ENDS = 3
_RESPAWN_WAIT_S = 0.5
_WS_MESSAGE_BYTES = 1024 * 1024
# What the kernel takes of a reply beyond what is on its way; more waits where it holds the service back.
_UNSENT_BYTES = 128 * 1024
# How often a silent WebSocket client is asked, and how long it may take to answer.
_WS_PING_S = 20.0
# What a worker gets beyond the time of its requests.
_KILL_AFTER_S = 2.0


class Workers:
    """`count` processes that serve `load()`'s app on one address. Blocks in `run` until SIGTERM."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        count: int,
        backlog: int,
        finish_s: float,
        settings: Http1Settings,
        tls: ssl.SSLContext | None,
        load: Callable[[], Any],
    ) -> None:
        self._address = (host, port)
        self._count = count
        self._backlog = backlog
        self._finish_s = finish_s
        self._settings = settings
        self._tls = tls
        self._load = load
        self._clock: Clock = SystemClock()
        # Process id -> when it began.
        self._began_s: dict[int, float] = {}
        self._quick_ends = 0

    def run(self) -> int:
        """Fork, watch, replace; on SIGTERM end them. Returns the exit code: 0, or 1 if workers cannot stay up."""
        # Waited for below, so that none can be missed between a look and a wait.
        watched = {signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        wanted = self._count
        for _ in range(wanted):
            self._fork()
        while True:
            match signal.sigwait(watched):
                case signal.SIGTERM:
                    return self._end(watched)
                case signal.SIGCHLD:
                    if self._bury() and self._quick_ends >= _QUICK_ENDS:
                        self._end(watched)
                        return 1
                    if len(self._began_s) < wanted:
                        # At once would burn a core where the fault comes back at once.
                        signal.setitimer(signal.ITIMER_REAL, _RESPAWN_WAIT_S)
                case _:
                    while len(self._began_s) < wanted:
                        self._fork()

    def _fork(self) -> None:
        pid = os.fork()
        if pid:
            self._began_s[pid] = self._clock.now_s()
            return
        code = 1
        try:
            code = self._work()
        except SystemExit:
            # uvicorn's, when the app did not start; the app has told why.
            code = 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
            raise
        finally:
            # Not `sys.exit`: what the parent would do at its end is not the child's to do.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _work(self) -> int:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM})
        listening = socket.socket(
            socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET, socket.SOCK_STREAM
        )
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Connections have it from here. Else the kernel keeps megabytes for a client that reads nothing.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        listening.bind(self._address)
        app = self._load()
        # uvicorn listens only after the app's lifespan has begun, and by then the node has said that
        # this worker is ready.
        app.before_ready = partial(listening.listen, self._backlog)
        server = _Server(
            app,
            settings=self._settings,
            backlog=self._backlog,
            finish_s=self._finish_s,
            tls=self._tls,
            clock=self._clock,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[listening]))
        return 0

    def _bury(self) -> bool:
        """Take in those that ended; True if there were any."""
        buried = False
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return buried
            if pid == 0:
                return buried
            buried = True
            began_s = self._began_s.pop(pid, None)
            if began_s is None:
                continue
            quick = self._clock.now_s() - began_s < _QUICK_END_S
            self._quick_ends = self._quick_ends + 1 if quick else 0

    def _end(self, watched: set[signal.Signals]) -> int:
        for pid in self._began_s:
            os.kill(pid, signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, self._finish_s + _KILL_AFTER_S)
        while self._began_s:
            if signal.sigwait(watched) == signal.SIGALRM:
                for pid in self._began_s:
                    os.kill(pid, signal.SIGKILL)
            self._bury()
        return 0


class _Server(uvicorn.Server):
    """uvicorn around our protocol: its own are not used. It is the `Site` of the worker's connections."""

    def __init__(
        self,
        app: Any,
        *,
        settings: Http1Settings,
        backlog: int,
        finish_s: float,
        tls: ssl.SSLContext | None,
        clock: Clock,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=self._connect,  # type: ignore[arg-type]  # whatever makes a protocol will do
                ws=SocketProtocol,
                ws_max_size=_WS_MESSAGE_BYTES,
                ws_ping_interval=_WS_PING_S,
                ws_ping_timeout=_WS_PING_S,
                ws_per_message_deflate=False,
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                backlog=backlog,
                timeout_graceful_shutdown=max(1, round(finish_s)),
            )
        )
        # It would tell of starts and ends in its own words; ours are in the event log.
        logging.getLogger("uvicorn.error").disabled = True
        # And this of every body that does not parse.
        logging.getLogger("python_multipart.multipart").disabled = True
        self.config.load()
        self.config.ssl = tls
        self._app = app
        self.settings = settings
        self.now_s = clock.now_s
        self._unix_s = clock.unix_s
        self.connections: set[Http1Protocol] = self.server_state.connections  # type: ignore[assignment]
        self.date_line = b""

    def _connect(self, **_given: Any) -> Http1Protocol:
        return Http1Protocol(self, asyncio.get_running_loop())

    def refused(self, reason: str) -> None:
        """As `Site.refused`."""
        self._app.refused(reason)

    def answer(self, exchange: Exchange) -> asyncio.Task[None]:
        """As `Site.answer`."""
        return asyncio.get_running_loop().create_task(self._app.door.serve(exchange))

    def upgraded(self, exchange: Exchange) -> asyncio.Protocol | None:
        """As `Site.upgraded`: WebSocket, where the app has a route for it."""
        upgrade = exchange.headers.get(b"upgrade") or b""
        if exchange.method != "GET" or upgrade.lower() != b"websocket":
            return None
        if not self._app.takes_websocket(exchange.raw_path):
            return None
        protocol: asyncio.Protocol = self.config.ws_protocol_class(  # type: ignore[call-arg, misc]
            config=self.config, server_state=self.server_state, app_state={}
        )
        return protocol

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM ends it in good order, once; the rest is the node's."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._leave)
        yield

    def _leave(self) -> None:
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; once a second the date and a look at each connection."""
        if counter % 10 == 0:
            self.date_line = f"date: {formatdate(self._unix_s(), usegmt=True)}\r\n".encode()
            now_s = self.now_s()
            for connection in list(self.connections):
                connection.sweep(now_s)
        return await super().on_tick(counter)
