"""Buckets by address."""

import pytest

from bff.ratelimit.address_buckets import AddressBuckets
from bff.ratelimit.bucket import Bucket
from tests.support.limits import HandClock


@pytest.mark.rule("edge.5")
def test_a_flood_is_let_through_up_to_its_burst_and_rate() -> None:
    clock = HandClock()
    buckets = AddressBuckets(bucket=Bucket(500, 1.0, 1_000), clock=clock)

    at_once = sum(buckets.allow("192.0.2.1") for _ in range(2_000))
    clock.advance_s(1.0)
    a_second_later = sum(buckets.allow("192.0.2.1") for _ in range(2_000))

    assert (at_once, a_second_later) == (1_000, 500)
    assert buckets.allow("192.0.2.2")


@pytest.mark.rule("edge.5")
def test_looking_at_a_bucket_takes_nothing() -> None:
    buckets = AddressBuckets(bucket=Bucket(20, 60.0, 1), clock=HandClock())

    looks = [buckets.has_token("192.0.2.1") for _ in range(3)]
    buckets.allow("192.0.2.1")

    assert looks == [True, True, True]
    assert not buckets.has_token("192.0.2.1")
    assert buckets.wait_s("192.0.2.1") == 3.0


def test_the_address_seen_longest_ago_is_forgotten_first() -> None:
    buckets = AddressBuckets(bucket=Bucket(1, 60.0), clock=HandClock(), capacity=2)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"):
        buckets.allow(address)

    assert len(buckets) == 2
    assert not buckets.has_token("192.0.2.1")
    assert buckets.has_token("192.0.2.2")
