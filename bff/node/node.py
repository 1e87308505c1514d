"""What a node knows over all its workers, and how a change of files or types reaches them."""

import asyncio
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from bff.control.accepted import take_back, write_accepted
from bff.control.held_types import HeldTypes
from bff.control.type_refresh import TypeRefresh
from bff.control.worker_links import WorkerLinks
from bff.core.ports import SystemClock, system_random
from bff.core.problems import Problem, Where
from bff.fronts.listener_settings import ListenerSettings
from bff.fronts.node_view import NodeView
from bff.snapshot.moved_switches import Texts, moved_switches
from bff.snapshot.route_difference import RouteDifference, compare_routes
from bff.snapshot.type_sources import Sources
from bff.telemetry.exposition import CONTENT_TYPE, NodeTotals
from bff.telemetry.logs import EventLog
from bff.telemetry.metric_table import Sample, read_file
from bff.telemetry.metrics import Metrics
from bff.transcoding.plain_json import IS_COMPILED

__all__ = ["Checked", "Node", "NodeSettings"]

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
        self.links = WorkerLinks(told=self._note_started, gone=self._forget, log=log)
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
        ready = self.links.ready
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
                for worker in self.links.workers
            ),
            details=tuple(details),
        )

    def _note_started(self) -> None:
        if len(self.links.ready) >= self._settings.listener.workers and not self._started:
            self._started = True
            if not IS_COMPILED:
                self._log.note("translation_not_compiled", costs="CPU alone")
        self._changed.set()

    def _forget(self, pid: int) -> None:
        # Counters must not fall when a worker is replaced, so its last numbers stay.
        self._totals.retire(self._samples_of(pid))
        self._metrics_folder.joinpath(str(pid)).unlink(missing_ok=True)
        self._changed.set()
        if not self._draining:
            self._metrics.counter("bff_worker_restarts_total", "gone").add()
            self._log.note("worker_gone", pid=pid)

    async def wait_started(self) -> None:
        """Until every worker has said that it is ready."""
        while not self._started:
            self._changed.clear()
            await self._changed.wait()

    async def metrics(self) -> tuple[bytes, str]:
        """Prometheus text over all workers. Their tables are read where they lie, busy or not."""
        samples = [self._samples_of(worker.pid) for worker in self.links.workers]
        samples.append(self._metrics.samples())
        return self._totals.render(samples), CONTENT_TYPE.decode()

    def _samples_of(self, pid: int) -> list[Sample]:
        try:
            return read_file(self._metrics_folder / str(pid))
        except (OSError, ValueError):
            # Not there yet, or torn by a crash: nothing was counted that could be shown.
            return []

    async def reload(self, *, asked: bool = False) -> None:
        """Files or types changed: judge them, and only if they are sound tell the workers to swap.

        Who `asked` gets an answer in any case.
        """
        async with self._reloading:
            await self._reload(asked=asked)

    async def _reload(self, *, asked: bool) -> None:
        checked = await self._judge()
        if checked.problems:
            self._refuse("check", tuple(str(problem) for problem in checked.problems))
            return
        mended = bool(self._refused)
        self._refused = ()
        self.types.tell_refused(checked.refused, self._version)
        if checked.needs_restart != self._needs_restart:
            self._needs_restart = checked.needs_restart
            if checked.needs_restart:
                self._log.note("restart_needed", keys=", ".join(checked.needs_restart))
            else:
                self._log.note("restart_not_needed")
        if checked.version == self._version:
            if asked or mended:
                self._log.note("config_unchanged", version=self._version)
            return
        try:
            # First, so that a worker that starts meanwhile has the same as those that swap.
            await asyncio.to_thread(write_accepted, self._accepted, checked.content)
        except OSError as error:
            self._refuse("store", (f"{self._accepted} cannot be written: {error.strerror}",))
            return
        answers = await self.links.reload()
        applied = sum(answer.ok for answer in answers)
        if answers and not applied:
            # Only a worker can find some faults, such as a secret that cannot be read.
            await asyncio.to_thread(take_back, self._accepted)
            self._refuse("workers", answers[0].problems)
            return
        self._version = checked.version
        self._log.note("config_applied", version=checked.version, workers=applied, of=len(answers))
        await self._follow(checked)

    def _refuse(self, stage: str, problems: tuple[str, ...]) -> None:
        self._metrics.counter("bff_config_refused_total", stage).add()
        self._refused = problems[:20]
        for text in problems:
            self._log.note("config_refused", problem=text, live=self._version)

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

    async def drain(self) -> None:
        """Unready first; clients are asked to leave; then the listener is told to stop."""
        self._draining = True
        self._log.note(
            "drain_begun", grace_s=self.grace_s, finish_s=self._settings.listener.finish_s
        )
        await self.links.drain()

    @property
    def grace_s(self) -> float:
        """How long balancers get to notice."""
        return self._settings.grace_s


def _told(difference: RouteDifference) -> dict[str, str | int]:
    """How many routes of each kind, and their names; a log line cuts them where they are too long."""
    fields: dict[str, str | int] = {}
    for kind in ("added", "removed", "changed"):
        names = getattr(difference, kind)
        fields |= {kind: len(names), f"{kind}_routes": ", ".join(names)}
    return fields
