"""The OpenAPI document of a gateway with every switch: valid, true to the switches, with examples that bind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from bff.config.presets import PRESETS
from bff.config.switches import Transcoding
from tests.support.kitchen_gateway import KitchenGateway
from tests.support.openapi_examples import example_requests

_ROUTES = """
  - rpc: Get
    get: "/k/{text}"
    also:
      - {post: "/k/{text}", body: "*"}
      - {post: "/kb/{text}", body: child}
      - {put: "/items/{i32}/{choice_number}", body: "*"}
      - {post: "/nested/{child.text=a/*/b/**}", body: "*"}
      - {get: "/t/{at}/{boxed_flag}/{octets}/{state}"}
      - {post: "/tags/{text}", body: tags}
      - {post: "/money/{text}", body: choice_money, response_body: prices}
      - {get: "/tree", response_body: struct}
      - {get: "/at", response_body: at}
  - {rpc: Patch, patch: "/p/{id}", body: child}
  - {rpc: Patch, patch: "/q/{child.text}", body: child, id: by-text, docs: true}
"""

# Each value that is no default of the preset `strict`, and some together.
SWITCHES = [
    *(f"preset: {preset}" for preset in PRESETS),
    "int64: number",
    "enums: number",
    "enums: no_prefix",
    "names: proto",
    "json_unknown: ignore",
    "json_depth: 1",
    "json_depth: 2",
    "query_map: off",
    "query_star_body: bind",
    "query_body_field: merge",
    "query_bool: go, query_duration: go, query_mask: verbatim",
    "body_formats: [form, multipart]",
    "error_format: problem, not_acceptable: 406",
    "patch_mask: false, nul: reject, enum_case: ignore",
    "verb_unregistered: no_match, query_enum_number: known",
    "int64: number, enums: number, names: proto, json_unknown: ignore, emit_unpopulated: true",
]


def document_of(kitchen: KitchenGateway) -> Any:
    return json.loads(kitchen.compiled.openapi)


@pytest.fixture(scope="module", params=SWITCHES)
def kitchen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> KitchenGateway:
    switches = request.param.replace("off", '"off"')
    folder = tmp_path_factory.mktemp("kitchen")
    return KitchenGateway(folder, f"transcoding: {{{switches}}}", routes=_routes(switches))


def _routes(switches: str) -> str:
    # A form is a message, so a list can have none.
    kept = [line for line in _ROUTES.split("\n") if "tags" not in line]
    return "\n".join(kept) if "body_formats" in switches else _ROUTES


def test_switches_that_change_the_document_are_all_here() -> None:
    told = {"int64", "enums", "names", "json_unknown", "json_depth", "error_format"}
    told |= {"body_formats", "query_map", "query_star_body", "query_body_field", "not_acceptable"}
    told |= {"patch_mask", "preset"}

    assert told <= set(Transcoding.model_fields)
    assert told <= {part.split(":")[0].strip() for row in SWITCHES for part in row.split(",")}


@pytest.mark.rule("transcoding.163")
def test_document_is_valid_under_every_switch(kitchen: KitchenGateway) -> None:
    OpenAPIV31SpecValidator(document_of(kitchen)).validate()


@pytest.mark.rule("transcoding.165")
async def test_every_example_request_is_bound(kitchen: KitchenGateway) -> None:
    requests = list(example_requests(document_of(kitchen)))
    assert len(requests) >= 11

    for sent in requests:
        answer = await kitchen.ask(f"{sent.method} {sent.target}", sent.body, sent.headers)
        assert answer.status == 200, (sent, answer.body)
        assert answer.bound is not None


@pytest.mark.rule("transcoding.164")
def test_every_example_fits_its_schema(kitchen: KitchenGateway) -> None:
    document = document_of(kitchen)
    seen = 0

    for schema, example in examples_of(document):
        # Parts of a form are texts on the wire; the rest is JSON.
        whole = {**schema, "components": document["components"]}
        Draft202012Validator(whole).validate(example)
        seen += 1

    assert seen > 30


@pytest.mark.rule("transcoding.164")
async def test_replies_fit_their_schema(kitchen: KitchenGateway) -> None:
    """What the examples bring back (the kitchen echoes) is what the document says of the reply."""
    document = document_of(kitchen)

    for sent in example_requests(document):
        operation = next(
            operation
            for item in document["paths"].values()
            for operation in item.values()
            if operation["operationId"] == sent.operation
        )
        answer = await kitchen.ask(f"{sent.method} {sent.target}", sent.body, sent.headers)
        assert answer.status == 200, (sent, answer.body)
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json)


def examples_of(part: Any) -> Iterator[tuple[Any, Any]]:
    """Each schema with the example beside it."""
    if isinstance(part, dict):
        if "example" in part and "schema" in part:
            yield part["schema"], part["example"]
        for key, value in part.items():
            if key not in {"example", "schema"}:
                yield from examples_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from examples_of(value)


def operation_at(kitchen: KitchenGateway, path: str, method: str) -> Any:
    return document_of(kitchen)["paths"][path][method]


@pytest.mark.rule("transcoding.164")
@pytest.mark.parametrize(
    ("switches", "schema"),
    [
        ("int64: string", {"i64": {"type": "string", "format": "int64"}}),
        ("int64: number", {"i64": {"type": ["integer", "string"], "format": "int64"}}),
        ("names: proto", {"search_decoded": None, "boxed_text": {"type": ["string", "null"]}}),
    ],
)
def test_fields_are_described_as_they_are_written(
    tmp_path: Path, switches: str, schema: dict[str, Any]
) -> None:
    kitchen = KitchenGateway(tmp_path, f"transcoding: {{{switches}}}", routes=_ROUTES)
    document = document_of(kitchen)

    reply = operation_at(kitchen, "/k/{text}", "get")["responses"]["200"]
    name = reply["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    fields = document["components"]["schemas"][name]["properties"]
    assert {key: fields.get(key) for key in schema} == schema


@pytest.mark.rule("transcoding.164")
@pytest.mark.parametrize(
    ("switches", "values"),
    [
        ("enums: name", ["STATE_UNSPECIFIED", "STATE_NEW", "STATE_PAID"]),
        ("enums: number", [0, 1, 2]),
        ("enums: no_prefix", ["UNSPECIFIED", "NEW", "PAID"]),
    ],
)
def test_enums_are_described_as_they_are_written(
    tmp_path: Path, switches: str, values: list[Any]
) -> None:
    kitchen = KitchenGateway(tmp_path, f"transcoding: {{{switches}}}", routes=_ROUTES)
    schemas = document_of(kitchen)["components"]["schemas"]

    (enum,) = [schema for name, schema in schemas.items() if name.startswith("kitchen.v1.State")]
    assert enum["enum"] == values
    parameters = operation_at(kitchen, "/k/{text}", "get")["parameters"]
    (state,) = [each for each in parameters if each["name"] == "state"]
    assert state["schema"]["enum"] == values


@pytest.mark.rule("transcoding.164")
def test_two_routes_may_write_one_message_in_two_ways(tmp_path: Path) -> None:
    routes = """
  - rpc: Get
    get: "/strict"
  - rpc: Get
    id: loose
    post: "/loose"
    body: "*"
    transcoding: {names: proto, json_unknown: ignore, error_format: problem}
