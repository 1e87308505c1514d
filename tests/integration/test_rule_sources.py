"""Where types and HTTP rules come from: .proto folders, descriptor sets, service configs, mapping files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.support.cli import run_bff
from tests.support.config_files import write
from tests.support.proto_sets import compile_set

SHELF = """
syntax = "proto3";
package shelf.v1;
import "google/api/annotations.proto";
message Book { string id = 1; string title = 2; }
service Shelf {
  rpc Get(Book) returns (Book) { option (google.api.http) = {get: "/v1/books/{id}"}; }
  rpc Find(Book) returns (Book) { option (google.api.http) = {get: "/v1/find"}; }
  rpc Put(Book) returns (Book);
  rpc Drop(Book) returns (Book);
}
service Hidden {
  rpc Peek(Book) returns (Book) { option (google.api.http) = {get: "/v1/hidden"}; }
}
"""
GATEWAY = """
{sources}
upstreams: {{shelf: {{endpoints: ["127.0.0.1:1"]}}}}
"""
FOLDER = "gateway: {protos: [../protos]}"


def world(
    folder: Path,
    routes: str = "annotations",
    *,
    sources: str = FOLDER,
    proto: str = SHELF,
    **more: str,
) -> Path:
    """Mappings and protos side by side; `more` are further files of the mappings, by stem."""
    (folder / "protos").mkdir(exist_ok=True)
    (folder / "protos/shelf.proto").write_text(proto)
    files = {
        "gateway.yaml": GATEWAY.format(sources=sources),
        "shelf.yaml": f"service: shelf.v1.Shelf\nupstream: shelf\nroutes: {routes}\n",
        **{f"{name}.yaml": text for name, text in more.items()},
    }
    return write(folder / "mappings", files)


def routes(folder: Path) -> list[str]:
    """The mapped routes, `METHOD /path operation`."""
    done = run_bff("routes", str(folder), "--json")
    assert done.exit_code == 0, done.output
    rows = [row for row in json.loads(done.stdout) if row["calls"]]
    return sorted(f"{row['method']} {row['path']} {row['calls']}" for row in rows)


def judged(folder: Path) -> tuple[int, list[str]]:
    """The exit code of `bff check` and what it says, each as file:line:column severity message; hint."""
    done = run_bff("check", str(folder), "--json")
    return done.exit_code, [
        f"{Path(f['file']).name}:{f['line']}:{f['column']} {f['severity']} {f['message']}; {f['hint']}"
        for f in json.loads(done.stdout)
    ]


def only_problem(folder: Path) -> str:
    code, found = judged(folder)
    assert (code, len(found)) == (1, 1), found
    return found[0]


# Types


@pytest.mark.rule("transcoding.1")
def test_an_error_in_a_proto_file_has_its_place(tmp_path: Path) -> None:
    bad = SHELF.replace("string id = 1", "strin id = 1")
    folder = world(tmp_path, proto=bad)

    assert only_problem(folder) == 'shelf.proto:5:16 error "strin" is not defined.; '
    assert run_bff("serve", str(folder)).exit_code == 2


@pytest.mark.rule("transcoding.2")
def test_a_set_that_lacks_an_import_names_it(tmp_path: Path) -> None:
    """And the file that wants it; google's own are supplied."""
    text = SHELF.replace("import", 'import "other.proto";\nimport', 1)
    text = text.replace("string title = 2", "other.v1.Title title = 2")
    other = 'syntax = "proto3"; package other.v1; message Title {}'
    whole = FileDescriptorSet.FromString(compile_set(text, other=other))
    kept = [file for file in whole.file if file.name == "test.proto"]
    (tmp_path / "set.binpb").write_bytes(FileDescriptorSet(file=kept).SerializeToString())
    folder = world(tmp_path, sources="descriptors: [{set: ../set.binpb}]")

    said = '"test.proto" imports "other.proto", which is not in the set'
    assert only_problem(folder) == f"set.binpb:0:0 error {said}; "


