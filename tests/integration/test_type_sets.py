"""Sources whose files do not fit each other: each service keeps the types of its own source."""

import json
from pathlib import Path

from tests.support.bookshop import Bookshop, ended, started
from tests.support.cli import run_bff
from tests.support.config_files import write
from tests.support.reflecting import ReflectingServer
from tests.support.samples import SampleServices
from tests.support.two_ages import NEW, OLD, service


def world(folder: Path, *, graphql: bool = False) -> Path:
    (folder / "a.binpb").write_bytes(service("book", OLD))
    (folder / "b.binpb").write_bytes(service("lamp", NEW))
    fields = "graphql: {{queries: {{{0}: {{rpc: Get}}}}}}\n" if graphql else ""
    file = "service: {0}.v1.{1}s\nupstream: {0}\nroutes: annotations\n" + fields
    return write(
        folder / "mappings",
        {
            "gateway.yaml": "gateway: {protos: [../a.binpb, ../b.binpb]}\n"
            "upstreams:\n  book: {endpoints: ['127.0.0.1:1']}\n  lamp: {endpoints: ['127.0.0.1:1']}\n",
            "book.yaml": file.format("book", "Book"),
            "lamp.yaml": file.format("lamp", "Lamp"),
        },
    )


def test_the_api_document_has_both_types(tmp_path: Path) -> None:
    document = json.loads(run_bff("openapi", str(world(tmp_path))).stdout)
    schemas = document["components"]["schemas"]

    assert "amount" in schemas["common.v1.Money-2"]["properties"]
    assert "units" in schemas["common.v1.Money"]["properties"]
    price = schemas["lamp.v1.Lamp"]["properties"]["price"]
    assert "common.v1.Money-2" in json.dumps(price)


def test_graphql_needs_one_type_of_a_name(tmp_path: Path) -> None:
    done = run_bff("check", str(world(tmp_path, graphql=True)))

    assert done.exit_code == 1
    assert "common.v1.Money is another type here than at graphql.queries.book" in done.stderr


async def test_two_services_of_different_ages_are_both_served(
    tmp_path: Path, shop: SampleServices
) -> None:
    """Both give their own types, and each route speaks those of its service."""
    async with (
        ReflectingServer(service("book", OLD)) as old,
        ReflectingServer(service("lamp", NEW)) as new,
    ):
        bookshop = Bookshop(tmp_path, shop, old)
        changes = {
            "upstreams": {
                "shelf": {"endpoints": [old.address]},
                "lamp": {"endpoints": [new.address]},
            },
            "descriptors": [{"reflection": "shelf"}, {"reflection": "lamp"}],
        }
        file = "service: {0}\nupstream: {1}\nauth: {{required: false}}\nroutes: annotations\n"
        both = (
            file.format("book.v1.Books", "shelf") + "---\n" + file.format("lamp.v1.Lamps", "lamp")
        )
        gateway = await started(bookshop.gateway(shelf=both, changes=changes))
        try:
            async with gateway.client() as http:
                book = await http.post("/v1/books", json={"price": {"units": "5"}})
                lamp = await http.post(
                    "/v1/lamps", json={"price": {"amount": "6", "currency": "E"}}
                )
                wrong = await http.post("/v1/lamps", json={"price": {"units": "5"}})
        finally:
            await ended(gateway)

    assert book.json() == {"price": {"units": "5"}}
    assert lamp.json() == {"price": {"amount": "6", "currency": "E"}}
    assert wrong.status_code == 400
