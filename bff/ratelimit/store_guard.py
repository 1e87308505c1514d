"""When to stop asking a store that fails, and when to try again. Pure: time is an argument."""

from collections import deque

from bff.core.ports import Random

__all__ = ["StoreGuard"]

ERRORS = 3
WITHIN_S = 1.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 2.0
# Workers that lost the store together must not come back together.
JITTER = 0.2


class StoreGuard:
    """Three errors within a second open it for 250 ms, doubling to 2 s; one probe closes it again."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._errors_s: deque[float] = deque(maxlen=ERRORS)
        self._pause_s = FIRST_PAUSE_S
        self.is_open = False

    def failed(self, now_s: float) -> bool:
        """Note an error; True if it opens the guard."""
        self._errors_s.append(now_s)
        if self.is_open or len(self._errors_s) < ERRORS or now_s - self._errors_s[0] > WITHIN_S:
            return False
        self.is_open = True
        self._pause_s = FIRST_PAUSE_S
        return True

    def pause_s(self) -> float:
        """How long to wait before the next probe; twice as long each time, up to 2 s."""
        pause_s = self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        return pause_s * self._random.uniform(1 - JITTER, 1 + JITTER)

    def recovered(self) -> None:
        """A probe was answered."""
        self.is_open = False
        self._errors_s.clear()
