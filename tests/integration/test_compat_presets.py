"""The presets that imitate, on a running gateway: what the door refuses, files to the octet, moved switches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOMY
from tests.support.gateway import GatewayProcess
from tests.support.openapi_examples import example_requests
from tests.support.samples import SampleServices

# Whatever a test asks for, no fault that another left in the services is in its way.
pytestmark = pytest.mark.usefixtures("samples")


@pytest.fixture(scope="module", params=["grpc-gateway", "envoy"])
def compat(
    request: pytest.FixtureRequest, shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    changes = {**ROOMY, "transcoding": {"preset": request.param}}
    with GatewayProcess(tmp_path_factory.mktemp("compat"), shop, changes=changes) as running:
        yield running


@pytest.mark.rule("transcoding.161")
@pytest.mark.parametrize(
    "target", ["/v1/products/../orders/o-1", "/v1/products/%2e%2e/x", "/v1/products/%zz", "/v1/%4"]
)
async def test_dot_segments_and_bad_escapes_are_refused(
    compat: GatewayProcess, target: str
) -> None:
    reply = await compat.raw_get(target)

    assert reply.status == 400
    assert b"BAD_PATH" in reply.body


@pytest.mark.rule("transcoding.161")
async def test_pieces_of_a_file_follow_each_other_as_they_are(
    compat: GatewayProcess, admin: dict[str, str]
) -> None:
    """grpc-gateway puts a line feed between them."""
    octets = bytes(range(256)) * 12_000
    path = "/v1/orders/o-2/attachments/pieces"
    sent = {**admin, "content-type": "application/x-octets"}

    async with compat.client() as http:
        await http.post(path, content=octets, headers=sent)
        reply = await http.get(path, headers=admin)

    assert reply.status_code == 200
    assert reply.content == octets


@pytest.mark.rule("transcoding.161")
async def test_parameters_are_no_part_of_a_file(
    compat: GatewayProcess, admin: dict[str, str]
) -> None:
    """Envoy can capture unknown parameters into a google.api.HttpBody."""
    async with compat.client() as http:
        plain = await http.post("/v1/files:inspect", content=b"abc", headers=admin)
        asked = await http.post("/v1/files:inspect?nope=1", content=b"abc", headers=admin)

    assert plain.status_code == 200
    assert asked.status_code == 400 or asked.json() == plain.json()


@pytest.mark.rule("transcoding.165")
async def test_the_documents_examples_are_bound_under_a_preset(
    compat: GatewayProcess, admin: dict[str, str]
) -> None:
    """Streams of clients and conversations among them, which presets read in other forms."""
    async with compat.client() as http:
        document = (await http.get("/openapi.json")).json()
        for sent in example_requests(document):
            headers = {**admin, **sent.headers}
            asked = http.stream(sent.method, sent.target, content=sent.body, headers=headers)
            async with asked as reply:
                assert reply.status_code != 426
            line = await compat.access_line(reply)
            assert line["stage"] not in {"door", "match", "validate"}, (sent, line)


@pytest.mark.rule("transcoding.162")
async def test_a_change_of_preset_tells_which_switches_move(
    tmp_path: Path, shop: SampleServices
) -> None:
    with GatewayProcess(tmp_path, shop, arguments=("--watch",)) as gateway:
        text = (gateway.folder / "catalog.yaml").read_text()
        catalog: dict[str, Any] = YAML(typ="safe").load(text)
        assert "transcoding" not in catalog

        await gateway.edit("catalog.yaml", f"{text}\ntranscoding: {{preset: envoy}}\n")
        told = await gateway.event("switches_moved")

    moved = told["moved"].split(", ")
    assert {"wrong_method 405 -> 404", "query_plus space -> literal"} <= set(moved)
    assert "int64 string -> string" not in moved
    assert told["routes"].split(", ") == [
        "GET /v1/products",
        "GET /v1/products/{product_id}",
        "GET /v1/products:batchGet",
    ]
