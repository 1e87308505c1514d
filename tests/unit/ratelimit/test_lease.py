"""What a worker holds ahead of hot buckets: when, how much, and what becomes of it."""

import pytest

from bff.ratelimit.bucket import Bucket, Check
from bff.ratelimit.lease import MOST_LEASES, Exchange, Leases, lease_cap, lease_size
from tests.support.limits import HandClock

BUCKET = Bucket(1_000, 1.0)


def check(key: str = "k", *, bucket: Bucket = BUCKET, cost: int = 1, strict: bool = False) -> Check:
    return Check("p", key, bucket, cost, strict=strict)


class Desk:
    """Leases whose exchanges are answered at once with all that was asked, unless told otherwise."""

    def __init__(self, sharers: int = 1) -> None:
        self.clock = HandClock()
        self.sharers = sharers
        self.asked: list[int] = []
        self.grant: int | None = None
        self.used_us = 0
        self.leases = Leases(clock=self.clock, sharers=lambda: self.sharers, ask=self._ask)

    def _ask(self, exchange: Exchange) -> None:
        self.asked.append(exchange.tokens)
        tokens = exchange.tokens if self.grant is None else min(self.grant, exchange.tokens)
        self.leases.ended(exchange, tokens, self.used_us, self.leases.now_us())

    def requests(self, number: int, *checks: Check) -> int:
        """How many of them were admitted from leases."""
        wanted = checks or (check(),)
        admitted = 0
        for _ in range(number):
            if self.leases.take(wanted) is not None:
                admitted += 1
            else:
                self.leases.missed(wanted)
        return admitted


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(
    ("burst", "sharers", "cap"),
    [
        pytest.param(100, 1, 50, id="alone-half-of-it"),
        pytest.param(100, 4, 12, id="rounded-down"),
        pytest.param(3, 4, 1, id="one-at-least"),
    ],
)
def test_all_workers_together_hold_half_a_burst(burst: int, sharers: int, cap: int) -> None:
    assert lease_cap(burst, sharers) == cap


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(
    ("tokens_per_s", "size"),
    [(0.0, 1), (4.0, 1), (4.1, 2), (100.0, 25), (1e6, 30)],
)
def test_a_lease_is_what_250_ms_need(tokens_per_s: float, size: int) -> None:
    assert lease_size(tokens_per_s, 30) == size


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(("requests", "is_hot"), [(10, False), (11, True)])
def test_a_bucket_is_hot_above_twenty_requests_a_second(requests: int, is_hot: bool) -> None:
    desk = Desk()

    desk.requests(requests)

    assert bool(desk.asked) is is_hot


def test_requests_that_are_spread_over_time_make_no_bucket_hot() -> None:
    desk = Desk()

    for _ in range(100):
        desk.requests(1)
        desk.clock.advance_s(0.05)

    assert desk.asked == []


@pytest.mark.rule("edge.11")
def test_a_hot_bucket_is_served_without_asking_and_asked_for_before_it_is_spent() -> None:
    desk = Desk()
    desk.requests(11)
    size = desk.asked[0]

    admitted = desk.requests(1_000)

    assert admitted == 1_000
    assert size == 6
    # Each time with more requests seen, so for more tokens.
    assert desk.asked[-1] > 10 * size
    assert len(desk.asked) < 25


@pytest.mark.rule("edge.18")
def test_a_steady_hot_bucket_asks_five_times_a_second() -> None:
    desk = Desk()
    admitted = 0
    for _ in range(10_000):
        admitted += desk.requests(1)
        desk.clock.advance_s(0.001)

    assert admitted >= 9_989
    assert len(desk.asked) <= 60


@pytest.mark.rule("edge.11")
def test_a_strict_bucket_is_never_leased() -> None:
    desk = Desk()

    admitted = desk.requests(100, check(strict=True))

    assert admitted == 0
    assert desk.asked == []


@pytest.mark.rule("edge.11")
def test_a_policy_that_turns_strict_uses_no_lease_of_before() -> None:
    desk = Desk()
    desk.requests(11)

    admitted = desk.requests(1, check(bucket=Bucket(1_000, 1.0), strict=True))

    assert admitted == 0


def test_a_cold_bucket_beside_a_hot_one_leaves_both_to_the_store() -> None:
    desk = Desk()

    for number in range(100):
        desk.requests(1, check(), check(f"other{number}"))

    assert desk.asked == []


def test_two_hot_buckets_are_leased_together_and_spent_all_or_none() -> None:
    desk = Desk()
    both = (check("a"), check("b"))
    desk.requests(11, *both)
    spent = desk.requests(1, *both)
    desk.sharers = 0
    left_of_b = desk.requests(100, check("b"))

    short = desk.requests(1, *both)
    left_of_a = desk.requests(100, check("a"))

    assert spent == 1
    assert short == 0
    assert left_of_a == left_of_b == desk.asked[0] - 1


