"""Limits while the store is lost: each table's share, told as the policy's own bucket."""

import pytest

from bff.ratelimit.bucket import Bucket, Check, OnStoreLoss
from bff.ratelimit.fallback import Fallback
from bff.ratelimit.memory_store import MemoryStore
from bff.ratelimit.policies import remaining_of
from tests.support.limits import HandClock

BUCKET = Bucket(12, 12.0)


def check(key: str = "k", cost: int = 1, on_store_loss: OnStoreLoss = "local") -> Check:
    return Check("p", key, BUCKET, cost, "", on_store_loss)


def opened() -> tuple[Fallback, HandClock]:
    clock = HandClock()
    return Fallback(MemoryStore(clock=clock)), clock


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(("parts", "at_once"), [(1, 12), (3, 4), (5, 2), (100, 1)])
def test_a_lost_store_leaves_each_table_its_part_of_the_burst(parts: int, at_once: int) -> None:
    fallback, _ = opened()

    admitted = sum(fallback.decide([check()], parts).admitted for _ in range(50))

    assert admitted == at_once


@pytest.mark.rule("edge.11")
def test_a_lost_store_leaves_each_table_its_part_of_the_rate() -> None:
    fallback, clock = opened()
    admitted = 0
    for _ in range(1_200):
        admitted += fallback.decide([check()], 3).admitted
        clock.advance_s(0.1)

    # A token each three seconds, over 119.9 s.
    assert admitted == 4 + 39


@pytest.mark.rule("L7")
def test_a_refused_share_tells_how_long_to_wait() -> None:
    fallback, clock = opened()
    for _ in range(4):
        fallback.decide([check()], 3)
    clock.advance_s(1.0)

    verdict = fallback.decide([check("free"), check()], 3)

    free_us, used_us = verdict.used_us
    assert not verdict.admitted
    assert used_us + BUCKET.token_us - BUCKET.full_us == 2_000_000
    assert remaining_of(BUCKET, free_us) == (4, 1)


def test_what_remains_is_the_share_s() -> None:
    fallback, _ = opened()

    verdict = fallback.decide([check()], 3)

    assert remaining_of(BUCKET, verdict.used_us[0])[0] == 3


def test_a_cost_that_fits_the_whole_bucket_fits_its_share_once() -> None:
    fallback, _ = opened()

    first = fallback.decide([check(cost=10)], 3)
    second = fallback.decide([check(cost=10)], 3)

    assert (first.admitted, second.admitted) == (True, False)


def test_a_bucket_of_years_is_shared_without_error() -> None:
    fallback, _ = opened()
    slow = Check("p", "k", Bucket(1, 30_000_000.0, 30))

    assert fallback.decide([slow], 1_000).admitted


@pytest.mark.rule("edge.11")
def test_a_lost_store_denies_or_lets_through_where_a_policy_says_so() -> None:
    fallback, _ = opened()

    denied = fallback.decide([check(), check("d", on_store_loss="deny")], 2)
    let_through = [fallback.decide([check("o", on_store_loss="open")], 2) for _ in range(50)]

    assert (denied.admitted, denied.unavailable) == (False, True)
    assert all(verdict.admitted for verdict in let_through)
    assert fallback.decide([check(cost=6)], 2).admitted
