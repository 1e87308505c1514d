"""How a gateway starts, takes changes over, drains and ends."""

import asyncio
import json
import socket
from pathlib import Path

import httpx
import pytest
import watchfiles

from bff.fronts.listen_ports import hold_port, until_listening, why_not_bindable
from bff.transcoding.plain_json import IS_COMPILED
from tests.conftest import ROOMY, Tokens
from tests.support.gateway import GatewayProcess, bearer, reason_of, sample_files
from tests.support.samples import SampleServices

HANG = {"x-fault": "hang"}
# A call ends by what is tested, not by a deadline.
PATIENT = {
    **ROOMY,
    "upstreams": {"catalog": {"timeout": "30s", "breaker": "off"}},
    "deadline": "30s",
}


# Start


async def test_the_ready_file_tells_the_addresses(shop: SampleServices, tmp_path: Path) -> None:
    """It appears whole, and only once traffic is taken; SIGTERM then ends it with 0."""
    ready = tmp_path / "ready.json"
    gateway = GatewayProcess(tmp_path, shop, changes=ROOMY, arguments=[f"--ready-file={ready}"])
    gateway.launch()
    try:
        found = await asyncio.wait_for(_when_there(ready), 30)
        async with httpx.AsyncClient(verify=False) as http:
            assert (await http.get(f"{found['public']}/v1/products/p-1")).status_code == 200
            assert (await http.get(f"{found['admin']}/readyz")).json() == {"status": "ok"}
        assert found["pid"] == gateway.pid
    finally:
        code = gateway.stop()

    assert code == 0
    assert gateway.family() == set()


async def _when_there(path: Path) -> dict[str, str | int]:
    async for _ in watchfiles.awatch(path.parent, rust_timeout=100, yield_on_timeout=True):
        if path.exists():
            break
    found: dict[str, str | int] = json.loads(path.read_text())
    return found


async def test_a_ready_file_of_an_earlier_start_is_gone_before_traffic_is_taken(
    shop: SampleServices, tmp_path: Path
) -> None:
    """Else whoever waits for it would go to addresses of a node that is no more."""
    ready = tmp_path / "ready.json"
    ready.write_text('{"public": "http://127.0.0.1:1"}')
    changes = {
        **ROOMY,
        "stores": {"main": {"redis": "redis://127.0.0.1:1", "password": "file:/no"}},
    }
    changes["limiter"] = {"store": "main"}
    gateway = GatewayProcess(tmp_path, shop, changes=changes, arguments=[f"--ready-file={ready}"])

    assert gateway.launch().wait() != 0
    assert not ready.exists()


def test_a_ready_file_that_cannot_be_written_is_told_at_once(
    shop: SampleServices, tmp_path: Path
) -> None:
    arguments = [f"--ready-file={tmp_path}/not/there.json"]
    gateway = GatewayProcess(tmp_path, shop, arguments=arguments).launch()

    assert gateway.wait() == 2
    text = gateway.error_text()
    assert "there.json cannot be written: No such file or directory" in text
    assert "Traceback" not in text


async def test_a_gateway_where_nothing_is_compiled_says_so_and_answers_alike(
    shop: SampleServices, tmp_path: Path
) -> None:
    bodies: dict[bool, bytes] = {}
    for is_compiled in (True, False):
        folder = tmp_path / str(is_compiled)
        with GatewayProcess(folder, shop, changes=ROOMY, is_compiled=is_compiled) as gateway:
            if not is_compiled:
                told = await gateway.event("translation_not_compiled")
                assert told["costs"] == "CPU alone"
            async with gateway.client() as http:
                found = await http.get("/v1/products/p-1")
            assert found.status_code == 200
            bodies[is_compiled] = found.content
            # Said once, by the node, and by none that has it.
            count = gateway.error_text().count('"translation_not_compiled"')
            assert count == (0 if is_compiled and IS_COMPILED else 1)

    assert bodies[True] == bodies[False]


@pytest.mark.parametrize("which", ["listen", "admin"])
def test_a_taken_port_is_told_at_once(shop: SampleServices, tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        changes = {"gateway": {which: f"127.0.0.1:{port}"}}
        gateway = GatewayProcess(tmp_path, shop, changes=changes).launch()
        code = gateway.wait()

    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in gateway.error_text()
    assert "Traceback" not in gateway.error_text()


def test_a_held_port_is_nobody_elses_and_can_be_listened_at() -> None:
    """As workers bind to it, several at once, and as the admin side does."""
    ports = [hold_port("127.0.0.1") for _ in range(50)]

    assert len(set(ports)) == 50
    with pytest.raises(OSError, match="in use"), socket.socket() as stranger:
        stranger.bind(("127.0.0.1", ports[0]))
    assert why_not_bindable("127.0.0.1", ports[0]) == ""
    with (
        socket.create_server(("127.0.0.1", ports[0])) as admin,
        socket.create_connection(admin.getsockname()),
    ):
        pass
    with (
        socket.create_server(("127.0.0.1", ports[1]), reuse_port=True),
        socket.create_server(("127.0.0.1", ports[1]), reuse_port=True),
    ):
        pass


async def test_a_server_that_listens_late_is_waited_for() -> None:
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        waiting = asyncio.create_task(until_listening(*late.getsockname()))
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*late.getsockname())
        is_waiting = not waiting.done()
        late.listen()
        async with asyncio.timeout(30):
            await waiting

    assert is_waiting


