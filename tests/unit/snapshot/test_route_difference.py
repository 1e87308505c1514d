"""Which routes came, went, or mean something else now."""

from pathlib import Path

import pytest

from bff.cli.offline import compile_offline
from bff.snapshot.route_difference import compare_routes, fingerprints
from tests.support.config_files import write
from tests.support.proto_sets import compile_set

PROTO = """
syntax = "proto3"; package a.v1;
enum Kind { KIND_UNSPECIFIED = 0; KIND_NEW = 1; }
message Leaf { string text = 1; Leaf inner = 2; Kind kind = 3; }
message Node { string id = 1; Leaf leaf = 2; }
message Other { string id = 1; }
service S { rpc Get(Node) returns (Node); rpc Find(Other) returns (Other); }
"""
SERVICE = """
service: a.v1.S
upstream: a
routes:
  - {rpc: Get, get: "/v1/nodes/{id}"}
  - {rpc: Find, get: "/v1/others/{id}"}
"""
BOTH = "aggregate: GET /v1/both\nsources: {node: {rpc: a.Get}}\nreply: {node: node}\n"


def routes(folder: Path, proto: str = PROTO, service: str = SERVICE) -> dict[str, str]:
    (folder / "set.binpb").write_bytes(compile_set(proto))
    gateway = 'descriptors: [{set: set.binpb}]\nupstreams: {a: {endpoints: ["127.0.0.1:1"]}}\n'
    files = {"gateway.yaml": gateway, "s.yaml": service, "both.yaml": BOTH}
    return fingerprints(compile_offline(write(folder, files))[1])


NODE, OTHER, SCREEN = "GET /v1/nodes/{id}", "GET /v1/others/{id}", "GET /v1/both"


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("Leaf inner = 2;", "Leaf inner = 2; int32 more = 9;", {NODE, SCREEN}),
        ("KIND_NEW = 1;", "KIND_NEW = 1; KIND_OLD = 2;", {NODE, SCREEN}),
        ("string text = 1", "bytes text = 1", {NODE, SCREEN}),
        ("Other { string id = 1;", "Other { string id = 1; Node node = 2;", {OTHER}),
        ("message Node", "// A comment.\nmessage Node", set[str]()),
        ("message Other", "message Unused {} message Other", set[str]()),
    ],
    ids=["deep field", "enum value", "kind", "new message", "comment", "unused message"],
)
def test_a_route_changes_with_its_types_all_the_way_down(
    tmp_path: Path, before: str, after: str, changed: set[str]
) -> None:
    difference = compare_routes(routes(tmp_path), routes(tmp_path, PROTO.replace(before, after)))

    assert set(difference.changed) == changed
    assert (difference.added, difference.removed) == ((), ())
    assert bool(difference) is bool(changed)


@pytest.mark.parametrize(
    "more",
    [", deadline: 1s", ", limit: none", ", transcoding: {preset: envoy}", ", id: x"],
)
def test_a_route_changes_with_what_is_written_of_it(tmp_path: Path, more: str) -> None:
    after = SERVICE.replace('others/{id}"', f'others/{{id}}"{more}')

    difference = compare_routes(routes(tmp_path), routes(tmp_path, service=after))

    assert difference.changed == (OTHER,)


def test_routes_come_and_go(tmp_path: Path) -> None:
    after = SERVICE.replace("/v1/others", "/v2/others")

    difference = compare_routes(routes(tmp_path), routes(tmp_path, service=after))

    assert difference.added == ("GET /v2/others/{id}",)
    assert difference.removed == (OTHER,)
    assert difference.changed == ()
