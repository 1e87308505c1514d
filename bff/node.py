"""The node around its workers: health, metrics and admin over all of them, the watch on files, the drain.

This process serves no traffic, so it answers while every worker is busy. Its child is the listener,
whose children are the workers; each worker opens a link back here. When this process
ends, its children do.
"""

import asyncio
import contextlib
import signal
import socket
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

from msgspec import Struct

from bff.control.accepted import write_accepted
from bff.control.held_types import HeldTypes
from bff.control.link import Drain, Hello, Link, LinkClosed, Loaded, Reload, WorkerState
from bff.control.type_refresh import TypeRefresh
from bff.control.watch import watch_files
from bff.core.late_import import import_late
from bff.core.ports import SystemClock, system_random
from bff.core.problems import Problem, Where
from bff.fronts.listener_process import end_listener, listener_process
from bff.fronts.listener_settings import ListenerSettings
from bff.fronts.node_view import NodeView
from bff.snapshot.moved_switches import Texts, moved_switches
from bff.snapshot.route_difference import RouteDifference, compare_routes
from bff.snapshot.type_sources import Sources
from bff.telemetry.exposition import CONTENT_TYPE, NodeTotals
from bff.telemetry.line_writer import LineWriter
from bff.telemetry.logs import EventLog
from bff.telemetry.metrics import Metrics, Sample, read_file
from bff.transcoding.plain_json import IS_COMPILED

__all__ = ["Checked", "Node", "NodeSettings", "run_node"]

# The admin pages and what they need: loaded while the workers start.
_ADMIN = "bff.fronts.admin_server"
_RELOAD_TIMEOUT_S = 60.0
# Routes whose switches moved alike share a line; more kinds of move than these nobody reads.
_MOST_MOVES = 50


class NodeSettings(Struct, frozen=True, kw_only=True):
    """What a node needs to know; addresses as host and port (port 0 is chosen before this)."""

    listener: ListenerSettings
    admin_host: str
    admin_port: int
    grace_s: float
    version: str
    watched: tuple[Path, ...] = ()


class Checked(Struct, frozen=True, kw_only=True):
    """What the files on disk are worth: a version with its content, or problems.

    `routes` are fingerprints of the version's routes, `switches` what is in force on each.
    `needs_restart` are changes that only a restart takes over; `refused` says why new types of
    services are not in this version.
    """

    version: str = ""
    content: bytes = b""
    sources: Sources = Sources(sets=())
    routes: Mapping[str, str] = {}
    switches: Texts = {}
    refused: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    needs_restart: tuple[str, ...] = ()


class _Worker:
    """One worker as the node knows it."""

    def __init__(self, link: Link, pid: int) -> None:
        self.link = link
        self.pid = pid
        self.state = WorkerState(ready=False, version="", routes=0)
        self.answers: dict[int, asyncio.Future[Loaded]] = {}


