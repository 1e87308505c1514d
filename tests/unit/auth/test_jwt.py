"""The checks of a token, on the clock and without I/O."""

import json
from typing import Any

import pytest
from joserfc.util import urlsafe_b64decode

from bff.auth.faults import TokenFault
from bff.auth.jwt import JwtVerifier, parse_token
from bff.auth.key_set import KeySet, parse_key_set, secret_key_set
from bff.core.exchange import Principal
from tests.support.auth_world import FakeClock, forge_of, key_set, make_verifier
from tests.support.token_forge import Forge, ec_key, ed_key, rsa_key

NOW = 1_800_000_000
KEY = ec_key(kid="e1")
KEYS = key_set(KEY)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def forge() -> Forge:
    return forge_of(KEY)


def verify(verifier: JwtVerifier, token: bytes, keys: KeySet = KEYS) -> Principal:
    return verifier.verify(parse_token(token), keys)[0]


def test_a_good_token_names_its_caller(clock: FakeClock, forge: Forge) -> None:
    verifier = make_verifier(
        clock, tenant_claim="tenant_id", tier_claim="plan", tier_map={"gold": "premium"}
    )
    token = forge.token(
        claims={"tenant_id": "acme", "plan": "gold", "roles": ["admin", 5], "exp": NOW + 60}
    )

    principal = verify(verifier, token)

    assert principal.kind == "jwt"
    assert principal.sub == "u-1"
    assert principal.tenant == "acme"
    assert principal.tier == "premium"
    assert principal.client_id == "app"
    assert principal.scopes == {"orders.read", "profile"}
    assert principal.roles == {"admin"}
    assert principal.provider == "main"
    assert principal.expires_unix_s == NOW + 60


@pytest.mark.rule("edge.8.1")
@pytest.mark.parametrize(
    ("claims", "passes"),
    [
        pytest.param({"exp": NOW + 1}, True, id="one_second_left"),
        pytest.param({"exp": NOW}, False, id="the_second_named_by_exp"),
        pytest.param({"exp": NOW + 0.5}, True, id="half_a_second_left"),
        pytest.param({"exp": NOW + 86_400}, True, id="24_hours"),
        pytest.param({"exp": NOW + 86_401}, False, id="a_second_more_than_24_hours"),
        pytest.param({"exp": NOW + 86_401, "iat": ...}, False, id="24_hours_without_iat"),
        pytest.param({"nbf": NOW + 60}, True, id="nbf_at_the_skew"),
        pytest.param({"nbf": NOW + 61}, False, id="nbf_past_the_skew"),
        pytest.param({"iat": NOW + 60}, True, id="iat_at_the_skew"),
        pytest.param({"iat": NOW + 61}, False, id="iat_past_the_skew"),
        pytest.param({"iat": "now"}, False, id="iat_no_number"),
        pytest.param({"aud": ["x", "https://api.example.com"]}, True, id="aud_listed"),
        pytest.param({"sub": "s" * 255}, True, id="sub_255_bytes"),
        pytest.param({"sub": "s" * 256}, False, id="sub_256_bytes"),
        pytest.param({"sub": "ü" * 128}, False, id="sub_256_bytes_in_utf8"),
        pytest.param({"sub": "\x85"}, False, id="sub_c1_control"),
        pytest.param({"sub": "\ud800"}, False, id="sub_lone_surrogate"),
    ],
)
def test_claims_are_judged_to_the_second_and_the_byte(
    clock: FakeClock, forge: Forge, claims: dict[str, Any], passes: bool
) -> None:
    token = forge.token(claims=claims)

    if passes:
        assert verify(make_verifier(clock), token).sub
    else:
        with pytest.raises(TokenFault):
            verify(make_verifier(clock), token)


@pytest.mark.rule("edge.8.1")
def test_leeway_is_exact_where_it_is_written(clock: FakeClock, forge: Forge) -> None:
    """With exp_skew 30 s a token passes until 29.9 s after exp and not at 30 s."""
    verifier = make_verifier(clock, exp_skew_s=30.0)
    token = parse_token(forge.token(claims={"exp": NOW + 10}))
    clock.advance(39.9)
    verifier.verify(token, KEYS)

    clock.advance(0.1)

    with pytest.raises(TokenFault, match="expired"):
        verifier.verify(token, KEYS)


@pytest.mark.parametrize(
    ("claims", "granted"),
    [
        pytest.param({"scope": "a b"}, {"a", "b"}, id="text"),
        pytest.param({"scope": "a  b "}, {"a", "b"}, id="odd_spaces"),
        pytest.param({"scope": "a,b"}, {"a,b"}, id="commas_do_not_split"),
        pytest.param({"scope": "a\tb"}, set(), id="tabs_do_not_split"),
        pytest.param({"scope": ["a"]}, set(), id="scope_as_list_grants_nothing"),
        pytest.param({"scope": ["a"], "scp": ["b"]}, set(), id="scp_does_not_mend_scope"),
        pytest.param({"scope": ..., "scp": ["a", "b c", 5]}, {"a"}, id="scp"),
        pytest.param({"scope": ..., "scp": "a"}, set(), id="scp_as_text"),
        pytest.param(
            {"scope": "Orders.read orders.read2"}, {"Orders.read", "orders.read2"}, id="alike"
        ),
    ],
)
def test_scopes_are_split_at_single_spaces_and_compared_whole(
    clock: FakeClock, forge: Forge, claims: dict[str, Any], granted: set[str]
) -> None:
    assert verify(make_verifier(clock), forge.token(claims=claims)).scopes == granted


