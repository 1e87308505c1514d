"""Rules of the limiter that are refused at load: policies without rate, unknown dimensions, costs that never fit."""

from collections.abc import Iterator

from bff.config.documents import Document, Placed
from bff.config.gateway import GatewayFile
from bff.config.policies import Limit
from bff.config.units import Rate, rate_text
from bff.core.problems import Problem, nearest

__all__ = ["check_limits"]

_DIMENSIONS = (
    "caller", "ip", "user", "tenant", "api_key", "client", "route", "method", "service", "upstream",
)  # fmt: skip
_IDENTITIES = frozenset({"caller", "user", "tenant", "api_key", "client"})
# The limiter counts in whole microseconds; above this rate that is more than 1 % off.
_MOST_PER_S = 10_000
_CODE = "BFF-C035"


def check_limits(document: Document) -> Iterator[Problem]:
    """Every fault of tiers and policies, and what the operator should know about the limiter."""
    gateway = document.gateway
    value = gateway.value
    for name, tier in value.tiers.items():
        yield from _too_fast(gateway, ("tiers", name), tier.rate)
    yield from _too_fast(
        gateway, ("limiter", "per_address", "rate"), value.limiter.per_address.rate
    )
    for name, limit in value.limits.items():
        yield from _limit(gateway, name, limit)
    if value.limit == "none":
        yield _none_is_for_routes(gateway)
    for service in document.services:
        if service.value.limit == "none":
            yield _none_is_for_routes(service)
    yield from _said_out_loud(gateway)


def _none_is_for_routes(placed: Placed[GatewayFile] | Placed) -> Problem:  # type: ignore[type-arg]  # any model
    message = "`none` lifts the limits of one route and stands only there"
    return placed.problem(message, "limit", hint="remove the key or list policies", code=_CODE)


def _said_out_loud(gateway: Placed[GatewayFile]) -> Iterator[Problem]:
    value = gateway.value
    guest = rate_text(value.tiers["guest"].rate)
    if not value.model_fields_set & {"tiers", "limits", "limit"}:
        message = f"nothing is said about limits: the default guest bucket of {guest} applies"
        yield gateway.problem(message, "tiers", code="BFF-C041", severity="warning")
    if value.limiter.store == "memory":
        message = "limits are counted in memory: each node counts for itself"
        hint = "name a store in limiter.store to count for all nodes"
        yield gateway.problem(message, "limiter", hint=hint, code="BFF-C042", severity="warning")


def _too_fast(gateway: Placed[GatewayFile], path: tuple[str, ...], rate: Rate) -> Iterator[Problem]:
    if rate.count / rate.period_s > _MOST_PER_S:
        message = f"a rate is at most {_MOST_PER_S}/s, got {rate_text(rate)}"
        yield gateway.problem(message, *path, code=_CODE)


def _limit(gateway: Placed[GatewayFile], name: str, limit: Limit) -> Iterator[Problem]:
    path = ("limits", name)
    if limit.rate is None:
        message = "a limit needs a `rate`"
        hint = "write rate: 60/min, or rate: tier"
        yield gateway.problem(message, *path, hint=hint, code=_CODE)
    elif limit.rate != "tier":
        yield from _too_fast(gateway, (*path, "rate"), limit.rate)
    yield from _cost(gateway, name, limit)
    for index, dimension in enumerate(limit.by):
        if dimension in limit.by[:index]:
            message = f"`{dimension[:60]}` is listed twice"
            yield gateway.problem(message, *path, "by", index, hint="remove one", code=_CODE)
        elif fault := _dimension(dimension, limit.by):
            message, hint = fault
            yield gateway.problem(message, *path, "by", index, hint=hint, code=_CODE)


def _cost(gateway: Placed[GatewayFile], name: str, limit: Limit) -> Iterator[Problem]:
    """A cost above the capacity could never be paid."""
    if limit.burst is not None:
        capacity, whose = limit.burst, "the burst"
    elif limit.rate == "tier":
        tiers = gateway.value.tiers
        sizes = {tier: block.burst or block.rate.count for tier, block in tiers.items()}
        smallest = min(sizes, key=lambda tier: sizes[tier])
        capacity, whose = sizes[smallest], f"the burst of tier {smallest}"
    elif limit.rate is not None:
        capacity, whose = limit.rate.count, "the burst"
    else:
        return
    if limit.cost > capacity:
        message = f"a cost of {limit.cost} never fits: {whose} is {capacity}"
        yield gateway.problem(message, "limits", name, "cost", code=_CODE)


def _dimension(name: str, beside: tuple[str, ...]) -> tuple[str, str] | None:
    """What is wrong with one dimension of `by`, and the fix."""
    kind, colon, rest = name.partition(":")
    if colon and kind in ("claim", "header") and rest:
        if kind == "header" and not _IDENTITIES & set(beside):
            hint = f"list one of {', '.join(sorted(_IDENTITIES))} beside it"
            return "a header is the client's own word, no bucket hangs on it alone", hint
        return None
    if name == "region":
        return "`region` (regions) is not built in this version; remove it", ""
    if name in _DIMENSIONS:
        return None
    near = nearest(name, _DIMENSIONS)
    hint = (
        f"did you mean `{near}`?"
        if near
        else f"known: {', '.join(_DIMENSIONS)}, claim:NAME, header:NAME"
    )
    return f"unknown dimension `{name[:60]}`", hint
