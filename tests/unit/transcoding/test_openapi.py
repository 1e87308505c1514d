"""The OpenAPI document of compiled routes: paths, parameters, schemas, errors."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bff.core.schema import Method
from bff.transcoding.descriptors import Descriptors
from bff.transcoding.openapi import OpenApiOperation, render_openapi
from bff.transcoding.sources import compile_protos
from bff.transcoding.switches import Switches

PROTO = """syntax = "proto3";
package p.v1;
import "google/api/field_behavior.proto";
import "google/api/httpbody.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
service S {
  // Does it.
  rpc Do(In) returns (Book);
  rpc File(In) returns (google.api.HttpBody);
  rpc Send(stream Book) returns (Book);
  rpc Talk(stream Book) returns (stream Book);
  rpc Watch(In) returns (stream Book);
  rpc Pour(stream google.api.HttpBody) returns (Book);
  rpc Load(stream Upload) returns (Book);
}
message Upload { string shelf = 1; google.api.HttpBody file = 2; string note = 3; }
// A book.
message Book {
  string name = 1 [(google.api.field_behavior) = REQUIRED];
  int64 pages = 2;  // How many.
  Book twin = 3;
  Kind kind = 4;
  google.protobuf.Timestamp made = 5 [(google.api.field_behavior) = OUTPUT_ONLY];
  oneof code { string isbn = 6; uint32 ean = 7; }
  string note = 8 [(google.api.field_behavior) = INPUT_ONLY];
}
enum Kind { KIND_UNSPECIFIED = 0; PAPER = 1; }
message In {
  string name = 1;
  int64 page_size = 2 [(google.api.field_behavior) = REQUIRED];
  Book book = 3;
  repeated Book books = 4;
  map<string, int32> marks = 5;
  repeated Kind kinds = 6;
  google.protobuf.BoolValue flag = 7;
  google.protobuf.Struct tree = 8;
}
"""


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> Descriptors:
    folder: Path = tmp_path_factory.mktemp("protos")
    (folder / "p.proto").write_text(PROTO)
    return Descriptors.build([compile_protos([folder])])


@pytest.fixture(scope="module")
def do(types: Descriptors) -> Method:
    return types.services["p.v1.S"].methods["Do"]


def _render(*operations: OpenApiOperation) -> Any:
    document = render_openapi(operations, title="Shop", version="v7", server="https://a.example")
    # What cannot be JSON would not survive this.
    return json.loads(json.dumps(document))


def _operation(method: Method | None, written: str, **more: Any) -> OpenApiOperation:
    kind, template = written.split(" ")
    return OpenApiOperation(id=written, http_method=kind, template=template, method=method, **more)


PATHS = [
    ("/v1/{name=shelves/*/books/*}", "/v1/shelves/{name_1}/books/{name_2}", ["name_1", "name_2"]),
    ("/v1/{name}", "/v1/{name}", ["name"]),
    ("/v1/{book.name=books/*}:go", "/v1/books/{book.name_1}:go", ["book.name_1"]),
    ("/v1/*/{name=**}", "/v1/{segment_2}/{name}", ["segment_2", "name"]),
    ("/v1/a%20b", "/v1/a%20b", []),
]


@pytest.mark.rule("transcoding.163")
@pytest.mark.parametrize(("template", "path", "names"), PATHS)
def test_multi_variables_are_unrolled(
    do: Method, template: str, path: str, names: list[str]
) -> None:
    document = _render(_operation(do, f"GET {template}"))

    operation = document["paths"][path]["get"]
    in_path = [p for p in operation["parameters"] if p["in"] == "path"]
    assert [p["name"] for p in in_path] == names
    assert operation["x-bff-template"] == template
    assert [p["name"] for p in in_path if p.get("x-bff-multi-segment")] == (
        ["name"] if "**" in template else []
    )


@pytest.mark.rule("transcoding.163")
def test_paths_that_differ_in_names_are_one_path(do: Method) -> None:
    document = _render(
        _operation(do, "GET /v1/{name}"), _operation(do, "PATCH /v1/{book.name}", body="book")
    )

    assert list(document["paths"]) == ["/v1/{name}"]
    assert document["paths"]["/v1/{name}"]["patch"]["parameters"][0]["name"] == "name"


@pytest.mark.rule("transcoding.163")
def test_colliding_operations_document_both_replies(do: Method) -> None:
    document = _render(
        _operation(do, "GET /v1/{name=a/*}"),
        _operation(None, "GET /v1/a/{id}", reply={"type": "object"}),
    )

    operation = document["paths"]["/v1/a/{name_1}"]["get"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"] == {
        "anyOf": [{"$ref": "#/components/schemas/p.v1.Book"}, {"type": "object"}]
    }
    assert operation["x-bff-alternatives"][0]["template"] == "/v1/a/{id}"


@pytest.mark.rule("transcoding.163")
@pytest.mark.parametrize(
    ("first", "other", "security"),
    [
        ({"security": ("jwt",)}, {"security": ("api_key",)}, [{"jwt": []}, {"api_key": []}]),
        ({"security": ("jwt",)}, {}, [{"jwt": []}, {}]),
        ({}, {"security": ("jwt",), "scopes": ("a",)}, [{}, {"jwt": ["a"]}]),
        ({"security": ("jwt",)}, {"security": ("jwt",)}, [{"jwt": []}]),
        ({}, {}, None),
    ],
)
def test_colliding_operations_are_for_whoever_may_call_one(
    do: Method, first: dict[str, Any], other: dict[str, Any], security: Any
) -> None:
    document = _render(
        _operation(do, "GET /v1/{name=a/*}", **first), _operation(None, "GET /v1/a/{id}", **other)
    )

    assert document["paths"]["/v1/a/{name_1}"]["get"].get("security") == security


@pytest.mark.rule("transcoding.164")
def test_reply_schema_is_as_protojson_writes_it(do: Method) -> None:
    schemas = _render(_operation(do, "GET /a"))["components"]["schemas"]

    book = schemas["p.v1.Book"]
    assert book["description"] == "A book."
    assert book["properties"] == {
        "name": {"type": "string"},
        "pages": {"type": "string", "format": "int64", "description": "How many."},
        "twin": {"$ref": "#/components/schemas/p.v1.Book"},
        "kind": {"$ref": "#/components/schemas/p.v1.Kind"},
        "made": {"type": "string", "format": "date-time"},
        "isbn": {"type": "string"},
        "ean": {"type": "integer", "format": "uint32", "minimum": 0},
    }
    assert book["additionalProperties"] is False
    assert "required" not in book
    assert book["allOf"][0]["description"] == "code: at most one of isbn, ean."
    assert schemas["p.v1.Kind"] == {"type": "string", "enum": ["KIND_UNSPECIFIED", "PAPER"]}


@pytest.mark.rule("transcoding.164")
def test_request_schema_has_required_and_no_output_only_fields(do: Method) -> None:
    schemas = _render(_operation(do, "POST /a", body="*"))["components"]["schemas"]

    book = schemas["p.v1.Book-Input"]
    assert book["required"] == ["name"]
    assert "made" not in book["properties"]
    assert "note" in book["properties"]
    assert schemas["p.v1.In-Input"]["required"] == ["pageSize"]


def test_body_asks_for_nothing_that_the_path_sets(do: Method) -> None:
    document = _render(
        _operation(do, "POST /v1/{name}", body="*"),
        _operation(do, "PATCH /v2/{book.name}", body="book"),
    )

    def schema(path: str, method: str) -> Any:
        operation = document["paths"][path][method]
        return operation["requestBody"]["content"]["application/json"]["schema"]

    assert "name" not in schema("/v1/{name}", "post")["properties"]
    assert "name" not in schema("/v2/{book.name}", "patch")["properties"]
    assert "required" not in schema("/v2/{book.name}", "patch")


@pytest.mark.rule("transcoding.165")
def test_query_lists_exactly_the_bindable_fields(do: Method) -> None:
    operation = _render(_operation(do, "GET /v1/{name}"))["paths"]["/v1/{name}"]["get"]

    query = {p["name"]: p for p in operation["parameters"] if p["in"] == "query"}
    book = ["name", "pages", "kind", "isbn", "ean", "note"]
    assert list(query) == [
        "pageSize",
        "book.name",
        "book.pages",
        *(f"book.twin.{name}" for name in book),
        *(f"book.{name}" for name in book[2:]),
        "marks",
        "kinds",
        "flag",
        "tree",
    ]
    assert operation["x-bff-query-cut"] == ["book.twin.twin"]
    assert query["pageSize"]["required"] is True
    assert "required" not in query["book.name"]
    assert query["book.pages"]["description"] == "How many."
    assert query["flag"]["schema"] == {"type": "boolean"}
    assert query["marks"]["style"] == "deepObject"
    assert query["tree"]["content"]["application/json"]["schema"] == {"type": "object"}
    assert query["kinds"]["schema"]["items"]["enum"] == ["KIND_UNSPECIFIED", "PAPER"]


@pytest.mark.rule("transcoding.165")
def test_body_takes_its_fields_out_of_the_query(do: Method) -> None:
    document = _render(
        _operation(do, "POST /all", body="*"), _operation(do, "POST /book", body="book")
    )

    assert "parameters" not in document["paths"]["/all"]["post"]
    names = [p["name"] for p in document["paths"]["/book"]["post"]["parameters"]]
    assert names == ["name", "pageSize", "marks", "kinds", "flag", "tree"]


@pytest.mark.rule("transcoding.165")
def test_errors_are_those_that_the_stages_in_use_give(do: Method) -> None:
    document = _render(
        _operation(do, "GET /open", limited=False),
        _operation(do, "GET /closed", security=("jwt", "api_key")),
        _operation(do, "GET /either", security=("jwt",), anonymous=True),
    )
    paths = document["paths"]

    assert list(paths["/open"]["get"]["responses"]) == ["200", "400", "404", "4XX", "5XX"]
    assert list(paths["/closed"]["get"]["responses"]) == [
        "200", "400", "401", "403", "404", "429", "4XX", "5XX",
    ]  # fmt: skip
    assert paths["/closed"]["get"]["security"] == [{"jwt": []}, {"api_key": []}]
    assert paths["/either"]["get"]["security"] == [{"jwt": []}, {}]
    assert sorted(document["components"]["securitySchemes"]) == ["api_key", "jwt"]


@pytest.mark.rule("transcoding.165")
def test_stream_lists_each_framing(do: Method) -> None:
    framings = ("application/json", "application/x-ndjson", "text/event-stream")
    document = _render(_operation(do, "GET /s", streaming=framings))

    content = document["paths"]["/s"]["get"]["responses"]["200"]["content"]
    names = ("p.v1.Book", "bff-Error")
    frame = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}
    assert {media: each["schema"] for media, each in content.items()} == {
        "application/json": {"type": "array", "items": frame},
        "application/x-ndjson": frame,
        "text/event-stream": {"type": "string"},
    }


@pytest.mark.rule("transcoding.164")
def test_http_body_is_binary(types: Descriptors) -> None:
    document = _render(_operation(types.services["p.v1.S"].methods["File"], "GET /f"))

    assert list(document["paths"]["/f"]["get"]["responses"]["200"]["content"]) == ["*/*"]
    assert "google.api.HttpBody" not in document["components"]["schemas"]


@pytest.mark.rule("transcoding.165")
@pytest.mark.parametrize(
    ("rpc", "body", "names", "beside"),
    [
        ("Pour", "*", ["data"], "*/*"),
        ("Load", "file", ["note", "file"], "*/*"),
        ("Load", "*", ["note", "file"], "application/x-ndjson"),
    ],
)
def test_a_file_in_pieces_may_come_in_a_form(
    types: Descriptors, rpc: str, body: str, names: list[str], beside: str
) -> None:
    path = "/up" if rpc == "Pour" else "/up/{shelf}"
    operation = _operation(
        types.services["p.v1.S"].methods[rpc],
        f"POST {path}",
        body=body,
        switches=Switches(body_formats=("json", "multipart")),
    )
    content = _render(operation)["paths"][path]["post"]["requestBody"]["content"]

    properties = content["multipart/form-data"]["schema"]["properties"]
    assert [name for name in properties if "." not in name] == names
    assert properties[names[-1]]["contentMediaType"] == "application/octet-stream"
    assert beside in content


def test_response_body_is_that_field(do: Method) -> None:
    document = _render(_operation(do, "GET /r", response_body="pages"))

    content = document["paths"]["/r"]["get"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"]["format"] == "int64"


def test_method_outside_openapi_is_listed_beside(do: Method) -> None:
    document = _render(_operation(do, "REPORT /r"), _operation(do, "* /r"))

    assert [m["method"] for m in document["paths"]["/r"]["x-bff-other-methods"]] == ["REPORT", "*"]


def test_document_is_the_callers_to_change(do: Method) -> None:
    """What is done to one document shows in no other."""
    first = render_openapi([_operation(do, "GET /a", security=("jwt",))], title="t", version="1")
    before = json.dumps(first)

    for part in first["components"].values():
        for value in part.values():
            value.clear()

    again = render_openapi([_operation(do, "GET /a", security=("jwt",))], title="t", version="1")
    assert json.dumps(again) == before


@pytest.mark.rule("transcoding.132")
@pytest.mark.parametrize(
    ("mode", "media_types", "is_array"),
    [
        ("ndjson+array", ["application/x-ndjson", "application/json"], True),
        ("array", ["application/json"], True),
        ("concatenated", ["application/json", "application/x-ndjson"], False),
    ],
)
def test_a_clients_stream_has_the_forms_that_the_switch_takes(
    types: Descriptors, mode: str, media_types: list[str], is_array: bool
) -> None:
    switches = msgspec.convert({"client_stream": mode}, Switches)
    document = _render(
        _operation(types.services["p.v1.S"].methods["Send"], "POST /s", body="*", switches=switches)
    )

    content = document["paths"]["/s"]["post"]["requestBody"]["content"]
    assert list(content) == media_types
    whole = content["application/json"]
    assert (whole["schema"].get("type") == "array") == is_array
    assert isinstance(whole["example"], list) == is_array


@pytest.mark.rule("transcoding.134")
@pytest.mark.parametrize(("switch", "is_told"), [(426, True), ("half_duplex", False)])
def test_a_conversation_tells_of_426_where_http1_gets_it(
    types: Descriptors, switch: int | str, is_told: bool
) -> None:
    switches = msgspec.convert({"bidi_http1": switch}, Switches)
    document = _render(
        _operation(types.services["p.v1.S"].methods["Talk"], "POST /t", body="*", switches=switches)
    )

    assert ("426" in document["paths"]["/t"]["post"]["responses"]) == is_told


@pytest.mark.rule("transcoding.135")
@pytest.mark.parametrize(
    ("name", "verb", "body", "turns"),
    [
        ("Watch", "GET", "", "The first frame is the request."),
        ("Send", "POST", "*", "The one message comes after the client's `end`."),
        ("Talk", "POST", "*", "Both sides speak when they like."),
    ],
)
def test_a_stream_over_websocket_has_its_frames_beside(
    types: Descriptors, name: str, verb: str, body: str, turns: str
) -> None:
    method = types.services["p.v1.S"].methods[name]
    document = _render(_operation(method, f"{verb} /s", body=body, socketed=True))

    operation = document["paths"]["/s"][verb.lower()]
    told = operation["x-bff-websocket"]
    assert (told["method"], told["subprotocol"]) == ("GET", "bff.v1")
    assert told["description"].endswith(turns)
    said, over = told["send"]["oneOf"]
    heard, end, error = told["receive"]["oneOf"]
    assert (
        said["properties"]["message"]["$ref"].rpartition("/")[2]
        in document["components"]["schemas"]
    )
    assert over["properties"] == {"end": {"const": True}}
    assert [set(each["properties"]) for each in (heard, end)] == [{"message"}, {"end"}]
    assert error["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    assert ("101" in operation["responses"]) == (verb == "GET")
    # For a version of the handshake that is none, or for both ways over HTTP/1.1.
    assert ("426" in operation["responses"]) == (name != "Send")


def test_a_stream_over_http_alone_has_no_frames(types: Descriptors) -> None:
    document = _render(_operation(types.services["p.v1.S"].methods["Watch"], "GET /s"))

    operation = document["paths"]["/s"]["get"]
    assert "x-bff-websocket" not in operation
    assert {"101", "426"}.isdisjoint(operation["responses"])
