"""What was refused reaches nobody, also not a worker that starts later; a fault of ours ends nothing."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess
from tests.support.samples import SampleServices


@pytest.mark.rule("control.CF12")
async def test_a_refused_save_does_not_reach_a_worker_that_starts_later(
    tmp_path: Path, shop: SampleServices
) -> None:
    """A worker is replaced while the files on disk are bad: the accepted version goes on."""
    with GatewayProcess(tmp_path, shop, arguments=("--watch",)) as gateway:
        version = gateway.version
        good = (gateway.folder / "catalog.yaml").read_text()
        await gateway.edit("catalog.yaml", good + "\nnonsense: 1\n")
        await gateway.event("config_refused")

        async with gateway.admin_client() as admin:
            seen = (await admin.get("/readyz?verbose")).json()
            gateway.kill_worker(seen["workers"][0]["pid"])
            await gateway.event("worker_gone")
            async with asyncio.timeout(30):
                while not (now := (await admin.get("/readyz?verbose")).json())["workers"]:
                    pass
            assert now["workers"][0]["pid"] != seen["workers"][0]["pid"]
            assert now["workers"][0]["version"] == version
        async with gateway.client() as http:
            assert (await http.get("/v1/products/p-1")).status_code == 200


async def test_sighup_looks_at_the_files_again_and_ends_nothing(
    tmp_path: Path, shop: SampleServices
) -> None:
    with GatewayProcess(tmp_path, shop) as gateway:
        file = gateway.folder / "catalog.yaml"
        file.write_text(file.read_text() + "\nnonsense: 1\n")

        os.kill(gateway.pid, signal.SIGHUP)

        refused = await gateway.event("config_refused")
        assert "nonsense" in refused["problem"]
        async with gateway.client() as http:
            assert (await http.get("/v1/products/p-1")).status_code == 200


async def test_who_asks_by_sighup_is_answered_in_any_case(
    tmp_path: Path, shop: SampleServices
) -> None:
    """Nothing changed: one line says so, else nobody could tell whether the signal came."""
    with GatewayProcess(tmp_path, shop) as gateway:
        os.kill(gateway.pid, signal.SIGHUP)

        assert (await gateway.event("config_unchanged"))["version"] == gateway.version


async def test_files_that_are_again_what_is_served_are_told(
    tmp_path: Path, shop: SampleServices
) -> None:
    """The last word on a refused change is that it was mended."""
    with GatewayProcess(tmp_path, shop, arguments=("--watch",)) as gateway:
        good = (gateway.folder / "catalog.yaml").read_text()
        await gateway.edit("catalog.yaml", good + "\nnonsense: 1\n")
        gateway.folder.joinpath("catalog.yaml").write_text(good)

        assert (await gateway.event("config_unchanged"))["version"] == gateway.version
