"""Who calls, what they may, and what services learn of it."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOMY, Tokens
from tests.support.cli import run_bff
from tests.support.gateway import GatewayProcess, bearer, reason_of
from tests.support.samples import SampleServices

DOWN = "http://127.0.0.1:1"  # nobody listens there
CHALLENGE = 'Bearer realm="shop"'


# Credentials


@pytest.mark.rule("edge.8")
async def test_without_a_credential_the_challenge_names_no_error(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1/users/u-1")

    assert reply.status_code == 401
    assert reason_of(reply.json()) == "CREDENTIAL_MISSING"
    assert reply.json()["error"]["status"] == "UNAUTHENTICATED"
    assert reply.headers["www-authenticate"] == CHALLENGE


@pytest.mark.rule("edge.8.1")
async def test_bad_tokens_look_alike(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    """Expired, for another audience, forged and nonsense give one and the same answer."""
    token = premium["authorization"].removeprefix("Bearer ")
    head, claims, signature = token.split(".")
    bad = {
        "expired": await samples.user_token("premium", expires_in_s=-10),
        "audience": await samples.user_token("premium", audience="https://other.example.com"),
        "signature": f"{head}.{claims}.{signature[:-4]}AAAA",
        "no signature": f"{head}.{claims}.",
        "nonsense": "nonsense",
        "padding": token + "=",
    }
    seen = {}
    for name, text in bad.items():
        reply = await http.get("/v1/users/u-1", headers=bearer(text))
        error = reply.json()["error"]
        seen[name] = (
            reply.status_code,
            reason_of(reply.json()),
            error["message"],
            reply.headers["www-authenticate"],
        )

    assert set(seen.values()) == {
        (
            401,
            "TOKEN_INVALID",
            "The access token is not valid.",
            f'{CHALLENGE}, error="invalid_token", error_description="The credential is not valid."',
        )
    }
    assert (await samples.calls("users", "GetUser")).calls == 0


@pytest.mark.rule("edge.8")
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer nonsense"},
        {"authorization": "Basic dTpw"},
        {"authorization": "Bearer"},
        {"x-api-key": "bff_nonsense"},
    ],
    ids=["token", "scheme", "empty", "key"],
)
async def test_a_bad_credential_is_401_even_where_none_is_needed(
    http: httpx.AsyncClient, samples: SampleServices, headers: dict[str, str]
) -> None:
    assert (await http.get("/v1/products/p-1")).status_code == 200

    reply = await http.get("/v1/products/p-1", headers=headers)

    assert reply.status_code == 401
    assert (await samples.calls("catalog", "GetProduct")).calls == 1


@pytest.mark.rule("edge.8")
async def test_two_credentials_are_refused(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    reply = await http.get("/v1/users/u-1", headers={**premium, "x-api-key": "bff_x"})

    assert reply.status_code == 400
    assert reason_of(reply.json()) == "MULTIPLE_CREDENTIALS"
    assert 'error="invalid_request"' in reply.headers["www-authenticate"]


@pytest.mark.rule("edge.8")
@pytest.mark.parametrize(
    "path", ["/v1/users/u-1?access_token={}", "/v1/users/u-1?authorization=Bearer%20{}"]
)
async def test_a_token_in_the_query_is_no_credential(
    http: httpx.AsyncClient, premium: dict[str, str], path: str
) -> None:
    token = premium["authorization"].removeprefix("Bearer ")

    assert (await http.get(path.format(token))).status_code == 401


@pytest.mark.rule("edge.8.1")
async def test_tokens_of_every_listed_algorithm_are_taken(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    for alg in ("RS256", "ES256"):
        token = await samples.user_token("premium", alg=alg)
        for scheme in ("Bearer", "bearer", "BEARER"):
            reply = await http.get("/v1/users/u-1", headers={"authorization": f"{scheme} {token}"})
            assert reply.status_code == 200


# What they may


@pytest.mark.rule("edge.9")
async def test_a_missing_scope_is_403_and_named(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    token = await samples.user_token("premium", scopes=["users.read", "orders.read"])
    order = {"customerId": "u-1", "items": [{"productId": "p-1", "quantity": 1}]}

    reply = await http.post("/v1/orders", json=order, headers=bearer(token))

    assert reply.status_code == 403
    assert reason_of(reply.json()) == "INSUFFICIENT_SCOPE"
    challenge = reply.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert "orders.write" in challenge
    assert (await samples.calls("orders", "PlaceOrder")).calls == 0


@pytest.mark.rule("edge.9")
async def test_rules_of_service_and_route_add_up(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    """The route asks for orders.write, the service for orders.read as well."""
    token = await samples.user_token("premium", scopes=["orders.write"])

    reply = await http.post("/v1/orders/o-1:cancel", json={}, headers=bearer(token))

    assert reply.status_code == 403
    assert (await samples.calls("orders", "CancelOrder")).calls == 0


@pytest.mark.rule("edge.9")
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/users/u-2", None),
        ("GET", "/v1/users/u%2D2", None),
        ("GET", "/v1/users/u-2/orders", None),
        ("PATCH", "/v1/users/u-2", {"displayName": "x"}),
    ],
)
async def test_what_belongs_to_others_is_403(
    http: httpx.AsyncClient,
    samples: SampleServices,
    premium: dict[str, str],
    admin: dict[str, str],
    method: str,
    path: str,
    body: dict[str, str] | None,
) -> None:
    reply = await http.request(method, path, json=body, headers=premium)

    assert reply.status_code == 403
    assert reason_of(reply.json()) == "FORBIDDEN"
    for service, call in (("users", "GetUser"), ("users", "UpdateUser"), ("orders", "ListOrders")):
        assert (await samples.calls(service, call)).calls == 0  # type: ignore[arg-type] # names of services
    if method == "GET":
        own = path.replace("u-2", "u-1").replace("u%2D2", "u%2D1")
        assert (await http.get(own, headers=premium)).status_code == 200
        assert (await http.get(own, headers=admin)).status_code == 200


# What services learn

SPOOFS = [
    "x-user-id",
    "X-User-Id",
    "X-USER-ID",
    "x-tenant-id",
    "x-scopes",
    "x-client-id",
    "x-auth-kind",
    "x-roles",
    "x-tier",
    "grpc-metadata-x-user-id",
    "Grpc-Metadata-X-Scopes",
    "x-user-id-bin",
    "grpc-metadata-x-user-id-bin",
    "x-bff-anything",
    "x-original-url",
    "x-middleware-subrequest",
    "x-forwarded-user",
]


@pytest.mark.rule("edge.10")
async def test_services_learn_who_calls(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    await http.get("/v1/orders/o-1", headers=premium)

    sent = (await samples.calls("orders", "GetOrder")).metadata
    assert sent["x-user-id"] == "u-1"
    assert sent["x-tenant-id"] == "acme"
    assert sent["x-auth-kind"] == "jwt"
    assert sent["x-client-id"] == "mobile"
    assert "orders.read" in sent["x-scopes"].split(",")
    assert "authorization" not in sent
    assert premium["authorization"] not in sent.values()


@pytest.mark.rule("edge.10")
async def test_of_nobody_services_learn_just_that(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    await http.get("/v1/products/p-1", headers=dict.fromkeys(SPOOFS, "u-2"))

    sent = (await samples.calls("catalog", "GetProduct")).metadata
    assert sent["x-auth-kind"] == "anonymous"
    assert "u-2" not in sent.values()
    assert not {"x-user-id", "x-tenant-id", "x-scopes", "x-client-id"} & set(sent)


@pytest.mark.rule("edge.10")
@pytest.mark.parametrize("name", SPOOFS)
async def test_a_spoofed_identity_never_arrives(
    gateway: GatewayProcess, samples: SampleServices, premium: dict[str, str], name: str
) -> None:
    """Nor can naming a field in Connection take away what we set."""
    reply = await gateway.raw_get(
        "/v1/orders/o-1",
        f"Authorization: {premium['authorization']}",
        f"{name}: u-2-spoofed",
        f"Connection: {name}, x-user-id, x-auth-kind",
    )

    assert reply.status == 200
    sent = (await samples.calls("orders", "GetOrder")).metadata
    assert sent["x-user-id"] == "u-1"
    assert sent["x-auth-kind"] == "jwt"
    assert not [value for value in sent.values() if "spoofed" in value]


@pytest.mark.rule("transcoding.141")
async def test_only_listed_headers_cross(http: httpx.AsyncClient, samples: SampleServices) -> None:
    headers = {"accept-language": "de", "cookie": "a=b", "x-other": "1", "referer": "http://a/"}
    await http.get("/v1/products/p-1", headers=headers)

    sent = (await samples.calls("catalog", "GetProduct")).metadata
    assert sent["accept-language"] == "de"
    ours = {"x-request-id", "traceparent", "x-forwarded-for", "x-auth-kind", "user-agent"}
    assert set(sent) <= ours | {"accept-language", "grpc-accept-encoding", "accept-encoding"}
    # Of the transport's own library, not the client's browser.
    assert "python-httpx" not in sent.get("user-agent", "")


# API keys


@pytest.fixture(scope="module")
def keyed(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, dict[str, str]]]:
    """A gateway that takes API keys (by the name of their tier), and trusts an issuer that is down."""
    folder = tmp_path_factory.mktemp("keyed")
    pepper = folder / "pepper"
    pepper.write_text("0123456789abcdef0123456789abcdef")
    keys = folder / "keys.yaml"
    down = {"issuer": DOWN, "audience": ["https://api.example.com"]}
    auth = {
        "api_keys": {"file": str(keys), "pepper": f"file:{pepper}"},
        "issuers": {"down": down},
    }
    changes = {**ROOMY, "auth": auth}
    made = {
        tier: _create_key(keys, pepper, tier, *more)
        for tier, more in {
            "premium": ("--tenant=partners", "--scope=orders.read", "--scope=users.read"),
            "guest": (),
        }.items()
    }
    with GatewayProcess(folder, shop, changes=changes) as running:
        yield running, made


def _create_key(keys: Path, pepper: Path, tier: str, *more: str) -> str:
    arguments = ("--sub=u-1", f"--tier={tier}", f"--file={keys}", f"--pepper=file:{pepper}")
    made = run_bff("keys", "create", *arguments, *more)
    assert made.exit_code == 0, made.stderr
    return made.stdout.strip()


@pytest.mark.rule("edge.8.5")
async def test_a_key_stands_for_its_record(
    keyed: tuple[GatewayProcess, dict[str, str]], samples: SampleServices
) -> None:
    gateway, keys = keyed
    async with gateway.client() as http:
        reply = await http.get("/v1/orders/o-1", headers={"x-api-key": keys["premium"]})
        scopeless = await http.get("/v1/orders/o-1", headers={"x-api-key": keys["guest"]})

    assert reply.status_code == 200
    assert '"per-caller";q=5000;w=60' in reply.headers["ratelimit-policy"]
    sent = (await samples.calls("orders", "GetOrder")).metadata
    assert sent["x-auth-kind"] == "api_key"
    assert (sent["x-user-id"], sent["x-tenant-id"]) == ("u-1", "partners")
    assert keys["premium"] not in sent.values()
    assert scopeless.status_code == 403
    assert keys["premium"] not in gateway.output()


@pytest.mark.rule("edge.8.5")
async def test_wrong_keys_look_alike(
    keyed: tuple[GatewayProcess, dict[str, str]], samples: SampleServices
) -> None:
    gateway, keys = keyed
    key = keys["premium"]
    wrong = {
        "nonsense": "nonsense",
        "checksum": key[:-1] + ("a" if key[-1] != "a" else "b"),
        "cut": key[:-10],
        "upper case": key.upper(),
    }
    async with gateway.client() as http:
        replies = [
            await http.get("/v1/orders/o-1", headers={"x-api-key": k}) for k in wrong.values()
        ]

    seen = {(r.status_code, reason_of(r.json()), r.headers["www-authenticate"]) for r in replies}
    assert len(seen) == 1
    assert next(iter(seen))[:2] == (401, "KEY_INVALID")
    assert (await samples.calls("orders", "GetOrder")).calls == 0


async def test_key_commands_never_show_a_secret_again(
    keyed: tuple[GatewayProcess, dict[str, str]],
) -> None:
    gateway, keys = keyed
    key_file = gateway.folder.parent / "keys.yaml"
    listed = run_bff("keys", "list", f"--file={key_file}")

    assert listed.exit_code == 0
    for key in keys.values():
        key_id, secret = key.split("_")[1:3]
        assert key_id in listed.stdout
        assert secret not in listed.stdout + key_file.read_text()


# The provider


@pytest.mark.rule("edge.8.2")
async def test_new_signing_keys_are_found_when_they_are_used(
    http: httpx.AsyncClient, samples: SampleServices, tokens: Tokens, premium: dict[str, str]
) -> None:
    """The old ones stay good while the provider publishes them."""
    await samples.rotate_keys()
    fresh = await samples.user_token("premium")

    assert (await http.get("/v1/users/u-1", headers=bearer(fresh))).status_code == 200
    assert (await http.get("/v1/users/u-1", headers=premium)).status_code == 200


@pytest.mark.rule("edge.8.2")
async def test_while_a_provider_is_down_its_tokens_are_503_and_no_others(
    keyed: tuple[GatewayProcess, dict[str, str]], samples: SampleServices, premium: dict[str, str]
) -> None:
    """Never 401: nobody can tell whether the token is good."""
    gateway, _ = keyed
    token = _token_of(DOWN, premium["authorization"].removeprefix("Bearer "))
    async with gateway.client() as http:
        reply = await http.get("/v1/users/u-1", headers=bearer(token))
        other = await http.get("/v1/users/u-1", headers=premium)

    assert reply.status_code == 503
    assert reason_of(reply.json()) == "AUTH_UNAVAILABLE"
    assert reply.headers["retry-after"] == "5"
    assert other.status_code == 200


def _token_of(issuer: str, token: str) -> str:
    """The same token as if another issuer had made it; its signature is never reached."""

    head, claims, signature = token.split(".")
    tree = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    tree["iss"] = issuer
    text = base64.urlsafe_b64encode(json.dumps(tree).encode()).decode().rstrip("=")
    return f"{head}.{text}.{signature}"
