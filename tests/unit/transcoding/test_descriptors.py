"""Descriptors read into plain values: types, options, comments, places, and clashes of sources."""

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bff.core.errors import ConfigError
from bff.core.problems import Where
from bff.core.schema import HttpBinding
from bff.transcoding.descriptors import Descriptors
from bff.transcoding.option_bytes import HttpRule, OptionError, read_http_rule
from bff.transcoding.sources import SourceSet, compile_protos, read_descriptor_set

SHOP = """syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/protobuf/timestamp.proto";

// Orders of a shop.
//
// Second paragraph.
service Orders {
  // Reads one order.
  rpc GetOrder(GetOrderRequest) returns (Order) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (google.api.http) = {
      get: "/v1/orders/{id}"
      additional_bindings { custom { kind: "REPORT" path: "/v1/report" } response_body: "at" }
    };
  }
  rpc Old(GetOrderRequest) returns (stream Order) {
    option deprecated = true;
    option (google.api.http).post = '/v1/old';
    option (google.api.http).body = '*';
  }
  rpc Plain(stream GetOrderRequest) returns (Order);
}
message GetOrderRequest {
  string id = 1 [(google.api.field_behavior) = REQUIRED, (google.api.field_behavior) = IMMUTABLE];
}
// An order.
message Order {
  enum Status { UNKNOWN = 0; OPEN = 1; option allow_alias = true; ALSO = 1 [deprecated = true]; }
  string id = 1;  // Behind.
  Status status = 2;
  map<string, Order> children = 3;
  optional int64 total_cents = 4;
  oneof pay { string card = 5; int32 cash = 6; }
  google.protobuf.Timestamp at = 7 [(google.api.field_behavior) = OUTPUT_ONLY];
  repeated string tags = 8 [json_name = "labels"];
  map<int32, Status> states = 9;
  string other = 10 [json_name = "status_text"];
  string status_text = 11 [json_name = "x"];
}
"""


def _compile(folder: Path, text: str = SHOP, name: str = "shop.proto") -> SourceSet:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return compile_protos([folder])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SourceSet:
    return _compile(tmp_path_factory.mktemp("protos"))


@pytest.fixture(scope="module")
def shop(source: SourceSet) -> Descriptors:
    return Descriptors.build([source])


def _place(source: SourceSet, line: int, column: int) -> Where:
    return Where(source.places["shop.proto"], line, column)


def test_service_and_methods_are_read(shop: Descriptors, source: SourceSet) -> None:
    service = shop.services["shop.v1.Orders"]
    get, old, plain = service.methods.values()

    assert service.comment == "Orders of a shop.\n\nSecond paragraph."
    assert service.where == _place(source, 10, 1)
    assert (get.name, get.service, get.path) == (
        "GetOrder",
        service.full_name,
        "/shop.v1.Orders/GetOrder",
    )
    assert (get.input, get.output) == (
        shop.messages["shop.v1.GetOrderRequest"],
        shop.messages["shop.v1.Order"],
    )
    assert (get.comment, get.where, get.idempotency) == (
        "Reads one order.",
        _place(source, 12, 3),
        "no_side_effects",
    )
    assert [(m.client_streaming, m.server_streaming, m.deprecated) for m in (get, old, plain)] == [
        (False, False, False),
        (False, True, True),
        (True, False, False),
    ]
    assert (plain.http, plain.idempotency) == ((), "unknown")


def test_annotation_becomes_bindings_with_places(shop: Descriptors, source: SourceSet) -> None:
    methods = shop.services["shop.v1.Orders"].methods

    assert methods["GetOrder"].http == (
        HttpBinding(
            method="GET", template="/v1/orders/{id}", where=_place(source, 15, 13), is_exact=True
        ),
        HttpBinding(
            method="REPORT",
            template="/v1/report",
            response_body="at",
            where=_place(source, 16, 60),
            is_exact=True,
            response_body_where=_place(source, 16, 90),
        ),
    )
    assert methods["Old"].http == (
        HttpBinding(
            method="POST",
            template="/v1/old",
            body="*",
            where=_place(source, 21, 38),
            is_exact=True,
            body_where=_place(source, 22, 38),
        ),
    )


