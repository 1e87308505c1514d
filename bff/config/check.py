"""Rules that need more than one key and no descriptors: `load` runs them all and reports every one."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from bff.config.aggregates import AggregateFile
from bff.config.blocks import KeyPath
from bff.config.check_auth import check_auth, is_loopback
from bff.config.check_limits import check_limits
from bff.config.check_names import check_names
from bff.config.documents import Document, Placed
from bff.config.gateway import GatewayFile
from bff.config.policies import AggregateCaps
from bff.config.switches import Transcoding
from bff.config.units import duration_text
from bff.core.problems import Problem, Where

__all__ = ["MAX_DEADLINE_S", "check"]

MAX_DEADLINE_S = 30.0
_LANE_KEYS = ("warm", "keepalive", "max_age", "compression", "header_memo")


def check(document: Document) -> list[Problem]:
    """Every problem and warning (`severity`) of a document whose blocks are each valid."""
    return [
        *check_names(document),
        *check_auth(document),
        *check_limits(document),
        *_listeners(document.gateway),
        *_proxies(document.gateway),
        *_upstreams(document.gateway),
        *_deadlines(document),
        *_overruled_paths(document),
        *_types(document),
        *_aggregates(document),
    ]


def _split(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port


def _same_place(one: str, other: str) -> bool:
    """Whether two listeners would want the same port; a wildcard host takes every address."""
    (host, port), (other_host, other_port) = _split(one), _split(other)
    everywhere = {"0.0.0.0", "::", "*"}  # noqa: S104 - compared, not bound
    meets = host == other_host or bool(everywhere & {host, other_host})
    return port == other_port and port.strip("0") != "" and meets


def _listeners(gateway: Placed[GatewayFile]) -> Iterator[Problem]:
    block = gateway.value.gateway
    taken: list[str] = []
    for index, listener in enumerate(block.listen):
        path = ("gateway", "listen", index, "address")
        if any(_same_place(listener.address, other) for other in taken):
            message = f"two listeners on {listener.address}"
            yield gateway.problem(message, *path, code="BFF-C036")
        taken.append(listener.address)
    admin = block.admin.address
    if any(_same_place(admin, other) for other in taken):
        message = f"the admin listener {admin} is also a public listener"
        hint = "give `admin` a port of its own"
        yield gateway.problem(message, "gateway", "admin", hint=hint, code="BFF-C036")
    elif not is_loopback(_split(admin)[0]):
        message = "the admin listener has no sign-in in this version and stays on loopback"
        hint = f"write 127.0.0.1:{_split(admin)[1]}"
        yield gateway.problem(message, "gateway", "admin", hint=hint, code="BFF-C036")


def _proxies(gateway: Placed[GatewayFile]) -> Iterator[Problem]:
    for index, text in enumerate(gateway.value.gateway.trusted_proxies):
        if ipaddress.ip_network(text).prefixlen == 0:
            message = f"{text} trusts every address to name the client's"
            hint = "list the networks of your proxies"
            path = ("gateway", "trusted_proxies", index)
            yield gateway.problem(message, *path, hint=hint, code="BFF-C036")


def _upstreams(gateway: Placed[GatewayFile]) -> Iterator[Problem]:
    for name, upstream in gateway.value.upstreams.items():
        retries: list[tuple[KeyPath, Any]] = [(("retry",), upstream.retry)]
        for method, rules in upstream.operations.items():
            retries.append((("operations", method, "retry"), rules.retry))
        for path, retry in retries:
            if retry not in (None, "off") and retry.budget > 0.5:
                message = "a retry budget above 50% multiplies the load of a failing service"
                full = ("upstreams", name, *path, "budget")
                yield gateway.problem(message, *full, code="BFF-C037")
        for key in _LANE_KEYS if upstream.transport == "grpcio" else ():
            if key in upstream.model_fields_set:
                message = f"`{key}` is the unary lane's, which `transport: grpcio` does without"
                hint = "leave it out, or write `transport: auto`"
                yield gateway.problem(
                    message, "upstreams", name, key, hint=hint, code="BFF-C048", at_key=True
                )
        if upstream.tls == "off" and not all(
            is_loopback(_split(endpoint.target)[0]) for endpoint in upstream.endpoints
        ):
            message = "calls leave this machine in clear text"
            hint = "configure tls, or write `tls: mesh` if a mesh encrypts"
            yield gateway.problem(
                message, "upstreams", name, hint=hint, code="BFF-C043", severity="warning"
            )


def _deadlines(document: Document) -> Iterator[Problem]:
    gateway = document.gateway
    yield from _deadline(gateway, ("deadline",), gateway.value.deadline)
    graphql_s = gateway.value.graphql.deadline
    yield from _deadline(gateway, ("graphql", "deadline"), graphql_s)
    for service in document.services:
        yield from _deadline(service, ("deadline",), service.value.deadline)
        for index, route in enumerate(service.value.routes):
            yield from _deadline(service, ("routes", index, "deadline"), route.deadline)
        graphql = service.value.graphql
        if graphql is None:
            continue
        written = "deadline" in gateway.value.graphql.model_fields_set
        limit_at = gateway.where("graphql", "deadline") if written else None
        for key in ("queries", "mutations", "joins"):
            for name, field in getattr(graphql, key).items():
                path: KeyPath = ("graphql", key, name, "timeout")
                yield from _timeout(service, path, field.timeout, graphql_s, limit_at)
    for aggregate in document.aggregates:
        yield from _deadline(aggregate, ("deadline",), aggregate.value.deadline)
        yield from _source_timeouts(gateway, aggregate)


def _source_timeouts(
    gateway: Placed[GatewayFile], aggregate: Placed[AggregateFile]
) -> Iterator[Problem]:
    own_s = aggregate.value.deadline
    deadline_s = gateway.value.deadline if own_s is None else own_s
    where = aggregate.where("deadline") if own_s is not None else None
    if where is None and "deadline" in gateway.value.model_fields_set:
        where = gateway.where("deadline")
    for name, source in aggregate.value.sources.items():
        path = ("sources", name, "timeout")
        yield from _timeout(aggregate, path, source.timeout, deadline_s, where)


def _deadline(placed: Placed[Any], path: KeyPath, deadline_s: float | None) -> Iterator[Problem]:
    if deadline_s is None or 0 < deadline_s <= MAX_DEADLINE_S:
        return
    most = duration_text(MAX_DEADLINE_S)
    message = f"a deadline is above 0s and at most {most}, got {duration_text(deadline_s)}"
    yield placed.problem(message, *path, code="BFF-C038")


def _timeout(
    placed: Placed[Any],
    path: KeyPath,
    timeout_s: float | None,
    deadline_s: float,
    where: Where | None,
) -> Iterator[Problem]:
    if timeout_s is not None and timeout_s > deadline_s:
        message = (
            f"the timeout of {duration_text(timeout_s)} is above"
            f" the deadline of {duration_text(deadline_s)}"
        )
        hint = f"the deadline is set at {where}" if where else "the deadline is the default"
        yield placed.problem(message, *path, hint=hint, code="BFF-C038")


def _overruled_paths(document: Document) -> Iterator[Problem]:
    """`body_wins` and `query_wins` change what a path means, so they stand where the path does."""
    written: list[tuple[Placed[Any], KeyPath, Transcoding | None]] = [
        (document.gateway, (), document.gateway.value.transcoding)
    ]
    for service in document.services:
        written.append((service, (), service.value.transcoding))
        for index, route in enumerate(service.value.routes):
            if route.rpc == "*":
                written.append((service, ("routes", index), route.transcoding))
    for placed, path, block in written:
        if block is not None and block.same_field in {"body_wins", "query_wins"}:
            message = f"`{block.same_field}` is written on a route that is named, not for many"
            full = (*path, "transcoding", "same_field")
            yield placed.problem(message, *full, hint="move it to the route", code="BFF-C045")


def _types(document: Document) -> Iterator[Problem]:
    gateway = document.gateway
    if document.services and not (gateway.value.gateway.protos or gateway.value.descriptors):
        message = "there are no types: services need .proto files, a descriptor set or reflection"
        yield gateway.problem(message, "gateway", hint="add gateway.protos", code="BFF-C039")


def _aggregates(document: Document) -> Iterator[Problem]:
    for placed in document.aggregates:
        value = placed.value
        reply = value.reply
        if value.problems != "none" and isinstance(reply, dict) and value.problems in reply:
            message = f"the reply has a key `{value.problems}`, which lists what is missing"
            hint = "write `problems:` with another name, or none"
            path = ("reply", value.problems)
            yield placed.problem(message, *path, hint=hint, code="BFF-C031", at_key=True)
        most = (value.caps or AggregateCaps()).sources
        if len(value.sources) > most:
            message = f"{len(value.sources)} sources; `caps.sources` allows {most}"
            yield placed.problem(message, "sources", code="BFF-C034")
