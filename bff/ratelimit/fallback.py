"""What is decided here while the shared store is lost: each bucket's share of this table, by its wish."""

from collections.abc import Sequence

from bff.ratelimit.bucket import MAX_FULL_US, Bucket, Check, Verdict
from bff.ratelimit.limiter import LocalStore

__all__ = ["Fallback"]

# Pairs of bucket and share; a configuration has far fewer.
MOST_SHARES = 1_024


class Fallback:
    """`store` holds the buckets of those checks whose `on_store_loss` is `local`."""

    def __init__(self, store: LocalStore) -> None:
        self._take = store.take
        self._shares: dict[tuple[Bucket, int, int], Bucket] = {}

    def decide(self, checks: Sequence[Check], parts: int) -> Verdict:
        """Decide where `parts` tables like this one (>= 1) serve the same callers, each alone."""
        for check in checks:
            if check.on_store_loss == "deny":
                return Verdict(False, (-1,) * len(checks), "local", unavailable=True)
        local = [self._shared(check, parts) for check in checks if check.on_store_loss == "local"]
        verdict = self._take(local)
        taken = iter(zip(local, verdict.used_us, strict=True))
        used_us = []
        for check in checks:
            if check.on_store_loss != "local":
                used_us.append(0)
                continue
            share, share_used_us = next(taken)
            used_us.append(
                _as_of_whole(check, share.bucket, share_used_us, admitted=verdict.admitted)
            )
        return Verdict(verdict.admitted, used_us, "local")

    def _shared(self, check: Check, parts: int) -> Check:
        if parts == 1:
            return check
        bucket = self._share(check.bucket, check.cost, parts)
        return Check(check.policy, check.key, bucket, check.cost)

    def _share(self, bucket: Bucket, cost: int, parts: int) -> Bucket:
        """r/M and B/M; but what fits the whole bucket fits its share, if only once."""
        known = self._shares.get((bucket, cost, parts))
        if known is not None:
            return known
        if len(self._shares) >= MOST_SHARES:
            self._shares.clear()
        burst = max(1, cost, bucket.burst // parts)
        # A bucket of years has a share that takes no longer to fill than any bucket may.
        divisor = max(1, min(parts, MAX_FULL_US // bucket.full_us))
        share = Bucket(bucket.count, bucket.period_s * divisor, burst)
        self._shares[bucket, cost, parts] = share
        return share


def _as_of_whole(check: Check, share: Bucket, used_us: int, *, admitted: bool) -> int:
    """How far from full the policy's own bucket is with as many tokens, or as long to wait, as its share."""
    bucket = check.bucket
    if share is bucket:
        return used_us
    wait_us = used_us + check.cost * share.token_us - share.full_us
    if not admitted and wait_us > 0:
        return wait_us + bucket.full_us - check.cost * bucket.token_us
    left = (share.full_us - used_us) / share.token_us
    return bucket.full_us - int(left * bucket.token_us)
