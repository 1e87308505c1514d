"""The codec where names clash, masks are odd, Any is broken; and masks of bodies that are mended."""

import json
from typing import Any

import pytest

from bff.core.errors import ClientError, GatewayError, UpstreamError
from bff.transcoding.binding import compile_binder
from bff.transcoding.json_codec import Codec
from bff.transcoding.switches import Switches
from tests.support.proto_sets import compile_set

TEXT = """
syntax = "proto3";
package odd.v1;
import "google/protobuf/any.proto";
import "google/protobuf/field_mask.proto";
message Renamed { string one = 1 [json_name = "two"]; string two = 2 [json_name = "three"]; }
message Box { Renamed inner = 1; repeated google.protobuf.FieldMask masks = 2;
              google.protobuf.Any any = 3; map<string, google.protobuf.Any> any_of = 4;
              google.protobuf.FieldMask read_mask = 5; }
enum Mood { MOOD_UNSPECIFIED = 0; MOOD_GOOD = 1; }
message Cat { string name = 1; Mood mood = 2; oneof toy { string ball = 3; string rope = 4; } }
message PatchCat { Cat cat = 1; google.protobuf.FieldMask update_mask = 2; }
"""


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(compile_set(TEXT))


@pytest.mark.rule("transcoding.58")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"two":"a"}', {"two": "a"}),
        ('{"one":"a"}', {"two": "a"}),
        ('{"three":"b"}', {"three": "b"}),
        ('{"two":"a","three":"b"}', {"two": "a", "three": "b"}),
    ],
)
def test_json_name_wins_over_the_name_of_another_field(
    codec: Codec, body: str, expected: dict[str, str]
) -> None:
    shown = json.loads(
        codec.writer("odd.v1.Renamed")(codec.reader("odd.v1.Renamed")(body.encode()))
    )
    boxed = codec.reader("odd.v1.Box")(f'{{"inner":{body}}}'.encode())

    assert shown == expected
    assert json.loads(codec.writer("odd.v1.Box")(boxed)) == {"inner": expected}


@pytest.mark.rule("transcoding.95")
def test_two_names_of_one_field_are_doubles_where_names_clash(codec: Codec) -> None:
    with pytest.raises(ClientError) as caught:
        codec.reader("odd.v1.Box")(b'{"inner":{"two":"a","one":"b"}}')

    assert caught.value.reason == "DUPLICATE_FIELD"
    assert caught.value.violations[0].field == "inner.one"


@pytest.mark.rule("transcoding.98")
@pytest.mark.parametrize(
    "mask", ["a,,b", ",a", "a,", "a b", "a.", ".a", "a..b", "a_b", "a\tb", "*a", "1"]
)
@pytest.mark.parametrize(
    ("field", "form"), [("readMask", "%s"), ("read_mask", "%s"), ("masks", '["a",%s]')]
)
def test_odd_masks_are_refused(codec: Codec, mask: str, field: str, form: str) -> None:
    body = f'{{"{field}":{form % json.dumps(mask)}}}'

    with pytest.raises(ClientError) as caught:
        codec.reader("odd.v1.Box")(body.encode())

    assert caught.value.reason == "INVALID_FIELD"


@pytest.mark.rule("transcoding.74")
@pytest.mark.parametrize("mask", ["", "*", "a", "a.b,cD", "items.*.name", "labels.key1,x"])
def test_sound_masks_are_taken(codec: Codec, mask: str) -> None:
    assert codec.reader("odd.v1.Box")(json.dumps({"readMask": mask}).encode())


CAT_URL = b"type.googleapis.com/odd.v1.Cat"


def packed(url: bytes, octets: bytes) -> bytes:
    return b"\x0a%c%s\x12%c%s" % (len(url), url, len(octets), octets)


@pytest.mark.rule("transcoding.117")
@pytest.mark.parametrize(
    ("url", "octets", "error"),
    [
        (CAT_URL, b"\x0a\x05ab", UpstreamError),
        (CAT_URL, b"\x0a\x02\xff\xff", UpstreamError),
        (b"type.googleapis.com/odd.v1.Nope", b"", GatewayError),
    ],
    ids=["cut", "not-utf8", "unknown"],
)
@pytest.mark.parametrize("place", ["field", "map"])
def test_a_broken_any_is_the_fault_of_the_service(
    codec: Codec, url: bytes, octets: bytes, error: type[GatewayError], place: str
) -> None:
    inner = packed(url, octets)
    entry = b"\x0a\x01k\x12%c%s" % (len(inner), inner)
    wire = (
        b"\x1a%c%s" % (len(inner), inner) if place == "field" else b"\x22%c%s" % (len(entry), entry)
    )

    for write in (codec.writer("odd.v1.Box"), codec.tree_writer("odd.v1.Box")):
        with pytest.raises(GatewayError) as caught:
            write(wire)
        wanted = "UPSTREAM_MESSAGE" if error is UpstreamError else "UNREPRESENTABLE"
        assert (type(caught.value), caught.value.reason) == (error, wanted)


@pytest.mark.rule("transcoding.110")
@pytest.mark.parametrize(
    ("body", "mask"),
    [
        ('{"name":"x","nope":1}', "name"),
        ('{"name":"x","mood":"NOPE"}', "name"),
        ('{"ball":"x","rope":"y"}', "rope"),
        ('{"nope":1}', None),
    ],
)
def test_mask_names_what_was_read_of_the_body(codec: Codec, body: str, mask: str | None) -> None:
    message = codec.message_type("odd.v1.PatchCat")
    assert message is not None
    binder = compile_binder(
        codec=codec,
        message=message,
        variables=[],
        body="cat",
        patch_mask=True,
        switches=Switches(json_unknown="ignore", json_duplicates="last"),
    )

    shown: Any = json.loads(codec.writer("odd.v1.PatchCat")(binder.bind((), b"", body.encode())))
    assert shown.get("updateMask") == mask
