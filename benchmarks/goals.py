"""What we want to cost, and whether a report shows it: a table of aims and one verdict each."""

import statistics
from collections.abc import Sequence

from msgspec import Struct

from benchmarks.figures import TITLES_OF_ASKED, Key, Report, Row, ratio, spread

__all__ = ["GOALS", "Goal", "Judgement", "judge", "store_difference_us"]

_STORE_GOAL_US = 10.0
_FIRST_ANSWER_GOAL_S = 1.5
# Calls at once -> what our client may cost of grpcio.
_LANE_GOALS = {1: 0.4, 32: 0.2}


class Goal(Struct, frozen=True):
    """What one figure may be of another at the most."""

    what: str
    ours: Key
    other: Key
    most: float


class Judgement(Struct, frozen=True):
    """One line: `verdict` is met, missed or not measured."""

    what: str
    aim: str
    measured: str
    verdict: str

    @property
    def is_judged(self) -> bool:
        """Whether there was something to judge."""
        return self.verdict != "not measured"


def _of_envoy(mode: str, size: str, most: float) -> Goal:
    titles = {"plain": "plain", "policies": "policies on"}
    what = f"{titles[mode]}, {TITLES_OF_ASKED[size]}: CPU of Envoy's"
    return Goal(what, ("ours", mode, size), ("envoy", mode, size), most)


GOALS = (
    _of_envoy("plain", "small", 0.50),
    _of_envoy("plain", "medium", 0.58),
    _of_envoy("plain", "large", 0.75),
    _of_envoy("policies", "small", 0.62),
    _of_envoy("policies", "medium", 0.62),
    _of_envoy("policies", "large", 0.70),
    _of_envoy("policies", "post", 0.65),
    Goal(
        "10,000 routes: CPU of 10 routes'",
        ("ours", "routes-10000", "small"),
        ("ours", "routes-10", "small"),
        1.2,
    ),
)


def judge(report: Report, rows: Sequence[Row]) -> list[Judgement]:
    """Every goal, those that this report cannot judge included."""
    found = [
        _judged(goal.what, ratio(rows, goal.ours, goal.other), goal.most, "{:.2f}x")
        for goal in GOALS
    ]
    found += [
        _judged(
            f"our HTTP/2 client, {at_once} call{'s' if at_once > 1 else ''} at once: CPU of grpcio's",
            _lane_ratio(report, at_once),
            most,
            "{:.2f}x",
        )
        for at_once, most in _LANE_GOALS.items()
    ]
    first = spread(report.first_answer_s)
    what = "buckets in Valkey: CPU more than in memory"
    return [
        *found,
        _judged(what, store_difference_us(report), _STORE_GOAL_US, "{:+.1f} us"),
        _judged(
            "first answer after `bff serve`",
            first.median if first else None,
            _FIRST_ANSWER_GOAL_S,
            "{:.2f} s",
        ),
    ]


def store_difference_us(report: Report) -> float | None:
    """Median over all pairs of neighbouring blocks; without pairs nothing is said."""
    differences = [pair.far_us - pair.near_us for pair in report.pairs]
    return statistics.median(differences) if differences else None


def _lane_ratio(report: Report, at_once: int) -> float | None:
    medians = {
        client: spread(
            run.total_us for run in report.lane if (run.client, run.at_once) == (client, at_once)
        )
        for client in ("lane", "grpcio")
    }
    ours, other = medians["lane"], medians["grpcio"]
    return None if ours is None or other is None else ours.median / other.median


def _judged(what: str, figure: float | None, most: float, form: str) -> Judgement:
    aim = f"<= {form.format(most)}"
    if figure is None:
        return Judgement(what, aim, "-", "not measured")
    return Judgement(what, aim, form.format(figure), "met" if figure <= most else "missed")