@pytest.mark.rule("transcoding.3")
def test_a_service_from_two_sources_names_both(tmp_path: Path) -> None:
    """Even if the bytes are equal."""
    (tmp_path / "set.binpb").write_bytes(compile_set(SHELF))
    (tmp_path / "copy.binpb").write_bytes(compile_set(SHELF))
    sources = "descriptors: [{set: ../set.binpb}, {set: ../copy.binpb}]"
    code, found = judged(world(tmp_path, sources=sources))

    assert code == 1
    assert any(
        "service shelf.v1.Shelf comes from two sources: " in text
        and "set.binpb and " in text
        and text.endswith("copy.binpb; ")
        for text in found
    ), found


def test_a_folder_and_a_set_may_hold_the_same_file(tmp_path: Path) -> None:
    """A copy of a shared file, with JSON names written or not, is one file."""
    shared = 'syntax = "proto3"; package common.v1; message Money { int64 minor_units = 1; }'
    other = 'syntax = "proto3"; package o.v1; import "common.proto"; message M { common.v1.Money m = 1; }'
    whole = FileDescriptorSet.FromString(compile_set(other, common=shared))
    for file in whole.file:
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")
    (tmp_path / "set.binpb").write_bytes(whole.SerializeToString())
    (tmp_path / "protos").mkdir()
    (tmp_path / "protos/common.proto").write_text(shared)
    folder = world(tmp_path, sources="gateway: {protos: [../protos, ../set.binpb]}")

    assert judged(folder)[0] == 0


def test_a_source_that_need_not_be_there_is_told_and_left_out(tmp_path: Path) -> None:
    """Its routes, what stands on them in aggregates and GraphQL, and nothing else."""
    sources = "descriptors: [{protos: ../protos}, {set: ../later.binpb, required: false}]"
    lamp = "service: lamp.v1.Lamp\nupstream: shelf\nroutes: [{rpc: On, get: /v1/lamp}]\n"
    folder = world(
        tmp_path,
        "annotations\ngraphql:\n  queries:\n    book: {rpc: Get}\n    lamp: {rpc: shelf.On}\n"
        "  joins:\n    Light.book: {rpc: Get, keys: id, into: id, entities: '', entity_key: id}",
        sources=sources,
        lamp=lamp,
        both="aggregate: GET /v1/both\nsources: {lamp: {rpc: shelf.On}, book: {rpc: shelf.Get}}\n"
        "reply: {lamp: lamp}\n",
        one="aggregate: GET /v1/one\nsources: {book: {rpc: shelf.Get}}\nreply: {book: book}\n",
    )
    code, found = judged(folder)

    assert code == 0, found
    told = "\n".join(found)
    assert "there is no ../later.binpb" in told
    assert "lamp.v1.Lamp is not served" in told
    assert "both.yaml:1:12 warning this aggregate is not served: there is no shelf.On" in told
    assert "lamp is not in the schema: there is no shelf.On" in told
    assert "error" not in told
    assert "lamp.v1.Lamp is not served" in run_bff("routes", str(folder)).stderr
    assert "lamp.v1.Lamp is not served" in run_bff("sdl", str(folder)).stderr
    shown = [text.partition(" shelf.")[0] for text in routes(folder)]
    assert "GET /v1/one" in shown
    assert "GET /v1/both" not in shown

    lights = """
    syntax = "proto3"; package lamp.v1;
    message Light { string id = 1; } service Lamp { rpc On(Light) returns (Light); }
    """
    (tmp_path / "later.binpb").write_bytes(compile_set(lights))
    (folder / "shelf.yaml").write_text(
        "service: shelf.v1.Shelf\nupstream: shelf\nroutes: annotations\n"
    )
    shown = [text.partition(" shelf.")[0] for text in routes(folder)]
    assert {"GET /v1/lamp", "GET /v1/both"} <= set(shown)


