"""A disk without room costs what would have been written to it: no worker, no node, no request.

The room ends by RLIMIT_FSIZE: no file of the process may grow beyond it.
"""

import asyncio
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOMY
from tests.support.gateway import GatewayProcess
from tests.support.samples import SampleServices
from tests.support.two_ages import OLD, service

# Less than a configuration or a table of metrics needs, more than a line of a log.
_LITTLE_BYTES = 2_048


def _set_room(pids: set[int], size_bytes: int | None) -> None:
    for pid in pids:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        soft = hard if size_bytes is None else size_bytes
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.rule("control.CF12")
async def test_a_change_that_cannot_be_stored_is_refused_and_the_node_lives(
    tmp_path: Path,
) -> None:
    """The version before goes on, says why, and the change is taken once there is room."""
    # A set, since types in .proto files would not even be read on such a disk.
    (tmp_path / "book.binpb").write_bytes(service("book", OLD))
    book = "service: book.v1.Books\nupstream: book\nroutes: annotations\n"
    files = {
        "gateway.yaml": "gateway:\n  protos: [../book.binpb]\n  listen: 127.0.0.1:0\n"
        "  admin: 127.0.0.1:0\n  drain: {grace: 0s}\n"
        "upstreams: {book: {endpoints: ['127.0.0.1:1']}}\n",
        "book.yaml": book,
    }
    with GatewayProcess(tmp_path, None, files=files, arguments=("--watch",)) as gateway:
        _set_room({gateway.pid}, _LITTLE_BYTES)
        refused = await gateway.edit("book.yaml", book + "deadline: 4s\n")
        async with gateway.admin_client() as admin:
            seen = (await admin.get("/readyz?verbose")).json()
        async with gateway.client() as http:
            served = await http.get("/openapi.json")
        _set_room({gateway.pid}, None)
        applied = await gateway.edit("book.yaml", book + "deadline: 3s\n")

    assert refused["event"] == "config_refused"
    assert "accepted cannot be written: File too large" in refused["problem"]
    assert (seen["status"], seen["version"]) == ("ok", gateway.version)
    assert "cannot be written" in seen["details"][0]
    assert served.status_code == 200
    assert applied["event"] == "config_applied"


async def test_a_worker_that_finds_no_room_for_its_metrics_serves_without(
    tmp_path: Path, shop: SampleServices
) -> None:
    """It tells that its counts are seen by nobody, and answers."""
    with GatewayProcess(tmp_path, shop, changes=ROOMY, arguments=("--workers=1",)) as gateway:
        async with gateway.admin_client() as admin:
            (worker,) = (await admin.get("/readyz?verbose")).json()["workers"]
            _set_room(gateway.family() - {worker["pid"]}, _LITTLE_BYTES)
            gateway.kill_worker(worker["pid"])
            lost = await gateway.event("metrics_not_shared")
            async with asyncio.timeout(30):
                while not (now := (await admin.get("/readyz?verbose")).json())["workers"]:
                    pass
        async with gateway.client() as http:
            status = (await http.get("/v1/products/p-1")).status_code

    assert lost["why"] == "File too large"
    assert now["workers"][0]["pid"] != worker["pid"]
    assert status == 200


@pytest.mark.parametrize("arguments", [["--workers=1"], ["--workers=2"]], ids=["one", "two"])
def test_a_start_without_room_is_refused_in_one_sentence(
    tmp_path: Path, shop: SampleServices, arguments: list[str]
) -> None:
    gateway = GatewayProcess(tmp_path, shop, changes=ROOMY)
    # Types are read in a file of their own first, which must fit; tables and buckets do not.
    room = 1024 * 1024 if "--workers=2" in arguments else _LITTLE_BYTES
    start = (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}));"
        "runpy.run_module('bff', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", start, "serve", str(gateway.folder), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert "not started: " in done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
