"""The arithmetic of one bucket."""

import pytest

from bff.ratelimit.bucket import Bucket, take


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(
    ("bucket", "token_us", "full_us"),
    [
        pytest.param(Bucket(60, 60.0), 1_000_000, 60_000_000, id="guest"),
        pytest.param(Bucket(5_000, 60.0), 12_000, 60_000_000, id="premium"),
        pytest.param(Bucket(3, 1.0), 333_334, 1_000_002, id="rounded-up"),
        pytest.param(Bucket(10_000, 1.0, 5), 100, 500, id="fastest"),
    ],
)
def test_a_token_costs_whole_microseconds_rounded_up(
    bucket: Bucket, token_us: int, full_us: int
) -> None:
    assert (bucket.token_us, bucket.full_us) == (token_us, full_us)


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(
    ("count", "period_s", "burst"),
    [
        pytest.param(10_001, 1.0, 0, id="above-10000-a-second"),
        pytest.param(0, 1.0, 0, id="no-count"),
        pytest.param(1, 0.0, 0, id="no-period"),
        pytest.param(1, 1.0, -1, id="negative-burst"),
        pytest.param(1, 86_400.0 * 366, 100, id="fills-in-a-century"),
    ],
)
def test_what_cannot_be_held_exactly_is_refused(count: int, period_s: float, burst: int) -> None:
    with pytest.raises(ValueError):
        Bucket(count, period_s, burst)


@pytest.mark.rule("edge.11")
def test_a_guest_sends_sixty_at_once_then_one_per_second() -> None:
    bucket = Bucket(60, 60.0)
    tat_us = 0
    now_us = 10**12
    for _ in range(60):
        taking = take(bucket, tat_us, 1, now_us)
        assert taking.admitted
        tat_us = taking.tat_us

    refused = take(bucket, tat_us, 1, now_us)
    just_before = take(bucket, tat_us, 1, now_us + 999_999)
    then = take(bucket, tat_us, 1, now_us + 1_000_000)

    assert (refused.admitted, refused.wait_us, refused.remaining) == (False, 1_000_000, 0)
    assert (just_before.admitted, just_before.wait_us) == (False, 1)
    assert then.admitted


def test_reset_is_the_time_until_one_token_more() -> None:
    bucket = Bucket(10, 10.0)
    taking = take(bucket, 0, 3, 10**12)

    half_later = take(bucket, taking.tat_us, 0, 10**12 + 500_000)

    assert (taking.remaining, taking.reset_us) == (7, 1_000_000)
    assert (half_later.remaining, half_later.reset_us) == (7, 500_000)
    assert take(bucket, 0, 0, 10**12).reset_us == 0


@pytest.mark.rule("edge.11")
def test_a_clock_stepping_back_locks_out_for_one_bucket_at_most() -> None:
    bucket = Bucket(10, 10.0)
    taking = take(bucket, 0, 10, 10**12)

    after_step = take(bucket, taking.tat_us, 1, 10**12 - 3_600_000_000)

    assert not after_step.admitted
    assert after_step.wait_us == bucket.token_us


@pytest.mark.rule("edge.11")
def test_a_change_of_tier_neither_refills_nor_locks() -> None:
    guest, premium = Bucket(60, 60.0), Bucket(5_000, 60.0)
    empty = take(guest, 0, 60, 10**12)

    raised = take(premium, empty.tat_us, 1, 10**12)
    lowered = take(Bucket(6, 6.0), empty.tat_us, 1, 10**12 + 1_000_000)

    assert not raised.admitted
    assert raised.wait_us == premium.token_us
    assert (lowered.admitted, lowered.wait_us) == (False, 1_000_000)


@pytest.mark.parametrize("cost", [-1, 11])
def test_a_cost_that_never_fits_is_an_error(cost: int) -> None:
    with pytest.raises(ValueError):
        take(Bucket(10, 10.0), 0, cost, 10**12)