def test_bad_files_are_refused_with_their_places(shop: SampleServices, tmp_path: Path) -> None:
    bad = sample_files(shop)["catalog.yaml"].replace("GetProduct\n", "GetProdukt\n", 1)
    gateway = GatewayProcess(tmp_path, shop, files={"catalog.yaml": bad}).launch()

    assert gateway.wait() == 2
    text = gateway.error_text()
    assert "catalog.yaml:" in text
    assert "GetProduct" in text
    assert "not started: 1 problem\n" in text + "\n"


def test_a_worker_that_cannot_start_says_why(shop: SampleServices, tmp_path: Path) -> None:
    changes = {
        "stores": {"main": {"redis": "redis://127.0.0.1:1", "password": "file:/not/there"}},
        "limiter": {"store": "main"},
    }
    gateway = GatewayProcess(tmp_path, shop, changes=changes).launch()

    assert gateway.wait() != 0
    assert "the secret file /not/there cannot be read" in gateway.error_text()


# End


@pytest.mark.rule("edge.1")
@pytest.mark.rule("R23")
async def test_a_drain_lets_running_requests_finish(
    shop: SampleServices, samples: SampleServices, tokens: Tokens, tmp_path: Path
) -> None:
    """Unready first, then the request in flight gets its 200, then exit 0 and nobody is left."""
    changes = {**PATIENT, "gateway": {"drain": {"grace": "20s"}}}
    who = bearer(await tokens.of("premium"))
    with GatewayProcess(tmp_path, shop, changes=changes) as gateway:
        family = gateway.family()
        async with gateway.client() as http, gateway.admin_client() as admin:
            assert (await admin.get("/readyz")).status_code == 200
            # A stream stays open for as long as we wish: nobody delivers this order but we.
            async with http.stream("GET", "/v1/orders/o-81:watch", headers=who) as warm:
                await warm.aread()
            asking = asyncio.create_task(
                http.get("/v1/products/p-1", headers={"x-fault": "delay=1500ms"})
            )
            await samples.wait_calls("catalog", "GetProduct", lambda c: c.in_flight == 1)
            gateway.terminate()
            unready = await _until_unready(admin)
            told = await gateway.event("drain_begun")
            # Still in the grace: new requests are served, and asked to come back elsewhere.
            late = await http.get("/v1/products/p-2")
            # The second signal ends the grace.
            gateway.terminate()
            reply = await asking
        code = await asyncio.to_thread(gateway.wait)

    assert unready == {"status": "unready", "reasons": ["draining"]}
    assert (told["grace_s"], told["finish_s"]) == (20, 10)
    assert '"event":"drain_ended"' in gateway.error_text()
    assert (late.status_code, late.headers["connection"]) == (200, "close")
    assert reply.status_code == 200
    assert code == 0
    assert gateway.wait_family_gone(family) == set()


async def _until_unready(admin: httpx.AsyncClient) -> dict[str, str | list[str]]:
    async with asyncio.timeout(30):
        while True:
            reply = await admin.get("/readyz")
            if reply.status_code == 503:
                found: dict[str, str | list[str]] = reply.json()
                return found


@pytest.mark.rule("R23")
async def test_what_does_not_finish_is_cut_in_the_end(
    shop: SampleServices, samples: SampleServices, tmp_path: Path
) -> None:
    """Beyond `drain.finish` a hanging request is given up, at the service too, and told; idle ones delay nothing."""
    changes = {**PATIENT, "gateway": {"drain": {"finish": "1s"}}}
    with GatewayProcess(tmp_path, shop, changes=changes) as gateway:
        family = gateway.family()
        async with gateway.client() as http, gateway.client() as idle:
            await idle.get("/v1/products/p-1")
            asking = asyncio.create_task(http.get("/v1/products/p-1", headers=HANG))
            await samples.wait_calls("catalog", "GetProduct", lambda c: c.in_flight == 1)
            code = await asyncio.to_thread(gateway.stop)
            reply = await asking

    assert (reply.status_code, reason_of(reply.json())) == (503, "OVERLOADED")
    assert "retry-after" in reply.headers
    assert code == 0
    assert gateway.wait_family_gone(family) == set()
    await samples.wait_calls("catalog", "GetProduct", lambda c: c.in_flight == 0)


