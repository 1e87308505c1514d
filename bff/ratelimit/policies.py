"""Policies as they are written, and as a route uses them: buckets, header texts, events prepared."""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Literal, get_args

from msgspec import Struct

from bff.core.events import LimitDecided, LimitsPassed
from bff.core.exchange import Principal
from bff.core.headers import Headers
from bff.ratelimit.bucket import Bucket, Check, OnStoreLoss, Source
from bff.ratelimit.dimensions import Reader

__all__ = [
    "DEFAULT_TIERS",
    "GUEST",
    "STANDARD",
    "Common",
    "HeadersMode",
    "Made",
    "Policy",
    "RouteLimits",
    "Rule",
    "per_caller",
]

HeadersMode = Literal["always", "refused", "never"]
Checker = Callable[[Principal, str, Headers], Check]

# Routes with buckets of their own for which one caller's are remembered (260 bytes each, and there may be
# 20,000 callers); routes whose buckets are the same count as one.
_MEMO = 6
GUEST = "guest"
STANDARD = "standard"

DEFAULT_TIERS: Mapping[str, Bucket] = {
    GUEST: Bucket(60, 60.0),
    STANDARD: Bucket(1_000, 60.0),
    "premium": Bucket(5_000, 60.0),
}


class Policy(Struct, frozen=True, kw_only=True):
    """A named limit. `bucket` None means: the bucket of the caller's tier, out of `tiers`.

    `by` are the dimensions that tell buckets apart; none at all is one bucket for everybody.
    A `shadow` policy counts and never refuses. A `strict` one is exact in a shared store too, at the
    price of asking it for each request.
    """

    name: str
    bucket: Bucket | None = None
    tiers: Mapping[str, Bucket] = {}
    by: tuple[str, ...] = ("caller",)
    cost: int = 1
    shadow: bool = False
    on_store_loss: OnStoreLoss = "local"
    strict: bool = False


def per_caller(tiers: Mapping[str, Bucket] = DEFAULT_TIERS) -> Policy:
    """The built-in policy that holds on every route unless it is lifted."""
    return Policy(name="per-caller", tiers=tiers)


class Made(Struct, frozen=True):
    """What a policy has on every route: its item of the RateLimit field, and its events by source."""

    # `%` over bytes is the cheapest way to print two numbers between fixed texts (0.2 us).
    field: bytes
    admitted: Mapping[Source, LimitDecided]
    denied: Mapping[Source, LimitDecided]
    shadowed: Mapping[Source, LimitDecided]

    @staticmethod
    def of(policy: str) -> "Made":
        return Made(
            b'"%s";r=%%d;t=%%d' % policy.encode("ascii"),
            _events(policy, "admit"),
            _events(policy, "deny"),
            _events(policy, "shadow"),
        )


def _events(policy: str, decision: str) -> dict[Source, LimitDecided]:
    return {source: LimitDecided(policy, decision, source) for source in get_args(Source)}


class Rule:
    """One policy on one route, ready to use. `check` says what a request wants of it."""

    __slots__ = (
        "_buckets",
        "_single",
        "admitted",
        "check",
        "denied",
        "field",
        "is_callers",
        "is_tiered",
        "name",
        "shadowed",
    )

    def __init__(self, policy: Policy, key: Reader, made: Made) -> None:
        self.name = policy.name
        self.is_tiered = policy.bucket is None
        self.is_callers = not any(name == "ip" or name.startswith("header:") for name in policy.by)
        self.field = made.field
        self.admitted = made.admitted
        self.denied = made.denied
        self.shadowed = made.shadowed
        self._single = policy.bucket
        self._buckets = policy.tiers
        self.check: Checker = (
            _tiered_checker(policy, key, self._buckets)
            if policy.bucket is None
            else _checker(policy, key, policy.bucket)
        )

    def bucket(self, tier: str) -> Bucket:
        """The bucket for a tier's name, as `RouteLimits.tier` gives it."""
        return self._single or self._buckets[tier]

    def shown(self, bucket: Bucket, used_us: int) -> bytes:
        """This policy's item of the RateLimit field, for a bucket that far from full."""
        return self.field % remaining_of(bucket, used_us)