@pytest.mark.parametrize("tenant", ["", "a" * 65, "a/b", "ä", 5, ["acme"], "a\n"])
def test_a_tenant_of_another_form_is_refused(clock: FakeClock, forge: Forge, tenant: Any) -> None:
    verifier = make_verifier(clock, tenant_claim="tenant_id")

    with pytest.raises(TokenFault, match="tenant"):
        verify(verifier, forge.token(claims={"tenant_id": tenant}))


@pytest.mark.parametrize("claims", [{}, {"jti": None}])
def test_required_claims_are_required(
    clock: FakeClock, forge: Forge, claims: dict[str, Any]
) -> None:
    with pytest.raises(TokenFault, match="required"):
        verify(make_verifier(clock, require=("jti",)), forge.token(claims=claims))


@pytest.mark.parametrize(
    ("typ", "passes"),
    [
        ("at+jwt", True),
        ("AT+JWT", True),
        ("application/at+jwt", True),
        ("Application/AT+JWT", True),
        ("JWT", False),
        ("jwt+at", False),
        (..., False),
        (5, False),
        ("application/application/at+jwt", False),
    ],
)
def test_the_type_must_be_listed(clock: FakeClock, forge: Forge, typ: Any, passes: bool) -> None:
    token = forge.token(header={"typ": typ})

    if passes:
        assert verify(make_verifier(clock), token).sub == "u-1"
    else:
        with pytest.raises(TokenFault, match="type"):
            verify(make_verifier(clock), token)


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "n"},
        {"at_hash": "h"},
        {"c_hash": "h"},
        {"events": {}},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": "Logout"},
        {"token_use": "id"},
    ],
    ids=str,
)
def test_where_plain_jwt_is_taken_other_tokens_are_refused(
    clock: FakeClock, forge: Forge, claims: dict[str, Any]
) -> None:
    verifier = make_verifier(clock, typ=("JWT",))
    assert verify(verifier, forge.token(header={"typ": "JWT"})).sub == "u-1"

    with pytest.raises(TokenFault, match="no access token"):
        verify(verifier, forge.token(header={"typ": "JWT"}, claims=claims))


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        *[(f"{family}{bits}", rsa_key()) for family in ("RS", "PS") for bits in (256, 384, 512)],
        ("ES256", ec_key("P-256")),
        ("ES384", ec_key("P-384")),
        ("ES512", ec_key("P-521")),
        ("EdDSA", ed_key()),
        ("Ed25519", ed_key()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_listed_algorithm_verifies_and_a_changed_signature_does_not(
    clock: FakeClock, alg: str, key: Any
) -> None:
    forge, keys = forge_of(key, alg=alg), key_set(key)
    verifier = make_verifier(clock, algorithms=(alg,))
    token = forge.token()

    assert verify(verifier, token, keys).sub == "u-1"
    with pytest.raises(TokenFault, match="signature"):
        verify(verifier, forge.token(signature=key.sign(alg, b"another text")), keys)


def test_ignored_header_names_do_not_matter(clock: FakeClock, forge: Forge) -> None:
    """x5t, x5t#S256, cty and unknown names are ignored, and 2 KiB of them is allowed."""
    header = {"x5t": "t", "x5t#S256": "t", "cty": "JWT", "unknown": "u" * 1500}

    assert verify(make_verifier(clock), forge.token(header=header)).sub == "u-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": ()},
        {"audience": ("",)},
        {"issuer": ""},
        {"algorithms": ()},
        {"algorithms": ("none",)},
        {"algorithms": ("HS384",)},
        {"algorithms": ("ES256K",)},
        {"algorithms": ("HS256", "RS256")},
        {"typ": ()},
        {"exp_skew_s": 61.0},
        {"exp_skew_s": -1.0},
    ],
    ids=str,
)
@pytest.mark.rule("edge.17")
def test_rules_that_protect_nothing_are_refused(clock: FakeClock, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make_verifier(clock, **changes)


def test_the_policy_names_the_rules_by_content(clock: FakeClock) -> None:
    assert make_verifier(clock).policy == make_verifier(clock).policy
    assert make_verifier(clock).policy != make_verifier(clock, require=("jti",)).policy


RFC7515_PAYLOAD = (
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
RFC7515_A1 = (
    f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC7515_PAYLOAD}"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
RFC7515_A1_KEY = (
    b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
)
RFC7515_A3 = (
    f"eyJhbGciOiJFUzI1NiJ9.{RFC7515_PAYLOAD}"
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
RFC7515_A3_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}


@pytest.mark.parametrize(
    ("text", "keys", "alg"),
    [
        (RFC7515_A1, secret_key_set(urlsafe_b64decode(RFC7515_A1_KEY)), "HS256"),
        (
            RFC7515_A3,
            parse_key_set(json.dumps({"keys": [RFC7515_A3_KEY]}).encode(), refused=print),
            "ES256",
        ),
    ],
    ids=["rfc7515_a1", "rfc7515_a3"],
)
def test_the_examples_of_rfc_7515_verify(
    clock: FakeClock, text: str, keys: KeySet, alg: str
) -> None:
    token = parse_token(text.encode())

    key = make_verifier(clock, algorithms=(alg,)).check_signature(token, keys)

    assert key.thumbprint in keys.thumbprints
    assert token.claims["iss"] == "joe"
