"""Workers with leases on one bucket, on one clock: no window admits more than burst, rate and leases allow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.ratelimit.bucket import Bucket, Check
from bff.ratelimit.fleet import BEAT_S, GONE_S, Fleet
from bff.ratelimit.lease import Exchange, Leases, lease_cap
from tests.support.limits import HandClock, Model

Ending = Literal["answered", "lost", "never-sent"]
MANY = settings(max_examples=150, deadline=None)


@dataclass
class World:
    """The store and its clock, and what was admitted when."""

    bucket: Bucket
    cost: int = 1
    clock: HandClock = field(default_factory=HandClock)
    model: Model = field(default_factory=Model)
    admitted: list[tuple[int, int]] = field(default_factory=list)

    def admit(self) -> None:
        self.admitted.append((self.clock.store_us(), self.cost))

    def largest_excess_us(self) -> int:
        """The most that any window admitted beyond its refill, as time of the bucket."""
        spent_us = 0
        least_us = 0
        excess_us = 0
        for at_us, cost in self.admitted:
            # What came before a window that starts here, less the time until then.
            least_us = min(least_us, spent_us - at_us) if spent_us else -at_us
            spent_us += cost * self.bucket.token_us
            excess_us = max(excess_us, spent_us - at_us - least_us)
        return excess_us


class Worker:
    """Leases and what is under way between them and the store, which ends when a test says so."""

    def __init__(self, world: World, sharers: int | None = None) -> None:
        self.world = world
        self.fleet = Fleet(clock=world.clock)
        self.under_way: list[tuple[Exchange, int]] = []
        self.check = Check("p", "k", world.bucket, world.cost)
        # Our own account: tokens that are known to be this worker's, and when it asked for them last.
        self.owned = 0
        self.asked_us = 0
        self.leases = Leases(
            clock=world.clock,
            sharers=self.fleet.sharers if sharers is None else lambda: sharers,
            ask=self._ask,
        )

    def request(self) -> None:
        checks = [self.check]
        bucket, model, now_us = self.world.bucket, self.world.model, self.world.clock.store_us()
        if self.leases.take(checks) is not None:
            assert now_us < self.asked_us + 1_000_000
            self.owned -= self.check.cost
            assert self.owned >= 0
            self.world.admit()
            return
        self.leases.missed(checks)
        if model.owed(bucket, now_us) + self.check.cost * bucket.token_us <= bucket.full_us:
            model.spend(bucket, self.check.cost, now_us)
            self.world.admit()

    def deliver(self, ending: Ending) -> None:
        """The oldest exchange ends: answered, done by the store but its answer lost, or not sent at all."""
        if not self.under_way:
            return
        exchange, asked_us = self.under_way.pop(0)
        if ending == "never-sent":
            self.leases.failed(exchange)
            return
        self._run(exchange, asked_us, is_answered=ending == "answered")

    def drain(self) -> None:
        while self.under_way:
            self.deliver("answered")
        for exchange in self.leases.drain():
            self.owned += exchange.tokens
            self._run(exchange, self.world.clock.store_us(), is_answered=True)
        assert self.owned == 0

    def wanted(self) -> int:
        """Tokens that are held or asked for: what may become ours."""
        return self.owned + sum(max(0, exchange.tokens) for exchange, _ in self.under_way)

    def _ask(self, exchange: Exchange) -> None:
        if exchange.tokens < 0:
            # From now on they are nobody's.
            self.owned += exchange.tokens
            assert self.owned == 0
        self.under_way.append((exchange, self.world.clock.store_us()))

    def _run(self, exchange: Exchange, asked_us: int, *, is_answered: bool) -> None:
        world = self.world
        tokens = world.model.exchange(
            exchange.lease.bucket, exchange.tokens, world.clock.store_us()
        )
        if not is_answered:
            self.leases.failed(exchange)
            return
        if tokens > 0:
            self.owned += tokens
            self.asked_us = asked_us
        self.leases.ended(exchange, tokens, world.model.owed_us, asked_us)


buckets = st.builds(
    Bucket,
    st.integers(1, 400),
    st.sampled_from([0.5, 1.0, 10.0]),
    st.integers(1, 400),
)
pauses_us = st.one_of(st.integers(0, 3_000), st.integers(0, 60_000), st.integers(0, 1_500_000))
endings = st.sampled_from(["answered", "answered", "answered", "lost", "never-sent"])
# A step of one worker: time goes on, an exchange ends, requests come; sometimes it sweeps or drains.
steps = st.lists(
    st.tuples(
        pauses_us,
        st.integers(0, 3),
        endings,
        st.one_of(st.integers(0, 5), st.integers(10, 80)),
        st.sampled_from(["", "", "", "sweep", "drain"]),
    ),
    max_size=60,
)
Steps = Sequence[tuple[int, int, Ending, int, str]]


@pytest.mark.rule("L1")
@MANY
@given(bucket=buckets, count=st.integers(1, 4), wish=st.integers(1, 3), history=steps)
def test_workers_with_leases_stay_below_burst_rate_and_leases(
    bucket: Bucket, count: int, wish: int, history: Steps
) -> None:
    world = World(bucket, min(wish, bucket.burst))
    workers = [Worker(world, count) for _ in range(count)]

    for pause_us, number, ending, requests, extra in history:
        world.clock.now_us += pause_us
        worker = workers[number % count]
        worker.deliver(ending)
        for _ in range(requests):
            worker.request()
        if extra == "sweep":
            worker.leases.sweep()
        if extra == "drain":
            worker.drain()
        assert worker.wanted() <= lease_cap(bucket.burst, count)

    leased_us = count * lease_cap(bucket.burst, count) * bucket.token_us
    assert world.largest_excess_us() <= bucket.full_us + leased_us


class LivingWorker(Worker):
    """One that learns of the others by beats, which may fail, and that may be stopped at any time."""

    def __init__(self, world: World, living: "dict[LivingWorker, int]") -> None:
        super().__init__(world)
        self.living = living
        self.beat_due_us = world.clock.store_us()

    def live(self, ending: Ending) -> None:
        """Beat if it is time. The store counts by its own clock, and may lose our word or its own."""
        now_us = self.world.clock.store_us()
        if now_us < self.beat_due_us:
            return
        self.beat_due_us = now_us + round(BEAT_S * 1_000_000)
        if ending == "never-sent":
            return
        gone_us = round(GONE_S * 1_000_000)
        for other in [o for o, at_us in self.living.items() if at_us < now_us - gone_us]:
            del self.living[other]
        is_new = self not in self.living
        self.living[self] = now_us
        if ending == "answered":
            count = len(self.living)
            self.fleet.beaten(asked_s=now_us / 1e6, is_new=is_new, workers=count, nodes=count)


@pytest.mark.rule("L1")
@MANY
@given(
    bucket=buckets,
    lives=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 30)), min_size=2, max_size=5),
    history=st.lists(
        st.tuples(st.integers(0, 400_000), st.integers(0, 4), endings, st.integers(0, 60)),
        min_size=30,
        max_size=120,
    ),
)
def test_workers_that_come_and_go_never_hold_more_than_half_a_burst(
    bucket: Bucket, lives: list[tuple[int, int]], history: list[tuple[int, int, Ending, int]]
) -> None:
    """Each lives from one second to another, then is killed; what all hold stays below N leases of 1/N."""
    world = World(bucket)
    started_us = world.clock.store_us()
    living: dict[LivingWorker, int] = {}
    workers = [LivingWorker(world, living) for _ in lives]

    for pause_us, number, ending, requests in history:
        world.clock.now_us += pause_us
        now_s = (world.clock.store_us() - started_us) / 1_000_000
        alive = [
            worker
            for worker, (from_s, length_s) in zip(workers, lives, strict=True)
            if from_s <= now_s < from_s + length_s
        ]
        if not alive:
            continue
        worker = alive[number % len(alive)]
        for each in alive:
            each.live(ending if each is worker else "answered")
            each.deliver("answered")
        for _ in range(requests):
            worker.request()

        held = sum(
            each.owned for each in alive if each.asked_us + 1_000_000 > world.clock.store_us()
        )
        assert held <= max(bucket.burst // 2, len(workers))
    leased_us = max(bucket.burst // 2, len(workers)) * bucket.token_us
    assert world.largest_excess_us() <= bucket.full_us + leased_us


@pytest.mark.rule("edge.18")
@pytest.mark.parametrize("count", [1, 3])
def test_a_bucket_with_leases_gives_nearly_all_that_it_has(count: int) -> None:
    """At twice its rate for a minute: within 2 % of burst and rate, at few exchanges."""
    world = World(Bucket(200, 1.0, 100))
    workers = [Worker(world, count) for _ in range(count)]
    asked = 0
    for step in range(60 * 400):
        world.clock.now_us += 2_500
        worker = workers[step % count]
        asked += len(worker.under_way)
        worker.deliver("answered")
        worker.request()
        if step % 200 == 0:
            for each in workers:
                each.leases.sweep()

    expected = 100 + 60 * 200
    assert len(world.admitted) >= 0.98 * expected
