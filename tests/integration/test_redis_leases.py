"""Hot keys of a real store: served from leases, within the bound, and nothing is lost but what a kill takes."""

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue

import pytest

from bff.core.events import silent
from bff.core.exchange import Principal
from bff.core.headers import Headers
from bff.core.ports import SystemClock
from bff.ratelimit.bucket import Bucket, Check, Source, Verdict
from bff.ratelimit.fleet import FRESH_S, LEASE_S
from bff.ratelimit.lease import lease_cap
from bff.ratelimit.limiter import Limiter, Taken
from bff.ratelimit.limits_compiler import compile_limits
from bff.ratelimit.policies import Policy
from bff.ratelimit.redis_store import RedisStore
from tests.support.redis import Redis, patient_store, redis_server

SPAWN = multiprocessing.get_context("spawn")
# No token comes back while a test runs.
SLOW = Bucket(1_000, 36_000_000.0)


@pytest.fixture
def server() -> Iterator[Redis]:
    with redis_server() as started:
        yield started


async def take(store: RedisStore, checks: Sequence[Check]) -> Verdict:
    return store.take(checks) or await store.submit(checks)


def check(bucket: Bucket = SLOW, *, key: str = "hot") -> Check:
    return Check("p", key, bucket)


async def take_many(store: RedisStore, checks: Sequence[Check], number: int) -> Counter[Source]:
    """Who admitted how many of them."""
    admitted: Counter[Source] = Counter()
    for _ in range(number):
        verdict = await take(store, checks)
        if verdict.admitted:
            admitted[verdict.source] += 1
    return admitted


def round_trips(server: Redis) -> int:
    for line in server.command("INFO", "commandstats").decode().splitlines():
        if line.startswith("cmdstat_evalsha:calls="):
            return int(line.split("=")[1].split(",")[0])
    return 0


@pytest.mark.rule("edge.18")
@pytest.mark.parametrize("keys", [("a",), ("a", "b")], ids=["one-bucket", "two-buckets"])
async def test_a_hot_key_costs_few_round_trips(server: Redis, keys: Sequence[str]) -> None:
    checks = [check(Bucket(10_000, 1.0, 100_000), key=key) for key in keys]
    async with patient_store(server.url) as store:
        before = round_trips(server)

        admitted = await take_many(store, checks, 4_000)

        trips = round_trips(server) - before
    assert admitted.total() == 4_000
    assert admitted["lease"] > 3_800
    assert trips <= 0.05 * 4_000


@pytest.mark.rule("edge.18")
async def test_a_leased_request_waits_for_nothing_and_asks_nothing(server: Redis) -> None:
    """Requests of a caller with two buckets, as the line takes them: no turn of the loop, no call."""
    bucket = Bucket(10_000, 1.0, 100_000)
    limits = compile_limits(
        [
            Policy(name="per-caller", bucket=bucket),
            Policy(name="per-route", bucket=bucket, by=("user", "route")),
        ],
        route_id="r",
        upstream="u",
        service="s",
        method="m",
    )
    caller = Principal(kind="jwt", provider="idp", sub="me")
    async with patient_store(server.url) as store:
        limiter = Limiter(store=store, emit=silent)

        def take_now() -> Taken | None:
            return limiter.take_now(limits, caller, "192.0.2.1", Headers([]))

        for _ in range(100):
            if take_now() is not None:
                break
            await limiter.take(limits, caller, "192.0.2.1", Headers([]))
        tasks = asyncio.all_tasks()
        before = round_trips(server)

        # Nothing else runs between these, so whatever is answered was answered from what is here.
        taken = [take_now() for _ in range(3)]

        after = round_trips(server)
        assert not store.is_degraded
    assert None not in taken
    assert asyncio.all_tasks() <= tasks
    assert after == before


@pytest.mark.rule("edge.11")
async def test_closing_gives_back_all_that_was_not_spent(server: Redis) -> None:
    async with patient_store(server.url) as store:
        first = await take_many(store, [check()], 100)

    async with patient_store(server.url) as store:
        rest = await take_many(store, [check()], 1_100)

    assert first["lease"] > 0
    assert first.total() == 100
    assert rest.total() == 900