@pytest.mark.rule("edge.11")
def test_a_lease_is_dead_after_a_second_and_given_back() -> None:
    desk = Desk()
    desk.requests(11)
    size = desk.asked[0]
    desk.requests(2)
    desk.clock.advance_s(0.999)
    before = desk.requests(1)
    desk.leases.sweep()
    kept = desk.asked[1:]
    desk.clock.advance_s(0.001)
    desk.leases.sweep()

    assert before == 1
    assert kept == []
    assert desk.asked[1:] == [3 - size]


@pytest.mark.rule("edge.11")
def test_a_dead_lease_admits_nobody_though_it_was_not_given_back_yet() -> None:
    desk = Desk()
    desk.requests(11)
    desk.clock.advance_s(1.0)

    assert desk.leases.take([check()]) is None


def test_a_bucket_that_cools_down_is_forgotten() -> None:
    desk = Desk()
    desk.requests(11)
    desk.clock.advance_s(1.0)
    desk.leases.sweep()

    desk.leases.sweep()

    assert len(desk.leases) == 0


@pytest.mark.rule("edge.11")
def test_a_part_that_was_granted_is_used_and_not_asked_for_ahead() -> None:
    desk = Desk()
    desk.grant = 3
    desk.requests(11)

    admitted = desk.requests(3)

    assert admitted == 3
    assert len(desk.asked) == 1


@pytest.mark.rule("edge.11")
def test_draining_gives_back_all_that_is_left() -> None:
    desk = Desk()
    desk.requests(11)
    desk.requests(2)

    given_back = desk.leases.drain()

    assert [exchange.tokens for exchange in given_back] == [2 - desk.asked[0]]
    assert desk.requests(1) == 0


def test_without_word_of_the_fleet_no_lease_is_taken() -> None:
    desk = Desk(sharers=0)

    desk.requests(1_000)

    assert desk.asked == []


@pytest.mark.rule("edge.11")
def test_what_remains_is_told_by_the_local_view() -> None:
    """The store says: 400 used, those leased included. Ours not spent yet count as not used."""
    desk = Desk()
    desk.used_us = 400 * BUCKET.token_us
    desk.requests(11)
    size = desk.asked[0]

    first = desk.leases.take([check()])
    second = desk.leases.take([check()])
    desk.clock.advance_s(0.5)
    later = desk.leases.take([check()])

    views = [verdict.used_us[0] for verdict in (first, second, later) if verdict]
    used = 400 - size
    assert views == [(used + 1) * 1_000, (used + 2) * 1_000, 1_000]
    assert first is not None
    assert first.source == "lease"


def test_a_view_never_shows_less_than_nothing() -> None:
    desk = Desk()
    desk.used_us = BUCKET.full_us + 6 * BUCKET.token_us
    desk.requests(11)

    verdict = desk.leases.take([check()])

    assert verdict is not None
    assert list(verdict.used_us) == [BUCKET.full_us]


@pytest.mark.rule("L5")
def test_a_bucket_of_another_tier_takes_nothing_of_the_lease() -> None:
    desk = Desk()
    desk.requests(11)

    other = desk.requests(1, check(bucket=Bucket(500, 1.0)))
    equal = desk.requests(1, check(bucket=Bucket(1_000, 1.0)))

    assert other == 0
    assert equal == 1


@pytest.mark.rule("L6")
def test_the_number_of_leases_is_bounded() -> None:
    desk = Desk()

    for number in range(MOST_LEASES + 50):
        desk.requests(11, check(f"k{number}"))

    assert len(desk.leases) == MOST_LEASES


def test_a_request_that_costs_more_than_is_left_asks_the_store() -> None:
    desk = Desk()
    desk.grant = 4
    desk.requests(11, check(cost=5))

    admitted = desk.requests(1, check(cost=5))

    assert admitted == 0


@pytest.mark.rule("L8")
@pytest.mark.parametrize(
    ("bucket", "pause_us"),
    [
        pytest.param(Bucket(1_000, 1.0), 50_000, id="50-ms-at-most"),
        pytest.param(Bucket(1_000, 1.0, 100), 5_000, id="a-twentieth-of-the-bucket"),
    ],
)
def test_an_empty_hot_bucket_is_let_alone_for_a_pause(bucket: Bucket, pause_us: int) -> None:
    desk = Desk()
    cold = desk.leases.pause_us(check(bucket=bucket))
    desk.requests(11, check(bucket=bucket))

    assert cold == 0
    assert desk.leases.pause_us(check(bucket=bucket)) == pause_us
    assert desk.leases.pause_us(check(bucket=bucket, strict=True)) == 0
