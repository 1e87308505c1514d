"""Which endpoint is picked."""

from collections import Counter
from random import Random

import pytest

from bff.upstream.balance import Spot, picker
from bff.upstream.upstream import Balance, Endpoint
from tests.support.upstream_fakes import FakeChannel, Half


def spots(*weights: float) -> list[Spot]:
    return [
        Spot(Endpoint(f"10.0.0.{n}:1", weight), FakeChannel()) for n, weight in enumerate(weights)
    ]


def shares(balance: Balance, weights: tuple[float, ...], picks: int = 6_000) -> list[float]:
    pool = spots(*weights)
    pick = picker(balance, weights=weights, random=Random(7))
    counted = Counter(id(pick(pool)) for _ in range(picks))
    return [counted[id(spot)] / picks for spot in pool]


@pytest.mark.rule("upstreams.6")
@pytest.mark.parametrize("balance", ["p2c", "round_robin", "random", "least_in_flight"])
@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_equal_endpoints_get_equal_shares(balance: Balance, count: int) -> None:
    assert shares(balance, (1.0,) * count) == pytest.approx([1 / count] * count, abs=0.03)


@pytest.mark.rule("upstreams.6")
@pytest.mark.parametrize("balance", ["round_robin", "random"])
def test_weights_are_shares(balance: Balance) -> None:
    assert shares(balance, (3.0, 1.0)) == pytest.approx([0.75, 0.25], abs=0.03)


@pytest.mark.rule("upstreams.6")
def test_rotation_is_smooth() -> None:
    pool = spots(2.0, 1.0)
    pick = picker("round_robin", weights=(2.0, 1.0), random=Half())

    order = [pool.index(pick(pool)) for _ in range(6)]

    assert order == [0, 1, 0, 0, 1, 0]


@pytest.mark.rule("upstreams.6")
@pytest.mark.parametrize("chance", [0.0, 0.99])
def test_two_choices_take_the_lesser_load_times_latency(chance: float) -> None:
    slow, busy = spots(1.0, 1.0)
    slow.sample(0.3, 100.0)
    busy.sample(0.1, 100.0)
    busy.in_flight = 1  # 2 x 0.1 < 1 x 0.3

    pick = picker("p2c", weights=(1.0, 1.0), random=Half([chance] * 9))
    assert pick([slow, busy]) is busy
    busy.in_flight = 3  # 4 x 0.1 > 1 x 0.3
    assert pick([slow, busy]) is slow


@pytest.mark.rule("upstreams.6")
def test_an_endpoint_without_sample_counts_as_the_median() -> None:
    fast, new, slow = spots(1.0, 1.0, 1.0)
    fast.sample(0.1, 100.0)
    slow.sample(0.5, 100.0)
    pick = picker("p2c", weights=(1.0,) * 3, random=Half([0.0, 0.0]))

    assert pick([new, slow]) is new  # the median of one is its own: a tie goes to the first drawn
    assert picker("p2c", weights=(1.0,) * 3, random=Half([0.4, 0.0]))([fast, new, slow]) is fast


@pytest.mark.rule("upstreams.6")
def test_least_in_flight_goes_by_weight() -> None:
    small, large = spots(1.0, 4.0)
    small.in_flight, large.in_flight = 1, 3
    pick = picker("least_in_flight", weights=(1.0, 4.0), random=Half())

    assert pick([small, large]) is large


@pytest.mark.rule("upstreams.6")
def test_a_rise_of_latency_counts_at_once_and_a_fall_slowly() -> None:
    (spot,) = spots(1.0)
    spot.sample(0.1, 100.0)

    spot.sample(1.0, 101.0)
    assert spot.latency_s == 1.0
    spot.sample(0.1, 102.0)

    assert 0.9 < spot.latency_s < 0.92  # 1 s of a memory of 10 s


def test_an_endpoint_that_refuses_is_avoided_longer_each_time() -> None:
    (spot,) = spots(1.0)
    waits = []

    for _ in range(30):
        spot.not_connected(100.0, Half())
        waits.append(spot.avoid_until_s - 100.0)

    assert waits[:3] == pytest.approx([0.1, 0.16, 0.256])
    assert waits[-1] == pytest.approx(10.0)
