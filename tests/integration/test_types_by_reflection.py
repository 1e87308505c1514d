"""Types that services give themselves: at the start, while serving, and with the service down."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bookshop import (
    BY_TITLE,
    FIRST,
    LESS,
    MORE,
    SHELF,
    Bookshop,
    ended,
    get,
    started,
    until_detail,
)
from tests.support.cli import run_bff
from tests.support.gateway import GatewayProcess
from tests.support.proto_sets import add_imports, compile_set
from tests.support.reflecting import ReflectingServer
from tests.support.samples import SampleServices


@pytest.fixture
async def bookshop(tmp_path: Path, shop: SampleServices) -> AsyncIterator[Bookshop]:
    async with ReflectingServer(compile_set(FIRST)) as server:
        yield Bookshop(tmp_path, shop, server)


@pytest.mark.rule("transcoding.7")
@pytest.mark.parametrize("packages", [("v1",), ("v1alpha",), ("v1", "v1alpha")], ids=",".join)
async def test_routes_come_from_what_the_service_says(
    bookshop: Bookshop, packages: tuple[str, ...]
) -> None:
    """The annotation is read from the option's bytes, over either version of the protocol."""
    bookshop.server.packages = packages
    gateway = await started(bookshop.gateway())
    try:
        status, book = await get(gateway, "/v1/books/7")
    finally:
        await ended(gateway)

    assert (status, book["id"]) == (200, "7")


@pytest.mark.rule("transcoding.7")
async def test_the_short_form_gives_the_routes_of_the_proto_files(
    tmp_path: Path, shop: SampleServices
) -> None:
    """A real server's reflection, by grpcio-reflection, gives the same routes as its .proto files."""
    folder = tmp_path / "mappings"
    changes = {
        "gateway": {"protos": []},
        "control": {"state": str(tmp_path / "state")},
        "descriptors": [
            {"reflection": name, "services": [f"sample.{name}.v1.{service}"]}
            for name, service in (
                ("users", "UserService"), ("orders", "OrderService"), ("catalog", "CatalogService"),
            )
        ],
    }  # fmt: skip
    GatewayProcess(tmp_path, shop, changes=changes)
    GatewayProcess(tmp_path / "by-files", shop)
    asked = await asyncio.to_thread(run_bff, "routes", str(folder), "--json")
    read = await asyncio.to_thread(run_bff, "routes", str(tmp_path / "by-files/mappings"), "--json")
    short = tmp_path / "short"
    short.mkdir()
    (short / "gateway.yaml").write_text(
        "gateway: {protos: ['reflection://orders']}\n"
        f"upstreams: {{orders: {{endpoints: ['{shop.orders}']}}}}\n"
        "---\nservice: sample.orders.v1.OrderService\nupstream: orders\nroutes: annotations\n"
    )
    checked = await asyncio.to_thread(run_bff, "check", str(short))

    assert asked.exit_code == 0, asked.output
    assert json.loads(asked.stdout) == json.loads(read.stdout)
    assert checked.exit_code == 0, checked.output


@pytest.mark.rule("transcoding.4")
def test_a_first_start_without_the_service_is_refused(tmp_path: Path, shop: SampleServices) -> None:
    down = Bookshop(tmp_path, shop, ReflectingServer(b""))
    down.server.port = 1
    gateway = down.gateway().launch()

    assert gateway.wait() == 2
    text = gateway.error_text()
    assert "descriptors[0].reflection: no types of shelf by server reflection" in text
    assert "Connection refused" in text
    assert "start the service, name a descriptor set (`set:`) instead" in text
    checked = run_bff("check", str(gateway.folder))
    assert checked.exit_code == 1
    assert "no types of shelf by server reflection: 127.0.0.1:1" in checked.stderr


@pytest.mark.rule("transcoding.4")
async def test_a_restart_without_the_service_serves_the_stored_types(bookshop: Bookshop) -> None:
    """Stale is told until the service is back; `bff check` judges by what is stored, too."""
    first = await started(bookshop.gateway())
    await ended(first)
    await bookshop.server.stop()

    second = await started(bookshop.gateway())
    try:
        assert second.version == first.version
        await until_detail(second, "descriptors: stale (reflection://shelf: ")
        assert await second.metric("bff_descriptors_stale", source="reflection://shelf") == 1
        checked = await asyncio.to_thread(run_bff, "check", str(second.folder))
        assert checked.exit_code == 0, checked.output
        assert "judged by the types that a node has stored" in checked.stderr
        await bookshop.server.start()

        await second.event("descriptors_refreshed")
        await until_detail(second, "descriptors: stale", there=False)
        assert (await get(second, "/v1/books/7"))[0] == 200
    finally:
        await ended(second)


@pytest.mark.rule("transcoding.4")
async def test_a_source_that_need_not_be_there_comes_later(bookshop: Bookshop) -> None:
    await bookshop.server.stop()
    gateway = await started(bookshop.gateway(required=False))
    try:
        assert "shelf.v1.Shelf is not served, since no types came" in gateway.error_text()
        assert (await get(gateway, "/v1/books/7"))[0] == 404
        await until_detail(gateway, "descriptors: absent (reflection://shelf: ")
        await bookshop.server.start()

        told = await gateway.event("routes_changed")
        assert "GET /v1/books/{id}" in told["added_routes"]
        assert (await get(gateway, "/v1/books/7"))[0] == 200
        await until_detail(gateway, "descriptors: ", there=False)
    finally:
        await ended(gateway)