def remaining_of(bucket: Bucket, used_us: int) -> tuple[int, int]:
    """Whole tokens left in a bucket that far from full, and whole seconds until there is one more."""
    if used_us <= 0:
        return bucket.burst, 0
    token_us = bucket.token_us
    remaining, over_us = divmod(bucket.full_us - used_us, token_us)
    return remaining, -((over_us - token_us) // 1_000_000)


# Functions instead of methods: what a policy has not is decided at load.


def _checker(policy: Policy, key: Reader, bucket: Bucket) -> Checker:
    name, cost, loss, strict = policy.name, policy.cost, policy.on_store_loss, policy.strict

    def check(principal: Principal, address: str, headers: Headers) -> Check:
        return Check(name, key(principal, address, headers), bucket, cost, "", loss, strict)

    def check_of_tenant(principal: Principal, address: str, headers: Headers) -> Check:
        bucket_key = key(principal, address, headers)
        return Check(name, bucket_key, bucket, cost, principal.tenant, loss, strict)

    return check_of_tenant if "tenant" in policy.by else check


def _tiered_checker(policy: Policy, key: Reader, buckets: Mapping[str, Bucket]) -> Checker:
    name, cost, loss, strict = policy.name, policy.cost, policy.on_store_loss, policy.strict
    has_tenant = "tenant" in policy.by

    def check(principal: Principal, address: str, headers: Headers) -> Check:
        bucket = buckets.get(principal.tier)
        if bucket is None or principal.kind == "anonymous":
            bucket = buckets[tier_of(principal, buckets)]
        tenant = principal.tenant if has_tenant else ""
        return Check(name, key(principal, address, headers), bucket, cost, tenant, loss, strict)

    return check


def tier_of(principal: Principal, tiers: Container[str]) -> str:
    """The tier that counts: anonymous callers are guests; none or an unknown one is standard."""
    if principal.kind == "anonymous":
        return GUEST
    return principal.tier if principal.tier in tiers else STANDARD


class Common(Struct, frozen=True):
    """What routes under the same policies have in common, whatever tells their buckets apart."""

    known_tiers: frozenset[str]
    tiered: bool
    headers_of_tier: Mapping[str, tuple[bytes, bytes]]
    is_callers: bool
    field: bytes
    admitted: Mapping[Source, LimitsPassed]

    @staticmethod
    def of(
        rules: tuple[Rule, ...], shadow_rules: tuple[Rule, ...], tiers: Mapping[str, Bucket]
    ) -> "Common":
        tiered = any(rule.is_tiered for rule in (*rules, *shadow_rules))
        known = tuple(tiers) if tiered else ("",)
        names = tuple(rule.name for rule in rules)
        return Common(
            known_tiers=frozenset(tiers),
            tiered=tiered,
            headers_of_tier={name: _policy_header(rules, name) for name in known},
            # Nothing but the caller says which buckets a request falls into.
            is_callers=all(rule.is_callers for rule in rules),
            # All items in one text: each `%` costs as much again as its numbers.
            field=b", ".join(rule.field for rule in rules),
            admitted={source: LimitsPassed(names, source) for source in get_args(Source)},
        )


class RouteLimits:
    """All policies of a route, in declared order. Routes whose buckets are the same share one."""

    __slots__ = (
        "_checkers",
        "_field",
        "_headers_of_tier",
        "_is_callers",
        "_only_header",
        "admitted",
        "headers_mode",
        "known_tiers",
        "rules",
        "shadow_rules",
        "tiered",
    )

    def __init__(
        self,
        *,
        rules: tuple[Rule, ...],
        shadow_rules: tuple[Rule, ...],
        common: Common,
        headers_mode: HeadersMode,
    ) -> None:
        self.rules = rules
        self.shadow_rules = shadow_rules
        self.headers_mode: HeadersMode = headers_mode
        self.known_tiers = common.known_tiers
        self.tiered = common.tiered
        self._headers_of_tier = common.headers_of_tier
        self._only_header = None if common.tiered else common.headers_of_tier[""]
        self._checkers = tuple(rule.check for rule in rules)
        self._is_callers = common.is_callers
        self._field = common.field
        self.admitted = common.admitted

    def checks(self, principal: Principal, address: str, headers: Headers) -> Sequence[Check]:
        """What this request wants of each binding policy; worked out once for a caller who is known."""
        if not self._is_callers or principal.kind == "anonymous":
            return [check(principal, address, headers) for check in self._checkers]
        memo = principal.memo
        kept: tuple[Check, ...] | None = memo.get(self)
        if kept is None:
            kept = tuple([check(principal, address, headers) for check in self._checkers])
            if len(memo) < _MEMO:
                memo[self] = kept
        return kept

    def fields(
        self, principal: Principal, checks: Sequence[Check], used_us: Sequence[int]
    ) -> tuple[tuple[bytes, bytes], ...]:
        """The RateLimit fields of a reply; `used_us` as in the verdict on `checks`."""
        # remaining_of in place: its calls would cost a third of all this.
        figures: list[int] = []
        for at, check in enumerate(checks):
            bucket = check.bucket
            left_us = bucket.full_us - used_us[at]
            token_us = bucket.token_us
            remaining = left_us // token_us
            if remaining >= bucket.burst:
                figures += (bucket.burst, 0)
            else:
                figures += (remaining, (token_us - left_us % token_us + 999_999) // 1_000_000)
        header = self._only_header or self.policy_header(principal)
        return (header, (b"ratelimit", self._field % tuple(figures)))

    def policy_header(self, principal: Principal) -> tuple[bytes, bytes]:
        """The RateLimit-Policy field for this caller."""
        if self._only_header is not None:
            return self._only_header
        return self._headers_of_tier[tier_of(principal, self.known_tiers)]


def _policy_header(rules: tuple[Rule, ...], tier: str) -> tuple[bytes, bytes]:
    items = []
    for rule in rules:
        bucket = rule.bucket(tier)
        window_s = max(1, round(bucket.period_s))
        items.append(f'"{rule.name}";q={bucket.count};w={window_s}'.encode("ascii"))
    return (b"ratelimit-policy", b", ".join(items))
