"""The claims of an access token: each judged by type and range, then made into a Principal (RFC 7519 4.1).

Called after the signature; a signed claim of the wrong type is refused all the same, since it says
that we and the issuer do not mean the same thing. Scopes are the exception: a `scope` of a foreign
form grants nothing, and the route that asks for one answers 403.
"""

import math
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from bff.auth.faults import TokenFault
from bff.core.exchange import Json, Principal

__all__ = ["ClaimRules", "read_claims"]

# How far an issuer's clock may run ahead of ours.
CLOCK_SKEW_S: Final = 60.0
LIFETIME_S: Final = 24 * 3600.0
_LATEST: Final = 2.0**53
_TENANT: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class ClaimRules(Struct, frozen=True, kw_only=True):
    """What the claims must hold, and which of them mean tenant, tier, roles and client."""

    provider: str
    audience: frozenset[str]
    require: tuple[str, ...]
    exp_skew_s: float
    tenant: str
    tier: str
    roles: str
    client_id: str
    tier_map: Mapping[str, str]
    keep: frozenset[str] | None


def read_claims(claims: Mapping[str, Json], rules: ClaimRules, *, unix_s: float) -> Principal:
    """The Principal of these claims at `unix_s`. Raises TokenFault naming the check that failed."""
    expires = _expiry(claims, rules, unix_s)
    _check_audience(claims.get("aud"), rules.audience)
    sub = claims.get("sub")
    if not isinstance(sub, str) or not _is_name(sub):
        raise TokenFault("sub is not 1 to 255 bytes of text without controls")
    if "cnf" in claims:
        # Without the proof a bound token would be worth as much to a thief as to its owner.
        raise TokenFault("token is bound to a key (cnf) whose proof is not checked here")
    for name in rules.require:
        if claims.get(name) is None:
            raise TokenFault("a required claim is missing")
    return Principal(
        kind="jwt",
        sub=sub,
        tenant=_tenant(claims.get(rules.tenant)) if rules.tenant else "",
        client_id=_client_id(claims.get(rules.client_id)),
        scopes=_scopes(claims),
        roles=_roles(claims.get(rules.roles)),
        tier=_tier(claims, rules),
        claims=claims if rules.keep is None else _only(claims, rules.keep),
        expires_unix_s=expires,
        provider=rules.provider,
    )


def _expiry(claims: Mapping[str, Json], rules: ClaimRules, unix_s: float) -> float:
    expires = _seconds(claims.get("exp"))
    if expires is None or not 1 <= expires <= _LATEST:
        raise TokenFault("exp is missing or no time")
    # RFC 7519 4.1.4: on or after the second named by exp the token is refused; no leeway of its own.
    if unix_s >= expires + rules.exp_skew_s:
        raise TokenFault("token has expired")
    for name in ("nbf", "iat"):
        if name in claims:
            at = _seconds(claims[name])
            if at is None:
                raise TokenFault(f"{name} is no time")
            if at > unix_s + CLOCK_SKEW_S:
                raise TokenFault(f"{name} lies ahead", lasting=False)
    # Without iat it was made now at the latest, so what is left of it is a lower bound.
    issued = float(claims.get("iat", 0.0))
    if expires - (issued if "iat" in claims else unix_s) > LIFETIME_S:
        raise TokenFault("token lives longer than 24 h")
    return expires + rules.exp_skew_s


def _seconds(value: Json) -> float | None:
    # bool is an int to Python and no number to JSON; 1e999 reads as infinity.
    if type(value) is int:
        return float(value) if abs(value) <= _LATEST else None
    return value if type(value) is float and math.isfinite(value) else None


def _check_audience(value: Json, ours: frozenset[str]) -> None:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise TokenFault("aud is missing or no text")
    if ours.isdisjoint(listed):
        raise TokenFault("audience is another one")


def _is_name(text: str) -> bool:
    """1 to 255 bytes of UTF-8 without C0, C1 and DEL."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        # A lone surrogate, written as an escape in JSON.
        return False
    return 1 <= size <= 255 and not any(char < " " or "\x7f" <= char <= "\x9f" for char in text)


def _tenant(value: Json) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not 1 <= len(value) <= 64 or not _TENANT.issuperset(value):
        raise TokenFault("tenant has a form that is not allowed")
    return value


def _client_id(value: Json) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not _is_name(value):
        raise TokenFault("client id is no text without controls")
    return value


def _scopes(claims: Mapping[str, Json]) -> frozenset[str]:
    """RFC 6749 3.3: split at single spaces, compared whole. What is no scope-token grants nothing."""
    value = claims.get("scope")
    if isinstance(value, str):
        listed: Json = value.split(" ")
    else:
        listed = claims.get("scp") if value is None else None
    if not isinstance(listed, list):
        return frozenset()
    return frozenset(one for one in listed if isinstance(one, str) and _is_scope(one))


def _is_scope(text: str) -> bool:
    # scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
    return text != "" and all("!" <= char <= "~" and char not in '"\\' for char in text)


def _roles(value: Json) -> frozenset[str]:
    if not isinstance(value, list):
        return frozenset()
    return frozenset(one for one in value if isinstance(one, str) and _is_name(one))


def _tier(claims: Mapping[str, Json], rules: ClaimRules) -> str:
    value = claims.get(rules.tier) if rules.tier else None
    if not isinstance(value, str) or not _is_name(value):
        return ""
    return rules.tier_map.get(value, value)


def _only(claims: Mapping[str, Json], names: frozenset[str]) -> dict[str, Json]:
    return {name: value for name, value in claims.items() if name in names}