def test_a_required_source_is_still_a_problem(tmp_path: Path) -> None:
    folder = world(tmp_path, sources="descriptors: [{protos: ../protos}, {set: ../later.binpb}]")

    assert "there is no ../later.binpb" in only_problem(folder)


# Rules


@pytest.mark.rule("transcoding.7")
def test_a_descriptor_set_gives_the_routes_of_its_annotations(tmp_path: Path) -> None:
    (tmp_path / "set.binpb").write_bytes(compile_set(SHELF))
    by_set = routes(world(tmp_path, sources="descriptors: [{set: ../set.binpb}]"))

    assert by_set == routes(world(tmp_path))
    assert "GET /v1/books/{id} shelf.Get" in by_set


@pytest.mark.rule("transcoding.8")
def test_an_option_that_does_not_parse_is_a_problem(tmp_path: Path) -> None:
    """Never a method that silently has no route."""
    whole = FileDescriptorSet.FromString(compile_set(SHELF))
    method = next(f for f in whole.file if f.name == "test.proto").service[0].method[0]
    # Field 72295728 as a number, where a message belongs.
    method.options.ParseFromString(b"\x80\xd3\xe4\x93\x02\x01")
    (tmp_path / "set.binpb").write_bytes(whole.SerializeToString())
    said = only_problem(world(tmp_path, sources="descriptors: [{set: ../set.binpb}]"))

    assert re.match(r"test\.proto:\S+ error shelf\.v1\.Shelf\.Get: google\.api\.http: ", said)


@pytest.mark.rule("transcoding.9")
@pytest.mark.parametrize(
    ("keep", "wanted"),
    [("", {"GET /v2/find"}), (", annotation: keep", {"GET /v1/find", "GET /v2/find"})],
    ids=["replaces", "keeps"],
)
def test_a_pattern_replaces_the_annotation(tmp_path: Path, keep: str, wanted: set[str]) -> None:
    folder = world(tmp_path, f"[{{rpc: Find, get: /v2/find{keep}}}]")

    assert set(routes(folder)) == {f"{text} shelf.Find" for text in wanted}


@pytest.mark.rule("transcoding.10")
def test_an_entry_without_any_rule_says_what_to_write(tmp_path: Path) -> None:
    folder = world(tmp_path, "[{rpc: Put, deadline: 1s}]")

    said = "Put has no HTTP rule; write get:, post: ... or unbound: true"
    assert only_problem(folder) == f"shelf.yaml:3:16 error {said}"


@pytest.mark.rule("transcoding.11")
def test_two_entries_of_a_method_are_two_routes(tmp_path: Path) -> None:
    """Each with an id of its own."""
    folder = world(tmp_path, "[{rpc: Put, put: '/v1/a/{id}'}, {rpc: Put, put: '/v1/b/{id}'}]")

    assert routes(folder) == ["PUT /v1/a/{id} shelf.Put", "PUT /v1/b/{id} shelf.Put"]
    ids = [
        r["id"] for r in json.loads(run_bff("routes", str(folder), "--json").stdout) if r["calls"]
    ]
    assert ids == ["shelf.Put", "shelf.Put-2"]


CONFIG = """
type: google.api.Service
http:
  fully_decode_reserved_expansion: true
  rules:
  - selector: shelf.v1.Shelf.Get
    get: /v3/books/{id}
    additional_bindings:
    - {custom: {kind: REPORT, path: "/v3/books/{id}"}}
  - selector: shelf.v1.Shelf.Put
    put: /v3/old/{id}
  - {selector: shelf.v1.Shelf.Put, put: "/v3/books/{id}", body: "*"}
  - {selector: google.longrunning.Operations.GetOperation, get: "/v3/{name=operations/*}"}
"""
BY_CONFIG = "descriptors: [{protos: ../protos, service_config: ../shelf_service.txt}]"