"""
    kitchen = KitchenGateway(tmp_path, routes=routes)
    schemas = document_of(kitchen)["components"]["schemas"]

    assert "boxedText" in schemas["kitchen.v1.Kitchen"]["properties"]
    assert "boxed_text" in schemas["kitchen.v1.Kitchen-names-proto"]["properties"]
    loose = schemas["kitchen.v1.Kitchen-Input-names-proto-open"]
    assert "additionalProperties" not in loose
    assert schemas["kitchen.v1.Kitchen-names-proto"]["additionalProperties"] is False
    refused = operation_at(kitchen, "/loose", "post")["responses"]["400"]
    assert refused == {"$ref": "#/components/responses/bff-problem-400"}
    assert "$ref" in operation_at(kitchen, "/strict", "get")["responses"]["400"]


@pytest.mark.rule("transcoding.165")
def test_forms_have_the_fields_of_the_query_and_files(tmp_path: Path) -> None:
    kitchen = KitchenGateway(
        tmp_path,
        "transcoding: {body_formats: [form, multipart]}",
        routes=_routes("body_formats"),
    )

    content = operation_at(kitchen, "/kb/{text}", "post")["requestBody"]["content"]
    form = content["application/x-www-form-urlencoded"]["schema"]["properties"]
    assert {"i32", "tags", "choiceMoney.units", "struct"} <= set(form)
    files = content["multipart/form-data"]["schema"]["properties"]
    assert files["octets"]["contentMediaType"] == "application/octet-stream"
    assert "contentMediaType" not in form["octets"]


@pytest.mark.rule("transcoding.165")
def test_routes_are_hidden_where_the_nearest_word_says_so(tmp_path: Path) -> None:
    routes = """
  - {rpc: "*", docs: false, status: 202}
  - {rpc: Get, get: "/hidden"}
  - {rpc: Patch, patch: "/shown/{id}", body: child, docs: true}