@pytest.mark.rule("R25")
async def test_a_killed_node_leaves_nobody_behind(
    shop: SampleServices, samples: SampleServices, tmp_path: Path
) -> None:
    """Its listener and workers end too, also with a request in flight, and the port is free again."""
    with GatewayProcess(tmp_path, shop, changes=ROOMY, arguments=["--workers=2"]) as gateway:
        family = gateway.family()
        async with gateway.client() as http:
            asking = asyncio.create_task(http.get("/v1/products/p-1", headers=HANG))
            await samples.wait_calls("catalog", "GetProduct", lambda c: c.calls == 1)
            gateway.kill()
            left = await asyncio.to_thread(gateway.wait_family_gone, family)
            asking.cancel()

        assert len(family) >= 4
        assert left == set()
        with socket.create_server(("127.0.0.1", gateway.port)):
            pass


@pytest.mark.rule("R25")
async def test_a_killed_worker_is_replaced(
    shop: SampleServices, samples: SampleServices, tmp_path: Path
) -> None:
    """The node tells of it and counts on; what clients were told before stays counted."""
    with GatewayProcess(tmp_path, shop, changes=ROOMY) as gateway:
        async with gateway.client() as http, gateway.admin_client() as admin:
            first = await http.get("/v1/products/p-1")
            worker = (await gateway.access_line(first))["worker"]
            counted = await gateway.metric("http_server_request_duration_seconds_count")
            gateway.kill_worker(worker)
            gone = await gateway.event("worker_gone")
            async with asyncio.timeout(30):
                while (await admin.get("/readyz")).status_code != 200:
                    pass
            second = await http.get("/v1/products/p-1")
            assert gone["pid"] == worker
            assert (await gateway.access_line(second))["worker"] != worker
            after = await gateway.metric("http_server_request_duration_seconds_count")
            assert after >= counted + 1


# Changes


async def test_changes_go_live_while_traffic_goes_on(
    shop: SampleServices, samples: SampleServices, tmp_path: Path
) -> None:
    """A bad edit is refused with its place and changes nothing; a good one swaps without a lost request."""
    catalog = sample_files(shop)["catalog.yaml"]
    with GatewayProcess(tmp_path, shop, changes=PATIENT, arguments=["--watch"]) as gateway:
        async with gateway.client() as http, gateway.admin_client() as admin:
            old = await http.get("/v1/products/p-1")
            # In flight over the swap: it ends on the version that it started with.
            slow = asyncio.create_task(
                http.get("/v1/products/p-1", headers={"x-fault": "delay=1500ms"})
            )
            await samples.wait_calls("catalog", "GetProduct", lambda c: c.in_flight == 1)
            stop = asyncio.Event()
            traffic = [asyncio.create_task(_keep_asking(gateway, stop)) for _ in range(4)]

            refused = await gateway.edit("catalog.yaml", catalog.replace("graphql:", "grapql:"))
            still = await http.get("/v1/products/p-1")
            details = (await admin.get("/readyz?verbose")).json()["details"]
            applied = await gateway.edit(
                "catalog.yaml",
                catalog.replace("routes: annotations", "routes: [{rpc: GetProduct}]"),
            )
            gone = await http.get("/v1/products?pageSize=1")
            slow_reply = await slow
            stop.set()
            seen = {status for task in traffic for status in await task}
            new = await http.get("/v1/products/p-1")

        assert refused["event"] == "config_refused"
        assert "catalog.yaml:6:1" in refused["problem"]
        assert "grapql" in refused["problem"]
        assert still.status_code == 200
        assert any("catalog.yaml:6:1" in text for text in details)
        assert applied["event"] == "config_applied"
        assert (applied["workers"], applied["of"]) == (1, 1)
        assert gone.status_code == 404
        assert slow_reply.status_code == 200
        assert seen == {200}
        assert (await gateway.access_line(old))["version"] == gateway.version
        assert (await gateway.access_line(slow_reply))["version"] == gateway.version
        assert (await gateway.access_line(new))["version"] == applied["version"]


async def _keep_asking(gateway: GatewayProcess, stop: asyncio.Event) -> list[int]:
    statuses = []
    async with gateway.client() as http:
        while not stop.is_set():
            statuses.append((await http.get("/v1/products/p-1")).status_code)
    return statuses


async def test_an_edit_refused_by_its_worker_is_not_called_applied(
    shop: SampleServices, samples: SampleServices, tmp_path: Path
) -> None:
    """What only a worker can find out, such as a secret that is not there, keeps the old version too."""
    with GatewayProcess(tmp_path, shop, changes=ROOMY, arguments=["--watch"]) as gateway:
        written = json.loads((gateway.folder / "gateway.yaml").read_text())
        written["stores"] = {
            "main": {"redis": "redis://127.0.0.1:1", "password": "file:/not/there"}
        }
        written["limiter"] = {"store": "main"}
        said = await gateway.edit("gateway.yaml", json.dumps(written))

        async with gateway.client() as http:
            assert (await http.get("/v1/products/p-1")).status_code == 200
        assert said["event"] == "config_refused"
        assert "/not/there" in gateway.error_text()
