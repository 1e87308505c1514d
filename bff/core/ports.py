"""What we take from the outside world, as arguments: the clock and randomness."""

import random
import time
from typing import Protocol

__all__ = ["Clock", "Random", "SystemClock", "system_random"]


class Clock(Protocol):
    """Two clocks, both in seconds: one that never steps, and the one on the wall."""

    def now_s(self) -> float:
        """Monotonic time; for deadlines, waits and buckets."""
        ...

    def unix_s(self) -> float:
        """Time since 1970 (UTC); for tokens and logs."""
        ...


class Random(Protocol):
    """The part of `random.Random` that we use."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...

    def uniform(self, a: float, b: float) -> float:
        """A float between a and b."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """An int of k random bits."""
        ...


class SystemClock:
    """The machine's clocks."""

    # Bound once: an attribute of the instance is found faster than a method that calls another.
    now_s = staticmethod(time.monotonic)  # noqa: TID251 - this is the port
    unix_s = staticmethod(time.time)  # noqa: TID251 - this is the port


def system_random() -> Random:
    """Randomness seeded by the operating system; for jitter and choice, never for secrets."""
    return random.Random()  # noqa: S311 - no secret is made of it
