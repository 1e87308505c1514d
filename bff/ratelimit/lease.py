"""Leases: tokens of a hot bucket that a worker takes from the store ahead, and spends without asking. Pure.

A leased token is debited when it is granted, so at any moment the tokens admitted since some earlier
one are those that the store gave since then, and those that workers held at that time: at most
`burst + rate * window + workers * lease_cap`. What keeps a worker below one cap: it asks for no more
than is missing to it, has one exchange of a bucket under way at a time, and after an exchange with
an unknown end it spends nothing of it.
"""

from collections.abc import Callable, Sequence
from math import ceil

from bff.core.ports import Clock
from bff.ratelimit.bucket import Bucket, Check, Verdict
from bff.ratelimit.fleet import LEASE_S

__all__ = ["Exchange", "Lease", "Leases", "lease_cap", "lease_size"]

# Below this a lease saves too little to hold tokens back from others.
HOT_PER_S = 20
AHEAD_S = 0.25
# What a rate is measured over.
WINDOW_S = 0.5
# With this part of a lease left the next one is asked for: 30 ms of requests, many round trips.
LOW_PART = 8
# An empty hot bucket is let alone for so long, or for the time that a twentieth of it takes to fill:
# what it regains meanwhile is taken at once, instead of token by token by all workers in a race.
PAUSE_S = 0.05
PAUSE_PART = 20
MOST_LEASES = 1_024
MOST_COUNTED = 16_384

_PAUSE_US = round(PAUSE_S * 1_000_000)
_LEASE_US = round(LEASE_S * 1_000_000)
_WINDOW_US = round(WINDOW_S * 1_000_000)
_HOT_COUNT = HOT_PER_S * WINDOW_S
_NEVER = -1


