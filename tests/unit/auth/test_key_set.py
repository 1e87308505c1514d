"""Which keys of a JWK Set are taken."""

import json
from typing import Any

import pytest

from bff.auth.faults import TokenFault, UnknownKeyFault
from bff.auth.key_set import KeySetFault, parse_key_set, secret_key_set
from tests.support.auth_world import key_document, key_set
from tests.support.token_forge import b64, ec_key, ed_key, rsa_key

RSA = rsa_key(kid="r1")
EC = ec_key(kid="e1")
SMALL_FACTOR = b64(((1 << 2047) + 1).to_bytes(256, "big"))  # divisible by 3


@pytest.mark.rule("edge.8.2")
@pytest.mark.parametrize(
    ("entry", "refused"),
    [
        pytest.param({"kty": "oct", "k": b64(bytes(32))}, True, id="secret"),
        pytest.param(EC.jwk(kid="x", d="AA"), True, id="private"),
        pytest.param(rsa_key(1024, kid="x").jwk(), True, id="rsa_1024"),
        pytest.param(rsa_key(kid="x", exponent=3).jwk(), True, id="exponent_3"),
        pytest.param(RSA.jwk(kid="x", e="AQ"), True, id="exponent_1"),
        pytest.param(RSA.jwk(kid="x", n=b64(b"\xff" * 513)), True, id="rsa_4104"),
        pytest.param(RSA.jwk(kid="x", n=SMALL_FACTOR), True, id="small_factor"),
        pytest.param(EC.jwk(kid="x", y=EC.jwk()["x"]), True, id="off_the_curve"),
        pytest.param(EC.jwk(kid="x", x=""), True, id="empty_coordinate"),
        pytest.param(EC.jwk(kid="x", x=5), True, id="coordinate_no_text"),
        pytest.param(EC.jwk(kid="x", key_ops=["sign"]), True, id="no_verify"),
        pytest.param(EC.jwk(kid="x", key_ops="verify"), True, id="key_ops_text"),
        pytest.param(EC.jwk(kid="x" * 257), True, id="long_kid"),
        pytest.param(EC.jwk(kid="a\nb"), True, id="kid_with_control"),
        pytest.param(EC.jwk(kid=5), True, id="kid_no_text"),
        pytest.param(EC.jwk(kid="x", alg=["ES256"]), True, id="alg_list"),
        pytest.param("a text", True, id="no_object"),
        pytest.param(EC.jwk(kid="x", use="enc"), False, id="for_encryption"),
        pytest.param(EC.jwk(kid="x", use=["sig"]), False, id="use_list"),
        pytest.param(EC.jwk(kid="x", alg="ECDH-ES"), False, id="alg_of_encryption"),
        pytest.param(EC.jwk(kid="x", alg="ES384"), False, id="alg_of_another_curve"),
        pytest.param(EC.jwk(kid="x", crv="P-1000"), False, id="unknown_curve"),
        pytest.param(EC.jwk(kid="x", crv=["P-256"]), False, id="curve_list"),
        pytest.param(ec_key("secp256k1", kid="x").jwk(), False, id="secp256k1"),
        pytest.param(
            {"kty": "OKP", "crv": "X25519", "x": b64(bytes(32)), "kid": "x"}, False, id="x25519"
        ),
        pytest.param({"kty": "AKP", "kid": "x"}, False, id="unknown_kind"),
        pytest.param({"kty": {}, "kid": "x"}, False, id="kind_no_text"),
    ],
)
def test_a_bad_key_is_left_out_and_the_others_serve(entry: Any, refused: bool) -> None:
    """Dangerous keys are reported, foreign ones skipped; the good key beside them stays usable."""
    causes: list[str] = []

    keys = parse_key_set(key_document(entry, EC), refused=causes.append)

    assert [key.kid for key in keys.keys] == ["e1"]
    assert bool(causes) == refused


@pytest.mark.rule("edge.8.2")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"<html>", "not_json", id="html"),
        pytest.param(b"[]", "not_json", id="list"),
        pytest.param(b'{"keys":[],"keys":[]}', "not_json", id="member_twice"),
        pytest.param(b'{"keys":' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json", id="deep"),
        pytest.param(b"{}", "no_keys", id="no_member"),
        pytest.param(b'{"keys":{}}', "no_keys", id="object"),
        pytest.param(b'{"keys":[]}', "no_keys", id="empty"),
        pytest.param(key_document(EC.jwk(use="enc")), "no_keys", id="none_usable"),
        pytest.param(key_document(*[EC] * 65), "too_many_keys", id="65_keys"),
        pytest.param(key_document(EC, ec_key(kid="e1")), "kid_clash", id="one_kid_two_keys"),
    ],
)
def test_a_set_that_cannot_be_trusted_is_refused_whole(body: bytes, kind: str) -> None:
    with pytest.raises(KeySetFault) as fault:
        parse_key_set(body, refused=lambda _cause: None)

    assert fault.value.kind == kind


def test_one_key_listed_for_two_algorithms_serves_both() -> None:
    keys = parse_key_set(key_document(RSA.jwk(alg="RS256"), RSA.jwk(alg="PS256")), refused=print)

    assert keys.pick("r1", "RS256") is keys.pick("r1", "PS256")
    with pytest.raises(TokenFault, match="does not fit"):
        keys.pick("r1", "RS384")


def test_eddsa_and_ed25519_are_one_algorithm_and_ed448_is_none() -> None:
    keys = key_set(ed_key(kid="d1", alg="EdDSA"))

    assert keys.pick("d1", "Ed25519") is keys.pick("d1", "EdDSA")


def test_without_a_kid_exactly_one_key_must_fit() -> None:
    keys = key_set(RSA, EC)
    assert keys.pick(None, "ES256").kid == "e1"

    with pytest.raises(TokenFault, match="exactly one"):
        key_set(EC, ec_key(kid="e2")).pick(None, "ES256")
    with pytest.raises(UnknownKeyFault):
        keys.pick("gone", "ES256")


@pytest.mark.parametrize(
    ("secret", "why"),
    [(b"short", "32"), (b"x" * 31, "32"), (RSA.public_texts()[0], "public keys")],
    ids=["short", "31_bytes", "a_public_key"],
)
def test_a_weak_secret_is_refused(secret: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        secret_key_set(secret)


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    """RFC 7638 3.1."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4"
        "n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0z"
        "gdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF"
        "Cur-kEgU8awapJzKnqDKgw"
    )
    entry = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}

    keys = parse_key_set(json.dumps({"keys": [entry]}).encode(), refused=print)

    assert keys.thumbprints == {"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}
