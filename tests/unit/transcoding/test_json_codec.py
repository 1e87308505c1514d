"""JSON bodies and replies through the codec: which are taken, which refused, with what path."""

import json
import subprocess
import sys

import pytest

from bff.core.errors import ClientError, GatewayError, UpstreamError
from bff.transcoding.json_codec import Codec
from bff.transcoding.switches import Switches
from tests.support.proto_sets import KITCHEN, compile_set

KIND = "kitchen.v1.Kitchen"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(compile_set(KITCHEN))


def _nested(depth: int) -> str:
    return '{"child":' * depth + "{}" + "}" * depth


def _rule(number: int) -> pytest.MarkDecorator:
    return pytest.mark.rule(f"transcoding.{number}")


def case(rule: int, body: str | bytes, *rest: object) -> object:
    octets = body if isinstance(body, bytes) else body.encode()
    return pytest.param(octets, *rest, marks=_rule(rule), id=f"{rule}-{body!r:.40}")


REFUSED = [
    case(84, '{"text":"a"}x', "INVALID_JSON", ""),
    case(84, '{"text":"a"', "INVALID_JSON", ""),
    case(84, '{"text":"a",}', "INVALID_JSON", ""),
    case(84, "{'text':1}", "INVALID_JSON", ""),
    case(84, '{"text":"a"/**/}', "INVALID_JSON", ""),
    case(84, '{"real":NaN}', "INVALID_JSON", ""),
    case(85, b'{"text":"\xff"}', "INVALID_JSON", ""),
    case(85, '{"text":"a"}'.encode("utf-16"), "INVALID_JSON", ""),
    case(85, b"\xef\xbb\xbf{}", "INVALID_JSON", ""),
    case(85, '{"text":"\\ud800"}', "INVALID_JSON", "text"),
    case(85, '{"mask":"\\ud800"}', "INVALID_JSON", "mask"),
    case(85, '{"\\ud800":1}', "UNKNOWN_FIELD", "?"),
    case(86, "null", "INVALID_FIELD", ""),
    case(86, "[]", "INVALID_FIELD", ""),
    case(86, '"x"', "INVALID_FIELD", ""),
    case(87, '{"nope":1}', "UNKNOWN_FIELD", "nope"),
    case(87, '{"nope":null}', "UNKNOWN_FIELD", "nope"),
    case(87, '{"Text":"a"}', "UNKNOWN_FIELD", "Text"),
    case(87, '{"child":{"children":[{},{"nope":1}]}}', "UNKNOWN_FIELD", "child.children[1].nope"),
    case(88, '{"text":1234}', "INVALID_FIELD", "text"),
    case(88, '{"flag":"true"}', "INVALID_FIELD", "flag"),
    case(88, '{"flag":1}', "INVALID_FIELD", "flag"),
    case(88, '{"child":[]}', "INVALID_FIELD", "child"),
    case(88, '{"numbers":{}}', "INVALID_FIELD", "numbers"),
    case(89, '{"i32":1.5}', "INVALID_FIELD", "i32"),
    case(89, '{"i32":""}', "INVALID_FIELD", "i32"),
    case(89, '{"i32":true}', "INVALID_FIELD", "i32"),
    case(89, '{"i32":" 1"}', "INVALID_FIELD", "i32"),
    case(89, '{"i32":1e-400}', "INVALID_FIELD", "i32"),
    case(89, '{"i32":2147483648}', "INVALID_FIELD", "i32"),
    case(90, '{"i32":"+5"}', "INVALID_FIELD", "i32"),
    case(90, '{"i32":"01"}', "INVALID_FIELD", "i32"),
    case(90, '{"i32":"1_0"}', "INVALID_FIELD", "i32"),
    case(90, '{"i32":"٣"}', "INVALID_FIELD", "i32"),
    case(90, '{"i32":"1\\u0663"}', "INVALID_FIELD", "i32"),
    case(90, '{"real":".5"}', "INVALID_FIELD", "real"),
    case(90, '{"real":"1."}', "INVALID_FIELD", "real"),
    case(90, '{"i32":"0x1"}', "INVALID_FIELD", "i32"),
    case(90, '{"prices":[{"units":"1"},{"units":"-01"}]}', "INVALID_FIELD", "prices[1].units"),
    case(91, '{"i64":9223372036854775807.0}', "INVALID_FIELD", "i64"),
    case(92, '{"real":"inf"}', "INVALID_FIELD", "real"),
    case(92, '{"real":"nan"}', "INVALID_FIELD", "real"),
    case(92, '{"real":true}', "INVALID_FIELD", "real"),
    case(92, '{"single":1e39}', "INVALID_FIELD", "single"),
    case(92, '{"single":3.4028236e38}', "INVALID_FIELD", "single"),
    case(92, '{"real":1e400}', "INVALID_FIELD", "real"),
    case(93, '{"octets":"/-8"}', "INVALID_FIELD", "octets"),
    case(93, '{"octets":"AQI=="}', "INVALID_FIELD", "octets"),
    case(93, '{"octets":"A"}', "INVALID_FIELD", "octets"),
    case(93, '{"octets":"AQ\\nI"}', "INVALID_FIELD", "octets"),
    case(93, '{"state":1.5}', "INVALID_FIELD", "state"),
    case(93, '{"state":true}', "INVALID_FIELD", "state"),
    case(93, '{"state":"1"}', "INVALID_FIELD", "state"),
    case(93, '{"state":2147483648}', "INVALID_FIELD", "state"),
    case(93, '{"states":[0,-9223372036854775809]}', "INVALID_FIELD", "states[1]"),
    case(93, '{"state":"NOPE"}', "INVALID_FIELD", "state"),
    case(94, '{"numbers":[1,null]}', "INVALID_FIELD", "numbers[1]"),
    case(94, '{"labels":{"a":null}}', "INVALID_FIELD", 'labels["a"]'),
    case(95, '{"i32":1,"i32":1}', "DUPLICATE_FIELD", "i32"),
    case(95, '{"child":{"i32":1,"i32":2}}', "DUPLICATE_FIELD", "child.i32"),
    case(95, '{"boxedText":"a","boxed_text":"a"}', "DUPLICATE_FIELD", "boxed_text"),
    case(95, '{"boxedText":"a","boxed\\u005ftext":"a"}', "DUPLICATE_FIELD", "boxed_text"),
    case(95, '{"custom":"a","bespoke":"b"}', "DUPLICATE_FIELD", "bespoke"),
    case(95, '{"choiceText":"a","choiceNumber":1}', "DUPLICATE_FIELD", "choiceNumber"),
    case(95, '{"choiceText":"a","choiceNull":null}', "DUPLICATE_FIELD", "choiceNull"),
    case(95, '{"labels":{"a":"1","a":"1"}}', "DUPLICATE_FIELD", 'labels["a"]'),
    case(95, '{"struct":{"a":1,"a":2}}', "DUPLICATE_FIELD", "struct.a"),
    case(90, '{"i32":"1.e5"}', "INVALID_FIELD", "i32"),
    case(90, '{"i64":"-1.E5"}', "INVALID_FIELD", "i64"),
    case(90, '{"i32":"-01"}', "INVALID_FIELD", "i32"),
    case(90, '{"text":"é","i32":"٣"}', "INVALID_FIELD", "i32"),
    case(96, '{"byNumber":{"x":"a"}}', "INVALID_FIELD", 'byNumber["x"]'),
    case(96, '{"byFlag":{"True":"a"}}', "INVALID_FIELD", 'byFlag["True"]'),
    case(96, '{"byNumber":{"1.0":"a"}}', "INVALID_FIELD", 'byNumber["1.0"]'),
    case(96, '{"byNumber":{"1e0":"a"}}', "INVALID_FIELD", 'byNumber["1e0"]'),
    case(96, '{"byNumber":{"-0":"a"}}', "INVALID_FIELD", 'byNumber["-0"]'),
    case(96, '{"by_number":{"01":"a"}}', "INVALID_FIELD", 'by_number["01"]'),
    case(97, '{"any":{"units":"5"}}', "INVALID_FIELD", "any"),
    case(97, '{"any":{"@type":"x/nope"}}', "INVALID_FIELD", "any"),
    case(97, '{"any":{"@type":"kitchen.v1.Money"}}', "INVALID_FIELD", "any"),
    case(97, '{"anys":[{},{"@type":"a/kitchen.v1.Money","u":1}]}', "UNKNOWN_FIELD", "anys[1].u"),
    case(98, '{"at":"2024-01-02"}', "INVALID_FIELD", "at"),
    case(98, '{"at":"2024-01-02T03:04:60Z"}', "INVALID_FIELD", "at"),
    case(98, '{"at":"+024-01-02T03:04:05Z"}', "INVALID_FIELD", "at"),
    case(98, '{"at":"2024-+1-02T03:04:05Z"}', "INVALID_FIELD", "at"),
    case(98, '{"at":"2024-01-02T+3:04:05Z"}', "INVALID_FIELD", "at"),
    case(98, '{"at":"2024-01-02T03:04:+5Z"}', "INVALID_FIELD", "at"),
    case(98, '{"at":"2024-01-02T03:04:05++1:00"}', "INVALID_FIELD", "at"),
    case(98, '{"at":"2024-01-02T03:04:05+01:-0"}', "INVALID_FIELD", "at"),
    case(98, '{"lasts":"13h0m0s"}', "INVALID_FIELD", "lasts"),
    case(98, '{"lasts":"315576000001s"}', "INVALID_FIELD", "lasts"),
    case(98, '{"lasts":"1.s"}', "INVALID_FIELD", "lasts"),
    case(98, '{"lasts":"01s"}', "INVALID_FIELD", "lasts"),
    case(98, '{"mask":"a.foo_bar"}', "INVALID_FIELD", "mask"),
    case(98, '{"value":{"a":[1,1e400]}}', "INVALID_FIELD", "value.a[1]"),
    case(98, '{"boxedNumber":{"value":5}}', "INVALID_FIELD", "boxedNumber"),
    case(99, _nested(101), "TOO_DEEP", None),
    case(99, '{"value":' + "[" * 60 + "]" * 60 + "}", "TOO_DEEP", None),
    case(99, "[" * 1_000_000, "TOO_DEEP", None),
    case(99, '{"child":' * 100_000, "TOO_DEEP", None),
    case(99, '{"i32":1e999999999}', "INVALID_FIELD", "i32"),
    case(99, '{"i32":' + "1" * 1_000_000 + "}", "INVALID_FIELD", "i32"),
]


