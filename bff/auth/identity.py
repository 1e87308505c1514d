"""What a service is told of the caller: identity metadata, and which client fields may not imitate it."""

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

from bff.auth.challenges import Challenges
from bff.core.errors import DeniedError
from bff.core.exchange import Principal
from bff.core.problems import nearest

__all__ = ["DEFAULT_NAMES", "IDENTITY_NAMES", "compile_identity", "is_identity_name"]

Pairs = tuple[tuple[str, str | bytes], ...]

DEFAULT_NAMES: Final = ("x-user-id", "x-tenant-id", "x-scopes", "x-client-id", "x-auth-kind")
_ANONYMOUS: Final[Pairs] = (("x-auth-kind", "anonymous"),)
# Callers whose pairs are kept ready; a token cache hands out the same Principal again and again.
_MEMO: Final = 4_096


def _list(values: frozenset[str]) -> str:
    # A comma or a control inside an item must not make it two, or end the field.
    return ",".join([quote(value, safe=":/") for value in sorted(values)])


_VALUES: Final[dict[str, Callable[[Principal], str]]] = {
    "x-user-id": lambda who: who.sub,
    "x-tenant-id": lambda who: who.tenant,
    "x-scopes": lambda who: _list(who.scopes),
    "x-client-id": lambda who: who.client_id,
    "x-auth-kind": lambda who: who.kind,
    "x-roles": lambda who: _list(who.roles),
    "x-tier": lambda who: who.tier,
}

IDENTITY_NAMES: Final = frozenset(_VALUES)
# The gateway sends these of its own, so a client's copies must not stand beside them.
_OURS: Final = frozenset(
    name.encode() for name in (*_VALUES, "x-request-id", "traceparent", "x-forwarded-for")
)


def compile_identity(
    names: Sequence[str] = DEFAULT_NAMES, *, realm: str = "bff"
) -> Callable[[Principal], Pairs]:
    """Prepare the identity metadata of one upstream; no names = none at all.

    The result maps a Principal to (name, value) pairs: text for printable ASCII, otherwise
    `<name>-bin` with UTF-8 bytes. An anonymous caller gives `x-auth-kind: anonymous` alone. It
    raises DeniedError TOKEN_INVALID for a value with a control character. Raises ValueError for a
    name that is not known.
    """
    for name in names:
        if name not in _VALUES:
            hint = nearest(name, _VALUES)
            raise ValueError(
                f"identity metadata {name!r} is not known"
                + (f"; did you mean {hint}?" if hint else "")
            )
    if not names:
        return lambda _principal: ()
    getters = [(name, _VALUES[name]) for name in names]
    anonymous = _ANONYMOUS if "x-auth-kind" in names else ()
    invalid = Challenges(realm).invalid_token
    memo: dict[int, tuple[Principal, Pairs]] = {}

    def pairs_of(principal: Principal) -> Pairs:
        kept = memo.get(id(principal))
        # The entry holds its Principal, so the id cannot have passed to another one.
        if kept is not None and kept[0] is principal:
            return kept[1]
        if principal.kind == "anonymous":
            return anonymous
        pairs = []
        for name, get in getters:
            value = get(principal)
            if value:
                pairs.append(_pair(name, value, invalid))
        if len(memo) >= _MEMO:
            del memo[next(iter(memo))]
        memo[id(principal)] = (principal, tuple(pairs))
        return memo[id(principal)][1]

    return pairs_of


def _pair(
    name: str, value: str, challenge: tuple[tuple[bytes, bytes], ...]
) -> tuple[str, str | bytes]:
    if any(char < " " or "\x7f" <= char <= "\x9f" for char in value):
        raise DeniedError("TOKEN_INVALID", detail=f"control character in {name}", headers=challenge)
    # Peers trim metadata: a value with outer spaces would arrive as another one.
    if value.isascii() and value == value.strip():
        return name, value
    return f"{name}-bin", value.encode()


def is_identity_name(name: bytes) -> bool:
    """True for a client's field that must not cross to a service.

    Compared in lower case with `_` as `-`, with or without `grpc-metadata-` before and `-bin`
    after, as gateways and services between here and there might fold them.
    """
    folded = name.lower().replace(b"_", b"-")
    while folded.startswith(b"grpc-metadata-"):
        folded = folded[len(b"grpc-metadata-") :]
    while folded.endswith(b"-bin"):
        folded = folded[: -len(b"-bin")]
    return folded in _OURS or folded.startswith(b"x-bff-")
