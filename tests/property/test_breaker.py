"""A breaker under any order of calls, endings, cancels and pauses behaves as a plain log of calls says."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bff.upstream.breaker import REFUSED, Breaker, Moved, Verdict
from bff.upstream.upstream import BreakerSettings
from tests.support.upstream_fakes import Half

SLOW_S = 1.0
VERDICTS: tuple[Verdict, ...] = ("ok", "failed", "not_connected", "exhausted", "none")
LEGAL = {
    ("closed", "open"),
    ("open", "half_open"),
    ("half_open", "open"),
    ("half_open", "closed"),
}


class BreakerMachine(RuleBasedStateMachine):
    """The model keeps every ended call with its second; the breaker keeps ten sums."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.out: list[tuple[int, str]] = []
        # (second, failed, slow) of each call since the window was last cleared.
        self.log: list[tuple[int, bool, bool]] = []
        self.moves: list[Moved] = []
        self.probes_ok = 0

    @initialize(min_calls=st.integers(1, 6))
    def make(self, min_calls: int) -> None:
        self.min_calls = min_calls
        self.breaker = Breaker(
            BreakerSettings(min_calls=min_calls),
            slow_s=SLOW_S,
            random=Half(),
            moved=self.moves.append,
        )

    @rule()
    def ask(self) -> None:
        was_open = self.breaker.is_open(self.now_s)
        state = self.breaker.state
        granted = self.breaker.ask(self.now_s)
        assert (granted == REFUSED) == was_open
        if granted == REFUSED:
            assert state != "closed"
        else:
            self.out.append((granted, self.breaker.state))
            if state == "open":
                self.probes_ok = 0

    @precondition(lambda self: self.out)
    @rule(data=st.data(), verdict=st.sampled_from(VERDICTS), slow=st.booleans())
    def end(self, data: Any, verdict: Verdict, slow: bool) -> None:
        granted, _ = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.breaker.state
        heard = granted == self.breaker.period
        moved = len(self.moves)
        self.breaker.ended(granted, verdict, self.now_s, 2 * SLOW_S if slow else 0.1)
        if not heard or verdict == "none":
            assert len(self.moves) == moved
        elif before == "half_open":
            self._probe(verdict)
        else:
            failed = verdict in ("failed", "not_connected")
            self.log.append((int(self.now_s), failed, slow))

    def _probe(self, verdict: Verdict) -> None:
        if verdict != "ok":
            assert self.breaker.state == "open"
            return
        self.probes_ok += 1
        assert self.breaker.state == ("closed" if self.probes_ok == 3 else "half_open")
        if self.probes_ok == 3:
            self.log.clear()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def abandon(self, data: Any) -> None:
        granted, _ = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        moved = len(self.moves)
        self.breaker.abandoned(granted)
        assert len(self.moves) == moved

    @rule(count=st.integers(1, 12), step_s=st.sampled_from([0.3, 1.0, 2.5, 7.0]))
    def good_calls(self, count: int, step_s: float) -> None:
        """Calls one after the other, so that the window slides while it is full."""
        for _ in range(count):
            if self.breaker.state != "closed":
                return
            self.breaker.ended(self.breaker.ask(self.now_s), "ok", self.now_s, 0.1)
            self.log.append((int(self.now_s), False, False))
            if self.breaker.state == "closed":
                self.window_tells_of_ten_seconds()
            self.now_s += step_s

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 9.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def window_tells_of_ten_seconds(self) -> None:
        """A closed breaker is closed because its window, counted anew, would not open it."""
        if self.breaker.state != "closed" or not self.log:
            return
        last = self.log[-1][0]
        window = [one for one in self.log if last - 10 < one[0]]
        assert self.breaker.calls == len(window)
        assert self.breaker.failed == sum(failed for _, failed, _ in window)
        assert self.breaker.slow == sum(slow for _, _, slow in window)
        if len(window) >= self.min_calls:
            assert self.breaker.failed < 0.5 * len(window)
            assert self.breaker.slow < 0.8 * len(window)

    @invariant()
    def one_probe_at_a_time(self) -> None:
        probes = [
            granted
            for granted, state in self.out
            if state == "half_open" and granted == self.breaker.period
        ]
        assert len(probes) <= 1

    @invariant()
    def moves_are_those_of_the_table(self) -> None:
        for before, after in zip(self.moves, self.moves[1:], strict=False):
            assert before.after == after.before
        assert {(move.before, move.after) for move in self.moves} <= LEGAL

    @invariant()
    def refusal_ends(self) -> None:
        """Whatever happened, a minute and a half later a call passes, if no probe is out."""
        if self.breaker.state == "open":
            assert not self.breaker.is_open(self.now_s + 90.0)


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