@pytest.mark.parametrize(("body", "reason", "path"), REFUSED)
def test_body_is_refused_with_its_path(
    codec: Codec, body: bytes, reason: str, path: str | None
) -> None:
    with pytest.raises(ClientError) as caught:
        codec.reader(KIND)(body)

    assert caught.value.reason == reason
    if path is not None:
        assert [each.field for each in caught.value.violations] in (
            [path],
            [] if not path else None,
        )
        assert caught.value.metadata == ({"field": path} if path else {})


TAKEN = [
    case(84, '{"text":"a"} \r\n\t', {"text": "a"}),
    case(85, '{"text":"\\u0000"}', {"text": "\0"}),
    case(89, '{"i32":"123"}', {"i32": 123}),
    case(89, '{"i32":1e2}', {"i32": 100}),
    case(89, '{"i32":"1e2"}', {"i32": 100}),
    case(89, '{"i32":1.0,"maybe":-0}', {"i32": 1, "maybe": 0}),
    case(91, '{"i64":9007199254740993}', {"i64": "9007199254740993"}),
    case(91, '{"u64":"18446744073709551615"}', {"u64": "18446744073709551615"}),
    case(91, '{"i64":1e18}', {"i64": "1000000000000000000"}),
    case(92, '{"real":"NaN","single":"Infinity"}', {"real": "NaN", "single": "Infinity"}),
    case(92, '{"single":3.4028235e38}', {"single": 3.4028234663852886e38}),
    case(92, '{"boxedSingle":3.4028235e38}', {"boxedSingle": 3.4028234663852886e38}),
    case(93, '{"octets":"_-8"}', {"octets": "/+8="}),
    case(93, '{"state":1}', {"state": "STATE_NEW"}),
    case(93, '{"state":99}', {"state": 99}),
    case(93, '{"alias":"ALIAS_SECOND"}', {"alias": "ALIAS_FIRST"}),
    case(94, '{"i32":null,"child":null,"tags":null}', {}),
    case(94, '{"choiceText":"a","choiceNumber":null}', {"choiceText": "a"}),
    case(94, '{"value":null}', {"value": None}),
    case(94, '{"choiceNull":null}', {"choiceNull": None}),
    case(96, '{"byNumber":{"-7":"a"},"byFlag":{"true":"b"}}', None),
    case(97, '{"any":{"units":"5","@type":"a.b/c/kitchen.v1.Money"}}', None),
    case(97, '{"any":{"@type":"x/google.protobuf.Duration","value":"1s"}}', None),
    case(97, '{"any":{"@type":"x/google.protobuf.Empty"}}', None),
    case(97, '{"any":{}}', {"any": {}}),
    case(97, '{"any":{"@type":"x/kitchen.v1.Kitchen","any":{"@type":"y/kitchen.v1.Money"}}}', None),
    case(98, '{"lasts":"-0.5s"}', {"lasts": "-0.500s"}),
    case(98, '{"lasts":"315576000000.999999999s"}', None),
    case(98, '{"lasts":"-315576000000.500s"}', None),
    case(98, '{"mask":"a.fooBar,h"}', None),
    case(98, '{"boxedNumber":null}', {}),
    case(58, '{"search[decoded]":"x"}', None),
]