@pytest.mark.rule("transcoding.11")
def test_rules_of_a_service_config_beat_annotations(tmp_path: Path) -> None:
    """The last rule of a selector holds, with a warning that names both lines."""
    (tmp_path / "shelf_service.txt").write_text(CONFIG)
    folder = world(tmp_path, sources=BY_CONFIG)
    code, found = judged(folder)

    assert routes(folder) == [
        "GET /v1/find shelf.Find",
        "GET /v3/books/{id} shelf.Get",
        "PUT /v3/books/{id} shelf.Put",
        "REPORT /v3/books/{id} shelf.Get",
    ]
    assert code == 0
    double = next(text for text in found if "Shelf.Put" in text)
    assert double.startswith("shelf_service.txt:12:16 warning")
    assert re.search(
        r"has a rule at \S*shelf_service.txt:10:15 too; the last one, this, holds", double
    )
    assert any("no service google.longrunning.Operations; the rule is not used" in f for f in found)


def test_a_service_config_may_be_json(tmp_path: Path) -> None:
    """With the names of ProtoJSON; a mapping entry still beats it."""
    rules = [
        {"selector": "shelf.v1.Shelf.Put", "post": "/v3/put", "body": "*", "responseBody": "title",
         "additionalBindings": [{"post": "/v3/put2"}]},
        {"selector": "shelf.v1.Shelf.Find", "get": "/v3/find"},
    ]  # fmt: skip
    (tmp_path / "shelf_service.txt").write_text(json.dumps({"http": {"rules": rules}}, indent=1))
    folder = world(tmp_path, "[{rpc: '*'}, {rpc: Find, get: /v4/find}]", sources=BY_CONFIG)

    assert routes(folder) == [
        "GET /v1/books/{id} shelf.Get",
        "GET /v4/find shelf.Find",
        "POST /v3/put shelf.Put",
        "POST /v3/put2 shelf.Put",
    ]


FAULTS: dict[str, tuple[str, str]] = {
    "unknown method": (
        "http: {rules: [{selector: shelf.v1.Shelf.Gett, get: /a}]}",
        "shelf_service.txt:1:27 error no method Gett in shelf.v1.Shelf; nearest: Get",
    ),
    "no selector": (
        "http: {rules: [{get: /a}]}",
        "shelf_service.txt:1:16 error this rule has no `selector`; name it package.Service.Method",
    ),
    "wildcard": (
        'http: {rules: [{selector: "*", get: /a}]}',
        (
            "shelf_service.txt:1:27 error the selector '*' is no full name of a method; "
            "a rule holds for one method, package.Service.Method"
        ),
    ),
    "two patterns": (
        "http: {rules: [{selector: shelf.v1.Shelf.Get, get: /a, put: /a}]}",
        (
            "shelf_service.txt:1:16 error this rule has get and put; "
            "write one of get, put, post, delete, patch, custom"
        ),
    ),
    "nested": (
        (
            "http: {rules: [{selector: shelf.v1.Shelf.Get, get: /a,\n"
            " additional_bindings: [{get: /b, additional_bindings: []}]}]}"
        ),
        "shelf_service.txt:2:55 error `additional_bindings` cannot hold `additional_bindings`; ",
    ),
    "misspelt": (
        "http: {rules: [{selector: shelf.v1.Shelf.Get, gett: /a}]}",
        "shelf_service.txt:1:53 error unknown key `gett` in a rule; did you mean `get`?",
    ),
    "custom": (
        "http: {rules: [{selector: shelf.v1.Shelf.Get, custom: {kind: 'A B', path: /a}}]}",
        "shelf_service.txt:1:62 error custom kind 'A B' is no HTTP method; ",
    ),
    "decoding": (
        "http: {fully_decode_reserved_expansion: false}",
        (
            "shelf_service.txt:1:41 error `fully_decode_reserved_expansion: false` is a switch of "
            "transcoding here; remove it, and write `transcoding: {path_decoding: except_reserved}`"
        ),
    ),
    "no http": ("type: x", "shelf_service.txt:1:1 error this service config has no `http` block; "),
    "template": (
        "http: {rules: [{selector: shelf.v1.Shelf.Get, get: /a//b}]}",
        "shelf_service.txt:1:52 error /a//b: ",
    ),
    "field": (
        "http: {rules: [{selector: shelf.v1.Shelf.Get, get: '/a/{ident}'}]}",
        'shelf_service.txt:1:52 error shelf.v1.Shelf.Get: shelf.v1.Book has no field "ident"',
    ),
}


