"""JWT access tokens: every check of one issuer, in a fixed order (RFC 7519, RFC 8725, RFC 9068).

Pure: token and keys in, Principal out; no fetch, no cache. Shape and JSON are judged by our own
strict reader before the JOSE library sees anything; the library only checks the signature, under
the one algorithm that our table and the issuer's list both allow.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import msgspec
from joserfc.util import urlsafe_b64decode
from msgspec import Struct

from bff.auth.algorithms import ALGORITHMS, verify_signature
from bff.auth.claims import ClaimRules, read_claims
from bff.auth.faults import TokenFault
from bff.auth.key_set import KeySet, VerifyKey, is_kid
from bff.auth.strict_json import parse_object
from bff.core.exchange import Json, Principal
from bff.core.ports import Clock

__all__ = ["IssuerRules", "JwtVerifier", "Token", "parse_token"]

TOKEN_BYTES: Final = 8 * 1024
# The JOSE library stops at 512; real headers with a certificate thumbprint and long kids pass that.
HEADER_BYTES: Final = 2 * 1024

# Each lets the token say how or with what it wants to be checked (RFC 8725 3.10), or makes it
# something else than a plain JWS: unencoded payload, encryption, compression.
_FORBIDDEN_HEADERS = frozenset({"crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"})


class IssuerRules(Struct, frozen=True, kw_only=True):
    """What a token of one issuer must be. `name` is the mapping's, `issuer` the exact `iss`.

    `typ` lists allowed header types in lower case without `application/`. Claim rules: `claims.py`.
    """

    name: str
    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    typ: tuple[str, ...] = ("at+jwt",)
    require: tuple[str, ...] = ()
    exp_skew_s: float = 0.0
    tenant_claim: str = ""
    tier_claim: str = ""
    roles_claim: str = "roles"
    client_id_claim: str = "client_id"
    tier_map: Mapping[str, str] = {}
    # Which claims a Principal keeps for conditions and expressions; None keeps all.
    keep_claims: frozenset[str] | None = None


class Token(Struct, frozen=True):
    """A token taken apart and not yet believed."""

    header: dict[str, Json]
    claims: dict[str, Json]
    signing_input: bytes
    signature: bytes


def parse_token(text: bytes) -> Token:
    """Take a compact JWS apart (RFC 7515 7.1); nothing in it is trusted yet.

    Raises TokenFault unless it is three non-empty base64url segments (no padding, spare bits zero)
    within 8 KiB, whose first two are strict JSON objects. JWE has five segments and JSON
    serialisation none, so both end here.
    """
    if len(text) > TOKEN_BYTES:
        raise TokenFault("token is too long")
    segments = text.split(b".")
    if len(segments) != 3 or not all(segments):
        raise TokenFault("token is not three segments")
    try:
        header, payload, signature = map(urlsafe_b64decode, segments)
    except ValueError as error:
        raise TokenFault("segment is not base64url") from error
    if len(header) > HEADER_BYTES:
        raise TokenFault("token header is too long")
    try:
        return Token(
            parse_object(header),
            parse_object(payload),
            text[: len(segments[0]) + 1 + len(segments[1])],
            signature,
        )
    except ValueError as error:
        raise TokenFault("header or payload is no strict JSON object") from error


class JwtVerifier:
    """The checks of one issuer. Holds no keys: they are handed in, so a rotation needs no new one.

    Raises ValueError if the rules could not protect anything: no audience, no or unknown
    algorithms, HS256 beside public keys, a leeway above 60 s.
    """

    __slots__ = ("_algorithms", "_claim_rules", "_clock", "_types", "policy", "rules")

    def __init__(self, *, rules: IssuerRules, clock: Clock) -> None:
        _check_rules(rules)
        self.rules = rules
        # Names the rules by content: cached tokens die when any of them changes.
        self.policy = sha256(msgspec.json.encode(rules, order="sorted")).digest()
        self._algorithms = frozenset(rules.algorithms)
        self._types = frozenset(name.lower().removeprefix("application/") for name in rules.typ)
        self._claim_rules = ClaimRules(
            provider=rules.name,
            audience=frozenset(rules.audience),
            require=rules.require,
            exp_skew_s=rules.exp_skew_s,
            tenant=rules.tenant_claim,
            tier=rules.tier_claim,
            roles=rules.roles_claim,
            client_id=rules.client_id_claim,
            tier_map=rules.tier_map,
            keep=rules.keep_claims,
        )
        self._clock = clock

    def check_header(self, token: Token) -> None:
        """Judge everything in the header that needs no key. Raises TokenFault."""
        header = token.header
        if not _FORBIDDEN_HEADERS.isdisjoint(header):
            raise TokenFault("header has a member that is never allowed")
        alg = header.get("alg")
        if not isinstance(alg, str) or alg not in self._algorithms:
            raise TokenFault("algorithm is not allowed")
        if _type_of(token) not in self._types:
            raise TokenFault("token type is not allowed")
        if "kid" in header and not is_kid(header["kid"]):
            raise TokenFault("key id is not 1 to 256 printable ASCII characters")
        if token.claims.get("iss") != self.rules.issuer:
            raise TokenFault("issuer is another one")

    def check_signature(self, token: Token, keys: KeySet) -> VerifyKey:
        """The key that signed the token. Call after `check_header`.

        Raises UnknownKeyFault if no key has the token's kid, TokenFault if the signature is bad.
        """
        alg = token.header["alg"]
        key = keys.pick(token.header.get("kid"), alg)
        if not verify_signature(alg, key.key, token.signing_input, token.signature):
            raise TokenFault("signature is not valid")
        return key

    def check_claims(self, token: Token) -> Principal:
        """The caller whom the claims name. Raises TokenFault."""
        # RFC 9068 tokens name their kind in the header; all others must not be something else.
        if _type_of(token) != "at+jwt":
            _refuse_other_kinds(token.claims)
        return read_claims(token.claims, self._claim_rules, unix_s=self._clock.unix_s())

    def verify(self, token: Token, keys: KeySet) -> tuple[Principal, VerifyKey]:
        """All checks in order: header, issuer, signature, claims. Raises TokenFault."""
        self.check_header(token)
        key = self.check_signature(token, keys)
        return self.check_claims(token), key


def _type_of(token: Token) -> str | None:
    # RFC 7515 4.1.9: a media type, its application/ prefix may be left out; case does not count.
    typ = token.header.get("typ")
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else None


# Claims that only ID tokens (OpenID Connect Core 2) and logout tokens (Back-Channel Logout 2.4) have.
_OTHER_KINDS = frozenset({"nonce", "at_hash", "c_hash", "events"})
_OTHER_TYPES = frozenset({"id", "refresh", "offline", "logout"})


def _refuse_other_kinds(claims: Mapping[str, Json]) -> None:
    typ, use = claims.get("typ"), claims.get("token_use")
    if (
        not _OTHER_KINDS.isdisjoint(claims)
        or (isinstance(typ, str) and typ.lower() in _OTHER_TYPES)
        or (isinstance(use, str) and use.lower() in _OTHER_TYPES)
    ):
        raise TokenFault("an ID, refresh or logout token is no access token")


def _check_rules(rules: IssuerRules) -> None:
    if not rules.issuer or not rules.audience or not all(rules.audience):
        raise ValueError("an issuer needs its `iss` text and at least one audience")
    unknown = [name for name in rules.algorithms if name not in ALGORITHMS]
    if unknown or not rules.algorithms:
        raise ValueError(f"algorithms are chosen from {', '.join(ALGORITHMS)}; not: {unknown}")
    if "HS256" in rules.algorithms and len(rules.algorithms) > 1:
        raise ValueError("HS256 stands alone: beside public keys a key could pass as a secret")
    if not rules.typ:
        raise ValueError("an issuer needs at least one token type")
    if not 0 <= rules.exp_skew_s <= 60:
        raise ValueError("exp_skew lies between 0 and 60 s")
