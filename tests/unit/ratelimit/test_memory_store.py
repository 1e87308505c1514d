"""The table of one process."""

import pytest

from bff.ratelimit.bucket import Bucket, Check
from bff.ratelimit.memory_store import MemoryStore
from tests.support.limits import HandClock


def check(key: str, bucket: Bucket, cost: int = 1) -> Check:
    return Check("p", key, bucket, cost)


@pytest.mark.rule("L2")
def test_a_refusal_takes_from_no_bucket() -> None:
    store = MemoryStore(clock=HandClock())
    wide, narrow = Bucket(10, 10.0), Bucket(1, 10.0)
    store.take([check("narrow", narrow)])

    refused = store.take([check("wide", wide), check("narrow", narrow)])
    left = store.take([check("wide", wide, 10)])

    assert not refused.admitted
    assert list(refused.used_us) == [0, narrow.full_us]
    assert left.admitted


@pytest.mark.rule("L6")
def test_the_table_never_outgrows_its_capacity() -> None:
    store = MemoryStore(clock=HandClock(), capacity=100)

    for n in range(1_000):
        store.take([check(str(n), Bucket(10, 10.0))])

    assert len(store) == 100


@pytest.mark.rule("edge.11")
def test_when_full_the_bucket_nearest_to_full_capacity_goes_first() -> None:
    store = MemoryStore(clock=HandClock(), capacity=3)
    bucket = Bucket(10, 10.0)
    for key, cost in (("spent", 10), ("fresh", 1), ("half", 5)):
        store.take([check(key, bucket, cost)])

    store.take([check("new", bucket, 2)])

    assert not store.take([check("spent", bucket)]).admitted
    assert not store.take([check("half", bucket, 6)]).admitted
    assert store.take([check("new", bucket, 8)]).admitted
    assert len(store) == 3


def test_a_bucket_that_was_used_again_is_judged_by_its_newest_level() -> None:
    store = MemoryStore(clock=HandClock(), capacity=2)
    bucket = Bucket(10, 10.0)
    store.take([check("busy", bucket, 1)])
    store.take([check("idle", bucket, 2)])
    store.take([check("busy", bucket, 9)])

    store.take([check("new", bucket)])

    assert not store.take([check("busy", bucket)]).admitted


def test_buckets_that_are_full_again_are_forgotten_in_passing() -> None:
    clock = HandClock()
    store = MemoryStore(clock=clock, capacity=1_000)
    for n in range(100):
        store.take([check(f"old{n}", Bucket(10, 10.0))])
    clock.advance_s(1.0)

    for n in range(50):
        store.take([check(f"new{n}", Bucket(10, 10.0))])

    assert len(store) == 50
