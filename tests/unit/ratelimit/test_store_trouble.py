"""What a worker remembers of a store: its errors, and its refusals."""

import random

import pytest

from bff.ratelimit.bucket import Bucket, Check
from bff.ratelimit.deny_cache import DenyCache
from bff.ratelimit.store_guard import StoreGuard
from tests.support.limits import HandClock


class NoJitter(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(
    ("errors_s", "opens"),
    [
        pytest.param([0.0, 0.4, 0.9], True, id="three-within-a-second"),
        pytest.param([0.0, 0.4, 1.1], False, id="too-far-apart"),
        pytest.param([0.0, 0.4], False, id="two"),
        pytest.param([0.0, 1.5, 1.9, 2.4], True, id="the-last-three-count"),
    ],
)
def test_three_errors_within_a_second_open_the_guard(errors_s: list[float], opens: bool) -> None:
    guard = StoreGuard(NoJitter())

    told = [guard.failed(at_s) for at_s in errors_s]

    assert guard.is_open is opens
    assert told.count(True) == int(opens)


@pytest.mark.rule("edge.11")
def test_pauses_double_up_to_two_seconds_and_start_anew_after_recovery() -> None:
    guard = StoreGuard(NoJitter())
    for _ in range(3):
        guard.failed(0.0)
    pauses = [guard.pause_s() for _ in range(5)]
    guard.recovered()
    for _ in range(3):
        guard.failed(100.0)

    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0]
    assert guard.pause_s() == 0.25


def test_pauses_are_jittered() -> None:
    pauses = set()
    for seed in range(20):
        guard = StoreGuard(random.Random(seed))
        pauses.add(guard.pause_s())

    assert len(pauses) > 10
    assert all(0.2 <= pause_s <= 0.3 for pause_s in pauses)


BUCKET = Bucket(10, 10.0)


def check(key: str = "k", cost: int = 1, bucket: Bucket = BUCKET) -> Check:
    return Check("p", key, bucket, cost)


@pytest.mark.rule("L8")
def test_a_refusal_holds_until_its_wait_ends() -> None:
    clock = HandClock()
    cache = DenyCache(clock=clock)
    cache.remember([check("free"), check()], [0, BUCKET.full_us], cache.now_us())
    clock.advance_s(0.999)
    before = cache.verdict([check("free"), check()])
    clock.advance_s(0.001)

    after = cache.verdict([check("free"), check()])

    assert before is not None
    assert not before.admitted
    assert list(before.used_us) == [-1, BUCKET.full_us - 999_000]
    assert after is None
    assert cache.verdict([check("free")]) is None


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        pytest.param(check(cost=5), True, id="same-cost"),
        pytest.param(check(cost=6), True, id="more"),
        pytest.param(check(cost=4), False, id="less-may-fit"),
        pytest.param(check(cost=5, bucket=Bucket(20, 10.0)), False, id="another-tier"),
        pytest.param(check("other", 5), False, id="another-key"),
    ],
)
def test_a_refusal_answers_only_for_what_it_was_asked(asked: Check, known: bool) -> None:
    cache = DenyCache(clock=HandClock())
    cache.remember([check(cost=5)], [BUCKET.full_us], cache.now_us())

    assert (cache.verdict([asked]) is not None) is known


@pytest.mark.rule("L6")
def test_the_cache_is_bounded_and_forgets_the_oldest() -> None:
    cache = DenyCache(clock=HandClock(), capacity=10)

    for n in range(100):
        cache.remember([check(str(n))], [BUCKET.full_us], cache.now_us())

    assert len(cache) == 10
    assert cache.verdict([check("99")]) is not None


@pytest.mark.rule("edge.11")
def test_a_long_refusal_is_forgotten_after_a_minute_but_told_in_full() -> None:
    slow = Bucket(1, 3_600.0)
    clock = HandClock()
    cache = DenyCache(clock=clock)
    cache.remember([check(bucket=slow)], [slow.full_us], cache.now_us())
    clock.advance_s(59)
    before = cache.verdict([check(bucket=slow)])
    clock.advance_s(1)

    assert before is not None
    assert list(before.used_us) == [slow.full_us - 59_000_000]
    assert cache.verdict([check(bucket=slow)]) is None


@pytest.mark.rule("L8")
def test_a_refusal_of_a_hot_key_holds_for_its_pause_and_tells_it() -> None:
    """The bucket regains a token each millisecond, and is let alone for twenty of them."""
    fast = Bucket(1_000, 1.0)
    clock = HandClock()
    cache = DenyCache(clock=clock, least_us=lambda asked: 20_000 if asked.key == "hot" else 0)
    checks = [check("hot", bucket=fast), check("cold", bucket=fast)]
    for each in checks:
        cache.remember([each], [fast.full_us], cache.now_us())
    clock.advance_s(0.019)

    hot, cold = (cache.verdict([each]) for each in checks)
    clock.advance_s(0.001)

    assert hot is not None
    assert list(hot.used_us) == [fast.full_us - fast.token_us + 1_000]
    assert cold is None
    assert cache.verdict(checks) is None
