"""Token-bucket arithmetic (GCRA) in whole microseconds. Pure: no clock, no store.

`take.lua` is the same rule inside Redis; tests/property/test_bucket.py holds both to one model.
A bucket's whole state is its TAT (theoretical arrival time): the moment at which it is full again.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import force_setattr

__all__ = ["Bucket", "Check", "OnStoreLoss", "Source", "Taking", "Verdict", "take"]

# Above this the period of one token, rounded up to whole microseconds, is off by more than 1 %.
MAX_PER_S = 10_000
# 31 years: a TAT stays below 2**53, so it is exact in the doubles of Lua.
MAX_FULL_US = 10**15

OnStoreLoss = Literal["local", "deny", "open"]
# Who decided: the table of this process or node, the shared store, tokens taken of it ahead, what we
# remember of a refusal of it, or this worker alone because it does not answer.
Source = Literal["memory", "store", "lease", "deny_cache", "local"]


class Bucket(Struct, frozen=True):
    """`count` tokens are regained per `period_s`; at most `burst` are held (0: as many as `count`).

    `token_us` is the time to regain one token, `full_us` the time from empty to full.
    Raises ValueError if a figure is not positive, or the rate is above 10,000 a second.
    """

    count: int
    period_s: float
    burst: int = 0
    token_us: int = 0
    full_us: int = 0

    def __post_init__(self) -> None:
        """Work out the figures that requests use."""
        period_us = round(self.period_s * 1_000_000)
        if self.count < 1 or period_us < 1 or self.burst < 0:
            raise ValueError("a bucket needs a count and a period above 0")
        if self.count * 1_000_000 > MAX_PER_S * period_us:
            raise ValueError(f"a rate above {MAX_PER_S}/s cannot be held to within 1 %")
        burst = self.burst or self.count
        token_us = -(-period_us // self.count)
        if token_us * burst > MAX_FULL_US:
            raise ValueError("the bucket takes more than 31 years to fill")
        force_setattr(self, "burst", burst)
        force_setattr(self, "token_us", token_us)
        force_setattr(self, "full_us", token_us * burst)


class Check(Struct, frozen=True):
    """One bucket that a request wants tokens of.

    `key` names the bucket, its policy included. `tenant` is set where the bucket has that dimension:
    stores may use it to keep a tenant's buckets together. 0 <= cost <= bucket.burst. Of a `strict`
    bucket no tokens are leased.
    """

    policy: str
    key: str
    bucket: Bucket
    cost: int = 1
    tenant: str = ""
    on_store_loss: OnStoreLoss = "local"
    strict: bool = False


class Verdict(Struct, frozen=True):
    """How a request's buckets were decided, all or nothing.

    `used_us[i]` belongs to the i-th check: how far the bucket is from full after the decision, in
    microseconds; -1 if that was not looked at. `unavailable` means: refused because the store is lost.
    """

    admitted: bool
    used_us: Sequence[int]
    source: Source = "memory"
    unavailable: bool = False


class Taking(Struct, frozen=True):
    """What one bucket says: the TAT to keep, and what a client may read of it (microseconds)."""

    tat_us: int
    admitted: bool
    wait_us: int
    remaining: int
    reset_us: int


def take(bucket: Bucket, tat_us: int, cost: int, now_us: int) -> Taking:
    """Spend `cost` tokens at `now_us`, on the clock of the store.

    `wait_us` is the time until `cost` would fit (0 if admitted), `remaining` the whole tokens left,
    `reset_us` the time until there is one more (0 if full). A refusal leaves the bucket as it was.
    Raises ValueError if cost is negative or above the burst: it could never fit.
    """
    if not 0 <= cost <= bucket.burst:
        raise ValueError(f"cost must lie in 0..{bucket.burst}, got {cost}")
    # The inner min bounds a lock-out to one bucket when a clock steps back, and lets a change of
    # tier neither refill nor lock.
    held_us = max(now_us, min(tat_us, now_us + bucket.full_us))
    next_us = held_us + cost * bucket.token_us
    wait_us = next_us - now_us - bucket.full_us
    admitted = wait_us <= 0
    used_us = (next_us if admitted else held_us) - now_us
    remaining = (bucket.full_us - used_us) // bucket.token_us
    reset_us = 0
    if used_us > 0:
        reset_us = used_us - bucket.full_us + (remaining + 1) * bucket.token_us
    return Taking(next_us if admitted else tat_us, admitted, max(0, wait_us), remaining, reset_us)
