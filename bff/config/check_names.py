"""Names that refer to something: upstreams, policies, tiers, stores, operations' upstreams."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from bff.config.blocks import KeyPath
from bff.config.documents import Document, Placed
from bff.config.gateway import REFLECTION
from bff.config.policies import BUILT_IN_TIERS
from bff.config.routes import ServiceFile
from bff.core.problems import Problem, nearest

__all__ = ["PER_CALLER", "RESERVED_SOURCES", "check_names"]

# The policy that holds everywhere without being written.
PER_CALLER = "per-caller"
# Names that expressions give a meaning, so no source may have them.
RESERVED_SOURCES = frozenset({"path", "query", "body", "request", "auth"})
# Dots part an upstream from its operation (`orders.GetOrder`).
_UPSTREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_OPERATION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FULL_OPERATION = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*/[A-Za-z_][A-Za-z0-9_]*")
_MOST_POLICIES = 8


def check_names(document: Document) -> Iterator[Problem]:
    """Every reference to a name that nothing has, with the nearest name that something has.

    Names are taken from the tree, not from the models, so that a fault within an upstream does not
    make its name unknown.
    """
    gateway = document.gateway
    upstreams = _names(gateway, "upstreams")
    policies = {PER_CALLER, *_names(gateway, "limits")}
    for name in upstreams:
        if not _UPSTREAM.fullmatch(name):
            message = "the name of an upstream has letters, digits, - and _, at most 63"
            yield gateway.problem(message, "upstreams", name, code="BFF-C015", at_key=True)
    yield from _gateway(gateway, policies, upstreams)
    for service in document.services:
        yield from _service(service, upstreams, policies)
    for aggregate in document.aggregates:
        yield from _policies(aggregate, ("limit",), aggregate.value.limit, policies)
        for name, source in aggregate.value.sources.items():
            path = ("sources", name)
            if name in RESERVED_SOURCES:
                message = f"`{name}` has a meaning in expressions; a source needs another name"
                yield aggregate.problem(message, *path, code="BFF-C031", at_key=True)
            yield from _operation(aggregate, (*path, "rpc"), source.rpc, upstreams)
    yield from _too_many_policies(document)


def _names(placed: Placed[Any], key: str) -> list[str]:
    entry = placed.root.value.get(key)
    names = entry.node.value if entry else None
    return [name for name in names if not name.startswith("x-")] if isinstance(names, dict) else []


def _unknown(
    placed: Placed[Any], path: KeyPath, what: str, name: str, known: Iterable[str]
) -> Problem:
    names = list(known)
    near = nearest(name, names)
    hint = (
        f"did you mean `{near}`?" if near else f"known: {', '.join(sorted(names)[:20]) or 'none'}"
    )
    message = f"there is no {what} `{name[:80]}`"
    return placed.problem(message, *path, hint=hint, code="BFF-C030")


def _gateway(gateway: Placed[Any], policies: set[str], upstreams: list[str]) -> Iterator[Problem]:
    value = gateway.value
    yield from _policies(gateway, ("limit",), value.limit, policies)
    yield from _reflections(gateway, upstreams)
    stores = {"memory", *_names(gateway, "stores")}
    if value.limiter.store not in stores:
        yield _unknown(gateway, ("limiter", "store"), "store", value.limiter.store, stores)
    tiers = {*BUILT_IN_TIERS, *_names(gateway, "tiers")}
    for name, issuer in value.auth.issuers.items():
        for claim, tier in issuer.tier_map.items():
            if tier not in tiers:
                path = ("auth", "issuers", name, "tier_map", claim)
                yield _unknown(gateway, path, "tier", tier, tiers)


def _reflections(gateway: Placed[Any], upstreams: list[str]) -> Iterator[Problem]:
    """Upstreams whose types are asked of themselves."""
    for index, text in enumerate(gateway.value.gateway.protos):
        name = text.removeprefix(REFLECTION)
        if name != text and name not in upstreams:
            path: KeyPath = ("gateway", "protos", index)
            yield _unknown(gateway, path, "upstream", name, upstreams)
    for index, source in enumerate(gateway.value.descriptors):
        name = source.reflection
        if name is not None and name not in upstreams:
            path = ("descriptors", index, "reflection")
            yield _unknown(gateway, path, "upstream", name, upstreams)


def _service(
    placed: Placed[ServiceFile], upstreams: list[str], policies: set[str]
) -> Iterator[Problem]:
    service = placed.value
    if service.upstream not in upstreams:
        yield _unknown(placed, ("upstream",), "upstream", service.upstream, upstreams)
    yield from _policies(placed, ("limit",), service.limit, policies)
    for index, route in enumerate(service.routes):
        path: KeyPath = ("routes", index)
        if route.upstream is not None and route.upstream not in upstreams:
            yield _unknown(placed, (*path, "upstream"), "upstream", route.upstream, upstreams)
        yield from _policies(placed, (*path, "limit"), route.limit, policies)
        if route.rpc != "*" and not _OPERATION.fullmatch(route.rpc.rpartition("/")[2]):
            message = f'a route\'s `rpc` is a method of its service or "*", got {route.rpc[:60]!r}'
            yield placed.problem(message, *path, "rpc", code="BFF-C015")
    graphql = service.graphql
    if graphql is None:
        return
    for key, fields in (("queries", graphql.queries), ("mutations", graphql.mutations)):
        for name, field in fields.items():
            rpc = ("graphql", key, name, "rpc")
            yield from _operation(placed, rpc, field.rpc, upstreams, at_home=True)
    for name, join in graphql.joins.items():
        path = ("graphql", "joins", name)
        if name.count(".") != 1 or name.startswith(".") or name.endswith("."):
            message = f"a join is named Type.field, got {name[:60]!r}"
            yield placed.problem(message, *path, code="BFF-C015", at_key=True)
        yield from _operation(placed, (*path, "rpc"), join.rpc, upstreams, at_home=True)


def _policies(
    placed: Placed[Any], path: KeyPath, limit: Any, policies: set[str]
) -> Iterator[Problem]:
    for index, name in enumerate(limit if limit != "none" else ()):
        if name not in policies:
            yield _unknown(placed, (*path, index), "policy", name, policies)


def _operation(
    placed: Placed[Any], path: KeyPath, rpc: str, upstreams: list[str], *, at_home: bool = False
) -> Iterator[Problem]:
    """`GetOrder` at home, `orders.GetOrder` elsewhere, `package.Service/Method` anywhere."""
    if _FULL_OPERATION.fullmatch(rpc):
        return
    upstream, dot, method = rpc.rpartition(".")
    if not _OPERATION.fullmatch(method) or (dot and not upstream):
        message = f"expected an operation such as orders.GetOrder, got {rpc[:60]!r}"
        yield placed.problem(message, *path, code="BFF-C015")
    elif not dot and not at_home:
        hint = f"write UPSTREAM.{method}"
        message = f"`{method}` needs its upstream here"
        yield placed.problem(message, *path, hint=hint, code="BFF-C030")
    elif dot and upstream not in upstreams:
        yield _unknown(placed, path, "upstream", upstream, upstreams)


def _too_many_policies(document: Document) -> Iterator[Problem]:
    """At most 8 policies on one request, over all levels."""
    top = document.gateway.value.limit
    for service in document.services:
        for index, route in enumerate(service.value.routes):
            levels = (top, service.value.limit, route.limit)
            yield from _count_policies(service, levels, ("routes", index, "limit"))
    for aggregate in document.aggregates:
        yield from _count_policies(aggregate, (top, aggregate.value.limit), ("limit",))


def _count_policies(
    placed: Placed[Any], levels: tuple[Any, ...], path: KeyPath
) -> Iterator[Problem]:
    names = {name for level in levels if level != "none" for name in level}
    if len(names) > _MOST_POLICIES:
        message = f"{len(names)} policies hold here; at most {_MOST_POLICIES} may"
        yield placed.problem(message, *path, code="BFF-C034")