def lease_cap(burst: int, sharers: int) -> int:
    """The most tokens that one of `sharers` workers may hold: together half a burst, but one each."""
    return max(1, burst // (2 * sharers))


def lease_size(tokens_per_s: float, cap: int) -> int:
    """The tokens to hold for a rate: those of the next 250 ms, from 1 to `cap`."""
    return min(max(1, ceil(AHEAD_S * tokens_per_s)), cap)


class Lease:
    """One hot bucket as this worker holds it: `left` tokens until `dead_us`."""

    __slots__ = (
        "bucket",
        "check",
        "count",
        "dead_us",
        "is_asking",
        "left",
        "low",
        "per_s",
        "since_us",
        "tat_us",
    )

    def __init__(self, check: Check, per_s: float, now_us: int) -> None:
        self.check = check
        self.bucket: Bucket = check.bucket
        self.left = 0
        self.dead_us = 0
        # Ask for more at this many left.
        self.low = _NEVER
        self.is_asking = False
        # The local view of the bucket, from which replies are told what remains.
        self.tat_us = 0
        # Requests since `since_us`, and their rate before that.
        self.count = 0
        self.since_us = now_us
        self.per_s = per_s

    def rate_per_s(self, now_us: int) -> float:
        """Requests a second on this worker."""
        passed_us = now_us - self.since_us
        if passed_us < _WINDOW_US:
            # A rate that rises shows at once, one that falls after a window.
            return max(self.per_s, self.count / WINDOW_S)
        self.per_s = self.count * 1_000_000 / passed_us
        self.count = 0
        self.since_us = now_us
        return self.per_s


class Exchange:
    """What the store is asked for: `tokens` more for a lease, or below 0 tokens given back."""

    __slots__ = ("lease", "tokens")

    def __init__(self, lease: Lease, tokens: int) -> None:
        self.lease = lease
        self.tokens = tokens


class Leases:
    """All leases of a worker. `ask` sends an exchange soon, and `ended` is called with its end.

    `sharers` says how many workers share a bucket's leases; 0: no more are taken now.
    """

    def __init__(
        self, *, clock: Clock, sharers: Callable[[], int], ask: Callable[[Exchange], None]
    ) -> None:
        self._now_s = clock.now_s
        self._sharers = sharers
        self._ask = ask
        self._leases: dict[str, Lease] = {}
        # Requests that had to ask the store, by key, in the window since `_counted_us`.
        self._counts: dict[str, int] = {}
        self._counted_us = 0

    def __len__(self) -> int:
        """The number of buckets that are hot here."""
        return len(self._leases)

    def take(self, checks: Sequence[Check]) -> Verdict | None:
        """Admit from leases, if there are tokens for all checks; else None, and nothing is spent."""
        leases = self._leases
        if not leases:
            return None
        now_us = int(self._now_s() * 1_000_000)
        found = []
        for check in checks:
            lease = leases.get(check.key)
            if lease is None or lease.left < check.cost or lease.dead_us <= now_us:
                return None
            if lease.bucket is not check.bucket and not _suits(lease, check):
                return None
            found.append(lease)
        used_us = []
        for at, lease in enumerate(found):
            bucket = lease.bucket
            cost_us = checks[at].cost * bucket.token_us
            most_us = bucket.full_us - cost_us
            held_us = lease.tat_us - now_us
            if held_us < 0:
                held_us = 0
            elif held_us > most_us:
                held_us = most_us
            used_us.append(held_us + cost_us)
            lease.tat_us = now_us + held_us + cost_us
            lease.count += 1
            lease.left -= checks[at].cost
            if lease.left <= lease.low and not lease.is_asking:
                self._top_up(lease, now_us)
        return Verdict(True, used_us, "lease")

    def missed(self, checks: Sequence[Check]) -> None:
        """Count a request that asks the store, and ask for leases that would have spared it that.

        Only where all its buckets are hot and none is strict: with one of them missing, the request
        has to ask all the same, and tokens would be held for nothing.
        """
        now_us = int(self._now_s() * 1_000_000)
        if now_us - self._counted_us >= _WINDOW_US:
            self._counts.clear()
            self._counted_us = now_us
        hot: list[Lease] = []
        for check in checks:
            if check.strict:
                return
            lease = self._leases.get(check.key) or self._counted(check, now_us)
            if lease is not None and (lease.bucket is check.bucket or _suits(lease, check)):
                lease.count += 1
                hot.append(lease)
        if len(hot) < len(checks):
            return
        for check, lease in zip(checks, hot, strict=True):
            is_spent = lease.left < check.cost or lease.dead_us <= now_us
            if is_spent and not lease.is_asking:
                self._top_up(lease, now_us)

    def ended(self, exchange: Exchange, tokens: int, used_us: int, asked_us: int) -> None:
        """The store granted `tokens` (or took them back), which leaves the bucket `used_us` from full.

        `asked_us`: our time before it was asked, so that a lease dies here before it would there.
        """
        lease = exchange.lease
        lease.is_asking = False
        if exchange.tokens < 0:
            return
        if tokens > 0:
            # What was left goes on with it: to give it back and take it again comes to the same.
            lease.left += tokens
            lease.dead_us = asked_us + _LEASE_US
        # Less than wanted: the bucket is empty, and asking ahead would be asking on every request.
        lease.low = lease.left // LOW_PART if tokens == exchange.tokens else _NEVER
        lease.tat_us = self.now_us() + used_us - lease.left * lease.bucket.token_us

    def failed(self, exchange: Exchange) -> None:
        """It is not known what the store did: tokens it may have granted are nobody's."""
        exchange.lease.is_asking = False
        exchange.lease.low = _NEVER

    def pause_us(self, check: Check) -> int:
        """How long not to ask for a bucket that is empty; 0 if it is not hot."""
        if check.strict or check.key not in self._leases:
            return 0
        return min(_PAUSE_US, check.bucket.full_us // PAUSE_PART)

    def sweep(self) -> None:
        """Give back what is dead, and forget buckets that are hot no more. Twice a second will do."""
        now_us = self.now_us()
        for key, lease in list(self._leases.items()):
            if lease.is_asking or lease.dead_us > now_us:
                continue
            if lease.left > 0:
                self._ask(_given_back(lease))
            elif lease.rate_per_s(now_us) <= HOT_PER_S:
                del self._leases[key]

    def drain(self) -> list[Exchange]:
        """Give back all that is left; to be sent by the caller. No lease is held afterwards."""
        held = [lease for lease in self._leases.values() if lease.left > 0 and not lease.is_asking]
        self._leases.clear()
        self._counts.clear()
        return [_given_back(lease) for lease in held]

    def now_us(self) -> int:
        """The time to give to `ended`: read before the store was asked."""
        return int(self._now_s() * 1_000_000)

    def _counted(self, check: Check, now_us: int) -> Lease | None:
        """Count a bucket that has no lease; a new one without tokens if that makes it hot."""
        counts = self._counts
        count = counts.get(check.key, 0) + 1
        if count > _HOT_COUNT and len(self._leases) < MOST_LEASES:
            counts.pop(check.key, None)
            lease = self._leases[check.key] = Lease(check, count / WINDOW_S, now_us)
            return lease
        if count > 1 or len(counts) < MOST_COUNTED:
            counts[check.key] = count
        return None

    def _top_up(self, lease: Lease, now_us: int) -> None:
        """Ask for what is missing to the tokens of the next 250 ms."""
        per_s = lease.rate_per_s(now_us)
        sharers = self._sharers()
        if per_s <= HOT_PER_S or sharers < 1:
            lease.low = _NEVER
            return
        cap = lease_cap(lease.bucket.burst, sharers)
        missing = lease_size(per_s * lease.check.cost, cap) - lease.left
        if missing < 1:
            lease.low = _NEVER
            return
        lease.is_asking = True
        self._ask(Exchange(lease, missing))


def _suits(lease: Lease, check: Check) -> bool:
    """True if the lease is of an equal bucket, as a new version of the configuration makes one."""
    if check.strict or lease.bucket != check.bucket:
        return False
    lease.bucket = check.bucket
    return True


def _given_back(lease: Lease) -> Exchange:
    tokens, lease.left = lease.left, 0
    lease.is_asking = True
    lease.low = _NEVER
    return Exchange(lease, -tokens)
