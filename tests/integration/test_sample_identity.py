"""The identity provider gives tokens that a strict reader takes, and refuses what it must."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet

from sample_services.identity_grants import AUDIENCE
from tests.support.samples import SampleServices, UserName


@pytest.fixture(scope="module")
def shop() -> Iterator[SampleServices]:
    """Of their own: keys that are rotated here sign the tokens of everybody else."""
    with SampleServices() as running:
        yield running


async def key_set(samples: SampleServices) -> KeySet:
    async with httpx.AsyncClient(base_url=samples.identity) as http:
        metadata = (await http.get("/.well-known/openid-configuration")).json()
        return KeySet.import_key_set((await http.get(metadata["jwks_uri"])).json())


def verified(token: str, keys: KeySet) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    decoded = jwt.decode(token, keys, algorithms=["RS256", "ES256"])
    return decoded.header, decoded.claims


async def test_both_metadata_documents_are_one_and_name_the_issuer(
    samples: SampleServices,
) -> None:
    async with httpx.AsyncClient(base_url=samples.identity) as http:
        openid = (await http.get("/.well-known/openid-configuration")).json()
        oauth = (await http.get("/.well-known/oauth-authorization-server")).json()

    assert openid == oauth
    assert openid["issuer"] == samples.identity
    assert openid["code_challenge_methods_supported"] == ["S256"]


@pytest.mark.parametrize(
    ("client", "asked", "alg"),
    [("bff", None, "RS256"), ("reports", None, "ES256"), ("bff", "ES256", "ES256")],
    ids=["default", "of the client", "asked for"],
)
async def test_a_client_token_is_signed_by_a_published_key(
    samples: SampleServices, client: str, asked: Any, alg: str
) -> None:
    token = await samples.client_token(client, scopes=["orders.read"], alg=asked)

    header, claims = verified(token, await key_set(samples))

    assert (header["typ"], header["alg"]) == ("at+jwt", alg)
    assert claims["iss"] == samples.identity
    assert claims["aud"] == AUDIENCE
    assert (claims["sub"], claims["client_id"]) == (client, client)
    assert claims["scope"] == "orders.read"
    assert claims["exp"] - claims["iat"] == 3_600
    assert claims["jti"]


@pytest.mark.parametrize(
    ("user", "sub", "plan", "roles"),
    [
        ("guest", "u-3", "guest", []),
        ("premium", "u-1", "premium", ["customer"]),
        ("admin", "u-2", "standard", ["customer", "admin"]),
    ],
)
async def test_a_user_token_tells_who_the_user_is(
    samples: SampleServices, user: UserName, sub: str, plan: str, roles: list[str]
) -> None:
    _, claims = verified(await samples.user_token(user), await key_set(samples))

    assert (claims["sub"], claims["plan"], claims["roles"]) == (sub, plan, roles)
    assert claims["tenant_id"] == "acme"
    assert ("admin" in claims["scope"].split()) == (user == "admin")


async def test_a_token_may_be_asked_for_that_is_expired_or_for_others(
    samples: SampleServices,
) -> None:
    token = await samples.user_token(expires_in_s=-60, audience="https://other.example.com")

    _, claims = verified(token, await key_set(samples))

    assert claims["iat"] < claims["exp"]
    assert claims["exp"] <= await provider_time_s(samples)
    assert claims["aud"] == "https://other.example.com"


async def provider_time_s(samples: SampleServices) -> int:
    """The provider's clock, by the `iat` of a fresh token."""
    _, claims = verified(await samples.client_token(), await key_set(samples))
    iat: int = claims["iat"]
    return iat


@pytest.mark.parametrize(
    ("form", "auth", "status", "error"),
    [
        ({"grant_type": "client_credentials"}, ("bff", "wrong"), 401, "invalid_client"),
        ({"grant_type": "password"}, ("bff", "bff-secret"), 400, "unsupported_grant_type"),
        (
            {"grant_type": "client_credentials", "scope": "world.domination"},
            ("bff", "bff-secret"),
            400,
            "invalid_scope",
        ),
        (
            {"grant_type": "authorization_code", "code": "x"},
            ("reports", "reports-secret"),
            400,
            "unauthorized_client",
        ),
    ],
    ids=["secret", "grant", "scope", "grant not registered"],
)
async def test_a_token_request_that_is_wrong_says_why(
    samples: SampleServices,
    form: Mapping[str, str],
    auth: tuple[str, str],
    status: int,
    error: str,
) -> None:
    async with httpx.AsyncClient(base_url=samples.identity, auth=auth) as http:
        answer = await http.post("/token", data=dict(form))

    assert (answer.status_code, answer.json()["error"]) == (status, error)


