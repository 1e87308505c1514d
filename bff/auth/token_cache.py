"""Verified tokens, remembered by the SHA-256 of the whole token; and refused ones, for a moment.

A hit stands for a full verification, so it dies with anything that verification rested on: the
token's own expiry, the issuer's rules, the key that signed it. One per worker; nothing is shared.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from bff.auth.key_set import KeySet
from bff.core.exchange import Principal
from bff.core.ports import Clock

__all__ = ["IssuerState", "TokenCache"]

TTL_S: Final = 60.0
ENTRIES: Final = 20_000
REFUSED_TTL_S: Final = 10.0
REFUSED_ENTRIES: Final = 4_096


class IssuerState(Struct):
    """What cached tokens of one issuer rest on: its keys now, and the digest of its rules."""

    policy: bytes
    keys: Callable[[], KeySet | None]


class _Verified(Struct):
    principal: Principal
    until_s: float
    expires_unix_s: float
    issuer: str
    policy: bytes
    thumbprint: str
    # The set in which the key was last seen: the same object means it needs no second look.
    keys: KeySet | None


class _Refused(Struct, frozen=True):
    cause: str
    until_s: float
    issuer: str
    policy: bytes
    keys: KeySet | None


class TokenCache:
    """SHA-256 of the token -> Principal, least recently used out first.

    `issuers` says what each issuer (by name) rests on now; `bind` replaces it when a new
    configuration goes live, which ends the entries whose rules changed.
    """

    __slots__ = ("_issuers", "_now_s", "_refused", "_size", "_unix_s", "_verified")

    def __init__(self, *, clock: Clock, size: int = ENTRIES) -> None:
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()
        self._issuers: dict[str, IssuerState] = {}
        self._size = size
        self._now_s = clock.now_s
        self._unix_s = clock.unix_s

    def bind(self, issuers: dict[str, IssuerState]) -> None:
        """Say what each issuer's tokens rest on from now on."""
        self._issuers = issuers

    def get(self, digest: bytes) -> Principal | None:
        """The caller of a token verified before and still good, or None."""
        entry = self._verified.get(digest)
        if entry is None:
            return None
        # Two clocks: a wall clock that steps back must not lengthen the 60 s.
        if self._unix_s() < entry.expires_unix_s and self._now_s() < entry.until_s:
            issuer = self._issuers.get(entry.issuer)
            if issuer is not None and issuer.policy == entry.policy:
                keys = issuer.keys()
                if keys is not None and (
                    keys is entry.keys or entry.thumbprint in keys.thumbprints
                ):
                    entry.keys = keys
                    self._verified.move_to_end(digest)
                    return entry.principal
        del self._verified[digest]
        return None

    def put(
        self, digest: bytes, principal: Principal, *, issuer: str, thumbprint: str, keys: KeySet
    ) -> None:
        """Remember a verified token for min(its life, 60 s)."""
        state = self._issuers.get(issuer)
        if state is None:
            return
        self._verified[digest] = _Verified(
            principal,
            self._now_s() + TTL_S,
            principal.expires_unix_s,
            issuer,
            state.policy,
            thumbprint,
            keys,
        )
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        """One that must go, and up to two that nobody may use any more: what is kept follows the traffic."""
        verified = self._verified
        if len(verified) > self._size:
            verified.popitem(last=False)
        for _ in range(2):
            digest, oldest = next(iter(verified.items()))
            if oldest.until_s > self._now_s():
                break
            del verified[digest]

    def __len__(self) -> int:
        """The number of verified tokens held."""
        return len(self._verified)

    def refusal(self, digest: bytes) -> str | None:
        """The cause for which this token was refused within the last 10 s, or None."""
        entry = self._refused.get(digest)
        if entry is None:
            return None
        state = self._issuers.get(entry.issuer)
        policy, keys = (state.policy, state.keys()) if state else (b"", None)
        if self._now_s() < entry.until_s and policy == entry.policy and keys is entry.keys:
            return entry.cause
        del self._refused[digest]
        return None

    def put_refusal(self, digest: bytes, cause: str, *, issuer: str) -> None:
        """Remember a refusal that would come out the same again while rules and keys stay."""
        state = self._issuers.get(issuer)
        policy, keys = (state.policy, state.keys()) if state else (b"", None)
        self._refused[digest] = _Refused(cause, self._now_s() + REFUSED_TTL_S, issuer, policy, keys)
        if len(self._refused) > REFUSED_ENTRIES:
            self._refused.popitem(last=False)
