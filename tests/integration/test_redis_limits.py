"""Limits in a real store: decided in common, bounded when it is lost, never held up by it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from multiprocessing.queues import Queue

import pytest

from bff.core.events import Event, Noted
from bff.ratelimit.bucket import Bucket, Check, OnStoreLoss, Verdict
from bff.ratelimit.redis_store import RedisStore
from tests.support.limits import admitted_by_processes
from tests.support.redis import Redis, patient_store, redis_server

SLOW = Bucket(10, 36_000.0)


@pytest.fixture
def server() -> Iterator[Redis]:
    with redis_server() as started:
        yield started


async def take(store: RedisStore, *checks: Check) -> Verdict:
    return store.take(checks) or await store.submit(checks)


def check(
    key: str, bucket: Bucket = SLOW, cost: int = 1, on_store_loss: OnStoreLoss = "local"
) -> Check:
    return Check("p", key, bucket, cost, "", on_store_loss)


@pytest.mark.rule("L2")
async def test_a_refusal_takes_from_no_bucket(server: Redis) -> None:
    async with patient_store(server.url) as store:
        await take(store, check("narrow", SLOW, 10))

        refused = await take(store, check("wide"), check("narrow"))
        left = await take(store, check("wide", SLOW, 10))

    assert not refused.admitted
    assert left.admitted
    assert left.source == "store"


@pytest.mark.rule("L2")
async def test_of_a_thousand_callers_exactly_one_gets_the_last_token(server: Redis) -> None:
    async with patient_store(server.url) as store:
        await take(store, check("k", SLOW, 9))

        verdicts = await asyncio.gather(*(take(store, check("k")) for _ in range(1_000)))

    assert sum(verdict.admitted for verdict in verdicts) == 1


@pytest.mark.rule("edge.11")
async def test_the_checks_of_one_loop_turn_leave_in_one_round_trip(server: Redis) -> None:
    async with patient_store(server.url) as store:
        await take(store, check("warm"))
        before = _evalsha_calls(server)

        await asyncio.gather(*(take(store, check(f"k{n}")) for n in range(64)))

        assert _evalsha_calls(server) - before == 1


def _evalsha_calls(server: Redis) -> int:
    for line in server.command("INFO", "commandstats").decode().splitlines():
        if line.startswith("cmdstat_evalsha:calls="):
            return int(line.split("=")[1].split(",")[0])
    return 0


@pytest.mark.rule("edge.11")
async def test_a_refused_key_costs_no_further_round_trip(server: Redis) -> None:
    async with patient_store(server.url) as store:
        await take(store, check("k", SLOW, 10))
        first = await take(store, check("k"))
        before = _evalsha_calls(server)

        again = [await take(store, check("k")) for _ in range(100)]

        assert _evalsha_calls(server) == before
    assert first.source == "store"
    assert {(verdict.admitted, verdict.source) for verdict in again} == {(False, "deny_cache")}


@pytest.mark.rule("L6")
async def test_keys_hold_no_identity_and_all_expire(server: Redis) -> None:
    # Full again after a minute, which no run takes to come to the end of this test.
    bucket = Bucket(10, 600.0)
    async with patient_store(server.url) as store:
        await take(store, Check("per-caller", "per-caller|u4:mainalice", bucket))
        await take(store, Check("team", "team|4:acme", bucket, 1, "acme"))

    keys = server.command("KEYS", "*").decode().split("\r\n")[2::2]
    buckets = [key for key in keys if key.startswith(("rl:1:per-caller:{", "rl:1:team:{"))]
    assert len(buckets) == 2
    # The rest says who lives: the workers are gone already, their node after its silence.
    assert set(keys) - set(buckets) == {"rl:1:{fleet}:nodes"}
    assert not any("alice" in key or "acme" in key for key in keys)
    for key in keys:
        left_ms = int(server.command("PTTL", key)[1:])
        assert 0 < left_ms <= (61_000 if key in buckets else 6_000)


@pytest.mark.parametrize("flush", [("FLUSHALL",), ("SCRIPT", "FLUSH")], ids=["keys", "script"])
async def test_a_flush_is_survived_with_one_burst_at_most(
    server: Redis, flush: Sequence[str]
) -> None:
    async with patient_store(server.url) as store:
        before = [await take(store, check("k")) for _ in range(5)]
        server.command(*flush)

        after = [await take(store, check("k")) for _ in range(20)]

    admitted = sum(verdict.admitted for verdict in (*before, *after))
    assert admitted == (15 if flush == ("FLUSHALL",) else 10)
    assert "local" not in {verdict.source for verdict in (*before, *after)}


async def test_a_foreign_value_under_a_key_counts_as_a_full_bucket(server: Redis) -> None:
    async with patient_store(server.url) as store:
        await take(store, check("k"))
        key = server.command("KEYS", "rl:1:p:*").decode().split("\r\n")[2]
        server.command("DEL", key)
        server.command("LPUSH", key, "x")

        verdict = await take(store, check("k", SLOW, 10))

    assert verdict.admitted
    assert verdict.source == "store"


@pytest.mark.rule("edge.11")
async def test_a_lost_store_is_replaced_locally_and_comes_back(server: Redis) -> None:
    events: list[Event] = []
    async with patient_store(server.url, emit=events.append) as store:
        assert (await take(store, check("k", SLOW, 10))).source == "store"
        server.kill()

        lost = [await take(store, check("k")) for _ in range(12)]
        lost_deny = await take(store, check("d", SLOW, 1, "deny"))
        lost_open = [await take(store, check("o", SLOW, 1, "open")) for _ in range(50)]

        async def degraded() -> bool:
            await take(store, check("probe"))
            return store.is_degraded

        await _wait_for(degraded)
        now = store.take([check("fresh")])
        server.start()

        async def back() -> bool:
            return not store.is_degraded

        await _wait_for(back)
        again = await take(store, check("other"))

    assert sum(verdict.admitted for verdict in lost) == 10
    assert (lost_deny.admitted, lost_deny.unavailable) == (False, True)
    assert all(verdict.admitted for verdict in lost_open)
    assert now is not None
    assert (now.admitted, now.source) == (True, "local")
    assert again.source == "store"
    names = [event.name for event in events if isinstance(event, Noted)]
    assert names == ["limiter_degraded", "limiter_restored"]


async def _wait_for(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - the state of the store has no event to wait for
            # A verdict may come without a wait, and then nobody else would get the loop.
            await asyncio.sleep(0)


@pytest.mark.rule("edge.18")
async def test_a_hung_store_serves_everybody(server: Redis) -> None:
    async with patient_store(server.url, timeout_s=0.005) as store:
        await take(store, check("warm"))
        server.freeze()
        try:
            verdicts = [await take(store, check(f"k{n}")) for n in range(50)]
        finally:
            server.thaw()

        async def back() -> bool:
            verdict = await take(store, check("again", Bucket(10_000, 1.0, 1_000_000)))
            return verdict.source == "store"

        await _wait_for(back)

    assert all(verdict.admitted for verdict in verdicts)
    assert {verdict.source for verdict in verdicts} == {"local"}


async def test_a_store_that_is_not_there_is_no_reason_not_to_start(server: Redis) -> None:
    server.kill()

    async with patient_store(server.url) as store:
        verdicts = [await take(store, check("k")) for _ in range(11)]

    assert [verdict.admitted for verdict in verdicts] == [True] * 10 + [False]
    assert {verdict.source for verdict in verdicts} == {"local"}


async def test_cancelled_requests_take_nothing_and_harm_no_other(server: Redis) -> None:
    async with patient_store(server.url) as store:
        await take(store, check("warm"))
        doomed = [asyncio.ensure_future(store.submit([check("k")])) for _ in range(5)]
        others = [store.submit([check(f"o{n}")]) for n in range(5)]
        for answer in doomed:
            answer.cancel()

        verdicts = await asyncio.gather(*others)
        whole = await take(store, check("k", SLOW, 10))

    assert {verdict.source for verdict in verdicts} == {"store"}
    assert whole.admitted


def _hammer(url: str, bucket: Bucket, seconds: float, results: "Queue[list[int]]") -> None:
    """One worker process: as many takes as it can, the times (us) of those admitted by the store.

    It goes on until it is refused, so that the bucket is emptied by the slowest machine.
    """

    async def run() -> list[int]:
        admitted, is_empty = [], False
        async with patient_store(url) as store:
            end_s = time.monotonic() + seconds  # noqa: TID251 - the child's own end
            while time.monotonic() < end_s or not is_empty:  # noqa: TID251 - the child's own end
                takes = (take(store, check("hot", bucket)) for _ in range(8))
                verdicts = await asyncio.gather(*takes)
                is_empty = is_empty or not all(verdict.admitted for verdict in verdicts)
                now_us = time.monotonic_ns() // 1_000
                admitted += [
                    now_us for verdict in verdicts if verdict.admitted and verdict.source == "store"
                ]
        return admitted

    results.put(asyncio.run(run()))


@pytest.mark.rule("L1")
def test_four_processes_together_never_exceed_burst_and_rate(server: Redis) -> None:
    bucket = Bucket(200, 1.0, 50)
    admitted, window_us = admitted_by_processes(_hammer, server.url, bucket, 0.5)

    assert len(admitted) >= bucket.burst
    assert len(admitted) <= bucket.burst + window_us // bucket.token_us + 1
