"""The home screen: one request, three services, and what is said when one of them has trouble."""

import asyncio

import httpx
import pytest

from tests.support.gateway import GatewayProcess, reason_of
from tests.support.samples import SampleServices, ServiceName

HOME = "/v1/mobile/home"
SOURCES: dict[str, tuple[ServiceName, str]] = {
    "profile": ("users", "GetUser"),
    "orders": ("orders", "ListOrders"),
    "products": ("catalog", "BatchGetProducts"),
}


@pytest.mark.rule("aggregation.6.2")
async def test_a_complete_screen(http: httpx.AsyncClient, premium: dict[str, str]) -> None:
    reply = await http.get(HOME, headers=premium)

    assert reply.status_code == 200
    assert reply.headers["aggregate-status"] == "complete"
    assert reply.headers["cache-control"] == "private, no-cache"
    screen = reply.json()
    assert list(screen) == ["name", "tier", "orders", "products"]
    assert screen["tier"] == "USER_TIER_PREMIUM"
    assert len(screen["orders"]) == 5
    # Every item has the name of its product, joined from another service.
    names = {product["name"] for product in screen["products"]}
    assert {item["name"] for order in screen["orders"] for item in order["items"]} == names


@pytest.mark.rule("aggregation.5.2")
async def test_products_of_all_orders_cost_one_call(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    await http.get(HOME, headers=premium)

    for service, method in SOURCES.values():
        assert (await samples.calls(service, method)).calls == 1


@pytest.mark.rule("edge.10")
async def test_every_source_learns_who_asks_and_for_which_request(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    reply = await http.get(HOME, headers={**premium, "x-user-id": "u-2"})

    for service, method in SOURCES.values():
        sent = (await samples.calls(service, method)).metadata
        assert sent["x-user-id"] == "u-1"
        assert sent["x-request-id"] == reply.headers["x-request-id"]


async def test_sources_that_need_nothing_of_each_other_run_side_by_side(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    """Both hang, so both being asked at one time is certain and needs no clock."""
    await samples.set_fault("users", "hang", method="*/GetUser")
    await samples.set_fault("orders", "hang", method="*/ListOrders")
    asking = asyncio.create_task(http.get(HOME, headers=premium))
    async with asyncio.TaskGroup() as tasks:
        for service, method in (SOURCES["profile"], SOURCES["orders"]):
            tasks.create_task(samples.wait_calls(service, method, lambda c: c.calls == 1))

    reply = await asking
    assert reply.status_code == 504
    details = reply.json()["error"]["details"]
    assert details[0]["metadata"] == {"source": "profile"}
    assert (await samples.calls("catalog", "BatchGetProducts")).calls == 0


@pytest.mark.rule("aggregation.3.2")
async def test_an_omitted_source_leaves_the_rest_and_is_told(
    gateway: GatewayProcess,
    http: httpx.AsyncClient,
    samples: SampleServices,
    premium: dict[str, str],
) -> None:
    await samples.set_fault("catalog", "fail=INTERNAL", method="*/BatchGetProducts")

    reply = await http.get(HOME, headers=premium)

    assert reply.status_code == 200
    status = reply.headers["aggregate-status"]
    assert status == "complete=?0, missing=(products;reason=internal)"
    assert reply.headers["cache-control"] == "no-store"
    screen = reply.json()
    assert "products" not in screen
    assert [item["name"] for item in screen["orders"][0]["items"]] == [None] * len(
        screen["orders"][0]["items"]
    )
    problem = screen["problems"][0]
    assert (problem["source"], problem["state"], problem["status"]) == ("products", "omitted", 500)
    assert "this fault was asked for" not in reply.text
    line = await gateway.access_line(reply)
    assert line["partial"] is True
    assert {c["source"]: c["code"] for c in line["calls"]} == {
        "profile": "OK",
        "orders": "OK",
        "products": "INTERNAL",
    }


@pytest.mark.rule("aggregation.3.2")
async def test_a_null_source_is_null_and_its_followers_are_not_asked(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    await samples.set_fault("orders", "fail=PERMISSION_DENIED", method="*/ListOrders")

    reply = await http.get(HOME, headers=premium)

    assert reply.status_code == 200
    screen = reply.json()
    assert screen["orders"] is None
    assert "products" not in screen
    states = {p["source"]: (p["state"], p["reason"]) for p in screen["problems"]}
    assert states["orders"] == ("null", "FAULT_INJECTED")
    assert states["products"] == ("omitted", "DEPENDENCY")
    assert (await samples.calls("catalog", "BatchGetProducts")).calls == 0


async def test_a_source_that_is_late_is_left_out(
    http: httpx.AsyncClient, samples: SampleServices, premium: dict[str, str]
) -> None:
    await samples.set_fault("catalog", "hang", method="*/BatchGetProducts")

    reply = await http.get(HOME, headers=premium)

    assert reply.status_code == 200
    assert "missing=(products;reason=timeout)" in reply.headers["aggregate-status"]
    seen = await samples.wait_calls("catalog", "BatchGetProducts", lambda c: c.in_flight == 0)
    assert seen.cancelled == 1
    assert seen.time_remaining_s is not None
    assert seen.time_remaining_s <= 1.0


@pytest.mark.rule("aggregation.6.3")
@pytest.mark.parametrize(
    ("code", "status"),
    [("UNAVAILABLE", 503), ("NOT_FOUND", 404), ("RESOURCE_EXHAUSTED", 429), ("INTERNAL", 500)],
)
async def test_a_required_source_that_fails_is_the_answer(
    http: httpx.AsyncClient,
    samples: SampleServices,
    premium: dict[str, str],
    code: str,
    status: int,
) -> None:
    await samples.set_fault("users", f"fail={code}", method="*/GetUser")

    reply = await http.get(HOME, headers=premium)

    assert reply.status_code == status
    assert reply.json()["error"]["status"] == code
    assert reply.headers["aggregate-status"].startswith("complete=?0, failed=(profile")
    assert reason_of(reply.json()) == "FAULT_INJECTED"
    seen = await samples.wait_calls("orders", "ListOrders", lambda c: c.in_flight == 0)
    assert seen.calls <= 1


async def test_nobody_gets_the_screen_without_a_credential(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    reply = await http.get(HOME)

    assert (reply.status_code, reason_of(reply.json())) == (401, "CREDENTIAL_MISSING")
    for service, method in SOURCES.values():
        assert (await samples.calls(service, method)).calls == 0


async def test_the_rules_of_a_sources_own_route_hold_inside(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    """Without orders.read the orders are missing, and were not asked for."""
    token = await samples.user_token("premium", scopes=["users.read"])
    reply = await http.get(HOME, headers={"authorization": f"Bearer {token}"})

    assert reply.status_code == 200
    assert reply.json()["orders"] is None
    assert (await samples.calls("orders", "ListOrders")).calls == 0


@pytest.mark.rule("aggregation.3.3")
async def test_a_required_source_that_one_may_not_call_is_403(
    http: httpx.AsyncClient, samples: SampleServices
) -> None:
    token = await samples.user_token("premium", scopes=["orders.read"])
    reply = await http.get(HOME, headers={"authorization": f"Bearer {token}"})

    assert (reply.status_code, reason_of(reply.json())) == (403, "INSUFFICIENT_SCOPE")
    # Whether the caller may is known before anything is asked, also of other services.
    assert (await samples.calls("users", "GetUser")).calls == 0
    assert (await samples.calls("orders", "ListOrders")).calls == 0
    assert (await samples.calls("catalog", "BatchGetProducts")).calls == 0


async def test_a_screen_takes_no_unknown_parameter(
    http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    reply = await http.get(f"{HOME}?nope=1", headers=premium)

    assert (reply.status_code, reason_of(reply.json())) == (400, "UNKNOWN_PARAMETER")