"""
    document = document_of(KitchenGateway(tmp_path, routes=routes))

    assert list(document["paths"]) == ["/shown/{id}"]
    assert "202" in document["paths"]["/shown/{id}"]["patch"]["responses"]


@pytest.mark.rule("transcoding.163")
def test_paths_that_openapi_cannot_tell_apart_are_one_and_warned_of(tmp_path: Path) -> None:
    routes = """
  - rpc: Get
    post: "/a/{text}"
    body: child
  - rpc: Get
    id: all
    post: "/a/{text=**}"
    body: "*"
"""
    kitchen = KitchenGateway(tmp_path, routes=routes)

    merged = operation_at(kitchen, "/a/{text}", "post")
    schema = merged["requestBody"]["content"]["application/json"]["schema"]
    assert len(schema["anyOf"]) == 2
    assert [each["operationId"] for each in merged["x-bff-alternatives"]] == ["all"]
    texts = [warning.message for warning in kitchen.compiled.warnings]
    assert "all and cook.Get are both /a/{text} in OpenAPI; it shows them as one" in texts
    OpenAPIV31SpecValidator(document_of(kitchen)).validate()


@pytest.mark.rule("transcoding.163")
async def test_what_either_of_two_routes_takes_is_in_the_one_that_is_shown(tmp_path: Path) -> None:
    """An empty object is a body of both, so `oneOf` would refuse it."""
    routes = """
  - {rpc: Get, post: "/a/{text}", body: child, transcoding: {enums: number}}
  - {rpc: Get, id: all, post: "/a/{text=**}", body: "*", transcoding: {query_star_body: bind}}
  - {rpc: Get, id: open, get: "/b/{text}", transcoding: {enums: number}}
  - {rpc: Get, id: named, get: "/b/{text=**}"}
"""
    kitchen = KitchenGateway(tmp_path, routes=routes)
    document = document_of(kitchen)
    OpenAPIV31SpecValidator(document).validate()
    operation = document["paths"]["/a/{text}"]["post"]
    sent = operation["requestBody"]["content"]["application/json"]["schema"]
    came = operation["responses"]["200"]["content"]["application/json"]["schema"]

    for target in ("POST /a/1", "POST /a/1/2"):
        for body in ("{}", '{"i32":5}'):
            answer = await kitchen.ask(target, body)
            assert answer.status == 200, answer.body
            for schema, value in ((sent, json.loads(body)), (came, answer.json)):
                whole = {**schema, "components": document["components"]}
                Draft202012Validator(whole).validate(value)
    parameters = document["paths"]["/b/{text}"]["get"]["parameters"]
    (state,) = [each["schema"] for each in parameters if each["name"] == "state"]
    assert [each.get("type") for each in state["anyOf"]] == ["integer", "string"]


@pytest.mark.rule("transcoding.165")
async def test_streams_are_described_as_they_are_sent(tmp_path: Path) -> None:
    routes = """
  - rpc: Watch
    get: "/w/{text}"
    status: 203
    stream: {sse: {resume: i32}}
"""
    kitchen = KitchenGateway(tmp_path, "transcoding: {preset: grpc-gateway}", routes=routes)
    document = document_of(kitchen)
    operation = document["paths"]["/w/{text}"]["get"]

    content = operation["responses"]["203"]["content"]
    assert list(content) == ["application/x-ndjson", "application/json", "text/event-stream"]
    assert "204" in operation["responses"]
    assert "Last-Event-ID" in [each["name"] for each in operation["parameters"]]
    schema = {**content["application/x-ndjson"]["schema"], "components": document["components"]}
    answer = await kitchen.ask("GET /w/a")
    assert (answer.status, answer.headers["content-type"]) == (203, "application/x-ndjson")
    Draft202012Validator(schema).validate(answer.json)
    Draft202012Validator(schema).validate({"error": {"code": 5, "message": "gone"}})
    assert not Draft202012Validator(schema).is_valid({"text": "a"})
