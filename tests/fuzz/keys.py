"""Key sets of issuers: whatever the document holds, what is taken is a public key, and each number in it is sound."""

import base64
import hashlib
import json
import re
from typing import Any

from bff.auth.faults import TokenFault
from bff.auth.jwt import parse_token
from bff.auth.key_set import KeySet, KeySetFault, parse_key_set
from tests.fuzz.choices import Choices
from tests.support.auth_world import FakeClock, forge_of, key_document, make_verifier
from tests.support.token_forge import ec_key, ed_key, rsa_key

__all__ = ["KEY_SET_SEEDS", "key_sets"]

_NOW = 1_800_000_000
_KEY = ec_key(kid="e1")
_TOKEN = parse_token(forge_of(_KEY).token(claims={"exp": _NOW + 60}))
_VERIFIER = make_verifier(FakeClock(_NOW))
_GOOD = key_document(_KEY, ed_key(kid="d1"), rsa_key(kid="r1"))

# An edit of a good document, or after an octet of 1 a document as it stands.
KEY_SET_SEEDS = (
    b"\0\0\x05a",
    b'\0\1\x20,\1\x21"',
    b"\x01" + _GOOD,
    b"\x01" + key_document(_KEY.jwk(use=None, alg="ES256", key_ops=["verify"]), _KEY.jwk(kid="e2", crv="P-384")),
    b"\x01" + key_document(_KEY.jwk(d="AQ"), {"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
    b'\x01{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}',
    b'\x01{"keys":[null,[],{"kty":["EC"]},{"kty":"EC","crv":{}}],"keys":[[[[[[[[[[]]]]]]]]]]}',
)  # fmt: skip

_PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
# RFC 7638 3.2: the members that make a thumbprint.
_MEMBERS = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("e", "n")}
_SIZES = {"P-256": 32, "P-384": 48, "P-521": 66, "Ed25519": 32}
# FIPS 186-4 D.1.2.3.
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


def key_sets(raw: bytes) -> None:
    """A set or a fault with a name; no key that is private, weak or off its curve; no token by another's key."""
    document = _document(raw)
    refused: list[str] = []
    try:
        keys = parse_key_set(document, refused=refused.append)
    except KeySetFault as fault:
        assert fault.kind in {"kid_clash", "no_keys", "not_json", "too_many_keys"}  # noqa: PT017 - most inputs raise
        return
    entries = json.loads(document)["keys"]
    by_thumbprint = {
        _thumbprint(entry): entry for entry in entries if _is_public(entry) and _could_verify(entry)
    }
    assert keys.keys
    for key in keys.keys:
        entry = by_thumbprint[key.thumbprint]
        assert {"RSA": "RS", "EC": "ES", "OKP": "Ed"}[entry["kty"]] in {
            name[:2] for name in key.algorithms
        } or (entry["kty"] == "RSA" and {name[:2] for name in key.algorithms} == {"PS"})
    _judge_token(keys)
    assert parse_key_set(document, refused=refused.append).same_as(keys)


def _document(raw: bytes) -> bytes:
    if raw[:1] == b"\x01":
        return raw[1:]
    changed, choices = bytearray(_GOOD), Choices(raw[1:])
    while choices.has_more:
        at = choices.below(256) << 8 | choices.below(256)
        changed[at % len(changed)] = choices.below(256)
    return bytes(changed)


def _is_public(entry: Any) -> bool:
    return (
        isinstance(entry, dict) and not _PRIVATE & entry.keys() and entry.get("use", "sig") == "sig"
    )


def _could_verify(entry: dict[str, Any]) -> bool:
    """By the numbers alone."""
    kind = entry.get("kty")
    names = _MEMBERS.get(kind, ()) if isinstance(kind, str) else ()
    if not names or not all(isinstance(entry.get(name), str) for name in names):
        return False
    if kind == "RSA":
        return _number(entry["e"]) == 65537 and 2048 <= _number(entry["n"]).bit_length() <= 4096
    if kind == "OKP":
        return bool(entry["crv"] == "Ed25519")
    if entry["crv"] == "P-256":
        x, y = _number(entry["x"]), _number(entry["y"])
        return (y * y - x * x * x + 3 * x - _B) % _P == 0 and max(x, y) < _P
    return True


def _thumbprint(entry: dict[str, Any]) -> str:
    """RFC 7638 3, of the numbers as they are written shortest."""
    shown = {"kty": entry["kty"]}
    for name in _MEMBERS[entry["kty"]]:
        if name == "crv":
            shown[name] = entry[name]
            continue
        number = _number(entry[name])
        size = _SIZES.get(entry.get("crv", ""), (number.bit_length() + 7) // 8)
        shown[name] = _text(number.to_bytes(max(size, (number.bit_length() + 7) // 8), "big"))
    canonical = json.dumps(shown, sort_keys=True, separators=(",", ":")).encode()
    return _text(hashlib.sha256(canonical).digest())


def _number(text: str) -> int:
    """Zero for what is no base64url (RFC 4648 5)."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        return 0
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _judge_token(keys: KeySet) -> None:
    try:
        _, by = _VERIFIER.verify(_TOKEN, keys)
    except TokenFault:
        return
    assert by.thumbprint == _thumbprint(_KEY.jwk())
