"""The circuit breaker of one operation: closed, open, half_open. Pure: no clock, no I/O.

closed lets calls pass and counts them; open refuses until a time; half_open lets one probe at a
time pass, and three good ones in a row close it. Time comes in as an argument, so that an idle
breaker forgets by time alone.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from bff.core.errors import UpstreamError
from bff.core.ports import Random
from bff.core.status import Code
from bff.upstream.upstream import BreakerSettings

__all__ = ["REFUSED", "Breaker", "Moved", "State", "Verdict", "judge"]

State = Literal["closed", "open", "half_open"]
# exhausted: the service is too busy, which is no fault of a call but fails a probe; none: a call
# that tells nothing, such as one whose caller allowed too little time.
Verdict = Literal["ok", "failed", "not_connected", "exhausted", "none"]

# What `ask` gives in place of a pass.
REFUSED = -1

_SLICES = 10
_CONNECT_FAILURES = 5
_PROBES = 3
_OPEN_MAX_S = 60.0
# A closed breaker that held for this long has forgotten how often it opened.
_FORGIVEN_AFTER_S = 60.0

_GOOD = frozenset({"ok", "exhausted"})
_FAILED_CODES = frozenset({Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS})


class Moved(Struct, frozen=True):
    """A step from one state to another, with the figures of the window that caused it."""

    before: State
    after: State
    calls: int
    failed: int
    why: str


def judge(error: UpstreamError, *, had_full_time: bool) -> Verdict:
    """What a failed attempt says about the service.

    A deadline counts only if the attempt `had_full_time`: a client's short hint trips nothing.
    """
    if error.origin == "local":
        return "none"
    if error.sent == "never":
        return "not_connected"
    if error.code is Code.DEADLINE_EXCEEDED:
        return "failed" if had_full_time else "none"
    if error.origin == "wire" or error.code in _FAILED_CODES:
        return "failed"
    return "exhausted" if error.code is Code.RESOURCE_EXHAUSTED else "ok"


class Breaker:
    """One operation's breaker. Each `ask` that is not REFUSED must be followed by `ended` or `abandoned`.

    A pass is the number of the state's period: what a call tells that began in an earlier period is
    not heard, since it says nothing about the service of now. `slow_s` is the time from which a
    call counts as slow.
    """

    __slots__ = (
        "_at", "_calls", "_closed_at_s", "_connect_failures", "_failed", "_moved", "_opened",
        "_probe_out", "_probes_ok", "_random", "_slow", "_until_s", "calls", "failed", "period",
        "settings", "slow", "slow_s", "state",
    )  # fmt: skip

    def __init__(
        self,
        settings: BreakerSettings,
        *,
        slow_s: float,
        random: Random,
        moved: Callable[[Moved], None],
    ) -> None:
        self.settings = settings
        self._random = random
        self._moved = moved
        self.slow_s = slow_s
        self.state: State = "closed"
        self.period = 0
        self.calls = self.failed = self.slow = 0
        self._calls = [0] * _SLICES
        self._failed = [0] * _SLICES
        self._slow = [0] * _SLICES
        self._at = 0
        self._connect_failures = 0
        self._opened = 0
        self._closed_at_s = 0.0
        self._until_s = 0.0
        self._probe_out = False
        self._probes_ok = 0

    @property
    def opened(self) -> int:
        """How often it opened without holding for 60 s in between."""
        return self._opened

    def is_open(self, now_s: float) -> bool:
        """True if a call would be refused now; changes nothing."""
        if self.state == "closed":
            return False
        return self._probe_out if self.state == "half_open" else now_s < self._until_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until calls may be tried again, at least 1: what Retry-After says."""
        return max(1.0, self._until_s - now_s)

    def describe(self, now_s: float) -> dict[str, str | int | float]:
        """State, and the window's figures as of the last call."""
        open_for_s = max(0.0, self._until_s - now_s) if self.state == "open" else 0.0
        return {
            "state": self.state,
            "calls": self.calls,
            "failed": self.failed,
            "slow": self.slow,
            "opened": self._opened,
            "open_for_s": round(open_for_s, 3),
        }

    def ask(self, now_s: float) -> int:
        """A pass for one call, or REFUSED."""
        if self.state == "closed":
            return self.period
        if self.is_open(now_s):
            return REFUSED
        if self.state == "open":
            self._move("half_open", "its time is over")
            self._probes_ok = 0
        self._probe_out = True
        return self.period

    def ended(self, granted: int, verdict: Verdict, now_s: float, seconds: float) -> None:
        """A call with this pass ended after `seconds`."""
        if granted != self.period:
            return
        if self.state == "half_open":
            self._probe_ended(verdict, now_s)
            return
        if verdict == "none":
            return
        at = int(now_s)
        if at != self._at:
            self._roll(at)
        at %= _SLICES
        self.calls += 1
        self._calls[at] += 1
        if seconds > self.slow_s:
            self.slow += 1
            self._slow[at] += 1
        if verdict in _GOOD:
            self._connect_failures = 0
        else:
            self.failed += 1
            self._failed[at] += 1
            self._connect_failures = self._connect_failures + 1 if verdict == "not_connected" else 0
        if self.failed or self.slow:
            self._weigh(now_s)

    def abandoned(self, granted: int) -> None:
        """A call's own caller left: no verdict, but a probe's slot is free again."""
        if granted == self.period and self.state == "half_open":
            self._probe_out = False

    def _probe_ended(self, verdict: Verdict, now_s: float) -> None:
        self._probe_out = False
        if verdict == "none":
            return
        if verdict != "ok":
            self._open(now_s, "the probe failed")
            return
        self._probes_ok += 1
        if self._probes_ok == _PROBES:
            self._clear()
            self._closed_at_s = now_s
            self._move("closed", "three probes were good")

    def _weigh(self, now_s: float) -> None:
        settings, calls = self.settings, self.calls
        if self._connect_failures >= _CONNECT_FAILURES:
            self._open(now_s, "it cannot be connected")
        elif calls < settings.min_calls:
            return
        elif self.failed >= settings.failures * calls:
            self._open(now_s, "too many calls failed")
        elif self.slow >= settings.slow * calls:
            self._open(now_s, "too many calls were slow")

    def _open(self, now_s: float, why: str) -> None:
        if self.state == "closed" and now_s - self._closed_at_s >= _FORGIVEN_AFTER_S:
            self._opened = 0
        self._opened += 1
        # 2 ** 6 s is beyond the cap already; a larger power must not overflow.
        time_s = min(_OPEN_MAX_S, 2.0 ** min(self._opened - 1, 6))
        self._until_s = now_s + time_s * self._random.uniform(0.5, 1.5)
        self._move("open", why)

    def _move(self, after: State, why: str) -> None:
        before, self.state = self.state, after
        self.period += 1
        self._moved(Moved(before, after, self.calls, self.failed, why))

    def _roll(self, at: int) -> None:
        """Forget the slices that lie 10 s or more before second `at`."""
        if at - self._at >= _SLICES:
            self._clear()
        else:
            for second in range(self._at + 1, at + 1):
                index = second % _SLICES
                self.calls -= self._calls[index]
                self.failed -= self._failed[index]
                self.slow -= self._slow[index]
                self._calls[index] = self._failed[index] = self._slow[index] = 0
        self._at = at

    def _clear(self) -> None:
        self._calls = [0] * _SLICES
        self._failed = [0] * _SLICES
        self._slow = [0] * _SLICES
        self.calls = self.failed = self.slow = self._connect_failures = 0
