"""What the compiled way takes, what it leaves to the codec, and what no plan can have."""

import pytest

from bff.core.errors import ClientError, GatewayError
from bff.transcoding.json_codec import Codec
from bff.transcoding.plain_json import IS_COMPILED, Plan, Spelling, plan_of
from tests.support.proto_sets import KITCHEN, compile_set

pytestmark = pytest.mark.skipif(not IS_COMPILED, reason="there was no C compiler at install")

PROTO2 = """
syntax = "proto2";
enum Color { option allow_alias = true; RED = 1; ROT = 1; BLUE = 2; }
message M {
  optional Color color = 1; repeated Color colors = 2; optional int32 n = 3 [default = 7];
  repeated int32 loose = 4; optional group Part = 5 { optional int32 a = 1; }
  oneof one { string b = 6; int32 c = 7; }
  optional string late = 9; optional string early = 8;
}
"""


def _plan(codec: Codec, kind: str, spelling: Spelling | None = None) -> Plan:
    shape = codec.message_type(kind)
    assert shape is not None
    plan = plan_of(shape, spelling or Spelling())
    assert plan is not None
    return plan


@pytest.fixture(scope="module")
def kitchen() -> Plan:
    return _plan(Codec(compile_set(KITCHEN)), "kitchen.v1.Kitchen")


@pytest.fixture(scope="module")
def old() -> Plan:
    return _plan(Codec(compile_set(PROTO2)), "M")


@pytest.mark.parametrize(
    ("wire", "shown"),
    [
        (b"", b"{}"),
        (b"\x08\x01\x12\x02\x01\x02\x18\x07", b'{"color":"RED","colors":["RED","BLUE"],"n":7}'),
        (b"\x20\x01\x20\x02", b'{"loose":[1,2]}'),
        (b"\x32\x00", b'{"b":""}'),
        # Fields in another order than they are declared.
        (b"\x42\x01a\x4a\x01b", b'{"late":"b","early":"a"}'),
        # Unknown fields are passed over.
        (b"\x50\x01\xa2\x06\x01x\x18\x00", b'{"n":0}'),
    ],
)
def test_plain_messages_are_shown(old: Plan, wire: bytes, shown: bytes) -> None:
    assert old.show(wire) == shown


@pytest.mark.parametrize(
    "wire",
    [
        b"\x08\x09",  # a number that a closed enum does not list
        b"\x18\x01\x18\x02",  # a field given twice
        b"\x20\x01\x18\x01\x20\x02",  # a list in two places
        b"\x32\x01a\x38\x01",  # two members of a oneof
        b"\x2b\x08\x01\x2c",  # a group
        b"\x1a\x01a",  # another wire type
        b"\x98\x80\x00\x01",  # a padded tag
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a varint beyond 64 bits
        b"\x18\xff\xff\xff\xff\xff\x01",  # a number beyond its kind
        b"\x32\x02a",  # cut
        b"\x32\x01\xff",  # no UTF-8
        b"\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length beyond everything
        b"\x00\x01",  # field 0
        b"\x80",
    ],
)
def test_what_is_not_plain_is_left_to_the_codec(old: Plan, wire: bytes) -> None:
    assert old.show(wire) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"i32":"+1"}', '{"i32":1.0}', '{"i32":-0}', '{"i32":01}', '{"i32":2147483648}', '{"i32":1x}',
        '{"u64":18446744073709551616}', '{"i64":"1}', '{"real":"1"}', '{"real":-0.0}', '{"real":1e400}',
        '{"real":1e-400}', '{"real":.5}', '{"real":5.}', '{"real":1e}', '{"single":1e39}', '{"flag":1}',
        '{"flag":tru}', '{"text":"\\u0041"}', '{"text":"\\x"}', '{"text":"a', '{"text":"a"', '{"text":"\t"}',
        '{"octets":"AA"}', '{"octets":"AB=="}', '{"octets":"A==="}', '{"octets":"_-8="}', '{"state":1}',
        '{"state":"NOPE"}', '{"nope":1}', '{"i32":1,"i32":1}', '{"choiceText":"","choice_number":1}',
        '{"numbers":[1,]}', '{"numbers":[null]}', '{"numbers":1}', '{"labels":{"a":"b","a":"c"}}',
        '{"labels":{"a":null}}', '{"byNumber":{"01":"a"}}', '{"byFlag":{"True":"a"}}', '{"child":[]}',
        '{"at":"2023-02-29T00:00:00Z"}', '{"at":"2024-01-01T00:00:60Z"}', '{"at":"0000-01-01T00:00:00Z"}',
        '{"at":"2024-01-01T00:00:00+01:00"}', '{"at":"2024-01-01T00:00:00.0123456789Z"}', '{"lasts":"1"}',
        '{"lasts":"01s"}', '{"lasts":"315576000000s"}', '{"any":{}}', '{"value":null}', "{} x", "[]", "null",
        "", "{", '{"i32"', '{"i32":', '{"i32":1', '{"i32":1,', '{"i32":1,}', "\ufeff{}",
    ],
)  # fmt: skip
def test_texts_that_are_not_plain_are_left_to_the_codec(kitchen: Plan, text: str) -> None:
    assert kitchen.read(text.encode()) is None


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        (" { } \n", b""),
        ('{"i32":0,"text":"","maybe":0}', b"\xa8\x01\x00"),
        ('{"i32":-1}', b"\x08" + b"\xff" * 9 + b"\x01"),
        ('{"text":null,"child":null,"boxedText":null}', b""),
        ('{"boxedText":""}', b"\xca\x02\x00"),
        ('{"text":"\\"\\\\\\/\\b\\f\\n\\r\\t"}', b'r\x08"\\/\x08\x0c\n\r\t'),
        ('{"numbers":[1,-2]}', b"\xb2\x01\x0b\x01\xfe" + b"\xff" * 8 + b"\x01"),
        ('{"labels":{"a":"b"}}', b"\xd2\x01\x06\x0a\x01a\x12\x01b"),
        ('{"at":"1970-01-01T00:00:01.5Z"}', b"\x8a\x02\x08\x08\x01\x10\x80\xca\xb5\xee\x01"),
        ('{"child":{"text":"%s"}}' % ("x" * 200), b"\xfa\x01\xcb\x01r\xc8\x01" + b"x" * 200),
    ],
)
def test_plain_texts_are_read(kitchen: Plan, text: str, wire: bytes) -> None:
    assert kitchen.read(text.encode()) == wire


