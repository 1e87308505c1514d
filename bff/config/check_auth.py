"""Rules of identity that are refused at load: issuers, keys, routes that nobody could call."""

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from bff.config.blocks import KeyPath
from bff.config.documents import Document, Placed
from bff.config.gateway import GatewayFile
from bff.config.policies import Auth, AuthRules, Issuer, ServiceRules
from bff.core.problems import Problem, nearest

__all__ = ["check_auth", "is_loopback"]

_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "EdDSA", "Ed25519",
)  # fmt: skip
_CODE = "BFF-C032"


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_auth(document: Document) -> Iterator[Problem]:
    """Everything about identity that cannot work or must not run, and the warning when there is none."""
    gateway = document.gateway
    auth = gateway.value.auth
    for name, issuer in auth.issuers.items():
        yield from _issuer(gateway, ("auth", "issuers", name), issuer)
    if not auth.has_provider:
        if auth.default == "required":
            message = "no route can be called: a credential is required, but there is no provider"
            hint = "configure auth.issuers or auth.api_keys"
            yield gateway.problem(message, "auth", "default", hint=hint, code=_CODE)
        else:
            message = "no identity provider is configured: routes are open"
            hint = "configure auth.issuers or auth.api_keys"
            yield gateway.problem(message, "auth", hint=hint, code="BFF-C040", severity="warning")
    for service in document.services:
        own = service.value.auth
        yield from _rules(service, ("auth",), own, own, auth)
        for index, route in enumerate(service.value.routes):
            yield from _rules(service, ("routes", index, "auth"), route.auth, own, auth)
    for aggregate in document.aggregates:
        yield from _rules(aggregate, ("auth",), aggregate.value.auth, None, auth)


def _issuer(gateway: Placed[GatewayFile], path: KeyPath, issuer: Issuer) -> Iterator[Problem]:
    if not issuer.audience:
        message = "an issuer needs an `audience`, or tokens for other services would be taken"
        hint = "list the names this gateway has at the issuer"
        yield gateway.problem(message, *path, "audience", hint=hint, code=_CODE)
    if not issuer.algorithms:
        message = "the list of algorithms is empty"
        hint = "remove the key for RS256 and ES256"
        yield gateway.problem(message, *path, "algorithms", hint=hint, code=_CODE)
    for index, algorithm in enumerate(issuer.algorithms):
        if algorithm not in _ALGORITHMS:
            yield _algorithm(gateway, (*path, "algorithms", index), algorithm)
    yield from _url(gateway, (*path, "issuer"), issuer.issuer)
    if issuer.jwks is not None:
        yield from _url(gateway, (*path, "jwks"), issuer.jwks)


def _algorithm(gateway: Placed[GatewayFile], path: KeyPath, name: str) -> Problem:
    if name.lower() == "none":
        return gateway.problem("tokens without a signature are never taken", *path, code=_CODE)
    if name.startswith("HS"):
        message = f"`{name}` signs with a shared secret and never stands beside public keys"
        return gateway.problem(message, *path, code=_CODE)
    near = nearest(name, _ALGORITHMS)
    hint = f"did you mean `{near}`?" if near else f"known: {', '.join(_ALGORITHMS)}"
    return gateway.problem(f"unknown algorithm `{name[:40]}`", *path, hint=hint, code=_CODE)


def _url(gateway: Placed[GatewayFile], path: KeyPath, text: str) -> Iterator[Problem]:
    """Keys come over https; plain http only on this machine."""
    try:
        url = urlsplit(text)
        host = url.hostname or ""
    except ValueError:
        host = ""
    if not host or url.scheme not in ("http", "https"):
        yield gateway.problem("expected a URL that starts with https://", *path, code=_CODE)
    elif url.scheme == "http" and not is_loopback(host):
        message = "keys must not come over plain http, except from this machine"
        yield gateway.problem(message, *path, hint="write https://", code=_CODE)


def _rules(
    placed: Placed[Any],
    path: KeyPath,
    rules: ServiceRules | None,
    service: ServiceRules | None,
    auth: Auth,
) -> Iterator[Problem]:
    """One level's rules, judged with what its service says and which providers exist."""
    if rules is None:
        return
    asks = bool(rules.scopes or rules.any_scopes or rules.roles or rules.tenant)
    if isinstance(rules, AuthRules) and rules.public is not None:
        inherited = service is not None and bool(service.required)
        if asks or rules.required or (inherited and rules is not service):
            what = "asks for a scope, role or tenant" if asks else "requires a credential"
            message = f"this route is `public` and yet {what}"
            yield placed.problem(message, *path, "public", hint="remove one", code="BFF-C033")
        return
    yield from _unserved(placed, path, rules, asks=asks, auth=auth)


def _unserved(
    placed: Placed[Any], path: KeyPath, rules: ServiceRules, *, asks: bool, auth: Auth
) -> Iterator[Problem]:
    serves = {"jwt": bool(auth.issuers), "api_key": auth.api_keys is not None}
    if rules.any is not None:
        if not any(serves.get(kind, False) for kind in rules.any):
            message = "no configured provider serves any of these credentials"
            have = ", ".join(kind for kind, here in serves.items() if here) or "none"
            hint = f"providers here: {have}"
            yield placed.problem(message, *path, "any", hint=hint, code="BFF-C033")
    elif (rules.required or asks) and not auth.has_provider:
        message = "nobody can call this: it needs a credential, but there is no provider"
        hint = "configure auth.issuers or auth.api_keys in the gateway file"
        key = "required" if rules.required else "scopes"
        yield placed.problem(message, *path, key, hint=hint, code="BFF-C033")
