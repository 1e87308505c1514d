"""The identity provider's signing keys: one current key for each algorithm, and those before it."""

from typing import Any

from joserfc.jwk import ECKey, KeyParameters, KeySet, RSAKey

__all__ = ["ALGORITHMS", "KeyRing"]

ALGORITHMS = ("RS256", "ES256")
_RSA_BITS = 2048  # the least RFC 7518 3.3 allows
_MAX_OLD_KEYS = 8  # tests rotate a few times; a key set without end would be a fault of its own


class KeyRing:
    """Signs with the current keys; publishes them and, for tokens still out, the old ones."""

    def __init__(self) -> None:
        self._current = {algorithm: _new_key(algorithm) for algorithm in ALGORITHMS}
        self._old: list[RSAKey | ECKey] = []

    def signing(self, algorithm: str) -> RSAKey | ECKey:
        """The current private key of "RS256" or "ES256"; its `kid` is the RFC 7638 thumbprint."""
        return self._current[algorithm]

    def rotate(self, *, keep_old: bool) -> None:
        """Sign with new keys from now on; without `keep_old` the old ones vanish at once."""
        kept = [*self._current.values(), *self._old] if keep_old else []
        self._old = kept[:_MAX_OLD_KEYS]
        self._current = {algorithm: _new_key(algorithm) for algorithm in ALGORITHMS}

    def public(self) -> dict[str, Any]:
        """The JSON Web Key Set (RFC 7517 5), public halves only."""
        key_set = KeySet([*self._current.values(), *self._old])
        return dict(key_set.as_dict(private=False))


def _new_key(algorithm: str) -> RSAKey | ECKey:
    parameters: KeyParameters = {"use": "sig", "alg": algorithm}
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", parameters, auto_kid=True)
    return RSAKey.generate_key(_RSA_BITS, parameters, auto_kid=True)
