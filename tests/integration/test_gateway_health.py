"""The admin side: liveness, readiness, metrics. It is not the public side."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.support.gateway import GatewayProcess


@pytest.mark.rule("SC3")
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
async def test_a_running_gateway_is_well(gateway: GatewayProcess, path: str) -> None:
    async with gateway.admin_client() as http:
        reply = await http.get(path)

    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


@pytest.mark.rule("SC3")
async def test_silent_connections_do_not_make_it_unwell(gateway: GatewayProcess) -> None:
    admin = httpx.URL(gateway.admin)
    async with AsyncExitStack() as silent:
        for _ in range(100):
            _, writer = await asyncio.open_connection(admin.host, admin.port)
            silent.callback(writer.close)
        async with gateway.admin_client() as http:
            reply = await http.get("/livez")

    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


@pytest.mark.rule("SC3")
async def test_readiness_lists_workers_when_asked(gateway: GatewayProcess) -> None:
    async with gateway.admin_client() as http:
        seen = (await http.get("/readyz?verbose")).json()

    assert seen["version"] == gateway.version
    (worker,) = seen["workers"]
    assert worker["ready"] is True
    assert worker["version"] == gateway.version
    assert worker["pid"] in gateway.family()
    assert worker["routes"] >= 12


@pytest.mark.rule("SC3")
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/metrics"])
async def test_the_public_side_has_none_of_it(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


@pytest.mark.rule("SC3")
async def test_the_admin_side_serves_no_routes(gateway: GatewayProcess) -> None:
    async with gateway.admin_client() as http:
        for path in ("/v1/products/p-1", "/docs", "/openapi.json", "/redoc"):
            assert (await http.get(path)).status_code == 404


async def test_metrics_count_what_clients_saw(
    gateway: GatewayProcess, http: httpx.AsyncClient
) -> None:
    """One request of each kind moves exactly its own counters by one."""
    good = {"http_route": "/v1/products/{product_id}", "http_response_status_code": "200"}
    bad = {"http_route": "/v1/products", "http_response_status_code": "400"}
    count = "http_server_request_duration_seconds_count"
    refused = {"route": "/v1/products", "reason": "UNKNOWN_PARAMETER", "stage": "validate"}
    attempts = {"operation": "catalog.GetProduct", "outcome": "OK"}
    missed = {"reason": "NO_ROUTE"}

    async def figures() -> list[float]:
        return [
            await gateway.metric(count, **good),
            await gateway.metric(count, **bad),
            await gateway.metric("bff_refused_total", **refused),
            await gateway.metric("bff_upstream_attempts_total", **attempts),
            await gateway.metric("bff_route_misses_total", **missed),
        ]

    # One worker counts in turn, so with this line all is counted that the tests before asked for.
    await gateway.access_line(await http.get("/none"))
    before = await figures()
    last = [await http.get(path) for path in ("/v1/products/p-1", "/v1/products?nope=1", "/none")]
    for reply in last:
        # Counted when the last byte is out, which the client may see first.
        await gateway.access_line(reply)
    after = await figures()

    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1, 1, 1]


async def test_metrics_have_no_unbounded_labels(
    gateway: GatewayProcess, http: httpx.AsyncClient, premium: dict[str, str]
) -> None:
    """Neither paths, nor ids, nor users, nor methods that a stranger makes up."""
    await http.get("/v1/orders/o-161", headers=premium)
    await http.get("/canary-path/canary")
    reply = await http.request("CANARY", "/v1/products/p-1")
    await gateway.access_line(reply)
    async with gateway.admin_client() as admin:
        text = (await admin.get("/metrics")).text

    for word in ("canary", "CANARY", "o-161", "u-1", "127.0.0.1"):
        assert word not in text
    assert f'version="{gateway.version}"' in text
