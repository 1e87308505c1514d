"""Asking running services for their types again and again, beside the traffic of a node.

A service that fails is asked sooner, after a growing pause, and what is served of it goes on. New
types are not judged here: they are kept where the next check finds them, and `reload` is called.
"""

import asyncio
import contextlib
import traceback
from collections.abc import Awaitable, Callable, Sequence

from bff.control.held_types import HeldTypes, Refreshed
from bff.core.ports import Clock, Random
from bff.core.problems import Problem
from bff.telemetry.logs import EventLog
from bff.telemetry.metrics import Metrics

__all__ = ["TypeRefresh", "pause_s"]

# The pause after a first failure; it doubles up to `every`.
_FIRST_PAUSE_S = 1.0
_MOST_DOUBLINGS = 10
# Nodes that started together drift apart.
_JITTER = (0.85, 1.15)
_SHOWN_PROBLEMS = 20
_PARALLEL = 3


def pause_s(failures: int, every_s: float) -> float:
    """How long a service that failed once more is left alone, after so many failures before it."""
    return min(every_s, _FIRST_PAUSE_S * 2.0 ** min(failures, _MOST_DOUBLINGS))


class TypeRefresh:
    """When which service is asked, and what is told of it. Belongs to the node's loop."""

    def __init__(
        self, held: HeldTypes, *, log: EventLog, metrics: Metrics, clock: Clock, random: Random
    ) -> None:
        self._held = held
        self._log = log
        self._metrics = metrics
        self._now_s = clock.now_s
        self._random = random
        self._due_s: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._plan_changed = asyncio.Event()
        # Services that hang must not take every thread from those who judge a change.
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._told_refused: tuple[str, ...] = ()
        self._told_stale: set[str] = set()
        self._tell_stale()

    def end(self) -> None:
        """End fetches under way: the node leaves."""
        self._held.end()

    def details(self) -> list[str]:
        """What readiness says of types that may be behind their services, or are not there."""
        absent = self._held.absent()
        return [
            f"descriptors: {'absent' if origin in absent else 'stale'} ({origin}: {why})"
            for origin, why in self._held.stale().items()
        ]

    def follow_plan(self) -> None:
        """A version went live: its sources are those to ask."""
        self._plan_changed.set()
        self._tell_stale()

    def tell_refused(self, problems: Sequence[Problem], live: str) -> None:
        """New types did not fit the mappings, or do now (no problems). The same is told once."""
        texts = tuple(str(problem) for problem in problems[:_SHOWN_PROBLEMS])
        if texts != self._told_refused and texts:
            self._metrics.counter("bff_config_refused_total", "descriptors").add()
            for text in texts:
                self._log.note("descriptors_refused", problem=text, live=live)
        self._told_refused = texts
        self._tell_stale()

    async def run(self, reload: Callable[[], Awaitable[None]]) -> None:
        """Ask each service when it is due, for as long as the node runs."""
        while True:
            self._plan()
            await self._wait()
            now_s = self._now_s()
            due = [key for key, at_s in self._due_s.items() if at_s <= now_s]
            results = await asyncio.gather(*(self._refresh(key) for key in due))
            self._tell_stale()
            if "changed" in results:
                await reload()

    def _plan(self) -> None:
        """A due time for each source of the version that is served, and for no other."""
        self._plan_changed.clear()
        plan = self._held.plan()
        for key in self._due_s.keys() - plan.keys():
            del self._due_s[key]
            self._failures.pop(key, None)
        failing = self._held.failing()
        for key, every_s in plan.items():
            if key not in self._due_s:
                wait_s = pause_s(0, every_s) if key in failing else every_s
                self._due_s[key] = self._now_s() + self._spread(wait_s)

    async def _wait(self) -> None:
        """Until a source is due or the plan is another."""
        next_s = min(self._due_s.values(), default=None)
        wait_s = None if next_s is None else max(0.0, next_s - self._now_s())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._plan_changed.wait()

    async def _refresh(self, key: str) -> str:
        every_s = self._held.plan().get(key, _FIRST_PAUSE_S)
        try:
            async with self._slots:
                found = await asyncio.to_thread(self._held.refresh, key)
        except Exception as error:
            # A supervisor's broad except: a bug in the reading of types must not end a node that serves.
            trace = "".join(traceback.format_exception(error)[-6:])
            self._log.note("bug", stage="refresh", trace=trace)
            found = Refreshed(origin=key, result="failed", why=repr(error), is_news=False)
        self._tell(found)
        if found.result == "failed":
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            wait_s = pause_s(failures, every_s)
        else:
            self._failures.pop(key, None)
            wait_s = every_s
        self._due_s[key] = self._now_s() + self._spread(wait_s)
        return found.result

    def _tell(self, found: Refreshed) -> None:
        self._metrics.counter("bff_descriptor_refreshes_total", found.origin, found.result).add()
        if not found.is_news:
            return
        if found.result == "failed":
            self._log.note("descriptors_refresh_failed", source=found.origin, why=found.why)
        else:
            self._log.note("descriptors_refreshed", source=found.origin, result=found.result)

    def _tell_stale(self) -> None:
        stale = set(self._held.stale())
        for origin in self._told_stale | stale | set(self._held.sources):
            self._metrics.gauge("bff_descriptors_stale", origin).set(int(origin in stale))
        self._told_stale = stale

    def _spread(self, wait_s: float) -> float:
        return wait_s * self._random.uniform(*_JITTER)
