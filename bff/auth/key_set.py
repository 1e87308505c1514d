"""An issuer's verification keys: which keys of a JWK Set we take (RFC 7517), and how one is found.

Pure: bytes in, a KeySet out. Fetching and ageing are `jwks.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from math import gcd, prod

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode
from msgspec import Struct

from bff.auth.algorithms import fitting
from bff.auth.faults import TokenFault, UnknownKeyFault
from bff.auth.strict_json import parse_object
from bff.core.exchange import Json

__all__ = ["KeySet", "KeySetFault", "VerifyKey", "is_kid", "parse_key_set", "secret_key_set"]

MAX_KEYS = 64
# RFC 7518 3.3 asks for 2048 bits at least; above 4096 one check takes milliseconds of the loop.
RSA_BITS = range(2048, 4097)
# RFC 7518 3.2 asks for a key as long as the hash.
SECRET_BYTES = 32

_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CURVES = {"RSA": {""}, "EC": {"P-256", "P-384", "P-521"}, "OKP": {"Ed25519"}}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# A modulus with a small factor was not made by a key generator.
_SMALL_PRIMES = prod(n for n in range(2, 1000) if all(n % d for d in range(2, n)))


class KeySetFault(Exception):
    """A key set that cannot be used as a whole. `kind` is a short word for metrics."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class VerifyKey(Struct, frozen=True):
    """One key: the algorithms it may verify, and its RFC 7638 thumbprint."""

    kid: str | None
    thumbprint: str
    algorithms: frozenset[str]
    key: Key


class KeySet:
    """The usable keys of one issuer at one time. Never changes; a refresh makes a new one."""

    __slots__ = ("_by_kid", "keys", "thumbprints")

    def __init__(self, keys: Sequence[VerifyKey]) -> None:
        self.keys = tuple(keys)
        self._by_kid = {key.kid: key for key in keys if key.kid is not None}
        self.thumbprints = frozenset(key.thumbprint for key in keys)

    def __contains__(self, kid: str) -> bool:
        return kid in self._by_kid

    def same_as(self, other: "KeySet | None") -> bool:
        """True if both hold the same keys under the same ids for the same algorithms."""
        return other is not None and _shape(self) == _shape(other)

    def pick(self, kid: str | None, alg: str) -> VerifyKey:
        """The key for a token's header.

        Without a kid exactly one key must fit `alg`. Raises UnknownKeyFault if no key has this kid,
        TokenFault if the key is not for `alg`.
        """
        if kid is None:
            fits = [key for key in self.keys if alg in key.algorithms]
            if len(fits) != 1:
                raise TokenFault("no key id, and not exactly one key fits")
            return fits[0]
        key = self._by_kid.get(kid)
        if key is None:
            raise UnknownKeyFault(kid)
        if alg not in key.algorithms:
            raise TokenFault("algorithm does not fit the key")
        return key


def _shape(keys: KeySet) -> set[tuple[str | None, str, frozenset[str]]]:
    return {(key.kid, key.thumbprint, key.algorithms) for key in keys.keys}


def secret_key_set(secret: bytes) -> KeySet:
    """The set of an issuer that signs with a shared secret (HS256).

    Raises ValueError below 32 bytes, or if the secret is in truth a public key or certificate.
    """
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"the secret has {len(secret)} bytes, {SECRET_BYTES} are needed")
    key = OctKey.import_key(secret)
    return KeySet([VerifyKey(None, key.thumbprint(), frozenset({"HS256"}), key)])


def parse_key_set(body: bytes, *, refused: Callable[[str], None]) -> KeySet:
    """Read a JWK Set document (RFC 7517 5).

    Keys are judged one by one: unknown kinds are skipped, bad ones reported to `refused` with the
    cause. Raises KeySetFault if the document is none, no key is usable, or one kid has two keys.
    """
    try:
        document = parse_object(body)
    except ValueError as error:
        raise KeySetFault("not_json", f"not a JSON object: {error}") from error
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise KeySetFault("no_keys", "no list of keys")
    if len(entries) > MAX_KEYS:
        raise KeySetFault("too_many_keys", f"{len(entries)} keys, {MAX_KEYS} are allowed")
    taken: list[VerifyKey] = []
    for index, entry in enumerate(entries):
        try:
            key = _import(entry)
        except _Refused as error:
            refused(f"key {index}: {error}")
            continue
        if key is not None:
            taken.append(key)
    keys = _without_clash(taken)
    if not keys:
        raise KeySetFault("no_keys", "no key is usable")
    return KeySet(keys)