@pytest.mark.parametrize(("body", "expected"), TAKEN)
def test_body_is_taken_and_shown_again(codec: Codec, body: bytes, expected: object) -> None:
    """None stands for: comes back as it was sent."""
    wire = codec.reader(KIND)(body)

    shown = json.loads(codec.writer(KIND)(wire))
    assert shown == (json.loads(body) if expected is None else expected)


@_rule(99)
def test_hundred_messages_deep_is_taken(codec: Codec) -> None:
    assert codec.reader(KIND)(_nested(99).encode())


@_rule(99)
def test_json_depth_lowers_the_bound_and_strings_do_not_count(codec: Codec) -> None:
    read = codec.reader(KIND, Switches(json_depth=2))

    assert read(b'{"text":"[[[[{{\\"[[[","child":{}}') is not None
    with pytest.raises(ClientError) as caught:
        read(b'{"child":{"child":{}}}')
    assert caught.value.reason == "TOO_DEEP"


@_rule(157)
@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("unitss", "is not known; did you mean units?"),
        ("untis", "is not known; did you mean units?"),
        ("unit", "is not known; did you mean units?"),
        ("quantity", "is not known"),
    ],
)
def test_nearest_name_only_one_edit_away(codec: Codec, key: str, text: str) -> None:
    with pytest.raises(ClientError) as caught:
        codec.reader("kitchen.v1.Money")(json.dumps({key: 1}).encode())

    assert caught.value.violations[0].description == text


