"""Policies of routes, made ready when configuration is read: judged, and what routes share made once."""

from collections.abc import Mapping, Sequence
from typing import Any

from bff.ratelimit.bucket import Bucket
from bff.ratelimit.dimensions import compile_key
from bff.ratelimit.policies import (
    GUEST,
    STANDARD,
    Common,
    HeadersMode,
    Made,
    Policy,
    RouteLimits,
    Rule,
)

__all__ = ["LimitsCompiler", "compile_limits"]

MAX_POLICIES = 8


class LimitsCompiler:
    """Prepares the policies of routes, which are many: what two of them have in common is made once.

    A name stands for one policy, as long as this lives.
    """

    def __init__(self) -> None:
        self._limits: dict[tuple[object, ...], RouteLimits] = {}
        self._common: dict[tuple[str, ...], Common] = {}
        self._made: dict[str, Made] = {}
        self._rules: dict[tuple[str, ...], Rule] = {}

    def compile(
        self,
        policies: Sequence[Policy],
        *,
        route_id: str,
        upstream: str,
        service: str,
        method: str,
        region: str = "",
        headers_mode: HeadersMode = "always",
    ) -> RouteLimits:
        """The policies of one route, in declared order.

        Raises ValueError, with the policy's name, for what could never work: an unknown dimension or
        tier, a cost above a bucket's burst, a name given twice, more than eight policies.
        """
        if len(policies) > MAX_POLICIES:
            raise ValueError(f"at most {MAX_POLICIES} policies on a route, got {len(policies)}")
        fixed = {
            "route": route_id,
            "upstream": upstream,
            "service": service,
            "method": method,
            "region": region,
        }
        names = tuple(policy.name for policy in policies)
        apart = sorted({each for policy in policies for each in policy.by} & fixed.keys())
        key = (names, headers_mode, *((each, fixed[each]) for each in apart))
        limits = self._limits.get(key)
        if limits is None:
            limits = self._limits[key] = self._compile(policies, names, fixed, headers_mode)
        return limits

    def _compile(
        self,
        policies: Sequence[Policy],
        names: tuple[str, ...],
        fixed: Mapping[str, str],
        headers_mode: HeadersMode,
    ) -> RouteLimits:
        tiers: dict[str, Bucket] = {}
        binding: dict[str, Rule] = {}
        shadow: dict[str, Rule] = {}
        for policy in policies:
            if policy.name in binding or policy.name in shadow:
                raise ValueError(f"policy {policy.name!r} is given twice")
            try:
                rule = self._rule(policy, fixed)
            except ValueError as error:
                raise ValueError(f"policy {policy.name!r}: {error}") from error
            tiers.update(policy.tiers if policy.bucket is None else {})
            (shadow if policy.shadow else binding)[policy.name] = rule
        rules, shadow_rules = tuple(binding.values()), tuple(shadow.values())
        common = self._common.get(names)
        if common is None:
            common = self._common[names] = Common.of(rules, shadow_rules, tiers)
        return RouteLimits(
            rules=rules, shadow_rules=shadow_rules, common=common, headers_mode=headers_mode
        )

    def _rule(self, policy: Policy, fixed: Mapping[str, str]) -> Rule:
        key = (policy.name, *(fixed[each] for each in policy.by if each in fixed))
        rule = self._rules.get(key)
        if rule is None:
            _judge(policy)
            reader = compile_key(policy.name, policy.by, fixed)
            made = self._made.get(policy.name)
            if made is None:
                made = self._made[policy.name] = Made.of(policy.name)
            rule = self._rules[key] = Rule(policy, reader, made)
        return rule


def compile_limits(policies: Sequence[Policy], **of_route: Any) -> RouteLimits:
    """The limits of one route alone: as `LimitsCompiler.compile`, with nothing to share."""
    return LimitsCompiler().compile(policies, **of_route)


def _judge(policy: Policy) -> None:
    # The name stands inside a structured field string (RFC 9651 3.3.3) and inside a store's key.
    if not policy.name.isascii() or not policy.name.replace("-", "").replace("_", "").isalnum():
        raise ValueError("a name is made of ASCII letters, digits, - and _")
    if policy.bucket is None and not {GUEST, STANDARD} <= set(policy.tiers):
        raise ValueError(f"tiers must name {GUEST} and {STANDARD}")
    if policy.cost < 0:
        raise ValueError("cost must not be negative")
    for bucket in [policy.bucket] if policy.bucket else policy.tiers.values():
        if policy.cost > bucket.burst:
            raise ValueError(f"cost {policy.cost} is above the burst of {bucket.burst}")