@pytest.mark.rule("edge.11")
async def test_what_is_not_spent_in_a_second_goes_back(server: Redis) -> None:
    async with patient_store(server.url) as store:
        admitted = await take_many(store, [check()], 100)
        (key,) = server.command("KEYS", "rl:1:p:*").decode().split("\r\n")[2::2]

        async with asyncio.timeout(30):
            while _used(server, key) > admitted.total():  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0)


def _used(server: Redis, key: str) -> int:
    """Tokens that are gone from a slow bucket."""
    seconds, micros = server.command("TIME").decode().split("\r\n")[2::2]
    tat_us = int(server.command("GET", key).decode().split("\r\n")[1])
    return -((int(seconds) * 1_000_000 + int(micros) - tat_us) // SLOW.token_us)


def _hold_a_lease(url: str, pipe: Connection) -> None:
    """Take a lease, tell how many were admitted, and stay until killed."""

    async def run() -> None:
        async with patient_store(url) as store:
            admitted = await take_many(store, [check()], 300)
            pipe.send((admitted.total(), admitted["lease"]))
            # The loop stands still as if stopped: nothing is given back.
            pipe.recv()

    asyncio.run(run())


@pytest.mark.rule("L8")
async def test_a_killed_worker_takes_no_more_than_its_lease_along(server: Redis) -> None:
    ours, theirs = SPAWN.Pipe()
    child = SPAWN.Process(target=_hold_a_lease, args=(server.url, theirs))
    child.start()
    spent, leased = await asyncio.to_thread(ours.recv)
    child.kill()
    child.join(60)

    async with patient_store(server.url) as store:
        left = await take_many(store, [check()], 1_000)

    assert leased > 0
    assert SLOW.burst - lease_cap(SLOW.burst, 1) <= spent + left.total() <= SLOW.burst


def _hammer(
    url: str, bucket: Bucket, seconds: float, results: "Queue[tuple[int, int, float]]"
) -> None:
    """One worker: as many takes as it can; admitted by lease, by the store, and when the last was."""

    async def run() -> tuple[int, int, float]:
        async with patient_store(url) as store:
            clock = SystemClock()
            end_s = clock.now_s() + seconds
            admitted: Counter[Source] = Counter()
            last_s = 0.0
            while clock.now_s() < end_s:
                admitted += await take_many(store, [check(bucket)], 50)
                last_s = clock.now_s()
                await asyncio.sleep(0.005)
            return admitted["lease"], admitted["store"], last_s

    results.put(asyncio.run(run()))


@pytest.mark.rule("L1")
def test_three_processes_with_leases_stay_below_their_bound(server: Redis) -> None:
    """Together never above burst + rate * time + workers * lease; they share after all know of all."""
    bucket = Bucket(3_000, 1.0, 1_200)
    seconds = FRESH_S + LEASE_S + 2.0
    results: Queue[tuple[int, int, float]] = SPAWN.Queue()
    started_s = time.monotonic()  # noqa: TID251 - the same clock in all processes
    children = [
        SPAWN.Process(target=_hammer, args=(server.url, bucket, seconds, results)) for _ in range(3)
    ]
    for child in children:
        child.start()
    answers = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join(60)

    leased = sum(lease for lease, _, _ in answers)
    admitted = leased + sum(store for _, store, _ in answers)
    window_us = round((max(last_s for _, _, last_s in answers) - started_s) * 1_000_000)
    excess = 3 * lease_cap(bucket.burst, 3)
    assert bucket.burst <= admitted <= bucket.burst + window_us // bucket.token_us + 1 + excess
    assert leased > 0


@pytest.mark.rule("edge.11")
async def test_a_lost_store_leaves_each_its_part_by_those_who_lived(server: Redis) -> None:
    ten = check(Bucket(10, 36_000.0))
    async with patient_store(server.url), patient_store(server.url) as last:
        server.kill()
        verdicts = [await take(last, [ten]) for _ in range(20)]

    assert {verdict.source for verdict in verdicts} == {"local"}
    assert sum(verdict.admitted for verdict in verdicts) == 5


async def test_closing_does_not_wait_for_a_store_that_hangs(server: Redis) -> None:
    try:
        async with asyncio.timeout(20), patient_store(server.url) as store:
            await take_many(store, [check()], 100)
            server.freeze()
    finally:
        server.thaw()
