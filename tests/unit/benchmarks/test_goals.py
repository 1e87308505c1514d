"""Aims and verdicts."""

import pytest

from benchmarks.figures import Report
from benchmarks.goals import Judgement, judge
from benchmarks.report import rows_of_contenders
from tests.unit.benchmarks.reports import lane, report, single


def judged(made: Report) -> dict[str, Judgement]:
    return {each.what: each for each in judge(made, rows_of_contenders(made)) if each.is_judged}


@pytest.mark.parametrize(("ours_us", "verdict"), [(62.0, "met"), (63.0, "missed")])
def test_a_goal_is_met_up_to_its_ratio(ours_us: float, verdict: str) -> None:
    found = judged(report(single("ours", ours_us), single("envoy", 100.0)))

    assert list(found.values()) == [
        Judgement(
            "policies on, 1.7 KB: CPU of Envoy's", "<= 0.62x", f"{ours_us / 100:.2f}x", verdict
        )
    ]


def test_a_goal_compares_medians() -> None:
    ours = [single("ours", value, number=n) for n, value in enumerate((50.0, 60.0, 900.0), 1)]

    (one,) = judged(report(*ours, single("envoy", 100.0))).values()

    assert one.measured == "0.60x"


def test_policies_on_are_not_compared_with_plain() -> None:
    assert judged(report(single("ours", 50.0), single("envoy", 100.0, mode="plain"))) == {}


@pytest.mark.parametrize(("far_us", "verdict"), [(110.0, "met"), (110.2, "missed")])
def test_a_store_may_cost_ten_microseconds_in_the_median_of_pairs(
    far_us: float, verdict: str
) -> None:
    # Two drifts of the machine, which meet both sides of a pair.
    pairs = ((100.0, far_us), (300.0, 305.0), (50.0, 90.0))

    (one,) = judged(report(pairs=pairs)).values()

    assert (one.measured, one.verdict) == (f"{far_us - 100:+.1f} us", verdict)


def test_a_store_without_pairs_is_not_judged() -> None:
    assert judged(report(single("ours", 100.0), single("ours", 105.0, mode="redis"))) == {}


def test_the_client_has_an_aim_for_each_number_of_calls() -> None:
    alone = (lane("lane", 45.0), lane("grpcio", 100.0))
    many = (lane("lane", 19.0, at_once=32), lane("grpcio", 100.0, at_once=32))

    found = judged(report(lane_runs=(*alone, *many)))

    assert [(one.aim, one.measured, one.verdict) for one in found.values()] == [
        ("<= 0.40x", "0.45x", "missed"),
        ("<= 0.20x", "0.19x", "met"),
    ]


def test_the_first_answer_has_a_second_and_a_half() -> None:
    (one,) = judged(report(first_answer_s=(1.2, 1.5, 9.0))).values()

    assert (one.measured, one.verdict) == ("1.50 s", "met")


def test_every_goal_has_a_line_even_if_nothing_was_measured() -> None:
    found = judge(report(), [])

    assert len(found) == 12
    assert {one.verdict for one in found} == {"not measured"}
