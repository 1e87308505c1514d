"""Buckets in Redis or Valkey, shared by all nodes: micro-batched, short of patience, never in the way.

Requests wait for an answer 5 ms at most and are decided locally then. The connections belong to the
lanes below: cancelling a request drops its wait and never touches a connection.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from bff.core.events import Emit, Noted
from bff.core.ports import Clock, Random
from bff.ratelimit.bucket import Check, Verdict
from bff.ratelimit.deny_cache import DenyCache
from bff.ratelimit.memory_store import MemoryStore
from bff.ratelimit.redis_link import LINK_ERRORS, RedisLink
from bff.ratelimit.store_guard import StoreGuard

__all__ = ["RedisStore"]

LANES = 2
MOST_PER_CALL = 64
MOST_QUEUED = 1_024
# A call that took longer than this will not come back in time for anyone; its connection goes.
DROP_AFTER_S = 0.020
CONNECT_TIMEOUT_S = 0.1
# A timer that fires later than this was held up by our own loop; the answer may be there unread.
LAG_S = 0.001


class _Asked:
    """One request that waits for the store."""

    __slots__ = ("answer", "checks", "due_s")

    def __init__(
        self, checks: Sequence[Check], answer: "asyncio.Future[Verdict]", due_s: float
    ) -> None:
        self.checks = checks
        self.answer = answer
        self.due_s = due_s


class _Lane:
    """A connection and the call that is under way on it."""

    __slots__ = ("limit", "link", "since_s")

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.limit: asyncio.Timeout | None = None
        self.since_s = 0.0


class RedisStore:
    """A RemoteStore. `timeout_s` is how long a request waits; `on_store_loss` of its checks says what then.

    Call `start` on the event loop before use and `close` at the end. Raises ValueError for a bad url.
    """

    def __init__(
        self,
        *,
        url: str,
        clock: Clock,
        random: Random,
        emit: Emit,
        user: str | None = None,
        password: str | None = None,
        timeout_s: float = 0.005,
        fallback: MemoryStore | None = None,
    ) -> None:
        self._emit = emit
        self._timeout_s = timeout_s
        self._now_s = clock.now_s
        self._fallback = fallback or MemoryStore(clock=clock)
        self._denied = DenyCache(clock=clock)
        self._guard = StoreGuard(random)
        self._lanes = [
            _Lane(
                RedisLink(
                    url=url, user=user, password=password, connect_timeout_s=CONNECT_TIMEOUT_S
                )
            )
            for _ in range(LANES)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._queue: deque[_Asked] = deque()
        # In order of their ends, since all wait equally long.
        self._waiting: deque[_Asked] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0
        self._is_lag_excused = False
        self._closed_again = asyncio.Event()

    @property
    def is_degraded(self) -> bool:
        """True while the store is not asked, so that this worker decides alone."""
        return self._guard.is_open or not self._tasks

    async def start(self) -> None:
        """Connect, if the store answers; a store that does not is no reason not to start."""
        for lane in self._lanes:
            await self._connected(lane)
        self._tasks = [asyncio.create_task(self._run(lane)) for lane in self._lanes]

    async def close(self) -> None:
        """End the connections; whoever waits still is decided locally."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self._lanes:
            await lane.link.drop()
        if self._timer is not None:
            self._timer.cancel()
        self._give_up(self._waiting)
        self._queue.clear()

    def take(self, checks: Sequence[Check]) -> Verdict | None:
        """The verdict if it needs no round trip: a refusal still remembered, or the store is lost."""
        verdict = self._denied.verdict(checks)
        if verdict is None and self.is_degraded:
            return self._decide_locally(checks)
        return verdict

    def submit(self, checks: Sequence[Check]) -> "asyncio.Future[Verdict]":
        """Ask the store, together with all else that is asked in this turn of the loop."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Verdict] = loop.create_future()
        if self.is_degraded or len(self._queue) >= MOST_QUEUED:
            answer.set_result(self._decide_locally(checks))
            return answer
        asked = _Asked(checks, answer, loop.time() + self._timeout_s)
        self._queue.append(asked)
        self._waiting.append(asked)
        if self._idle:
            self._idle.pop().set_result(None)
        if self._timer is None:
            self._arm(asked.due_s)
        return answer

    # The lanes.

    async def _run(self, lane: _Lane) -> None:
        while True:
            if self._guard.is_open:
                await self._wait_until_closed(lane)
            elif not lane.link.is_connected:
                await self._connected(lane)
            elif self._queue:
                await self._call(lane)
            else:
                await self._wait_for_work()

    async def _wait_for_work(self) -> None:
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(wake)
        try:
            await wake
        finally:
            if wake in self._idle:
                self._idle.remove(wake)

    async def _connected(self, lane: _Lane) -> bool:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await lane.link.connect()
        except LINK_ERRORS as error:
            await self._failed(lane, error)
            return False
        return True

    async def _call(self, lane: _Lane) -> None:
        batch = self._next_batch()
        if not batch:
            return
        asked_us = self._denied.now_us()
        lane.since_s = asyncio.get_running_loop().time()
        try:
            # Ended by _tick, which knows how late our own loop is.
            async with asyncio.timeout(None) as lane.limit:
                decided = await lane.link.take([asked.checks for asked in batch])
        except LINK_ERRORS as error:
            lane.limit = None
            self._give_up(batch)
            await self._failed(lane, error)
            return
        finally:
            lane.limit = None
        for asked, (admitted, used_us) in zip(batch, decided, strict=True):
            if not admitted:
                self._denied.remember(asked.checks, used_us, asked_us)
            if not asked.answer.done():
                asked.answer.set_result(Verdict(admitted, used_us, "store"))

    def _next_batch(self) -> list[_Asked]:
        batch: list[_Asked] = []
        while self._queue and len(batch) < MOST_PER_CALL:
            asked = self._queue.popleft()
            # Left by its client, or decided meanwhile: no token may be taken for it any more.
            if not asked.answer.done():
                batch.append(asked)
        return batch

    # Trouble.

    async def _failed(self, lane: _Lane, error: BaseException) -> None:
        await lane.link.drop()
        if not self._guard.failed(self._now_s()):
            return
        self._closed_again.clear()
        self._emit(Noted("limiter_degraded", {"error": type(error).__name__}))
        self._give_up(self._waiting)
        # The other lane's sleepers must see it too.
        for wake in self._idle:
            wake.set_result(None)
        self._idle.clear()

    async def _wait_until_closed(self, lane: _Lane) -> None:
        """The first lane probes, after a pause; the others wait for its word."""
        if lane is not self._lanes[0]:
            await self._closed_again.wait()
            # Its connection is of the time before the loss.
            await lane.link.drop()
            return
        await asyncio.sleep(self._guard.pause_s())
        await lane.link.drop()
        if await self._connected(lane):
            self._guard.recovered()
            self._closed_again.set()
            self._emit(Noted("limiter_restored", {}))

    def _decide_locally(self, checks: Sequence[Check]) -> Verdict:
        if any(check.on_store_loss == "deny" for check in checks):
            return Verdict(False, (-1,) * len(checks), "local", unavailable=True)
        local = [check for check in checks if check.on_store_loss == "local"]
        verdict = self._fallback.take(local)
        used_us = iter(verdict.used_us)
        shown_us = [next(used_us) if check.on_store_loss == "local" else 0 for check in checks]
        return Verdict(verdict.admitted, shown_us, "local")

    def _give_up(self, waiting: "deque[_Asked] | list[_Asked]") -> None:
        for asked in waiting:
            if not asked.answer.done():
                asked.answer.set_result(self._decide_locally(asked.checks))

    # Time. One timer for all, since a timer per request would cost more than its check.

    def _arm(self, due_s: float) -> None:
        self._timer_due_s = due_s
        self._timer = asyncio.get_running_loop().call_at(due_s, self._tick)

    def _tick(self) -> None:
        now_s = asyncio.get_running_loop().time()
        late_s = now_s - self._timer_due_s
        if late_s > LAG_S and not self._is_lag_excused:
            # We were away ourselves. Answers that came meanwhile are read before the next tick.
            self._is_lag_excused = True
            self._arm(now_s + min(late_s, self._timeout_s))
            return
        self._is_lag_excused = False
        waiting = self._waiting
        while waiting and (waiting[0].answer.done() or waiting[0].due_s <= now_s):
            asked = waiting.popleft()
            if not asked.answer.done():
                asked.answer.set_result(self._decide_locally(asked.checks))
        next_s = waiting[0].due_s if waiting else None
        for lane in self._lanes:
            if lane.limit is None:
                continue
            drop_s = lane.since_s + DROP_AFTER_S
            if drop_s <= now_s:
                lane.limit.reschedule(now_s)
                lane.limit = None
            else:
                next_s = drop_s if next_s is None else min(next_s, drop_s)
        self._timer = None
        if next_s is not None:
            self._arm(next_s)
