"""Buckets by client address, local to the worker: the flood guard, and the guard against guessed credentials."""

from bff.core.ports import Clock
from bff.ratelimit.bucket import Bucket
from bff.ratelimit.dimensions import address_key

__all__ = ["AddressBuckets"]


class AddressBuckets:
    """One bucket per address (IPv6: per /64); the address seen longest ago is forgotten first.

    Flood guard: `allow` each request. Failed credentials: `has_token` before a credential is
    looked at, `allow` when it turned out to be bad.
    """

    def __init__(self, *, bucket: Bucket, clock: Clock, capacity: int = 65_536) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._token_us = bucket.token_us
        self._spendable_us = bucket.full_us - bucket.token_us
        self._now_s = clock.now_s
        self._capacity = capacity
        # In order of last use: a key is taken out and put back at each use.
        self._tats: dict[str, int] = {}

    def __len__(self) -> int:
        """The number of addresses held."""
        return len(self._tats)

    def allow(self, address: str) -> bool:
        """Take one token; False if there is none, and then nothing is taken."""
        key = address_key(address)
        now_us = int(self._now_s() * 1_000_000)
        tats = self._tats
        tat_us = max(tats.pop(key, 0), now_us)
        if tat_us - now_us > self._spendable_us:
            tats[key] = tat_us
            return False
        if len(tats) >= self._capacity:
            del tats[next(iter(tats))]
        tats[key] = tat_us + self._token_us
        return True

    def has_token(self, address: str) -> bool:
        """True if `allow` would say so; takes nothing."""
        return self.wait_s(address) == 0

    def wait_s(self, address: str) -> float:
        """Seconds until there is a token; 0 if there is one."""
        tat_us = self._tats.get(address_key(address), 0)
        now_us = int(self._now_s() * 1_000_000)
        return max(0, tat_us - now_us - self._spendable_us) / 1_000_000
