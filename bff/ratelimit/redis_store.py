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
from bff.ratelimit.patience import Asked, Patience
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
CONNECT_TIMEOUT_S = 0.1
# A beat is waited for by nobody, so our own loop's lag may be in it.
BEAT_TIMEOUT_S = 0.25
# How long closing may take: the calls under way, then what is given back.
CLOSE_TIMEOUT_S = 0.1


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
        self._now_s = clock.now_s
        self._worker = f"{random.getrandbits(64):016x}"
        self._is_node_shared = isinstance(fallback, SharedStore)
        self._node = fallback.node if isinstance(fallback, SharedStore) else self._worker
        self._fallback = Fallback(fallback or MemoryStore(clock=clock))
        self._guard = StoreGuard(random)
        self._fleet = Fleet(clock=clock)
        self._leases = Leases(clock=clock, sharers=self._fleet.sharers, ask=self._ask)
        self._take_leased = self._leases.take
        self._denied = DenyCache(clock=clock, least_us=self._leases.pause_us)
        self._patience = Patience(timeout_s=timeout_s, decide=self._decide_locally)
        self._links = [
            RedisLink(url=url, user=user, password=password, connect_timeout_s=CONNECT_TIMEOUT_S)
            for _ in range(LANES)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._pulse: asyncio.Task[None] | None = None
        self._is_closing = False
        self._is_beat_due = False
        self._queue: deque[Asked] = deque()
        # At most one per lease is under way, so their number is bounded by that of the leases.
        self._exchanges: deque[Exchange] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._closed_again = asyncio.Event()

    @property
    def is_degraded(self) -> bool:
        """True while the store is not asked, so that this worker decides alone."""
        return self._guard.is_open or not self._tasks or self._is_closing

    async def start(self) -> None:
        """Connect, if the store answers; a store that does not is no reason not to start."""
        for link in self._links:
            await self._connected(link)
        if self._links[0].is_connected:
            await self._beat(self._links[0])
        self._tasks = [asyncio.create_task(self._run(link)) for link in self._links]
        self._pulse = asyncio.create_task(self._keep_time())

    async def close(self) -> None:
        """Give back what is leased and end the connections; whoever waits still is decided locally."""
        tasks = self._tasks
        if tasks:
            # Calls under way may still grant tokens, and what they grant is to be given back.
            self._is_closing = True
            self._wake_all()
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S)
        # On the others an answer is outstanding, so nothing more can be asked there.
        quiet = [link for link, task in zip(self._links, tasks, strict=False) if task.done()]
        self._tasks = []
        ending = tasks if self._pulse is None else [*tasks, self._pulse]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._leave([link for link in quiet if link.is_connected])
        for link in self._links:
            await link.drop()
        self._patience.close()
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
        if self.is_degraded or len(self._queue) >= MOST_QUEUED:
            answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
            answer.set_result(self._decide_locally(checks))
            return answer
        asked = self._patience.add(checks)
        self._queue.append(asked)
        self._leases.missed(checks)
        self._wake_one()
        return asked.answer

    def _ask(self, exchange: Exchange) -> None:
        """Send an exchange of a lease with the next call."""
        if self.is_degraded:
            self._leases.failed(exchange)
            return
        self._exchanges.append(exchange)
        self._wake_one()

    # The lanes.

    async def _run(self, link: RedisLink) -> None:
        while not self._is_closing:
            if self._guard.is_open:
                await self._wait_until_closed(link)
            elif not link.is_connected:
                await self._connected(link)
            elif self._is_beat_due:
                # First, or a queue that is never empty would keep the others from counting us.
                await self._beat(link)
            elif self._queue or self._exchanges:
                await self._call(link)
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

    async def _beat(self, link: RedisLink) -> None:
        self._is_beat_due = False
        asked_s = self._now_s()
        try:
            async with asyncio.timeout(BEAT_TIMEOUT_S):
                told = await link.beat(worker=self._worker, node=self._node)
        except LINK_ERRORS as error:
            await self._failed(link, error)
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

    async def _connected(self, link: RedisLink) -> bool:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await link.connect()
        except LINK_ERRORS as error:
            await self._failed(link, error)
            return False
        return True

    async def _call(self, link: RedisLink) -> None:
        batch, exchanges = self._next_batch()
        if not batch and not exchanges:
            return
        asked_us = self._denied.now_us()
        is_answered = False
        try:
            async with asyncio.timeout(None) as call:
                self._patience.watch(call)
                decided, exchanged = await link.take([asked.checks for asked in batch], exchanges)
            is_answered = True
        except LINK_ERRORS as error:
            self._patience.give_up(batch)
            await self._failed(link, error)
            return
        finally:
            self._patience.unwatch(call)
            if not is_answered:
                self._forget(exchanges)
        for asked, (admitted, used_us) in zip(batch, decided, strict=True):
            if not admitted:
                self._denied.remember(asked.checks, used_us, asked_us)
            if not asked.answer.done():
                asked.answer.set_result(Verdict(admitted, used_us, "store"))
        for exchange, (tokens, bucket_used_us) in zip(exchanges, exchanged, strict=True):
            self._leases.ended(exchange, tokens, bucket_used_us, asked_us)
            if tokens < exchange.tokens:
                # Empty; whoever finds the lease spent need not ask to learn it.
                self._denied.remember([exchange.lease.check], [bucket_used_us], asked_us)

    def _next_batch(self) -> tuple[list[Asked], list[Exchange]]:
        most = min(len(self._exchanges), MOST_EXCHANGES_PER_CALL)
        exchanges = [self._exchanges.popleft() for _ in range(most)]
        batch: list[Asked] = []
        while self._queue and len(batch) < MOST_PER_CALL - most:
            asked = self._queue.popleft()
            # Left by its client, or decided meanwhile: no token may be taken for it any more.
            if not asked.answer.done():
                batch.append(asked)
        return batch, exchanges

    # Trouble.

    async def _failed(self, link: RedisLink, error: BaseException) -> None:
        await link.drop()
        if not self._guard.failed(self._now_s()):
            return
        self._closed_again.clear()
        self._emit(Noted("limiter_degraded", {"error": type(error).__name__}))
        self._patience.give_up_all()
        self._forget(self._exchanges)
        # The other lane's sleepers must see it too.
        self._wake_all()

    async def _wait_until_closed(self, link: RedisLink) -> None:
        """The first lane probes, after a pause; the others wait for its word."""
        if link is not self._links[0]:
            await self._closed_again.wait()
            # Its connection is of the time before the loss.
            await link.drop()
            return
        await asyncio.sleep(self._guard.pause_s())
        await link.drop()
        if await self._connected(link):
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