async def test_new_types_go_live_and_requests_under_way_keep_theirs(bookshop: Bookshop) -> None:
    """The hot swap: a request that began before ends with the version it began with."""
    gateway = await started(bookshop.gateway())
    try:
        bookshop.server.hold = True
        async with gateway.client() as http:
            under_way = asyncio.ensure_future(http.get("/v1/books/7"))
            await bookshop.server.held.wait()
            bookshop.server.types = compile_set(MORE)

            told = await gateway.event("routes_changed")
            bookshop.server.hold = False
            after = await http.put("/v1/books/8", json={"author": "A"})
            bookshop.server.go_on.set()
            before = await under_way

        assert told["added_routes"] == "PUT /v1/books/{id}"
        assert told["changed_routes"] == "GET /v1/books/{id}"
        assert told["removed"] == 0
        assert after.json() == {"id": "8", "author": "A"}
        assert before.status_code == 200
        assert "author" not in before.json()
        line = await gateway.access_line(before)
        assert line["version"] == gateway.version
        assert (await gateway.access_line(after))["version"] == told["version"]
        assert await gateway.metric("bff_descriptor_refreshes_total", result="changed") == 1
    finally:
        await ended(gateway)


async def test_the_same_types_change_nothing(bookshop: Bookshop) -> None:
    gateway = await started(bookshop.gateway())
    try:
        async with asyncio.timeout(30):
            while await gateway.metric("bff_descriptor_refreshes_total", result="unchanged") < 2:
                pass
        events = [line for line in gateway.error_text().splitlines() if line.startswith("{")]
    finally:
        await ended(gateway)

    assert events == []


@pytest.mark.rule("transcoding.5")
async def test_types_that_lack_a_mapped_field_are_refused(bookshop: Bookshop) -> None:
    """Route and field are named, the old version serves, also after a restart."""
    gateway = await started(bookshop.gateway(shelf=BY_TITLE))
    try:
        bookshop.server.types = compile_set(LESS)
        refused = await gateway.event("descriptors_refused")
        assert 'shelf.v1.Book has no field "title"' in refused["problem"]
        assert "shelf.yaml:" in refused["problem"]
        assert refused["live"] == gateway.version
        await until_detail(gateway, "descriptors: stale (reflection://shelf: ")
        status, book = await get(gateway, "/v1/titles/Ulysses")
        assert (status, book["title"]) == (200, "Ulysses")
    finally:
        await ended(gateway)

    again = await started(bookshop.gateway(shelf=BY_TITLE))
    try:
        assert again.version == gateway.version
        await again.event("descriptors_refused")
        assert (await get(again, "/v1/titles/Ulysses"))[0] == 200
    finally:
        await ended(again)


@pytest.mark.rule("transcoding.5")
async def test_a_mapping_that_fits_the_new_types_takes_both_over(bookshop: Bookshop) -> None:
    gateway = await started(bookshop.gateway("--watch", shelf=BY_TITLE))
    try:
        bookshop.server.types = compile_set(LESS)
        await gateway.event("descriptors_refused")

        applied = await gateway.edit("shelf.yaml", SHELF)
        assert applied["event"] == "config_applied"
        assert "title" not in (await get(gateway, "/v1/books/7"))[1]
        await until_detail(gateway, "descriptors: ", there=False)
    finally:
        await ended(gateway)


@pytest.mark.rule("transcoding.6")
async def test_three_thousand_files_leave_the_old_version(bookshop: Bookshop) -> None:
    """The refresh fails, is told and counted; what serves goes on."""
    gateway = await started(bookshop.gateway())
    try:
        bookshop.server.types = add_imports(compile_set(FIRST), 3_000)

        failed = await gateway.event("descriptors_refresh_failed")
        assert failed["why"] == "the service answers more than 2000 files"
        await until_detail(gateway, "descriptors: stale")
        assert (await get(gateway, "/v1/books/7"))[0] == 200
        assert await gateway.metric("bff_descriptor_refreshes_total", result="failed") >= 1
        bookshop.server.types = compile_set(FIRST)
        assert (await gateway.event("descriptors_refreshed"))["result"] == "unchanged"
    finally:
        await ended(gateway)


async def test_a_node_leaves_while_a_service_does_not_answer(bookshop: Bookshop) -> None:
    """What is asked ends with the node: nothing of it is left, and nothing is waited for."""
    gateway = await started(bookshop.gateway())
    before = bookshop.server.asked
    bookshop.server.silent = True
    async with asyncio.timeout(30):
        while bookshop.server.asked == before:
            await asyncio.to_thread(gateway.family)

    await ended(gateway)

    async with asyncio.timeout(30):
        await bookshop.server.left.wait()
    # It went before the fetch's own time of 10 s was over.
    assert bookshop.server.time_left_s > 1
    assert gateway.family() == set()
