"""The breaker's table, row by row."""

import pytest

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.upstream.breaker import REFUSED, Breaker, Moved, Verdict, judge
from bff.upstream.upstream import BreakerSettings
from tests.support.upstream_fakes import Half, fault, of_service


def make(*, slow_s: float = 1.0, random: Half | None = None) -> tuple[Breaker, list[Moved]]:
    moves: list[Moved] = []
    breaker = Breaker(BreakerSettings(), slow_s=slow_s, random=random or Half(), moved=moves.append)
    return breaker, moves


def run(
    breaker: Breaker, verdict: Verdict, count: int, *, now_s: float = 100.0, seconds: float = 0.1
) -> None:
    for _ in range(count):
        breaker.ended(breaker.ask(now_s), verdict, now_s, seconds)


@pytest.mark.rule("upstreams.10")
def test_nineteen_failures_do_not_open() -> None:
    breaker, _ = make()

    run(breaker, "failed", 19)

    assert breaker.state == "closed"


@pytest.mark.rule("upstreams.10")
def test_half_of_twenty_failed_opens() -> None:
    breaker, moves = make()

    run(breaker, "ok", 10)
    run(breaker, "failed", 9)
    assert breaker.state == "closed"
    run(breaker, "failed", 1)

    assert moves == [Moved("closed", "open", 20, 10, "too many calls failed")]


@pytest.mark.rule("upstreams.10")
def test_a_good_call_that_completes_the_twenty_opens_too() -> None:
    breaker, _ = make()

    run(breaker, "failed", 12)
    run(breaker, "ok", 8)

    assert breaker.state == "open"


@pytest.mark.rule("upstreams.10")
@pytest.mark.parametrize(("slow", "state"), [(16, "open"), (15, "closed")])
def test_four_of_five_slow_calls_open(slow: int, state: str) -> None:
    breaker, _ = make(slow_s=0.5)

    run(breaker, "ok", 20 - slow)
    run(breaker, "ok", slow, seconds=0.51)

    assert breaker.state == state


@pytest.mark.rule("upstreams.10")
def test_five_connect_failures_in_a_row_open_and_a_good_call_between_does_not() -> None:
    breaker, moves = make()

    run(breaker, "not_connected", 4)
    run(breaker, "ok", 1)
    run(breaker, "not_connected", 4)
    assert not moves
    run(breaker, "not_connected", 1)

    assert [move.why for move in moves] == ["it cannot be connected"]


@pytest.mark.rule("upstreams.10")
def test_failures_of_ten_seconds_ago_are_forgotten() -> None:
    breaker, _ = make()
    run(breaker, "failed", 19, now_s=100.9)

    run(breaker, "failed", 1, now_s=110.0)

    assert (breaker.state, breaker.calls) == ("closed", 1)


@pytest.mark.rule("upstreams.10")
def test_the_window_slides_second_by_second() -> None:
    breaker, _ = make()

    for now_s in (100.0, 105.0, 110.0, 114.0):
        run(breaker, "ok", 1, now_s=now_s)

    assert breaker.calls == 3


@pytest.mark.rule("upstreams.10")
def test_failures_of_nine_seconds_ago_count() -> None:
    breaker, _ = make()
    run(breaker, "failed", 19, now_s=100.0)

    run(breaker, "failed", 1, now_s=109.9)

    assert breaker.state == "open"


@pytest.mark.rule("upstreams.10")
def test_open_refuses_until_its_time_then_lets_one_probe_pass() -> None:
    breaker, _ = make()
    run(breaker, "failed", 20, now_s=100.0)

    assert breaker.ask(100.99) == REFUSED
    probe = breaker.ask(101.0)
    assert probe != REFUSED
    assert breaker.ask(101.0) == REFUSED

    assert breaker.state == "half_open"


@pytest.mark.rule("upstreams.10")
def test_third_good_probe_in_a_row_closes_with_an_empty_window() -> None:
    breaker, moves = make()
    run(breaker, "failed", 20, now_s=100.0)

    run(breaker, "ok", 2, now_s=102.0)
    assert breaker.state == "half_open"
    run(breaker, "ok", 1, now_s=102.0)

    assert (breaker.state, breaker.calls) == ("closed", 0)
    assert [move.after for move in moves] == ["open", "half_open", "closed"]


