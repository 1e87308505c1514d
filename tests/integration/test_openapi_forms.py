"""Forms as the OpenAPI document shows them, sent to the gateway that serves it: the service gets each part."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.openapi_examples import ExampleRequest, example_requests
from tests.support.vector_kitchen import Answer, VectorKitchen, vector_types
from tests.support.vectors import Config, files_of

_MULTIPART = "multipart/form-data"
# A URL-encoded form is one message.
_PARTS_ONLY = {"body_formats": ["json", "multipart"]}
_CONFIG = Config(
    routes=[
        "Pack POST /parcels *",
        "Pack POST /parcels/{id} *",
        "PackIn PUT /halls/{parcel.id} parcel",
        "PackIn PATCH /seals/{parcel.label.seal} parcel",
        "Get POST /kitchens *",
        {"rpc": "Load", "post": "/load/{id}", "body": "*", "transcoding": _PARTS_ONLY},
        {
            "rpc": "LoadIn",
            "post": "/halls/{parcel.id}",
            "body": "parcel",
            "transcoding": _PARTS_ONLY,
        },
        {"rpc": "Pour", "post": "/pour", "body": "*"},
        {"rpc": "Pile", "post": "/pile/{parcel}", "body": "file"},
    ],
    service={"transcoding": {"body_formats": ["json", "form", "multipart"]}},
)


@pytest.fixture(scope="module")
def kitchen() -> Iterator[VectorKitchen]:
    with VectorKitchen(vector_types()) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    kitchen: VectorKitchen, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    types = folder / "types.binpb"
    types.write_bytes(vector_types())
    files = files_of(_CONFIG, kitchen.port, types)
    with GatewayProcess(folder / "mapping", None, files=files) as running:
        yield running


@pytest.fixture(scope="module")
def document(gateway: GatewayProcess) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{gateway.url}/openapi.json").json()
    return found


def _forms(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By operation and path: the multipart form."""
    return {
        f"{method} {path}": operation["requestBody"]["content"][_MULTIPART]
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if _MULTIPART in operation.get("requestBody", {}).get("content", {})
    }


def _files(form: dict[str, Any]) -> set[str]:
    return {
        name
        for name, schema in form["schema"]["properties"].items()
        if schema.get("items", schema).get("contentMediaType") == "application/octet-stream"
    }


@pytest.mark.rule("transcoding.106", "transcoding.165")
def test_each_field_that_takes_a_file_is_shown_as_one(document: dict[str, Any]) -> None:
    forms = _forms(document)

    files = {name: _files(form) for name, form in forms.items()}
    every = {"blob", "file", "more", "label.seal", "inline", "tag.seal"}
    assert files["post /parcels"] == files["put /halls/{parcel.id}"] == every
    assert files["patch /seals/{parcel.label.seal}"] == every - {"label.seal"}
    assert files["post /load/{id}"] == files["post /halls/{parcel.id}"] == every
    assert (files["post /pour"], files["post /pile/{parcel}"]) == ({"data"}, {"file"})
    # A wrapper is one value; what is in it has no name of its own.
    assert files["post /kitchens"] == {"octets", "child.octets"}
    shown = forms["post /parcels"]["schema"]["properties"]
    assert shown["more"]["type"] == "array"
    assert {"label.text", "sub.subfield", "sub.deeper.subfield"} <= set(shown)
    assert not {"file.data", "file.contentType"} & set(shown)
    assert "the name of the file" in shown["filename"]["description"]
    in_pieces = forms["post /load/{id}"]["schema"]["properties"]
    assert "last part" in in_pieces["label.seal"]["description"]
    assert "description" not in in_pieces["more"]


@pytest.mark.rule("transcoding.106", "transcoding.165")
async def test_the_service_gets_what_each_form_shows(
    gateway: GatewayProcess, kitchen: VectorKitchen, document: dict[str, Any]
) -> None:
    sent = [each for each in example_requests(document) if each.content_type.startswith(_MULTIPART)]
    assert len(sent) == len(_forms(document)) == 9

    async with gateway.client() as http:
        for each in sent:
            # An empty message is a reply of every method.
            kitchen.begin(Answer(messages=[{}]))
            reply = await http.request(
                each.method, each.target, content=each.body, headers=each.headers
            )

            assert reply.status_code == 200, (each, reply.text)
            _judge(each, _forms(document), kitchen.asked[0].messages[0])


def _judge(sent: ExampleRequest, forms: dict[str, dict[str, Any]], saw: dict[str, Any]) -> None:
    """Each part of the example is in the message, below the field that is the body where there is one."""
    form = next(each for name, each in forms.items() if _is_of(name, sent))
    files, count = _files(form), 0
    for name, value in form["example"].items():
        got: Any = {**saw, **saw.get("parcel", {})} if isinstance(saw.get("parcel"), dict) else saw
        for step in name.split("."):
            got = got[step]
        if name in files:
            got = got["data"] if isinstance(got, dict) else got
            wanted = [base64.b64encode(each.encode()).decode() for each in _many(value)]
            assert _many(got) == wanted, (sent, name)
            count += 1
        elif isinstance(value, str):
            assert isinstance(got, str), (sent, name)
    assert count, sent


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_of(name: str, sent: ExampleRequest) -> bool:
    method, _, path = name.partition(" ")
    mine, other = path.split("/"), sent.path.split("/")
    fits = all(a == b or a.startswith("{") for a, b in zip(mine, other, strict=False))
    return method == sent.method.lower() and len(mine) == len(other) and fits