def test_deep_messages_are_left_to_the_codec(kitchen: Plan) -> None:
    for depth, taken in ((32, True), (33, False), (100_000, False)):
        text = '{"child":' * depth + "{}" + "}" * depth
        assert (kitchen.read(text.encode()) is not None) is taken
    wire = b""
    for _ in range(33):
        size = len(wire)
        head = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        wire = b"\xfa\x01" + head + wire
    assert kitchen.show(wire) is None


def test_delimited_fields_of_editions_are_left_to_the_codec() -> None:
    codec = Codec(
        compile_set(
            'edition = "2023"; message In { int32 x = 1; } message M { int32 a = 1;'
            " In one = 2 [features.message_encoding = DELIMITED];"
            " repeated In many = 3 [features.message_encoding = DELIMITED]; }"
        )
    )
    plan, text = _plan(codec, "M"), b'{"a":1,"one":{"x":1},"many":[{"x":2}]}'

    assert plan.read(text) is None
    wire = codec.reader("M")(text)
    assert wire == b"\x08\x01\x13\x08\x01\x14\x1b\x08\x02\x1c"
    assert plan.show(wire) is None
    assert codec.writer("M")(wire) == text


def test_names_that_mean_two_fields_are_left_to_the_codec() -> None:
    plan = _plan(Codec(compile_set(KITCHEN)), "kitchen.v1.Renamed")

    assert plan.read(b'{"one":"a","three":"b"}') == b"\x0a\x01a\x12\x01b"
    assert plan.read(b'{"two":"a"}') is None


def test_types_beyond_the_bounds_have_no_plan() -> None:
    many = "".join(f"int32 f{number} = {number};" for number in range(1, 130))
    codec = Codec(
        compile_set(
            f'syntax = "proto3"; message Many {{ {many} }} message Far {{ int32 a = 512; }}'
            " message Both { Many many = 1; Far far = 2; int32 a = 3; }"
        )
    )
    for kind in ("Many", "Far", "google.protobuf.Any", "google.protobuf.Struct"):
        shape = codec.message_type(kind)
        assert shape is not None
        assert plan_of(shape) is None
    # A type that holds one has a plan, which does not take that field.
    both = _plan(codec, "Both")
    assert both.show(b"\x18\x01") == b'{"a":1}'
    assert both.show(b"\x0a\x00") is None
    assert both.read(b'{"many":{}}') is None