class _Refused(Exception):
    """A key that must not be used; the text says why."""


def _without_clash(keys: list[VerifyKey]) -> list[VerifyKey]:
    """One entry per kid. The same key listed for two algorithms serves both; two keys are a fault."""
    found: dict[tuple[str | None, str], VerifyKey] = {}
    owner: dict[str, str] = {}
    for key in keys:
        if key.kid is not None and owner.setdefault(key.kid, key.thumbprint) != key.thumbprint:
            raise KeySetFault("kid_clash", "one key id names two different keys")
        place = (key.kid, key.thumbprint)
        before = found.get(place)
        algorithms = key.algorithms | before.algorithms if before else key.algorithms
        found[place] = VerifyKey(key.kid, key.thumbprint, algorithms, key.key)
    return list(found.values())


def _import(entry: Json) -> VerifyKey | None:
    """One member of `keys`: None to skip it (not for us), _Refused if it is dangerous."""
    if not isinstance(entry, dict):
        raise _Refused("not an object")
    if not _PRIVATE.isdisjoint(entry):
        raise _Refused("private or secret key in a public set")
    kty, crv = entry.get("kty"), entry.get("crv", "")
    if kty == "oct":
        raise _Refused("secret key in a public set")
    if not isinstance(kty, str) or not isinstance(crv, str) or crv not in _CURVES.get(kty, ()):
        return None
    if entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise _Refused("key_ops without verify")
    kid = entry.get("kid")
    if kid is not None and not is_kid(kid):
        raise _Refused("kid is not 1 to 256 printable ASCII characters")
    alg = entry.get("alg")
    if alg is not None and not isinstance(alg, str):
        raise _Refused("alg is no text")
    algorithms = fitting(kty, crv, alg)
    if not algorithms:
        return None
    key = _load(kty, entry)
    return VerifyKey(kid, key.thumbprint(), algorithms, key)


def is_kid(kid: Json) -> bool:
    """True for a key id that we look up: 1 to 256 printable ASCII characters."""
    return isinstance(kid, str) and 1 <= len(kid) <= 256 and kid.isascii() and kid.isprintable()


def _load(kty: str, entry: Mapping[str, Json]) -> Key:
    # Only the members that make the key: the library must not act on x5c, use or alg of strangers.
    members: dict[str, str | list[str]] = {"kty": kty}
    for name in _MEMBERS[kty]:
        value = entry.get(name)
        if not isinstance(value, str) or len(value) > 1024:
            raise _Refused(f"{name} is missing or no text")
        members[name] = value
    try:
        if kty == "EC":
            return ECKey.import_key(members)
        if kty == "OKP":
            return OKPKey.import_key(members)
        _check_rsa(entry["n"], entry["e"])
        return RSAKey.import_key(members)
    except (JoseError, ValueError) as error:
        # A point off its curve, a foreign character, an even exponent: all end here.
        raise _Refused("the key's numbers are not valid") from error


def _check_rsa(modulus: str, exponent: str) -> None:
    """Judge the numbers before the library does, which would only warn of a short key."""
    n = int.from_bytes(urlsafe_b64decode(modulus.encode()), "big")
    e = int.from_bytes(urlsafe_b64decode(exponent.encode()), "big")
    if n.bit_length() not in RSA_BITS:
        raise _Refused(f"RSA of {n.bit_length()} bits")
    if e != 65537:
        raise _Refused("RSA exponent is not 65537")
    if gcd(n, _SMALL_PRIMES) != 1:
        raise _Refused("RSA modulus has a small factor")
