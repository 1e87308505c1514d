"""Who else takes from the same store: what a worker's beats told it. Pure: no I/O.

Why leases may rest on it: a count serves `FRESH_S` and a lease lives `LEASE_S`, so a worker that
waits for both after its first beat takes its first lease when every lease of the others was sized by
a count that includes it.
"""

from bff.core.ports import Clock

__all__ = ["BEAT_S", "FRESH_S", "GONE_S", "LEASE_S", "Fleet"]

BEAT_S = 2.0
# A worker that was silent for so long is counted no more.
GONE_S = 6.0
# A beat may be late, but not left out.
FRESH_S = 3.0
LEASE_S = 1.0


class Fleet:
    """The workers and nodes that live, as last told. `nodes` and `workers` are at least 1."""

    def __init__(self, *, clock: Clock) -> None:
        self._now_s = clock.now_s
        self._is_joined = False
        self._fresh_until_s = 0.0
        self._sharing_from_s = 0.0
        self.nodes = 1
        self.workers = 1

    def beaten(self, *, asked_s: float, is_new: bool, workers: int, nodes: int) -> None:
        """Take what the store said. `is_new`: we were not counted until this beat, sent at `asked_s`."""
        now_s = self._now_s()
        if is_new:
            # Alone from the start: nobody has a lease. One that lost its place cannot know that.
            is_first = workers == 1 and not self._is_joined
            self._sharing_from_s = now_s if is_first else now_s + FRESH_S + LEASE_S
        self._is_joined = True
        self._fresh_until_s = asked_s + FRESH_S
        self.workers = max(1, workers)
        self.nodes = max(1, nodes)

    def sharers(self) -> int:
        """How many workers a bucket's leases are shared among; 0: none may be taken now."""
        now_s = self._now_s()
        if not self._is_joined or now_s >= self._fresh_until_s or now_s < self._sharing_from_s:
            return 0
        return self.workers
