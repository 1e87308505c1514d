"""How often: tiers, policies, and who shares a bucket with whom."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import Tokens
from tests.support.gateway import GatewayProcess, bearer, reason_of
from tests.support.redis import redis_server
from tests.support.relay import tcp_in_front_of
from tests.support.samples import SampleServices

PRODUCT = "/v1/products/p-1"
# Slow to refill, so that a slow run cannot earn a token back.
RATES = {
    "tiers": {"guest": "60/day"},
    "limits": {
        "orders-per-user": {"rate": "5/day", "by": ["user", "route"]},
        "tenant-per-route": {"rate": "1000/day", "by": ["tenant", "route"]},
    },
    "gateway": {"trusted_proxies": ["127.0.0.1/32"]},
}


@pytest.fixture(scope="module")
def limited(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway of two workers; X-Forwarded-For says who a guest is."""
    folder = tmp_path_factory.mktemp("limited")
    with GatewayProcess(folder, shop, changes=RATES, arguments=["--workers=2"]) as running:
        yield running


async def ask(gateway: GatewayProcess, times: int, **headers: str) -> list[httpx.Response]:
    """So many requests, each on a connection of its own, so that both workers get some."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with gateway.client(headers={**named, "connection": "close"}) as http:
        return [await http.get(PRODUCT) for _ in range(times)]


@pytest.mark.rule("edge.11")
async def test_a_guest_has_sixty_requests_whatever_worker_takes_them(
    limited: GatewayProcess, samples: SampleServices
) -> None:
    """The 61st is refused, by both workers, and no service is asked."""
    first = await ask(limited, 60, x_forwarded_for="198.51.100.1")
    more = await ask(limited, 6, x_forwarded_for="198.51.100.1")
    other = await ask(limited, 1, x_forwarded_for="198.51.100.2")

    assert [reply.status_code for reply in first] == [200] * 60
    assert {reply.status_code for reply in more} == {429}
    assert other[0].status_code == 200
    assert (await samples.calls("catalog", "GetProduct")).calls == 61
    workers = {(await limited.access_line(reply))["worker"] for reply in (*first, *more)}
    assert len(workers) == 2


@pytest.mark.rule("edge.11")
async def test_a_refusal_says_why_and_how_long(
    limited: GatewayProcess, samples: SampleServices
) -> None:
    admitted = await ask(limited, 60, x_forwarded_for="198.51.100.3")
    (refused,) = await ask(limited, 1, x_forwarded_for="198.51.100.3")

    assert admitted[0].headers["ratelimit-policy"] == '"per-caller";q=60;w=86400'
    left = [int(re.findall(r"r=(\d+)", r.headers["ratelimit"])[0]) for r in admitted]
    assert left == list(range(59, -1, -1))
    assert reason_of(refused.json()) == "RATE_LIMITED"
    assert refused.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    wait_s = int(refused.headers["retry-after"])
    assert 0 < wait_s <= 24 * 60
    assert refused.headers["ratelimit"] == f'"per-caller";r=0;t={wait_s}'
    assert refused.headers["ratelimit-policy"] == '"per-caller";q=60;w=86400'
    info = refused.json()["error"]["details"][0]
    assert info["metadata"]["violatedPolicies"] == "per-caller"


@pytest.mark.rule("edge.4")
async def test_a_forwarded_address_of_a_guests_own_changes_nothing(
    limited: GatewayProcess, samples: SampleServices
) -> None:
    """What stands left of the address that our proxy saw was written by the client."""
    replies = [
        (await ask(limited, 1, x_forwarded_for=f"203.0.113.{n}, 198.51.100.4"))[0]
        for n in range(62)
    ]

    assert [reply.status_code for reply in replies] == [200] * 60 + [429] * 2


@pytest.mark.rule("edge.11")
@pytest.mark.parametrize(
    ("user", "policy"),
    [("premium", '"per-caller";q=5000;w=60'), ("admin", '"per-caller";q=1000;w=60')],
)
async def test_the_tier_comes_from_the_claim(
    limited: GatewayProcess, samples: SampleServices, tokens: Tokens, user: str, policy: str
) -> None:
    token = await tokens.of(user)  # type: ignore[arg-type] # both are users
    async with limited.client() as http:
        reply = await http.get(PRODUCT, headers={**bearer(token), "x-tier": "guest"})

    assert reply.headers["ratelimit-policy"] == policy


@pytest.mark.rule("edge.11")
async def test_each_user_and_each_route_has_its_own_bucket(
    limited: GatewayProcess, samples: SampleServices, premium: dict[str, str], admin: dict[str, str]
) -> None:
    async with limited.client() as http:
        mine = [await http.get("/v1/orders/o-1", headers=premium) for _ in range(6)]
        theirs = await http.get("/v1/orders/o-2", headers=admin)
        other_route = await http.get("/v1/orders/o-1/invoice", headers=premium)

    assert [reply.status_code for reply in mine] == [200] * 5 + [429]
    policies = mine[0].headers["ratelimit-policy"]
    assert re.findall(r'"([\w-]+)"', policies) == [
        "per-caller",
        "orders-per-user",
        "tenant-per-route",
    ]
    info = mine[5].json()["error"]["details"][0]
    assert info["metadata"]["violatedPolicies"] == "orders-per-user"
    assert theirs.status_code == 200
    assert other_route.status_code == 200


async def test_a_refused_request_costs_no_tokens(
    limited: GatewayProcess, samples: SampleServices
) -> None:
    """401, 404 and 405 come before tokens are taken; a bad request after."""
    guest = {"x-forwarded-for": "198.51.100.5"}
    async with limited.client() as http:
        await http.get("/none", headers=guest)
        await http.delete(PRODUCT, headers=guest)
        await http.get("/v1/users/u-1", headers=guest)
        first = await http.get(f"{PRODUCT}?nope=1", headers=guest)
        second = await http.get(PRODUCT, headers=guest)

    assert first.status_code == 400
    assert "r=59;" in first.headers["ratelimit"]
    assert "r=58;" in second.headers["ratelimit"]


@pytest.mark.rule("edge.11")
@pytest.mark.rule("L1")
async def test_two_gateways_on_one_store_share_their_buckets(
    shop: SampleServices, samples: SampleServices, tmp_path: Path
) -> None:
    """Of 90 requests to two gateways 60 pass, to the last one where the policy is strict."""
    with redis_server() as redis, tcp_in_front_of(redis.socket_path) as port:
        changes = {
            "gateway": RATES["gateway"],
            "tiers": {"guest": "10000/day"},
            "limits": {"all-gateways": {"rate": "60/day", "by": ["ip"], "strict": True}},
            "limit": ["all-gateways"],
            "stores": {"main": {"redis": f"redis://127.0.0.1:{port}"}},
            # With patience, so that a busy machine does not decide the test.
            "limiter": {"store": "main", "timeout": "5s"},
        }
        first = GatewayProcess(tmp_path / "a", shop, changes=changes).launch()
        second = GatewayProcess(tmp_path / "b", shop, changes=changes).launch()
        with first, second:
            async with asyncio.TaskGroup() as tasks:
                asked = [
                    tasks.create_task(ask(gateway, 45, x_forwarded_for="198.51.100.6"))
                    for gateway in (first, second)
                ]
            statuses = [reply.status_code for task in asked for reply in task.result()]
            admitted = await first.metric("bff_limit_decisions_total", source="store")

    assert sorted(statuses) == [200] * 60 + [429] * 30
    assert admitted > 0
