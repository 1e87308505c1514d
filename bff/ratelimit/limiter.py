"""The limiter: a route's policies prepared at load, and tokens taken at request with their reply fields.

Fields: RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), Retry-After (RFC 9110 10.2.3).
"""

from asyncio import Future
from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from msgspec import Struct

from bff.core.errors import LimitedError
from bff.core.events import Emit, Noted
from bff.core.exchange import Principal
from bff.core.headers import Headers
from bff.ratelimit.bucket import Check, Verdict
from bff.ratelimit.policies import RouteLimits, Rule

__all__ = ["NOTHING_TAKEN", "Limiter", "LocalStore", "RemoteStore", "Taken"]

# Names of unknown tiers that are reported once each; they come from issuers, so few are real.
MAX_REPORTED_TIERS = 64


class LocalStore(Protocol):
    """Buckets that are at hand: the answer is there at once."""

    def take(self, checks: Sequence[Check]) -> Verdict:
        """Take from every bucket or from none."""
        ...


@runtime_checkable
class RemoteStore(Protocol):
    """Buckets elsewhere."""

    def take(self, checks: Sequence[Check]) -> Verdict | None:
        """The verdict if it is known without asking, else None; then `submit`."""
        ...

    def submit(self, checks: Sequence[Check]) -> "Future[Verdict]":
        """Ask. The answer is never an error and comes in bounded time; cancelling it harms no other."""
        ...


class Taken(Struct, frozen=True):
    """Tokens taken: the fields that the reply shows (lower-case names)."""

    headers: tuple[tuple[bytes, bytes], ...] = ()


NOTHING_TAKEN = Taken()
NOTHING_ASKED = Verdict(True, ())


class Limiter:
    """Takes tokens. `take_now` answers without waiting where it can; `take` always answers."""

    def __init__(self, *, store: LocalStore | RemoteStore, emit: Emit) -> None:
        self._take = store.take
        self._submit = store.submit if isinstance(store, RemoteStore) else None
        self._emit = emit
        self._reported_tiers: set[str] = set()

    def take_now(
        self, limits: RouteLimits, principal: Principal, address: str, headers: Headers
    ) -> Taken | None:
        """Take one request's tokens, or None if the store must be waited for (nothing was taken).

        Raises LimitedError: RATE_LIMITED if a policy has too little left, LIMITER_UNAVAILABLE if the
        store is lost and a policy says deny.
        """
        checks = limits.checks(principal, address, headers)
        verdict = self._take(checks) if checks else NOTHING_ASKED
        if verdict is None:
            return None
        if limits.shadow_rules:
            self._shadow(limits, principal, address, headers)
        return self._settle(limits, principal, checks, verdict)

    async def take(
        self, limits: RouteLimits, principal: Principal, address: str, headers: Headers
    ) -> Taken:
        """As `take_now` where that said None: wait for the store."""
        if self._submit is None:
            taken = self.take_now(limits, principal, address, headers)
            assert taken is not None
            return taken
        checks = limits.checks(principal, address, headers)
        answer = self._submit(checks) if checks else None
        if limits.shadow_rules:
            # Sent in the same loop turn as the binding checks, so they share its round trip.
            self._shadow(limits, principal, address, headers)
        verdict = NOTHING_ASKED if answer is None else await answer
        return self._settle(limits, principal, checks, verdict)

    def _shadow(
        self, limits: RouteLimits, principal: Principal, address: str, headers: Headers
    ) -> None:
        """Count what shadow policies would say; the request does not wait for it."""
        for rule in limits.shadow_rules:
            check = (rule.check(principal, address, headers),)
            verdict = self._take(check)
            if verdict is not None:
                self._count_shadow(rule, verdict)
            elif self._submit is not None:
                answer = self._submit(check)
                answer.add_done_callback(partial(self._count_shadow_answer, rule))

    def _count_shadow_answer(self, rule: Rule, answer: "Future[Verdict]") -> None:
        if not answer.cancelled():
            self._count_shadow(rule, answer.result())

    def _count_shadow(self, rule: Rule, verdict: Verdict) -> None:
        events = rule.admitted if verdict.admitted else rule.shadowed
        self._emit(events[verdict.source])

    def _settle(
        self, limits: RouteLimits, principal: Principal, checks: Sequence[Check], verdict: Verdict
    ) -> Taken:
        if limits.tiered and principal.tier and principal.tier not in limits.known_tiers:
            self._report_tier(principal.tier)
        if not verdict.admitted:
            raise self._refusal(limits, principal, checks, verdict)
        if not checks:
            return NOTHING_TAKEN
        self._emit(limits.admitted[verdict.source])
        if limits.headers_mode != "always":
            return NOTHING_TAKEN
        return Taken(limits.fields(principal, checks, verdict.used_us))

    def _refusal(
        self, limits: RouteLimits, principal: Principal, checks: Sequence[Check], verdict: Verdict
    ) -> LimitedError:
        if verdict.unavailable:
            for rule in limits.rules:
                self._emit(rule.denied[verdict.source])
            return LimitedError("LIMITER_UNAVAILABLE")
        wait_s = 1
        violated = []
        parts = []
        for rule, check, used_us in zip(limits.rules, checks, verdict.used_us, strict=True):
            if used_us < 0:
                continue
            bucket = check.bucket
            wait_us = used_us + check.cost * bucket.token_us - bucket.full_us
            if wait_us <= 0:
                parts.append(rule.shown(bucket, used_us))
                continue
            violated.append(rule.name)
            self._emit(rule.denied[verdict.source])
            rule_wait_s = -(-wait_us // 1_000_000)
            wait_s = max(wait_s, rule_wait_s)
            parts.append(rule.field % (0, rule_wait_s))
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if limits.headers_mode != "never":
            headers = (limits.policy_header(principal), (b"ratelimit", b", ".join(parts)))
        return LimitedError(
            "RATE_LIMITED",
            metadata={"violatedPolicies": ",".join(violated)},
            retry_after_s=wait_s,
            headers=headers,
        )

    def _report_tier(self, tier: str) -> None:
        if tier in self._reported_tiers or len(self._reported_tiers) >= MAX_REPORTED_TIERS:
            return
        self._reported_tiers.add(tier)
        self._emit(Noted("tier_unknown", {"tier": tier}))