def test_fields_say_their_kind_presence_and_members(shop: Descriptors) -> None:
    order = shop.messages["shop.v1.Order"]
    seen = [
        (f.name, f.json_name, f.kind, f.map_key, f.repeated, f.has_presence, f.oneof)
        for f in order.fields
    ]

    assert seen[:9] == [
        ("id", "id", "string", None, False, False, None),
        ("status", "status", "enum", None, False, False, None),
        ("children", "children", "message", "string", False, False, None),
        ("total_cents", "totalCents", "int64", None, False, True, None),
        ("card", "card", "string", None, False, True, "pay"),
        ("cash", "cash", "int32", None, False, True, "pay"),
        ("at", "at", "message", None, False, True, None),
        ("tags", "labels", "string", None, True, False, None),
        ("states", "states", "enum", "int32", False, False, None),
    ]
    assert [f.name for f in order.oneofs["pay"]] == ["card", "cash"]
    assert list(order.oneofs) == ["pay"]
    assert order.by_name["children"].message is order
    assert order.by_name["states"].enum is shop.enums["shop.v1.Order.Status"]
    assert order.by_name["at"].message is shop.messages["google.protobuf.Timestamp"]
    assert not any("Entry" in name for name in shop.messages)


def test_field_is_found_by_both_names_and_the_json_name_wins(shop: Descriptors) -> None:
    by_name = shop.messages["shop.v1.Order"].by_name

    assert by_name["total_cents"] is by_name["totalCents"]
    assert by_name["status_text"].name == "other"


def test_field_behavior_and_comments_are_read(shop: Descriptors) -> None:
    order = shop.messages["shop.v1.Order"]

    assert shop.messages["shop.v1.GetOrderRequest"].fields[0].required
    assert (order.by_name["at"].output_only, order.by_name["at"].required) == (True, False)
    assert (order.comment, order.by_name["id"].comment) == ("An order.", "Behind.")
    assert order.package == "shop.v1"


def test_enum_keeps_aliases_in_order(shop: Descriptors) -> None:
    status = shop.enums["shop.v1.Order.Status"]

    assert [(v.name, v.number, v.deprecated) for v in status.values] == [
        ("UNKNOWN", 0, False),
        ("OPEN", 1, False),
        ("ALSO", 1, True),
    ]
    assert not status.closed


def test_proto2_has_presence_closed_enums_and_groups(tmp_path: Path) -> None:
    text = """syntax = "proto2";
    enum E { A = 1; }
    message M { optional int32 n = 1; required E e = 2; optional group G = 3 { } }"""

    read = Descriptors.build([_compile(tmp_path, text)])

    assert [(f.name, f.kind, f.has_presence) for f in read.messages["M"].fields] == [
        ("n", "int32", True),
        ("e", "enum", True),
        ("g", "group", True),
    ]
    assert read.enums["E"].closed


def test_a_method_is_found_by_likeness(shop: Descriptors) -> None:
    assert shop.nearest_method("GetOrdr", service="shop.v1.Orders") == "GetOrder"
    assert shop.nearest_method("GetOrder", service="shop.v1.Nobody") == ""


@pytest.mark.rule("transcoding.7")
def test_set_without_source_info_gives_the_same_rules(
    shop: Descriptors, source: SourceSet, tmp_path: Path
) -> None:
    """The compiled set knows the option as unknown bytes; stripped of places it reads the same."""
    files = FileDescriptorSet.FromString(source.files)
    for file in files.file:
        file.ClearField("source_code_info")
    path = tmp_path / "shop.binpb"
    path.write_bytes(files.SerializeToString())

    read = Descriptors.build([read_descriptor_set(path)])

    def rules(of: Descriptors) -> list[tuple[str, str, str, str]]:
        methods = of.services["shop.v1.Orders"].methods.values()
        return [(b.method, b.template, b.body, b.response_body) for m in methods for b in m.http]

    assert rules(read) == rules(shop)
    assert read.file_set == shop.file_set
    assert read.services["shop.v1.Orders"].methods["Old"].http[0].where == Where("shop.proto")