def test_required_fields_that_are_not_set_are_told() -> None:
    codec = Codec(
        compile_set(
            'syntax = "proto2"; message R { required int32 a = 1; } message M { optional R r = 1; }'
        )
    )

    for kind, text in (("R", b"{}"), ("M", b'{"r":{}}')):
        with pytest.raises(ClientError) as caught:
            codec.reader(kind)(text)
        assert caught.value.reason == "INVALID_FIELD"
    with pytest.raises(GatewayError) as told:
        codec.writer("M")(b"\x0a\x00")
    assert told.value.reason == "UNREPRESENTABLE"


def test_types_under_well_known_names_are_what_they_say() -> None:
    """A source may bring its own; one that holds itself would be walked without end."""
    wrappers = (
        'syntax = "proto3"; package google.protobuf; message StringValue { StringValue value = 1; }'
    )
    shape = Codec(
        compile_set(
            'syntax = "proto3"; import "own.proto"; message M { google.protobuf.StringValue v = 1; int32 a = 2; }',
            own=wrappers,
        )
    ).message_type("M")
    assert shape is not None

    plan = plan_of(shape)
    assert plan is not None
    assert plan.show(b"\x10\x01") == b'{"a":1}'
    assert plan.show(b"\x0a\x02\x0a\x00") is None


def test_keys_that_are_equal_in_other_octets_are_left_to_the_codec(kitchen: Plan) -> None:
    assert kitchen.show(b"\xda\x01\x05\x08\x01\x12\x01a\xda\x01\x06\x08\x81\x00\x12\x01b") is None


def test_fields_of_one_json_name_have_no_plan() -> None:
    shape = Codec(
        compile_set(
            'syntax = "proto2"; message M { optional int32 foo_bar = 1; optional int32 fooBar = 2; }'
        )
    ).message_type("M")

    assert shape is not None
    assert plan_of(shape) is None


def test_names_of_a_large_enum_are_all_found() -> None:
    values = "".join(f"V{number * 7919 % 1000} = {number};" for number in range(1000))
    codec = Codec(
        compile_set(f'syntax = "proto3"; enum E {{ {values} }} message M {{ repeated E e = 1; }}')
    )
    plan = _plan(codec, "M")

    for number in range(1000):
        text = b'{"e":["V%d"]}' % (number * 7919 % 1000)
        wire = plan.read(text)
        assert wire is not None
        assert plan.show(wire) == text


def test_texts_far_larger_than_their_message_are_left_to_the_codec() -> None:
    fields = "".join(
        f"int32 a_long_name_of_a_field_{number} = {number};" for number in range(1, 129)
    )
    codec = Codec(
        compile_set(
            f'syntax = "proto3"; message Wide {{ {fields} }} message M {{ repeated Wide w = 1; }}'
        )
    )
    plan = _plan(codec, "M", Spelling(emit_unpopulated=True))

    assert plan.show(b"\x0a\x00" * 1_000) is not None
    assert plan.show(b"\x0a\x00" * 30_000) is None


@pytest.mark.parametrize(
    "types",
    [
        (),
        ((0,),),
        ((0, ((1, 19, 0, 0, -1, b"", b"", (), (), ()),)),),
        ((0, ((1, 11, 0, 0, 1, b"", b"", (), (), ()),)),),
        ((0, ((1, 11, 2, 0, 0, b"", b"", (), (), ()),)),),
        ((0, ((512, 5, 0, 0, -1, b"", b"", (), (), ()),)),),
        ((0, ((1, 5, 0, 0, -1, "a", b"", (), (), ()),)),),
        ((0, ((1, 5, 0, 0, -1, b"", b"", ((1,),), (), ()),)),),
        ((0, ((1, 5, 0, 0, -1, b"", b"", (), (), ("a",)),)),),
        ((3, ()),),
        ((4, ()),),
        ((3, ((1, 11, 0, 0, 0, b"", b"", (), (), ()),)),),
    ],
)
def test_a_plan_that_does_not_hold_together_is_refused(types: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Plan(types)


def test_what_is_not_bytes_is_refused(kitchen: Plan) -> None:
    for convert in (kitchen.show, kitchen.read):
        with pytest.raises(TypeError):
            convert("text")  # type: ignore[arg-type]
