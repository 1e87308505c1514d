"""What a worker may conclude from its beats."""

import pytest

from bff.ratelimit.fleet import FRESH_S, LEASE_S, Fleet
from tests.support.limits import HandClock


def beaten(fleet: Fleet, clock: HandClock, *, is_new: bool, workers: int) -> None:
    fleet.beaten(asked_s=clock.now_s(), is_new=is_new, workers=workers, nodes=workers)


@pytest.mark.rule("edge.11")
def test_before_the_first_beat_nothing_is_shared() -> None:
    fleet = Fleet(clock=HandClock())

    assert fleet.sharers() == 0
    assert (fleet.workers, fleet.nodes) == (1, 1)


@pytest.mark.rule("edge.11")
def test_one_that_starts_alone_shares_at_once() -> None:
    clock = HandClock()
    fleet = Fleet(clock=clock)

    beaten(fleet, clock, is_new=True, workers=1)

    assert fleet.sharers() == 1


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize("rejoined", [False, True], ids=["first-beat", "place-was-lost"])
def test_one_that_joins_waits_until_all_leases_of_before_are_dead(rejoined: bool) -> None:
    """The others' counts, then their leases, end; also for one that finds itself alone again."""
    clock = HandClock()
    fleet = Fleet(clock=clock)
    if rejoined:
        beaten(fleet, clock, is_new=True, workers=1)
        clock.advance_s(60)
    beaten(fleet, clock, is_new=True, workers=1 if rejoined else 2)
    clock.advance_s(FRESH_S + LEASE_S - 0.001)
    beaten(fleet, clock, is_new=False, workers=2)
    before = fleet.sharers()
    clock.advance_s(0.001)

    assert before == 0
    assert fleet.sharers() == 2


@pytest.mark.rule("edge.11")
def test_a_count_serves_for_three_seconds_from_when_it_was_asked() -> None:
    clock = HandClock()
    fleet = Fleet(clock=clock)
    asked_s = clock.now_s()
    clock.advance_s(0.5)
    fleet.beaten(asked_s=asked_s, is_new=True, workers=1, nodes=1)
    clock.advance_s(FRESH_S - 0.501)
    before = fleet.sharers()
    clock.advance_s(0.001)

    assert before == 1
    assert fleet.sharers() == 0
    assert fleet.workers == 1