@pytest.mark.rule("transcoding.3")
def test_service_from_two_sources_names_both(source: SourceSet, tmp_path: Path) -> None:
    again = _compile(tmp_path)

    with pytest.raises(ConfigError) as caught:
        Descriptors.build([source, again])

    assert [p.message for p in caught.value.problems] == [
        f"service shop.v1.Orders comes from two sources: {source.origin} and {again.origin}"
    ]


def test_equal_files_of_two_sources_are_one_and_unequal_ones_clash(tmp_path: Path) -> None:
    common = 'syntax = "proto3"; message C { int32 x = 1; }'
    one = _compile(tmp_path / "one", common, "common.proto")
    two = _compile(tmp_path / "two", f"// Ours.\n{common}", "common.proto")
    other = _compile(tmp_path / "other", common.replace("int32", "int64"), "common.proto")

    assert list(Descriptors.build([one, two]).messages) == ["C"]
    with pytest.raises(ConfigError, match="differs"):
        Descriptors.build([one, other])


def test_files_that_do_not_fit_together_are_a_problem(tmp_path: Path) -> None:
    """Two files of different names that define one type: each source is fine by itself."""
    one = _compile(tmp_path / "one", 'syntax = "proto3"; message C {}', "a.proto")
    two = _compile(tmp_path / "two", 'syntax = "proto3"; message C {}', "b.proto")

    with pytest.raises(ConfigError, match="does not load"):
        Descriptors.build([one, two])


HTTP_TAG = b"\x82\xd3\xe4\x93\x02"  # field 72295728, length-delimited


def _option(payload: bytes) -> bytes:
    return HTTP_TAG + bytes([len(payload)]) + payload


BAD_OPTIONS = {
    "cut short": (HTTP_TAG + b"\x05\x12", "end inside"),
    "a number": (b"\x80\xd3\xe4\x93\x02\x01", "is a number"),
    "text is a number": (_option(b"\x10\x01"), "a text is a number"),
    "not UTF-8": (_option(b"\x12\x01\xff"), "UTF-8"),
    "no pattern": (_option(b"\x3a\x01*"), "no pattern"),
    "empty": (_option(b""), "no pattern"),
    "empty kind": (_option(b"\x42\x04\x12\x02/a"), "custom kind"),
    "kind is no token": (_option(b"\x42\x07\x0a\x01 \x12\x02/a"), "custom kind"),
    "nested bindings": (
        _option(b"\x12\x02/a" + b"\x5a\x0a" + b"\x12\x02/b" + b"\x5a\x04\x12\x02/c"),
        "additional_bindings",
    ),
    "selector in a binding": (
        _option(b"\x12\x02/a" + b"\x5a\x07" + b"\x12\x02/b" + b"\x0a\x01s"),
        "selector",
    ),
    "binding without pattern": (_option(b"\x12\x02/a" + b"\x5a\x03\x3a\x01*"), "no pattern"),
}


@pytest.mark.rule("transcoding.8")
@pytest.mark.rule("transcoding.30")
@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_option_that_breaks_its_rules_is_refused(case: str) -> None:
    options, word = BAD_OPTIONS[case]

    with pytest.raises(OptionError, match=word):
        read_http_rule(options)


@pytest.mark.rule("transcoding.8")
def test_bad_option_is_a_problem_at_its_place(source: SourceSet, tmp_path: Path) -> None:
    text = SHOP.replace('get: "/v1/orders/{id}"', 'body: "*"')

    bad = _compile(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        Descriptors.build([bad])

    (problem,) = caught.value.problems
    assert problem.where == Where(bad.places["shop.proto"], 14, 5)
    assert "shop.v1.Orders.GetOrder: google.api.http: the rule has no pattern" in problem.message


@pytest.mark.rule("transcoding.7")
def test_all_occurrences_of_the_option_are_merged() -> None:
    """The last pattern wins, other fields add up: protobuf's merge."""
    options = (
        _option(b"\x12\x02/a" + b"\x3a\x01*") + b"\x88\x02\x01" + _option(b"\x22\x02/b\x62\x01r")
    )

    assert read_http_rule(options) == HttpRule(
        method="POST", path="/b", body="*", response_body="r"
    )
    assert read_http_rule(b"\x88\x02\x01") is None
