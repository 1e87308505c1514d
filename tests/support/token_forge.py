"""Makes every token an issuer would, and every one it never should. On raw cryptography and base64,
so that no library's scruples stand between a test and the bytes it wants.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

__all__ = ["Forge", "ForgeKey", "b64", "compact", "ec_key", "ed_key", "hs_sign", "rsa_key"]

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


def b64(raw: bytes) -> str:
    """base64url without padding (RFC 7515 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class ForgeKey:
    """A signing key and its public JWK."""

    def __init__(self, private: PrivateKey, *, kid: str | None = "k1", **extra: Any) -> None:
        self.private = private
        self.kid = kid
        self._extra = extra

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public JWK; `changes` replace members, None removes them."""
        members: dict[str, Any] = {**_public(self.private), "kid": self.kid, "use": "sig"}
        members |= self._extra | changes
        return {name: value for name, value in members.items() if value is not None}

    def public_texts(self) -> list[bytes]:
        """The public key in every form that people paste somewhere (for HMAC confusion)."""
        public = self.private.public_key()
        pem = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        der = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        jwk = json.dumps(self.jwk()).encode()
        return [pem, pem.strip(), pem.replace(b"\n", b""), der, base64.b64encode(der), jwk]

    def sign(self, alg: str, message: bytes) -> bytes:
        """A raw JWS signature over `message`, whatever `alg` says the key should be."""
        key = self.private
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(message)
        digest = _HASHES.get(alg[-3:], hashes.SHA256())
        if isinstance(key, rsa.RSAPrivateKey):
            pad: padding.AsymmetricPadding = padding.PKCS1v15()
            if alg.startswith("PS"):
                pad = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
            return key.sign(message, pad, digest)
        size = (key.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _public(private: PrivateKey) -> dict[str, Any]:
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.public_key().public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(private, ed25519.Ed25519PrivateKey):
        raw = private.public_key().public_bytes_raw()
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    point = private.public_key().public_numbers()
    size = (private.key_size + 7) // 8
    crv = next(name for name, curve in _CURVES.items() if curve.name == private.curve.name)
    return {"kty": "EC", "crv": crv, "x": _number(point.x, size), "y": _number(point.y, size)}


def rsa_key(
    bits: int = 2048, *, kid: str | None = "k1", exponent: int = 65537, **extra: Any
) -> ForgeKey:
    """An RSA key."""
    return ForgeKey(rsa.generate_private_key(exponent, bits), kid=kid, **extra)


def ec_key(crv: str = "P-256", *, kid: str | None = "e1", **extra: Any) -> ForgeKey:
    """An EC key."""
    return ForgeKey(ec.generate_private_key(_CURVES[crv]), kid=kid, **extra)


def ed_key(*, kid: str | None = "d1", **extra: Any) -> ForgeKey:
    """An Ed25519 key."""
    return ForgeKey(ed25519.Ed25519PrivateKey.generate(), kid=kid, **extra)


def hs_sign(secret: bytes, message: bytes, alg: str = "HS256") -> bytes:
    """An HMAC signature."""
    return hmac.digest(secret, message, getattr(hashlib, f"sha{alg[-3:]}"))


def compact(header: str | bytes, payload: str | bytes, signature: bytes) -> bytes:
    """Join raw texts into a compact JWS, with no check at all."""
    head = header.encode() if isinstance(header, str) else header
    body = payload.encode() if isinstance(payload, str) else payload
    return f"{b64(head)}.{b64(body)}.{b64(signature)}".encode()


class Forge:
    """An issuer's workshop: good claims and header by default, each of which a test may change."""

    def __init__(
        self,
        key: ForgeKey,
        *,
        issuer: str = "https://id.example.com",
        audience: str = "https://api.example.com",
        alg: str = "ES256",
        unix_s: float = 1_800_000_000,
    ) -> None:
        self.key = key
        self.issuer = issuer
        self.audience = audience
        self.alg = alg
        self.unix_s = unix_s

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Good claims; `changes` replace members, `...` (Ellipsis) removes them."""
        now = int(self.unix_s)
        good: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": "u-1",
            "exp": now + 300,
            "iat": now,
            "client_id": "app",
            "scope": "orders.read profile",
        }
        return _changed(good, changes)

    def header(self, **changes: Any) -> dict[str, Any]:
        """A good header; changes as for claims."""
        good = {"alg": self.alg, "typ": "at+jwt", "kid": self.key.kid or ...}
        return _changed(_changed({}, good), changes)

    def token(
        self,
        *,
        header: Mapping[str, Any] | str | None = None,
        claims: Mapping[str, Any] | str | None = None,
        alg: str | None = None,
        key: ForgeKey | None = None,
        signature: bytes | None = None,
    ) -> bytes:
        """A compact token. Texts are taken as they are; mappings are changes to the good ones.

        `alg` chooses how it is signed, not what the header says; `signature` replaces it.
        """
        head = header if isinstance(header, str) else json.dumps(self.header(**(header or {})))
        body = claims if isinstance(claims, str) else json.dumps(self.claims(**(claims or {})))
        message = f"{b64(head.encode())}.{b64(body.encode())}".encode()
        if signature is None:
            signature = (key or self.key).sign(alg or self.alg, message)
        return message + b"." + b64(signature).encode()

    def hmac_token(self, secret: bytes, *, alg: str = "HS256", **header: Any) -> bytes:
        """A token signed with a shared secret."""
        message = ".".join(
            b64(json.dumps(part).encode())
            for part in (self.header(**({"alg": alg} | header)), self.claims())
        ).encode()
        return message + b"." + b64(hs_sign(secret, message, alg)).encode()


def _changed(good: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (good | dict(changes)).items() if value is not ...}