@pytest.mark.rule("upstreams.10")
@pytest.mark.parametrize("verdict", ["failed", "not_connected", "exhausted"])
def test_failed_probe_opens_for_twice_as_long(verdict: Verdict) -> None:
    breaker, _ = make()
    run(breaker, "failed", 20, now_s=100.0)

    run(breaker, verdict, 1, now_s=101.0)

    assert breaker.ask(102.99) == REFUSED
    assert breaker.ask(103.0) != REFUSED


@pytest.mark.rule("upstreams.10")
def test_cancelled_probe_frees_its_slot_without_a_verdict() -> None:
    breaker, _ = make()
    run(breaker, "failed", 20, now_s=100.0)

    breaker.abandoned(breaker.ask(101.0))

    assert breaker.ask(101.0) != REFUSED
    assert breaker.state == "half_open"


@pytest.mark.rule("upstreams.10")
def test_calls_from_before_it_opened_are_not_heard() -> None:
    breaker, _ = make()
    early = breaker.ask(100.0)
    run(breaker, "failed", 20, now_s=100.0)
    breaker.ask(101.0)

    breaker.ended(early, "ok", 101.0, 0.1)
    breaker.abandoned(early)

    assert breaker.state == "half_open"
    assert breaker.ask(101.0) == REFUSED


@pytest.mark.rule("upstreams.10")
@pytest.mark.parametrize(("chance", "until_s"), [(0.0, 100.5), (1.0, 101.5)])
def test_open_time_is_spread_by_half(chance: float, until_s: float) -> None:
    breaker, _ = make(random=Half([chance]))

    run(breaker, "failed", 20, now_s=100.0)

    assert breaker.is_open(until_s - 0.01)
    assert not breaker.is_open(until_s)


@pytest.mark.rule("upstreams.10")
def test_open_time_is_a_minute_at_most() -> None:
    breaker, _ = make()
    now_s = 100.0
    run(breaker, "failed", 20, now_s=now_s)

    for _ in range(40):
        now_s += 60.0
        run(breaker, "failed", 1, now_s=now_s)

    assert breaker.wait_s(now_s) == 60.0


@pytest.mark.rule("upstreams.10")
def test_a_minute_of_holding_forgives_earlier_openings() -> None:
    breaker, _ = make()
    run(breaker, "failed", 20, now_s=100.0)
    run(breaker, "ok", 3, now_s=101.0)

    run(breaker, "failed", 20, now_s=161.0)

    assert breaker.opened == 1


@pytest.mark.rule("upstreams.10")
@pytest.mark.parametrize(
    ("error", "full", "verdict"),
    [
        (of_service(Code.UNAVAILABLE), False, "failed"),
        (of_service(Code.INTERNAL), False, "failed"),
        (of_service(Code.UNKNOWN), False, "failed"),
        (of_service(Code.DATA_LOSS), False, "failed"),
        (of_service(Code.NOT_FOUND), True, "ok"),
        (of_service(Code.INVALID_ARGUMENT), True, "ok"),
        (of_service(Code.RESOURCE_EXHAUSTED), True, "exhausted"),
        (of_service(Code.DEADLINE_EXCEEDED), True, "failed"),
        (of_service(Code.DEADLINE_EXCEEDED), False, "none"),
        (fault(Code.DEADLINE_EXCEEDED, reason="TIMEOUT"), True, "failed"),
        (fault(Code.DEADLINE_EXCEEDED, reason="TIMEOUT"), False, "none"),
        (fault(sent="never"), False, "not_connected"),
        (fault(Code.UNIMPLEMENTED, reason="UPSTREAM_PROTOCOL"), False, "failed"),
        (fault(origin="local", sent="never"), True, "none"),
    ],
    ids=lambda value: f"{value.origin}-{value.code.name}" if isinstance(value, UpstreamError) else str(value),
)  # fmt: skip
def test_outcome_counts_as(error: UpstreamError, full: bool, verdict: Verdict) -> None:
    assert judge(error, had_full_time=full) == verdict
