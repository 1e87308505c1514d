"""Types and rules of files, while a gateway serves: saved, broken, mended; and methods without a rule."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bookshop import FIRST, MORE, SHELF, Bookshop, ended, get, started
from tests.support.proto_sets import compile_set
from tests.support.reflecting import ReflectingServer
from tests.support.samples import SampleServices

HIDDEN = """
service Hidden { rpc Peek(Book) returns (Book) { option (google.api.http) = {get: "/v1/hidden"}; } }
"""


@pytest.fixture
async def bookshop(tmp_path: Path, shop: SampleServices) -> AsyncIterator[Bookshop]:
    """Its service echoes; the types come from files beside the mappings."""
    async with ReflectingServer(compile_set(FIRST)) as server:
        yield Bookshop(tmp_path, shop, server)


def save(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.rename(path)


@pytest.mark.rule("transcoding.1")
async def test_a_proto_file_with_an_error_leaves_the_old_version(
    bookshop: Bookshop, tmp_path: Path
) -> None:
    """Told with its place; mended, the new types go live with the difference of the routes."""
    folder = tmp_path / "protos"
    folder.mkdir()
    save(folder / "shelf.proto", FIRST)
    changes = {"gateway": {"protos": [str(folder)]}, "descriptors": []}
    gateway = await started(bookshop.gateway("--watch", changes=changes))
    try:
        save(folder / "shelf.proto", FIRST.replace("string id", "strin id"))
        refused = await gateway.event("config_refused")
        assert refused["problem"].endswith('shelf.proto:5:16: "strin" is not defined.')
        assert refused["live"] == gateway.version
        assert (await get(gateway, "/v1/books/7"))[0] == 200

        save(folder / "shelf.proto", MORE)
        told = await gateway.event("routes_changed")
        assert (told["added_routes"], told["removed"]) == ("PUT /v1/books/{id}", 0)
        assert told["changed_routes"] == "GET /v1/books/{id}"
        async with gateway.client() as http:
            reply = await http.put("/v1/books/8", json={"author": "A"})
        assert reply.json() == {"id": "8", "author": "A"}
    finally:
        await ended(gateway)


async def test_a_service_config_that_is_saved_goes_live(bookshop: Bookshop, tmp_path: Path) -> None:
    config = tmp_path / "config/shelf.cfg"
    config.parent.mkdir()
    rule = "http: {{rules: [{{selector: shelf.v1.Shelf.Get, get: '/{}/books/{{id}}'}}]}}"
    save(config, rule.format("v5"))
    gateway = await started(bookshop.gateway("--watch", service_config=str(config)))
    try:
        assert (await get(gateway, "/v5/books/7"))[0] == 200
        save(config, rule.format("v6"))
        told = await gateway.event("routes_changed")

        assert told["added_routes"] == "GET /v6/books/{id}"
        assert told["removed_routes"] == "GET /v5/books/{id}"
        assert (await get(gateway, "/v6/books/7"))[0] == 200
        assert (await get(gateway, "/v5/books/7"))[0] == 404
    finally:
        await ended(gateway)


@pytest.mark.rule("transcoding.14", "transcoding.15")
async def test_a_method_without_a_rule_is_posted_where_it_is_wanted(bookshop: Bookshop) -> None:
    """Its path is the gRPC path and its body the message; nothing else there has a route."""
    plain = FIRST.replace("}\n  \n}", "}\n  rpc Put(Book) returns (Book);\n}") + HIDDEN
    assert "rpc Put" in plain
    bookshop.server.types = compile_set(plain)
    without = await started(bookshop.gateway())
    try:
        async with without.client() as http:
            off = await http.post("/shelf.v1.Shelf/Put", json={"id": "7"})
    finally:
        await ended(without)
    gateway = await started(bookshop.gateway(shelf=SHELF.replace("'*'", "'*', unbound: true")))
    try:
        async with gateway.client() as http:
            on = await http.post("/shelf.v1.Shelf/Put", json={"id": "7", "title": "T"})
            unknown = await http.post("/shelf.v1.Shelf/Nope", json={})
            ruled = await http.post("/shelf.v1.Shelf/Get", json={})
            hidden = await http.get("/v1/hidden")
            extra = await http.post("/shelf.v1.Shelf/Put?title=x", json={})
    finally:
        await ended(gateway)

    assert off.status_code == 404
    assert on.json() == {"id": "7", "title": "T"}
    assert bookshop.server.called == ["/shelf.v1.Shelf/Put"]
    assert [r.status_code for r in (unknown, ruled, hidden, extra)] == [404, 404, 404, 400]


@pytest.mark.rule("transcoding.4")
async def test_a_state_that_cannot_be_written_is_told_and_stops_nothing(
    bookshop: Bookshop, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file, where a folder belongs")
    gateway = await started(bookshop.gateway())
    try:
        assert "types of services cannot be stored for the next start" in gateway.error_text()
        bookshop.server.types = compile_set(MORE)
        assert "descriptors" in (await gateway.event("state_not_written"))["why"]
        assert (await get(gateway, "/v1/books/7"))[0] == 200
    finally:
        await ended(gateway)