@_rule(157)
def test_refusal_tells_neither_type_nor_value(codec: Codec) -> None:
    with pytest.raises(ClientError) as caught:
        codec.reader(KIND)(b'{"i32":"s3cret"}')

    said = caught.value.public + caught.value.violations[0].description
    assert "s3cret" not in said
    assert "kitchen" not in said


@_rule(114)
def test_first_alias_is_printed(codec: Codec) -> None:
    assert codec.writer(KIND)(codec.reader(KIND)(b'{"alias":1}')) == b'{"alias":"ALIAS_FIRST"}'


@_rule(115)
def test_unpopulated_shows_implicit_fields_only(codec: Codec) -> None:
    shown = json.loads(codec.writer(KIND, emit_unpopulated=True)(b""))

    assert {
        "i32": 0,
        "i64": "0",
        "tags": [],
        "labels": {},
        "state": "STATE_UNSPECIFIED",
    }.items() <= (shown.items())
    assert not {"maybe", "child", "choiceText", "boxedText", "at"} & shown.keys()


@_rule(115)
def test_names_and_enums_follow_the_options(codec: Codec) -> None:
    wire = codec.reader(KIND)(b'{"boxedText":"a","state":"STATE_NEW"}')

    assert codec.writer(KIND, proto_names=True)(wire) == b'{"state":"STATE_NEW","boxed_text":"a"}'
    assert codec.writer(KIND, enum_numbers=True)(wire) == b'{"state":1,"boxedText":"a"}'


@_rule(111)
def test_empty_message_is_an_empty_object(codec: Codec) -> None:
    assert codec.writer("google.protobuf.Empty")(b"") == b"{}"


UNSET = {
    "tags": b"[]",
    "labels": b"{}",
    "text": b'""',
    "i64": b'"0"',
    "i32": b"0",
    "maybe": b"0",
    "flag": b"false",
    "octets": b'""',
    "state": b'"STATE_UNSPECIFIED"',
    "child": b"{}",
    "at": b"null",
    "boxed_text": b"null",
}


@_rule(112)
@pytest.mark.parametrize(("field", "expected"), UNSET.items(), ids=UNSET)
def test_bare_field_unset(codec: Codec, field: str, expected: bytes) -> None:
    assert codec.writer(KIND, response_body=field)(b"") == expected


