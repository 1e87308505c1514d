"""The signature algorithms we verify (RFC 7518 3.1, RFC 8037, RFC 9864), and which keys fit each.

A closed table: what is not in it cannot be configured, so `none`, HS384 and secp256k1 cannot be
reached by any spelling. The library's own default set is never consulted.
"""

from joserfc.jws import JWSRegistry
from msgspec import Struct

__all__ = ["ALGORITHMS", "Algorithm", "fitting", "verify_signature"]


class Algorithm(Struct, frozen=True):
    """One algorithm: its JWK key type and curve (empty: none), and the library's name for it."""

    name: str
    kty: str
    crv: str = ""
    model: str = ""


def _table() -> dict[str, Algorithm]:
    curves = {"256": "P-256", "384": "P-384", "512": "P-521"}
    rows = [Algorithm(f"{family}{bits}", "RSA") for family in ("RS", "PS") for bits in curves]
    rows += [Algorithm(f"ES{bits}", "EC", crv) for bits, crv in curves.items()]
    # EdDSA stands for any Edwards curve in RFC 8037; here it means Ed25519 alone (RFC 9864).
    rows += [
        Algorithm("Ed25519", "OKP", "Ed25519"),
        Algorithm("EdDSA", "OKP", "Ed25519", "Ed25519"),
    ]
    rows += [Algorithm("HS256", "oct")]
    return {row.name: row for row in rows}


ALGORITHMS: dict[str, Algorithm] = _table()

# The models themselves, looked up once: `get_alg` would warn on every EdDSA token.
_MODELS = {name: JWSRegistry.algorithms[row.model or name] for name, row in ALGORITHMS.items()}

_EDWARDS = frozenset({"EdDSA", "Ed25519"})


def fitting(kty: str, crv: str, alg: str | None) -> frozenset[str]:
    """Names of the algorithms that a key of this type, curve and own `alg` may verify."""
    fits = {name for name, row in ALGORITHMS.items() if row.kty == kty and row.crv == crv}
    if alg is None:
        return frozenset(fits)
    # One algorithm under two names.
    return frozenset(fits & (_EDWARDS if alg in _EDWARDS else {alg}))


def verify_signature(alg: str, key: object, message: bytes, signature: bytes) -> bool:
    """True if `signature` is `key`'s over `message`. The caller has checked that the key fits."""
    try:
        return _MODELS[alg].verify(message, signature, key)
    except ValueError:
        # The crypto library refuses some impossible signatures by raising.
        return False
