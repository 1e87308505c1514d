"""How long a store is waited for: requests some milliseconds, then they are decided without it; calls a little longer.

One timer for all of them, since a timer per request would cost more than its check.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from bff.ratelimit.bucket import Check, Verdict

__all__ = ["Asked", "Patience"]

# A call that took longer than this will not come back in time for anyone; its connection goes.
DROP_AFTER_S = 0.020
# A timer that fires later than this was held up by our own loop; the answer may be there unread.
LAG_S = 0.001


class Asked:
    """One request that waits for the store."""

    __slots__ = ("answer", "checks", "due_s")

    def __init__(
        self, checks: Sequence[Check], answer: "asyncio.Future[Verdict]", due_s: float
    ) -> None:
        self.checks = checks
        self.answer = answer
        self.due_s = due_s


class Patience:
    """Requests wait `timeout_s`, then `decide` answers them. Our own loop's lag does not count."""

    def __init__(self, *, timeout_s: float, decide: Callable[[Sequence[Check]], Verdict]) -> None:
        self._timeout_s = timeout_s
        self._decide = decide
        # In order of their ends, since all wait equally long.
        self._waiting: deque[Asked] = deque()
        # Calls under way, with when they are dropped.
        self._calls: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0
        self._is_lag_excused = False

    def add(self, checks: Sequence[Check]) -> Asked:
        """Let a request wait from now on; whoever has its answer sets it."""
        loop = asyncio.get_running_loop()
        asked = Asked(checks, loop.create_future(), loop.time() + self._timeout_s)
        self._waiting.append(asked)
        if self._timer is None:
            self._arm(asked.due_s)
        return asked

    def watch(self, call: asyncio.Timeout) -> None:
        """End a call that has just begun if it takes longer than 20 ms; `unwatch` it when it ends."""
        drop_s = asyncio.get_running_loop().time() + DROP_AFTER_S
        self._calls[call] = drop_s
        if self._timer is None:
            self._arm(drop_s)

    def unwatch(self, call: asyncio.Timeout) -> None:
        """The call has ended, or was ended by us."""
        self._calls.pop(call, None)

    def give_up(self, waiting: Iterable[Asked]) -> None:
        """Decide these requests now, but for those that are answered."""
        for asked in waiting:
            if not asked.answer.done():
                asked.answer.set_result(self._decide(asked.checks))

    def give_up_all(self) -> None:
        """Decide whoever waits now."""
        self.give_up(self._waiting)

    def close(self) -> None:
        """Decide whoever waits now, and end no call any more."""
        if self._timer is not None:
            self._timer.cancel()
        self.give_up_all()

    def _arm(self, due_s: float) -> None:
        self._timer_due_s = due_s
        self._timer = asyncio.get_running_loop().call_at(due_s, self._tick)

    def _tick(self) -> None:
        now_s = asyncio.get_running_loop().time()
        late_s = now_s - self._timer_due_s
        if late_s > LAG_S and not self._is_lag_excused:
            # We were away ourselves. Answers that came meanwhile are read before the next tick.
            self._is_lag_excused = True
            self._arm(now_s + min(late_s, self._timeout_s))
            return
        self._is_lag_excused = False
        waiting = self._waiting
        while waiting and (waiting[0].answer.done() or waiting[0].due_s <= now_s):
            self.give_up((waiting.popleft(),))
        ends_s = [waiting[0].due_s] if waiting else []
        for call, drop_s in list(self._calls.items()):
            if drop_s <= now_s:
                call.reschedule(now_s)
                del self._calls[call]
            else:
                ends_s.append(drop_s)
        self._timer = None
        if ends_s:
            self._arm(min(ends_s))
