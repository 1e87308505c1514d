"""Doubles for the limiter's tests: a clock that is set by hand, and the exact model of a bucket."""

from bff.ratelimit.bucket import Bucket


class HandClock:
    """Both clocks stand still until moved."""

    def __init__(self, now_us: int = 1_000_000_000) -> None:
        self.now_us = now_us

    def now_s(self) -> float:
        return self.now_us / 1_000_000

    def unix_s(self) -> float:
        return 1_700_000_000 + self.now_us / 1_000_000

    def advance_s(self, seconds: float) -> None:
        self.now_us += round(seconds * 1_000_000)


class Model:
    """A bucket by its meaning, as time owed: a full bucket owes nothing, each token owes its period.

    Written without a TAT, so that a mistake in that form cannot hide here too.
    """

    def __init__(self) -> None:
        self.owed_us = 0
        self.at_us: int | None = None

    def take(self, bucket: Bucket, cost: int, now_us: int) -> tuple[bool, int]:
        """Admitted or not, and how far from full the bucket is afterwards."""
        before_us = now_us if self.at_us is None else self.at_us
        owed_us = min(bucket.full_us, max(0, self.owed_us - (now_us - before_us)))
        price_us = cost * bucket.token_us
        if owed_us + price_us > bucket.full_us:
            return False, owed_us
        self.owed_us = owed_us + price_us
        self.at_us = now_us
        return True, self.owed_us
