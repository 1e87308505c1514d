"""For the limiter's tests: a clock that is set by hand, the exact model of a bucket, processes that take at once."""

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from multiprocessing.queues import Queue

from bff.ratelimit.bucket import Bucket, Check


class HandClock:
    """Both clocks stand still until moved."""

    def __init__(self, now_us: int = 1_000_000_000) -> None:
        self.now_us = now_us

    def now_s(self) -> float:
        return self.now_us / 1_000_000

    def unix_s(self) -> float:
        return 1_700_000_000 + self.now_us / 1_000_000

    def store_us(self) -> int:
        """The whole microseconds that a store reads from this clock."""
        return int(self.now_s() * 1_000_000)

    def advance_s(self, seconds: float) -> None:
        self.now_us += round(seconds * 1_000_000)


class Model:
    """A bucket by its meaning, as time owed: a full bucket owes nothing, each token owes its period.

    Written without a TAT, so that a mistake in that form cannot hide here too.
    """

    def __init__(self) -> None:
        self.owed_us = 0
        self.at_us: int | None = None

    def owed(self, bucket: Bucket, now_us: int) -> int:
        """How far from full it is now."""
        before_us = now_us if self.at_us is None else self.at_us
        return min(bucket.full_us, max(0, self.owed_us - (now_us - before_us)))

    def spend(self, bucket: Bucket, cost: int, now_us: int) -> None:
        """Take tokens that are known to be there."""
        self.owed_us = self.owed(bucket, now_us) + cost * bucket.token_us
        self.at_us = now_us

    def exchange(self, bucket: Bucket, tokens: int, now_us: int) -> int:
        """Grant up to `tokens`, or below 0 take them back; how many it were."""
        owed_us = self.owed(bucket, now_us)
        granted = min(tokens, (bucket.full_us - owed_us) // bucket.token_us)
        self.owed_us = max(0, owed_us + granted * bucket.token_us)
        self.at_us = now_us
        return granted


class ModelStore:
    """Models by key, all or nothing."""

    def __init__(self) -> None:
        self.models: defaultdict[str, Model] = defaultdict(Model)

    def take(self, checks: Sequence[Check], now_us: int) -> tuple[bool, list[int]]:
        """Admitted or not, and how far each bucket is from full afterwards."""
        owed = [self.models[check.key].owed(check.bucket, now_us) for check in checks]
        fits = all(
            us + check.cost * check.bucket.token_us <= check.bucket.full_us
            for us, check in zip(owed, checks, strict=True)
        )
        if not fits:
            return False, owed
        for check in checks:
            self.models[check.key].spend(check.bucket, check.cost, now_us)
        return True, [self.models[check.key].owed_us for check in checks]


def admitted_by_processes(work: Callable[..., None], *args: object) -> tuple[list[int], int]:
    """Four processes do `work(*args, results)`, each putting the times (us) of what it was admitted.

    All times together, sorted, and how many microseconds lie between the start and the last.
    """
    context = multiprocessing.get_context("spawn")
    results: Queue[list[int]] = context.Queue()
    started_us = time.monotonic_ns() // 1_000
    children = [context.Process(target=work, args=(*args, results)) for _ in range(4)]
    for child in children:
        child.start()
    admitted = sorted(at for _ in children for at in results.get(timeout=60))
    for child in children:
        child.join(60)
    return admitted, admitted[-1] - started_us