VERIFIER = "v" * 50
AUTHORIZE = {
    "response_type": "code",
    "client_id": "bff",
    "redirect_uri": "http://127.0.0.1:8080/auth/callback",
    "scope": "openid profile orders.read",
    "state": "state-1",
    "nonce": "nonce-1",
    "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest())
    .decode()
    .rstrip("="),
    "code_challenge_method": "S256",
}
SIGN_IN = {"username": "premium", "password": "premium-demo"}


async def test_the_code_flow_gives_tokens_once(samples: SampleServices) -> None:
    async with httpx.AsyncClient(base_url=samples.identity) as http:
        page = await http.get("/authorize", params=AUTHORIZE)
        wrong = await http.post(
            "/authorize", params=AUTHORIZE, data=SIGN_IN | {"password": "wrong"}
        )
        back = await http.post("/authorize", params=AUTHORIZE, data=SIGN_IN)
        location = httpx.URL(back.headers["location"])
        exchange = {
            "grant_type": "authorization_code",
            "code": location.params["code"],
            "redirect_uri": AUTHORIZE["redirect_uri"],
            "code_verifier": VERIFIER,
        }
        auth = ("bff", "bff-secret")
        tokens = await http.post("/token", data=exchange, auth=auth)
        again = await http.post("/token", data=exchange, auth=auth)

    assert page.status_code == 200
    assert "<form" in page.text
    assert wrong.status_code == 401
    assert back.status_code == 302
    assert location.copy_with(query=None) == httpx.URL(AUTHORIZE["redirect_uri"])
    assert location.params["state"] == "state-1"
    keys = await key_set(samples)
    assert verified(tokens.json()["access_token"], keys)[1]["sub"] == "u-1"
    _, identity = verified(tokens.json()["id_token"], keys)
    assert (identity["aud"], identity["nonce"]) == (["bff"], "nonce-1")
    assert again.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_verifier": "w" * 50}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:8080/other"}, "invalid_grant"),
    ],
    ids=["other verifier", "no verifier", "other redirect"],
)
async def test_a_code_is_bound_to_what_asked_for_it(
    samples: SampleServices, change: Mapping[str, str], error: str
) -> None:
    async with httpx.AsyncClient(base_url=samples.identity) as http:
        back = await http.post("/authorize", params=AUTHORIZE, data=SIGN_IN)
        exchange = {
            "grant_type": "authorization_code",
            "code": httpx.URL(back.headers["location"]).params["code"],
            "redirect_uri": AUTHORIZE["redirect_uri"],
            "code_verifier": VERIFIER,
        }
        answer = await http.post("/token", data=exchange | dict(change), auth=("bff", "bff-secret"))

    assert answer.json()["error"] == error


@pytest.mark.parametrize(
    ("change", "status", "told_at"),
    [
        ({"code_challenge": ""}, 302, "redirect"),
        ({"code_challenge_method": "plain"}, 302, "redirect"),
        ({"redirect_uri": "https://elsewhere.example.com/"}, 400, "page"),
        ({"client_id": "nobody"}, 400, "page"),
    ],
    ids=["no PKCE", "plain PKCE", "redirect elsewhere", "unknown client"],
)
async def test_an_authorization_request_that_is_wrong_goes_no_further(
    samples: SampleServices, change: Mapping[str, str], status: int, told_at: str
) -> None:
    async with httpx.AsyncClient(base_url=samples.identity) as http:
        answer = await http.post("/authorize", params=AUTHORIZE | dict(change), data=SIGN_IN)

    assert answer.status_code == status
    if told_at == "redirect":
        location = httpx.URL(answer.headers["location"])
        assert location.params["error"] == "invalid_request"
        assert "code" not in location.params
    else:
        assert "location" not in answer.headers


async def test_old_tokens_survive_a_rotation_unless_their_key_is_dropped(
    samples: SampleServices,
) -> None:
    before = await samples.client_token()
    await samples.rotate_keys()
    after = await samples.client_token()
    keys = await key_set(samples)
    verified(before, keys)
    assert verified(before, keys)[0]["kid"] != verified(after, keys)[0]["kid"]

    await samples.rotate_keys(keep_old=False)

    with pytest.raises(InvalidKeyIdError):
        verified(after, await key_set(samples))
