"""Refusals of a store, remembered until their wait ends: a hot refused key costs no round trip.

It never admits anything, so it cannot over-admit.
"""

from collections.abc import Callable, Sequence

from bff.core.ports import Clock
from bff.ratelimit.bucket import Bucket, Check, Verdict

__all__ = ["DenyCache"]

LONGEST_US = 60_000_000


class DenyCache:
    """At most `capacity` keys; the one remembered first is forgotten first.

    `least_us` says how long a refusal of this check holds, if its wait is shorter.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        least_us: Callable[[Check], int] = lambda _check: 0,
        capacity: int = 65_536,
    ) -> None:
        self._now_s = clock.now_s
        self._least_us = least_us
        self._capacity = capacity
        # Key -> (remembered until, tokens there at, the cost that did not fit, of which bucket).
        # Another tier or a changed policy is another bucket, and then the store is asked.
        self._until: dict[str, tuple[int, int, int, Bucket]] = {}

    def __len__(self) -> int:
        """The number of keys remembered."""
        return len(self._until)

    def now_us(self) -> int:
        """The time to give to `remember`: read before the store was asked."""
        return int(self._now_s() * 1_000_000)

    def remember(self, checks: Sequence[Check], used_us: Sequence[int], asked_us: int) -> None:
        """Keep a refusal: `used_us` as in its Verdict."""
        for check, used in zip(checks, used_us, strict=True):
            wait_us = used + check.cost * check.bucket.token_us - check.bucket.full_us
            if wait_us <= 0:
                continue
            wait_us = max(wait_us, self._least_us(check))
            # From when we asked: the store decided later than that, so the token is there by then
            # or a round trip later, never sooner.
            until_us = asked_us + min(wait_us, LONGEST_US)
            there_us = asked_us + wait_us
            self._until.pop(check.key, None)
            if len(self._until) >= self._capacity:
                del self._until[next(iter(self._until))]
            self._until[check.key] = (until_us, there_us, check.cost, check.bucket)

    def verdict(self, checks: Sequence[Check]) -> Verdict | None:
        """The refusal that still holds for one of these checks, or None."""
        if not self._until:
            return None
        for at, check in enumerate(checks):
            kept = self._until.get(check.key)
            if kept is None:
                continue
            until_us, there_us, cost, bucket = kept
            now_us = self.now_us()
            if until_us <= now_us:
                del self._until[check.key]
                continue
            if check.cost >= cost and check.bucket == bucket:
                used_us = [-1] * len(checks)
                used_us[at] = there_us - now_us + bucket.full_us - check.cost * bucket.token_us
                return Verdict(False, used_us, "deny_cache")
        return None