class Node:
    """The running node. `check` judges the files on disk and says what is wrong with them.

    `held` are the types of running services, from which `check` takes them; `first` is what the
    node started with.
    """

    def __init__(
        self,
        settings: NodeSettings,
        *,
        check: Callable[[], Checked],
        held: HeldTypes,
        first: Checked,
        log: EventLog,
        metrics_folder: Path,
        accepted: Path,
    ) -> None:
        self._settings = settings
        self._check = check
        self._log = log
        self._metrics_folder = metrics_folder
        self._accepted = accepted
        self._totals = NodeTotals()
        self._workers: dict[int, _Worker] = {}
        self._asks = count(1)
        self._started = False
        self._draining = False
        self._version = settings.version
        self._refused: tuple[str, ...] = ()
        self._needs_restart: tuple[str, ...] = ()
        # What the node itself counts, beside its workers.
        self._metrics = Metrics()
        self._changed = asyncio.Event()
        # One change at a time, whoever saw it: the watch, a signal, or new types.
        self._reloading = asyncio.Lock()
        self._routes = first.routes
        self._switches = first.switches
        self._held = held
        self.types = TypeRefresh(
            held, log=log, metrics=self._metrics, clock=SystemClock(), random=system_random()
        )
        self.types.tell_refused(first.refused, self._version)

    def view(self) -> NodeView:
        """What health shows."""
        ready = [w for w in self._workers.values() if w.state.ready]
        wanted = self._settings.listener.workers
        reasons = []
        if self._draining:
            reasons.append("draining")
        if not ready:
            reasons.append("no worker is ready")
        details = [f"{len(ready)} of {wanted} workers are ready"] if len(ready) < wanted else []
        details += [
            f"worker {worker.pid} serves {worker.state.version}"
            for worker in ready
            if worker.state.version != self._version
        ]
        details += [f"{key} changed; a restart takes it over" for key in self._needs_restart]
        details += [f"last change refused: {text}" for text in self._refused]
        details += self.types.details()
        return NodeView(
            started=self._started,
            reasons=tuple(reasons),
            version=self._version,
            workers=tuple(
                {
                    "pid": worker.pid,
                    "ready": worker.state.ready,
                    "version": worker.state.version,
                    "routes": worker.state.routes,
                }
                for worker in self._workers.values()
            ),
            details=tuple(details),
        )

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one worker's link for as long as the worker lives."""
        link = Link(reader, writer)
        try:
            hello = await link.receive()
            if not isinstance(hello, Hello):
                return
            worker = _Worker(link, hello.pid)
            self._workers[hello.pid] = worker
            try:
                await self._listen(worker)
            finally:
                self._forget(worker)
        except LinkClosed:
            return
        finally:
            await link.close()

    async def _listen(self, worker: _Worker) -> None:
        while True:
            message = await worker.link.receive()
            match message:
                case WorkerState():
                    worker.state = message
                    self._note_started()
                case Loaded():
                    waiting = worker.answers.pop(message.ask, None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
                case _:
                    return

    def _note_started(self) -> None:
        ready = sum(worker.state.ready for worker in self._workers.values())
        if ready >= self._settings.listener.workers and not self._started:
            self._started = True
            if not IS_COMPILED:
                self._log.note("translation_not_compiled", costs="CPU alone")
        self._changed.set()

    def _forget(self, worker: _Worker) -> None:
        del self._workers[worker.pid]
        for waiting in worker.answers.values():
            waiting.cancel()
        # Counters must not fall when a worker is replaced, so its last numbers stay.
        self._totals.retire(self._samples_of(worker.pid))
        self._metrics_folder.joinpath(str(worker.pid)).unlink(missing_ok=True)
        self._changed.set()
        if not self._draining:
            self._metrics.counter("bff_worker_restarts_total", "gone").add()
            self._log.note("worker_gone", pid=worker.pid)

    async def wait_started(self) -> None:
        """Until every worker has said that it is ready."""
        while not self._started:
            self._changed.clear()
            await self._changed.wait()

    async def metrics(self) -> tuple[bytes, str]:
        """Prometheus text over all workers. Their tables are read where they lie, busy or not."""
        samples = [self._samples_of(pid) for pid in self._workers]
        samples.append(self._metrics.samples())
        return self._totals.render(samples), CONTENT_TYPE.decode()

    def _samples_of(self, pid: int) -> list[Sample]:
        try:
            return read_file(self._metrics_folder / str(pid))
        except (OSError, ValueError):
            # Not there yet, or torn by a crash: nothing was counted that could be shown.
            return []

    async def reload(self) -> None:
        """Files or types changed: judge them, and only if they are sound tell the workers to swap."""
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        checked = await self._judge()
        if checked.problems:
            self._metrics.counter("bff_config_refused_total", "check").add()
            self._refused = tuple(str(problem) for problem in checked.problems[:20])
            for problem in checked.problems:
                self._log.note("config_refused", problem=str(problem), live=self._version)
            return
        self._refused = ()
        self.types.tell_refused(checked.refused, self._version)
        if checked.needs_restart != self._needs_restart:
            self._needs_restart = checked.needs_restart
            self._log.note("restart_needed", keys=", ".join(checked.needs_restart))
        if checked.version == self._version:
            return
        before = await asyncio.to_thread(self._accepted.read_bytes)
        # First, so that a worker that starts meanwhile has the same as those that swap.
        await asyncio.to_thread(write_accepted, self._accepted, checked.content)
        answers = await asyncio.gather(
            *(self._reload_worker(worker) for worker in list(self._workers.values()))
        )
        applied = sum(answer.ok for answer in answers)
        if answers and not applied:
            # Only a worker can find some faults, such as a secret that cannot be read.
            await asyncio.to_thread(write_accepted, self._accepted, before)
            self._refused = answers[0].problems
            self._metrics.counter("bff_config_refused_total", "workers").add()
            for text in answers[0].problems:
                self._log.note("config_refused", problem=text, live=self._version)
            return
        self._version = checked.version
        self._log.note("config_applied", version=checked.version, workers=applied, of=len(answers))
        await self._follow(checked)

    async def _follow(self, checked: Checked) -> None:
        """What the node itself does once a version is live: tell the routes, keep the types."""
        difference = compare_routes(self._routes, checked.routes)
        self._routes = checked.routes
        if difference:
            self._log.note("routes_changed", version=checked.version, **_told(difference))
        moves = moved_switches(self._switches, checked.switches)
        self._switches = checked.switches
        for moved, routes in list(moves.items())[:_MOST_MOVES]:
            names = ", ".join(routes)
            self._log.note("switches_moved", version=checked.version, moved=moved, routes=names)
        why = await asyncio.to_thread(self._held.accept, checked.sources)
        if why:
            self._log.note("state_not_written", why=why)
        self.types.follow_plan()

    async def _judge(self) -> Checked:
        """What the check says; a fault of the check itself refuses the change and ends nothing."""
        try:
            return await asyncio.to_thread(self._check)
        except Exception as error:
            # A supervisor's broad except: a bug in the compiler must not end a node that serves.
            trace = "".join(traceback.format_exception(error)[-6:])
            self._log.note("bug", stage="check", trace=trace)
            text = f"fault of the gateway itself, not of the files: {error!r}"
            return Checked(problems=(Problem(Where("mappings"), text),))

    async def _reload_worker(self, worker: _Worker) -> Loaded:
        number = next(self._asks)
        waiting: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        worker.answers[number] = waiting
        try:
            async with asyncio.timeout(_RELOAD_TIMEOUT_S):
                await worker.link.send(Reload(number))
                answer = await waiting
        except (LinkClosed, TimeoutError):
            return Loaded(number, ok=False, version="", problems=("a worker did not answer",))
        finally:
            worker.answers.pop(number, None)
        if not answer.ok:
            problems = "; ".join(answer.problems)
            self._log.note("worker_refused_config", pid=worker.pid, problems=problems)
        return answer

    async def drain(self) -> None:
        """Unready first; clients are asked to leave; then the listener is told to stop."""
        self._draining = True
        for worker in list(self._workers.values()):
            with contextlib.suppress(LinkClosed):
                await worker.link.send(Drain())

    @property
    def grace_s(self) -> float:
        """How long balancers get to notice."""
        return self._settings.grace_s


def run_node(
    settings: NodeSettings,
    *,
    load_app: Callable[[str, str], object],
    check: Callable[[], Checked],
    held: HeldTypes,
    first: Checked,
    on_ready: Callable[[], None],
    accepted: Path,
) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code.

    `load_app` gets the link's socket path and the folder for tables of metrics; `accepted` is the
    file that workers load. For `check`, `held` and `first` see `Node`.

    The listener is forked before any loop, thread or channel exists here.
    """
    with tempfile.TemporaryDirectory(prefix="bff-node-") as folder:
        link_path = str(Path(folder) / "link")
        metrics_folder = Path(folder) / "metrics"
        metrics_folder.mkdir()
        listening = listener_process(
            settings.listener, partial(load_app, link_path, str(metrics_folder))
        )
        # The link must exist before the first worker wants it.
        link_socket = socket.socket(socket.AF_UNIX)
        link_socket.bind(link_path)
        link_socket.listen(128)
        listening.start()
        try:
            import_late(_ADMIN)
            make_node = partial(
                Node,
                settings,
                check=check,
                held=held,
                first=first,
                metrics_folder=metrics_folder,
                accepted=accepted,
            )
            return asyncio.run(_supervise(settings, link_socket, listening, make_node, on_ready))
        finally:
            end_listener(listening, settings.listener.finish_s)


async def _supervise(
    settings: NodeSettings,
    link_socket: socket.socket,
    listening: BaseProcess,
    make_node: Callable[..., Node],
    on_ready: Callable[[], None],
) -> int:
    lines = LineWriter(fd=2, count_dropped=lambda _reason, _lines: None)
    lines.start()
    log = EventLog(write=lines.write, clock=SystemClock())
    node = make_node(log=log)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # As for many servers: look at the files again. (A closed terminal says it too; that is harmless.)
    look_again = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, look_again.set)
    gone = asyncio.Event()
    loop.add_reader(listening.sentinel, gone.set)
    links = await asyncio.start_unix_server(node.accept, sock=link_socket)
    pages = import_late(_ADMIN)
    admin = pages.AdminServer(
        pages.admin_app(view=node.view, metrics=node.metrics),
        settings.admin_host,
        settings.admin_port,
    )
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(admin.serve())
        watching = tasks.create_task(_watch(node, settings.watched))
        hearing = tasks.create_task(_reload_on(look_again, node))
        refreshing = tasks.create_task(node.types.run(node.reload))
        code = await _until_end(node, stop, gone, listening, on_ready)
        watching.cancel()
        hearing.cancel()
        refreshing.cancel()
        # Its thread would be waited for.
        node.types.end()
        admin.should_exit = True
        await serving
    loop.remove_reader(listening.sentinel)
    links.close()
    if code:
        log.note("listener_ended", exit_code=listening.exitcode or 0)
    await lines.close()
    return code


async def _until_end(
    node: Node,
    stop: asyncio.Event,
    gone: asyncio.Event,
    listening: BaseProcess,
    on_ready: Callable[[], None],
) -> int:
    """Wait for start, then for the end, then drain. A second signal skips the grace."""
    started = asyncio.ensure_future(node.wait_started())
    stopping = asyncio.ensure_future(stop.wait())
    dying = asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait((started, stopping, dying), return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            on_ready()
            await asyncio.wait((stopping, dying), return_when=asyncio.FIRST_COMPLETED)
        if dying.done():
            return 70
        await node.drain()
        stop.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(node.grace_s):
                await stop.wait()
        listening.terminate()
        await gone.wait()
    finally:
        for task in (started, stopping, dying):
            task.cancel()
    return 0


async def _reload_on(asked: asyncio.Event, node: Node) -> None:
    while True:
        await asked.wait()
        asked.clear()
        await node.reload()


async def _watch(node: Node, watched: tuple[Path, ...]) -> None:
    if watched:
        async for _changes in watch_files(watched):
            await node.reload()


def _told(difference: RouteDifference) -> dict[str, str | int]:
    """How many routes of each kind, and their names; a log line cuts them where they are too long."""
    fields: dict[str, str | int] = {}
    for kind in ("added", "removed", "changed"):
        names = getattr(difference, kind)
        fields |= {kind: len(names), f"{kind}_routes": ", ".join(names)}
    return fields
