"""Update masks that PATCH routes take from their bodies."""

import json

import pytest

from bff.transcoding.binding import compile_binder
from bff.transcoding.json_codec import Codec
from tests.support.proto_sets import compile_set

TYPES = """
syntax = "proto3";
import "google/protobuf/any.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Inner { int32 x = 1; Inner deeper = 2; }
message Book {
  string name = 1; string title = 2; Inner foo_bar = 3; repeated string tags = 4; map<string, Inner> inners = 5;
  google.protobuf.Any any = 6; google.protobuf.Struct struct = 7; google.protobuf.Value value = 8;
  google.protobuf.Timestamp made_at = 9; google.protobuf.StringValue note = 10;
}
message Update { Book book = 1; google.protobuf.FieldMask update_mask = 2; bool dry = 3; }
message Two { Book book = 1; google.protobuf.FieldMask a = 2; google.protobuf.FieldMask b = 3; }
message None { Book book = 1; }
"""


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(compile_set(TYPES))


def mask(
    codec: Codec, body: str, query: str = "", kind: str = "Update", patch: bool = True
) -> str | None:
    message = codec.message_type(kind)
    assert message is not None
    binder = compile_binder(
        codec=codec, message=message, variables=[("book", "name")], body="book", patch_mask=patch
    )
    shown = json.loads(
        codec.writer(kind, proto_names=True)(binder.bind(("n",), query.encode(), body.encode()))
    )
    found = shown.get("update_mask")
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(*row, marks=pytest.mark.rule(f"transcoding.{rule}"), id=f"{rule}-{row[0]}")
        for rule, *row in [
            (108, '{"fooBar":{"x":1},"tags":[]}', "fooBar.x,tags"),
            (108, '{"title":null}', "title"),
            (108, '{"title":"a","tags":[]}', "tags,title"),
            (108, '{"foo_bar":{"deeper":{"x":2},"x":1}}', "fooBar.deeper.x,fooBar.x"),
            (109, '{"fooBar":{}}', "fooBar"),
            (109, '{"fooBar":null}', "fooBar"),
            (109, '{"inners":{"a":{"x":1}}}', "inners"),
            (
                109,
                '{"any":{"@type":"t/Inner","x":1},"struct":{"a":1},"value":{"b":2}}',
                "any,struct,value",
            ),
            (109, '{"madeAt":"2024-01-02T03:04:05Z","note":"x"}', "madeAt,note"),
            (109, '{"name":"n","title":"a"}', "title"),
            (110, "{}", None),
            (110, "", None),
        ]
    ],
)
def test_mask_of_a_body(codec: Codec, body: str, expected: str | None) -> None:
    assert mask(codec, body) == expected


@pytest.mark.rule("transcoding.110")
@pytest.mark.parametrize("sent", ["title", "*"])
def test_mask_that_was_sent_is_used_untouched(codec: Codec, sent: str) -> None:
    assert mask(codec, '{"tags":["a"]}', f"updateMask={sent}") == sent


@pytest.mark.rule("transcoding.110")
def test_no_inference_where_it_is_off_or_the_place_is_not_one(codec: Codec) -> None:
    assert mask(codec, '{"title":"a"}', patch=False) is None
    assert mask(codec, '{"title":"a"}', kind="Two") is None
    assert mask(codec, '{"title":"a"}', kind="None") is None
