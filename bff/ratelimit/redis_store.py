"""Buckets in Redis or Valkey, shared by all nodes: micro-batched, short of patience, never in the way.

Hot keys are served from leases, without a wait. Other requests wait for an answer 5 ms at most and
are decided locally then. The connections belong to the lanes below: cancelling a request drops its
wait and never touches a connection.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from bff.core.events import Emit, Noted
from bff.core.ports import Clock, Random
from bff.ratelimit.bucket import Check, Verdict
from bff.ratelimit.deny_cache import DenyCache
from bff.ratelimit.fallback import Fallback
from bff.ratelimit.fleet import BEAT_S, Fleet
from bff.ratelimit.lease import WINDOW_S, Exchange, Leases
from bff.ratelimit.memory_store import MemoryStore
from bff.ratelimit.redis_link import LINK_ERRORS, RedisLink
from bff.ratelimit.shared_store import SharedStore
from bff.ratelimit.store_guard import StoreGuard

__all__ = ["RedisStore"]

LANES = 2
MOST_PER_CALL = 64
# Of those, for leases: they come after the requests in a call, and a queue of these must not keep
# them out for good.
MOST_EXCHANGES_PER_CALL = 16
MOST_QUEUED = 1_024
# A call that took longer than this will not come back in time for anyone; its connection goes.
DROP_AFTER_S = 0.020
CONNECT_TIMEOUT_S = 0.1
# A beat is waited for by nobody, so our own loop's lag may be in it.
BEAT_TIMEOUT_S = 0.25
# How long closing may take: the calls under way, then what is given back.
CLOSE_TIMEOUT_S = 0.1
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

    `fallback` holds the buckets while the store is lost: a table of this process by default, or the
    one that all workers of the node share. Call `start` on the event loop before use and `close` at
    the end. Raises ValueError for a bad url.
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
        fallback: MemoryStore | SharedStore | None = None,
    ) -> None:
        self._emit = emit
        self._timeout_s = timeout_s
        self._now_s = clock.now_s
        self._worker = f"{random.getrandbits(64):016x}"
        self._is_node_shared = isinstance(fallback, SharedStore)
        self._node = fallback.node if isinstance(fallback, SharedStore) else self._worker
        self._fallback = Fallback(fallback or MemoryStore(clock=clock))
        self._denied = DenyCache(clock=clock)
        self._guard = StoreGuard(random)
        self._fleet = Fleet(clock=clock)
        self._leases = Leases(clock=clock, sharers=self._fleet.sharers, ask=self._ask)
        self._take_leased = self._leases.take
        self._lanes = [
            _Lane(
                RedisLink(
                    url=url, user=user, password=password, connect_timeout_s=CONNECT_TIMEOUT_S
                )
            )
            for _ in range(LANES)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._pulse: asyncio.Task[None] | None = None
        self._is_closing = False
        self._is_beat_due = False
        self._queue: deque[_Asked] = deque()
        # At most one per lease is under way, so their number is bounded by that of the leases.
        self._exchanges: deque[Exchange] = deque()
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
        return self._guard.is_open or not self._tasks or self._is_closing

    async def start(self) -> None:
        """Connect, if the store answers; a store that does not is no reason not to start."""
        for lane in self._lanes:
            await self._connected(lane)
        if self._lanes[0].link.is_connected:
            await self._beat(self._lanes[0])
        self._tasks = [asyncio.create_task(self._run(lane)) for lane in self._lanes]
        self._pulse = asyncio.create_task(self._keep_time())

    async def close(self) -> None:
        """Give back what is leased and end the connections; whoever waits still is decided locally."""
        if self._pulse is not None:
            self._pulse.cancel()
        tasks = self._tasks
        if tasks:
            # Calls under way may still grant tokens, and what they grant is to be given back.
            self._is_closing = True
            self._wake_all()
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S)
        # On the others an answer is outstanding, so nothing more can be asked there.
        quiet = [lane.link for lane, task in zip(self._lanes, tasks, strict=False) if task.done()]
        self._tasks = []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._leave([link for link in quiet if link.is_connected])
        for lane in self._lanes:
            await lane.link.drop()
        if self._timer is not None:
            self._timer.cancel()
        self._give_up(self._waiting)
        self._queue.clear()

    def take(self, checks: Sequence[Check]) -> Verdict | None:
        """The verdict if it needs no round trip: leased, a refusal still remembered, or the store is lost."""
        verdict = self._take_leased(checks)
        if verdict is not None:
            return verdict
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
        self._leases.missed(checks)
        self._wake_one()
        if self._timer is None:
            self._arm(asked.due_s)
        return answer

    def _ask(self, exchange: Exchange) -> None:
        """Send an exchange of a lease with the next call."""
        if self.is_degraded:
            self._leases.failed(exchange)
            return
        self._exchanges.append(exchange)
        self._wake_one()

    # The lanes.

    async def _run(self, lane: _Lane) -> None:
        while not self._is_closing:
            if self._guard.is_open:
                await self._wait_until_closed(lane)
            elif not lane.link.is_connected:
                await self._connected(lane)
            elif self._queue or self._exchanges:
                await self._call(lane)
            elif self._is_beat_due:
                await self._beat(lane)
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

    def _wake_one(self) -> None:
        if self._idle:
            self._idle.pop().set_result(None)

    def _wake_all(self) -> None:
        while self._idle:
            self._idle.pop().set_result(None)

    async def _keep_time(self) -> None:
        """Dead leases go back each half second, and each two seconds we say that we live."""
        while True:
            for _ in range(round(BEAT_S / WINDOW_S)):
                await asyncio.sleep(WINDOW_S)
                self._leases.sweep()
            self._is_beat_due = True
            self._wake_one()

    async def _beat(self, lane: _Lane) -> None:
        self._is_beat_due = False
        asked_s = self._now_s()
        try:
            async with asyncio.timeout(BEAT_TIMEOUT_S):
                told = await lane.link.beat(worker=self._worker, node=self._node)
        except LINK_ERRORS as error:
            await self._failed(lane, error)
            return
        if told is not None:
            is_new, workers, nodes = told
            self._fleet.beaten(asked_s=asked_s, is_new=is_new, workers=workers, nodes=nodes)

    async def _leave(self, links: list[RedisLink]) -> None:
        """Give back all leases, and be counted no more, if the store is there."""
        given_back = [exchange for exchange in self._exchanges if exchange.tokens < 0]
        self._forget(self._exchanges)
        given_back += self._leases.drain()
        if not links:
            return
        link = links[0]
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for at in range(0, len(given_back), MOST_PER_CALL):
                    await link.take((), given_back[at : at + MOST_PER_CALL])
                await link.leave(worker=self._worker)
        except LINK_ERRORS:
            # The tokens come back with time, and the worker is forgotten after its silence.
            return

    async def _connected(self, lane: _Lane) -> bool:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await lane.link.connect()
        except LINK_ERRORS as error:
            await self._failed(lane, error)
            return False
        return True

    async def _call(self, lane: _Lane) -> None:
        batch, exchanges = self._next_batch()
        if not batch and not exchanges:
            return
        asked_us = self._denied.now_us()
        lane.since_s = asyncio.get_running_loop().time()
        if self._timer is None:
            self._arm(lane.since_s + DROP_AFTER_S)
        answered = False
        try:
            # Ended by _tick, which knows how late our own loop is.
            async with asyncio.timeout(None) as lane.limit:
                decided, exchanged = await lane.link.take(
                    [asked.checks for asked in batch], exchanges
                )
            answered = True
        except LINK_ERRORS as error:
            lane.limit = None
            self._give_up(batch)
            await self._failed(lane, error)
            return
        finally:
            lane.limit = None
            if not answered:
                self._forget(exchanges)
        for asked, (admitted, used_us) in zip(batch, decided, strict=True):
            if not admitted:
                self._denied.remember(asked.checks, used_us, asked_us)
            if not asked.answer.done():
                asked.answer.set_result(Verdict(admitted, used_us, "store"))
        for exchange, (tokens, bucket_used_us) in zip(exchanges, exchanged, strict=True):
            self._leases.ended(exchange, tokens, bucket_used_us, asked_us)

    def _next_batch(self) -> tuple[list[_Asked], list[Exchange]]:
        most = min(len(self._exchanges), MOST_EXCHANGES_PER_CALL)
        exchanges = [self._exchanges.popleft() for _ in range(most)]
        batch: list[_Asked] = []
        while self._queue and len(batch) < MOST_PER_CALL - most:
            asked = self._queue.popleft()
            # Left by its client, or decided meanwhile: no token may be taken for it any more.
            if not asked.answer.done():
                batch.append(asked)
        return batch, exchanges

    # Trouble.

    async def _failed(self, lane: _Lane, error: BaseException) -> None:
        await lane.link.drop()
        if not self._guard.failed(self._now_s()):
            return
        self._closed_again.clear()
        self._emit(Noted("limiter_degraded", {"error": type(error).__name__}))
        self._give_up(self._waiting)
        self._forget(self._exchanges)
        # The other lane's sleepers must see it too.
        self._wake_all()

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
        fleet = self._fleet
        return self._fallback.decide(checks, fleet.nodes if self._is_node_shared else fleet.workers)

    def _forget(self, exchanges: "deque[Exchange] | list[Exchange]") -> None:
        for exchange in exchanges:
            self._leases.failed(exchange)
        exchanges.clear()

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
