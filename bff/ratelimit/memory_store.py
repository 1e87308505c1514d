"""Buckets in a table of this process: exact for one worker, bounded, decided without waiting."""

from collections.abc import Sequence
from heapq import heappop, heappush, heapreplace

from bff.core.ports import Clock
from bff.ratelimit.bucket import Check, Verdict

__all__ = ["MemoryStore"]

# How many stale heap entries one eviction may set right. Each take makes at most one entry stale,
# so the mean is below one; the bound keeps a single request from paying for all of them.
_EVICTION_STEPS = 64


class MemoryStore:
    """At most `capacity` buckets. When full, the one nearest to full capacity goes first.

    A bucket that is full again is the same as none, so it is forgotten in passing: each new bucket
    sweeps out up to two of those.
    """

    def __init__(self, *, clock: Clock, capacity: int = 131_072) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._now_s = clock.now_s
        self._capacity = capacity
        self._tats: dict[str, int] = {}
        # One entry per bucket, (TAT when it was pushed, key): a lower bound, since a TAT only grows.
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        """The number of buckets held."""
        return len(self._tats)

    def take(self, checks: Sequence[Check]) -> Verdict:
        """Take from every bucket, or from none if one of them has too little."""
        now_us = int(self._now_s() * 1_000_000)
        tats = self._tats
        admitted = True
        used_us = []
        next_us = []
        for check in checks:
            bucket = check.bucket
            full_us = bucket.full_us
            held_us = tats.get(check.key, 0) - now_us
            if held_us <= 0:
                held_us = 0
            elif held_us > full_us:
                held_us = full_us
            spent_us = held_us + check.cost * bucket.token_us
            if spent_us > full_us:
                admitted = False
            used_us.append(held_us)
            next_us.append(spent_us)
        if not admitted:
            return Verdict(False, used_us)
        for at, check in enumerate(checks):
            key = check.key
            tat_us = now_us + next_us[at]
            if key not in tats:
                self._make_room(now_us)
                heappush(self._heap, (tat_us, key))
            tats[key] = tat_us
        return Verdict(True, next_us)

    def _make_room(self, now_us: int) -> None:
        for _ in range(2):
            if not self._heap or self._heap[0][0] > now_us:
                break
            self._settle_least(now_us)
        if len(self._tats) < self._capacity:
            return
        for _ in range(_EVICTION_STEPS):
            pushed_us, key = self._heap[0]
            if self._tats[key] == pushed_us:
                break
            heapreplace(self._heap, (self._tats[key], key))
        _, key = heappop(self._heap)
        del self._tats[key]

    def _settle_least(self, now_us: int) -> None:
        """Forget the bucket on top of the heap if it is full again, else put its entry right."""
        _, key = self._heap[0]
        tat_us = self._tats[key]
        if tat_us > now_us:
            heapreplace(self._heap, (tat_us, key))
            return
        heappop(self._heap)
        del self._tats[key]