@pytest.mark.rule("transcoding.11")
@pytest.mark.parametrize(("text", "wanted"), FAULTS.values(), ids=FAULTS)
def test_a_fault_in_a_service_config_has_its_place(tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / "shelf_service.txt").write_text(text)

    assert only_problem(world(tmp_path, sources=BY_CONFIG)).startswith(wanted)


def test_a_missing_service_config_is_a_problem(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in only_problem(world(tmp_path, sources=BY_CONFIG))


@pytest.mark.rule("transcoding.12")
def test_an_unknown_method_has_the_nearest_one(tmp_path: Path) -> None:
    folder = world(tmp_path, "\n  - rpc: Gett")

    said = "no method Gett in shelf.v1.Shelf; nearest: Get"
    assert only_problem(folder) == f"shelf.yaml:4:10 error {said}"


@pytest.mark.rule("transcoding.13")
def test_a_wildcard_is_every_method_that_has_a_rule(tmp_path: Path) -> None:
    """All of them with `unbound`, and an exact entry beats it key by key."""
    assert routes(world(tmp_path, "[{rpc: '*'}]")) == [
        "GET /v1/books/{id} shelf.Get",
        "GET /v1/find shelf.Find",
    ]
    folder = world(
        tmp_path,
        "[{rpc: '*', unbound: true, deadline: 2s, status: 202},"
        " {rpc: Put, deadline: 3s}, {rpc: Find, status: 203}]",
    )
    rows = {r["calls"]: r for r in json.loads(run_bff("routes", str(folder), "--json").stdout)}
    assert {name: (row["path"], row["deadline"]) for name, row in rows.items() if name} == {
        "shelf.Get": ("/v1/books/{id}", "2s"),
        "shelf.Find": ("/v1/find", "2s"),
        "shelf.Put": ("/shelf.v1.Shelf/Put", "3s"),
        "shelf.Drop": ("/shelf.v1.Shelf/Drop", "2s"),
    }
    operations: dict[str, Any] = json.loads(run_bff("openapi", str(folder)).stdout)["paths"]
    assert "202" in operations["/shelf.v1.Shelf/Put"]["post"]["responses"]
    assert "203" in operations["/v1/find"]["get"]["responses"]


@pytest.mark.rule("transcoding.13")
def test_a_pattern_on_a_wildcard_needs_one_method(tmp_path: Path) -> None:
    many = world(tmp_path, "[{rpc: '*', get: /v1/all}]")
    assert "would be one path for all" in only_problem(many)

    hidden = "service: shelf.v1.Hidden\nupstream: shelf\nroutes: [{rpc: '*', get: /v1/all}]\n"
    one = world(tmp_path, "[]", hidden=hidden)
    assert routes(one) == ["GET /v1/all shelf.Peek"]


@pytest.mark.rule("transcoding.14")
def test_a_rule_with_the_same_path_wins_over_the_unbound_one(tmp_path: Path) -> None:
    """Whichever is written first."""
    folder = world(
        tmp_path, "[{rpc: Drop, unbound: true}, {rpc: Put, post: /shelf.v1.Shelf/Drop, body: '*'}]"
    )

    assert routes(folder) == ["POST /shelf.v1.Shelf/Drop shelf.Put"]


@pytest.mark.rule("transcoding.15")
def test_a_service_without_a_mapping_file_has_no_route(tmp_path: Path) -> None:
    assert not any("/v1/hidden" in text for text in routes(world(tmp_path)))