SET = {
    "tags": b'["a","b"]',
    "boxed_text": b'"x"',
    "children": b'[{"i32":1}]',
    "choice_text": b'"y"',
}


@_rule(112)
@pytest.mark.parametrize("field", SET)
def test_bare_field_set(codec: Codec, field: str) -> None:
    body = b'{"tags":["a","b"],"boxedText":"x","children":[{"i32":1}],"choiceText":"y","i32":7}'

    assert codec.writer(KIND, response_body=field)(codec.reader(KIND)(body)) == SET[field]


@_rule(117)
@pytest.mark.parametrize(
    "wire",
    [b"\xff", b"\x72\x05ab", b"\x72\x01\xff", b"\x08", b"\x0b", b"\x00"],
    ids=["tag", "cut string", "not utf-8", "cut varint", "open group", "field 0"],
)
def test_octets_that_are_no_message_blame_the_service(codec: Codec, wire: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        codec.writer(KIND)(wire)

    assert (caught.value.reason, caught.value.status) == ("UPSTREAM_MESSAGE", 502)


@_rule(117)
@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        ("google.protobuf.FieldMask", b"\x0a\x08foo__bar"),
        ("google.protobuf.FieldMask", b"\x0a\x03x_0"),
        ("google.protobuf.Value", b""),
        ("google.protobuf.Value", b"\x11\x00\x00\x00\x00\x00\x00\xf8\x7f"),
        ("google.protobuf.Timestamp", b"\x08\x80\x80\x9a\xa6\xea\xaf\xe3\x01"),
        ("google.protobuf.Any", b"\x0a\x06x/nope"),
    ],
    ids=["mask __", "mask _0", "value unset", "value nan", "year 32e6", "any unknown"],
)
def test_message_without_json_form(codec: Codec, kind: str, wire: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        codec.writer(kind)(wire)

    assert (caught.value.reason, caught.value.status) == ("UNREPRESENTABLE", 500)


@_rule(117)
@pytest.mark.parametrize(
    "body",
    [
        '{"mask":"a.*"}',
        '{"mask":"*,aB.*.cD,*.*"}',
        '{"text":"*","children":[{"mask":"a.*"},{"child":{"mask":"b.*"}}]}',
        '{"any":{"@type":"type.googleapis.com/kitchen.v1.Kitchen","mask":"a.*"}}',
        '{"anys":[{"@type":"type.googleapis.com/google.protobuf.FieldMask","value":"a.*"}]}',
    ],
)
def test_a_mask_with_a_wildcard_within_reads_back_as_it_was(codec: Codec, body: str) -> None:
    """Read, written as text and as a tree, and as google's own printer has it."""
    wire = codec.reader(KIND)(body.encode())

    assert codec.writer(KIND)(wire) == body.encode()
    assert codec.tree_writer(KIND)(wire) == json.loads(body)
    assert codec.writer(KIND, long_numbers=True)(wire) == body.encode()


@_rule(112)
def test_a_mask_with_a_wildcard_is_shown_by_itself(codec: Codec) -> None:
    wire = codec.reader(KIND)(b'{"mask":"a.*"}')

    assert codec.writer(KIND, response_body="mask")(wire) == b'"a.*"'


@_rule(117)
@pytest.mark.parametrize(
    "paths",
    [["a.*", "x_0"], ["a.*", "fooBar"], ["a.*", "b,c"], ["a*"], ["a.*", "wildcardofafieldmask"]],
    ids=["x_0", "camel case", "a comma", "half a step", "our own word"],
)
def test_a_wildcard_saves_no_path_that_reads_back_otherwise(codec: Codec, paths: list[str]) -> None:
    octets = [b"\x0a" + bytes([len(path)]) + path.encode() for path in paths]

    for write in (codec.writer, codec.tree_writer):
        with pytest.raises(GatewayError) as caught:
            write("google.protobuf.FieldMask")(b"".join(octets))
        assert caught.value.reason == "UNREPRESENTABLE"


@_rule(117)
def test_a_wildcard_beside_an_any_that_does_not_decode_blames_the_service(codec: Codec) -> None:
    mask, broken = (
        codec.reader(KIND)(b'{"mask":"a.*"}'),
        b"\xa2\x02\x18\x0a\x12x/kitchen.v1.Money\x12\x02\x0a\xff",
    )

    with pytest.raises(UpstreamError) as caught:
        codec.writer(KIND)(mask + broken)

    assert caught.value.reason == "UPSTREAM_MESSAGE"


def test_trees_go_both_ways(codec: Codec) -> None:
    tree = {"i64": "7", "children": [{"text": "ü"}], "state": "STATE_PAID"}

    wire = codec.tree_reader(KIND)(tree)

    assert codec.tree_writer(KIND)(wire) == tree
    assert codec.tree_writer(KIND, emit_unpopulated=True)(b"")["u64"] == "0"


def test_tree_faults_are_told_like_texts(codec: Codec) -> None:
    with pytest.raises(ClientError) as caught:
        codec.tree_reader(KIND)({"children": [{"i32": "x"}]})

    assert caught.value.metadata == {"field": "children[0].i32"}


@pytest.mark.rule("transcoding.2")
def test_set_without_an_import_names_both_files() -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

    file = FileDescriptorProto(name="a.proto", dependency=["b.proto"], syntax="proto3")
    with pytest.raises(ValueError, match=r"a\.proto imports b\.proto"):
        Codec(FileDescriptorSet(file=[file]).SerializeToString())


@pytest.mark.rule("transcoding.7")
def test_set_without_json_names_gets_those_of_protoc() -> None:
    """Descriptors from a reflection server often lack them."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    names = "a_b c__d _e f1_2g hI_j k_ l_M"
    fields = "".join(f"int32 {name} = {n};" for n, name in enumerate(names.split(), 1))
    files = FileDescriptorSet.FromString(
        compile_set(f'syntax = "proto3"; message M {{ {fields} }}')
    )
    expected = [field.json_name for field in files.file[0].message_type[0].field]
    for field in files.file[0].message_type[0].field:
        field.ClearField("json_name")

    shape = Codec(files.SerializeToString()).message_type("M")

    assert shape is not None
    assert [field.json_name for field in shape.fields] == expected


def test_two_codecs_keep_equal_names_apart() -> None:
    """Each source is its own set of types: two teams may own different messages of one name."""
    first = Codec(compile_set('syntax = "proto3"; message M { string a = 1; }'))
    second = Codec(compile_set('syntax = "proto3"; message M { int32 b = 1; }'))

    assert first.reader("M")(b'{"a":"x"}') == b"\x0a\x01x"
    assert second.reader("M")(b'{"b":5}') == b"\x08\x05"


CLOSED = """
syntax = "proto2";
enum Color { RED = 1; ROT = 1; BLUE = 2; }
message M { optional Color color = 1; extensions 100 to 200; }
"""


@_rule(93)
def test_closed_enum_takes_only_its_numbers() -> None:
    text = CLOSED.replace("enum Color {", "enum Color { option allow_alias = true;")
    codec = Codec(compile_set(text))
    read = codec.reader("M")

    assert codec.writer("M")(read(b'{"color":1}')) == b'{"color":"RED"}'
    with pytest.raises(ClientError) as caught:
        read(b'{"color":9}')
    assert caught.value.metadata == {"field": "color"}


def test_extensions_are_read_and_shown_at_any_depth() -> None:
    """A proto2 extension stands under its full name in brackets, in what is read and in what is shown."""
    text = f"{CLOSED.replace('ROT = 1; ', '')} extend M {{ optional int32 more = 100; }}"
    codec = Codec(compile_set(f"{text} message Outer {{ repeated M many = 1; }}"))
    body = b'{"many":[{"color":"BLUE","[more]":7}]}'

    assert codec.writer("Outer")(codec.reader("Outer")(body)) == body


def test_all_works_where_nothing_is_compiled() -> None:
    """Who installs without a C compiler has a whole gateway, and every module of it."""
    code = (
        "import sys; sys.modules['bff.transcoding._plain_json'] = None\n"
        "import bff.app\n"
        "from bff.transcoding.json_codec import Codec\n"
        "from bff.transcoding.plain_json import IS_COMPILED\n"
        "codec = Codec(b'')\n"
        "kind = 'google.rpc.Status'\n"
        "wire = codec.reader(kind)(b'{\"code\":5}')\n"
        "print(IS_COMPILED, wire, codec.writer(kind)(wire), codec.tree_writer(kind)(wire))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout == "False b'\\x08\\x05' b'{\"code\":5}' {'code': 5}\n"
