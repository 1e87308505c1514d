"""Path, query and body of one request, bound into its message."""

import json
from typing import Any

import pytest

from bff.core.errors import ClientError
from bff.transcoding.binding import Binder, compile_binder, judge_content_type
from bff.transcoding.json_codec import Codec
from tests.support.proto_sets import KITCHEN, compile_set

KIND = "kitchen.v1.Kitchen"
DEEP = "child." * 15

Case = tuple[int, str, Any]


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(compile_set(KITCHEN))


def binder(
    codec: Codec, *variables: str, body: str = "", kind: str = KIND, **options: Any
) -> Binder:
    message = codec.message_type(kind)
    assert message is not None
    paths = [tuple(name.split(".")) for name in variables]
    return compile_binder(codec=codec, message=message, variables=paths, body=body, **options)


def shown(codec: Codec, wire: bytes, kind: str = KIND) -> Any:
    return json.loads(codec.writer(kind)(wire))


def table(*cases: Case) -> list[Any]:
    return [
        pytest.param(
            text, rest, marks=pytest.mark.rule(f"transcoding.{rule}"), id=f"{rule}-{text:.50}"
        )
        for rule, text, rest in cases
    ]


BOUND = table(
    (55, "i32=2&child.text=foo", {"i32": 2, "child": {"text": "foo"}}),
    (55, "child.i32=1&child.text=a&child.child.i32=2", {"child": {"i32": 1, "text": "a", "child": {"i32": 2}}}),
    (56, "tags=a&tags=b", {"tags": ["a", "b"]}),
    (56, "tags=a", {"tags": ["a"]}),
    (56, "tags=a,b", {"tags": ["a,b"]}),
    (58, "boxedText=5", {"boxedText": "5"}),
    (58, "boxed_text=5", {"boxedText": "5"}),
    (59, "search%5Bdecoded%5D=x", {"search[decoded]": "x"}),
    (60, "text", {}),
    (60, "&&", {}),
    (60, "tags=1;b=2", {"tags": ["1;b=2"]}),
    (61, "tags=a+b", {"tags": ["a b"]}),
    (61, "tags=a%2Bb", {"tags": ["a+b"]}),
    (61, "tags=%C3%BC", {"tags": ["ü"]}),
    (62, "key=1&alt=json&%24fields=a&utm_source=x", {}),
    (66, "state=STATE_NEW", {"state": "STATE_NEW"}),
    (66, "state=1", {"state": "STATE_NEW"}),
    (66, "state=99", {"state": 99}),
    (67, "flag=true", {"flag": True}),
    (68, "i32=-0", {}),
    (68, "i32=1.0", {"i32": 1}),
    (68, "i32=1e2", {"i32": 100}),
    (69, "u64=18446744073709551615", {"u64": "18446744073709551615"}),
    (69, "i64=9007199254740993", {"i64": "9007199254740993"}),
    (69, "i64=-9223372036854775808", {"i64": "-9223372036854775808"}),
    (69, "s32=-5&s64=-6&f32=7&f64=8&sf32=-9&sf64=-10",
     {"s32": -5, "s64": "-6", "f32": 7, "f64": "8", "sf32": -9, "sf64": "-10"}),
    (70, "single=NaN&real=-Infinity", {"single": "NaN", "real": "-Infinity"}),
    (70, "real=1e39", {"real": 1e39}),
    (71, "octets=AQI%3D", {"octets": "AQI="}),
    (71, "octets=AQI", {"octets": "AQI="}),
    (71, "octets=_-8", {"octets": "/+8="}),
    (72, "at=2024-01-02T03:04:05.678Z", {"at": "2024-01-02T03:04:05.678Z"}),
    (72, "at=2024-01-02T03:04:05%2B01:00", {"at": "2024-01-02T02:04:05Z"}),
    (72, "at=1969-12-31T23:59:59.5Z", {"at": "1969-12-31T23:59:59.500Z"}),
    (73, "lasts=1.5s", {"lasts": "1.500s"}),
    (73, "lasts=-0.5s", {"lasts": "-0.500s"}),
    (74, "mask=a.fooBar,h", {"mask": "a.fooBar,h"}),
    (74, "mask=*", {"mask": "*"}),
    (75, "boxedNumber=5", {"boxedNumber": 5}),
    (75, "boxedText=", {"boxedText": ""}),
    (75, "boxedText=null", {"boxedText": "null"}),
    (75, "maybe=0", {"maybe": 0}),
    (76, "byNumber[1]=a&by_number%5B2%5D=b", {"byNumber": {"1": "a", "2": "b"}}),
    (76, "labels[a.b]=x&labels[]=y", {"labels": {"a.b": "x", "": "y"}}),
    (76, "stateOf[7]=STATE_PAID&byFlag[true]=t", {"stateOf": {"7": "STATE_PAID"}, "byFlag": {"true": "t"}}),
    (76, "child.labels[a]=x", {"child": {"labels": {"a": "x"}}}),
    (77, "struct=%7B%22a%22%3A1%7D", {"struct": {"a": 1}}),
    (77, "value=null&list=[1]", {"value": None, "list": [1]}),
    (80, f"{DEEP}i32=1", None),
    (85, "tags=%00", {"tags": ["\0"]}),
)  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), BOUND)
def test_query_binds(codec: Codec, query: str, expected: Any) -> None:
    wire = binder(codec).bind((), query.encode(), b"")

    if expected is None:
        expected = {"i32": 1}
        for _ in range(15):
            expected = {"child": expected}
    assert shown(codec, wire) == expected


UNKNOWN, INVALID, CONFLICT, MANY = (
    "UNKNOWN_PARAMETER",
    "INVALID_PARAMETER",
    "FIELD_CONFLICT",
    "TOO_MANY_PARAMETERS",
)
REFUSED = table(
    (57, "i32=1&i32=2", INVALID),
    (57, "i32=1&i32=1", INVALID),
    (57, "boxedText=5&boxed_text=5", INVALID),
    (60, "i32", INVALID),
    (60, "flag=", INVALID),
    (60, "state=", INVALID),
    (60, "=x", INVALID),
    (61, "text=%zz", INVALID),
    (61, "text=%4", INVALID),
    (61, "text=%ff", INVALID),
    (61, "t%ff=x", INVALID),
    (62, "nope=1", UNKNOWN),
    (62, "child.nope=1", UNKNOWN),
    (62, "Text=1", UNKNOWN),
    (66, "state=state_new", INVALID),
    (66, "state=NOPE", INVALID),
    (67, "flag=1", INVALID),
    (67, "flag=TRUE", INVALID),
    (67, "flag=yes", INVALID),
    (68, "i32=2147483648", INVALID),
    (68, "i32=abc", INVALID),
    (68, "i32=1.5", INVALID),
    (68, "i32=0x10", INVALID),
    (68, "i32=1_0", INVALID),
    (68, "i32=%205", INVALID),
    (68, "i32=5+", INVALID),
    (68, "i32=%2B5", INVALID),
    (68, "i32=007", INVALID),
    (68, "i32=%D9%A3", INVALID),
    (68, "i32=--5", INVALID),
    (69, "u32=-1", INVALID),
    (69, "u64=18446744073709551616", INVALID),
    (69, "i64=" + "9" * 5000, INVALID),
    (70, "real=inf", INVALID),
    (70, "single=nan", INVALID),
    (70, "single=1e39", INVALID),
    (70, "real=1e400", INVALID),
    (71, "octets=%2F-8", INVALID),
    (71, "octets=AQ%20I", INVALID),
    (71, "octets=AQI%3D%0A", INVALID),
    (72, "at=2024-01-02", INVALID),
    (72, "at=0000-01-02T03:04:05Z", INVALID),
    (72, "at=2024-01-02T03:04:60Z", INVALID),
    (72, "at=2024-01-02t03:04:05Z", INVALID),
    (72, "at=2024-01-02T03:04:05z", INVALID),
    (72, "at=2024-01-02T03:04:05", INVALID),
    (72, "at=2024-01-02T03:04:05%2B01:60", INVALID),
    (73, "lasts=13h0m0s", INVALID),
    (73, "lasts=1", INVALID),
    (73, "lasts=1.0000000001s", INVALID),
    (73, "lasts=315576000001s", INVALID),
    (73, "lasts=-315576000001s", INVALID),
    (74, "mask=a.foo_bar", INVALID),
    (75, "boxedNumber=null", INVALID),
    (76, "labels[a]=1&labels[a]=2", INVALID),
    (76, "labels.a=1", INVALID),
    (76, "labels[a][b]=1", INVALID),
    (76, "moneyOf[a].units=1", INVALID),
    (76, "moneyOf[a]=1", INVALID),
    (76, "byNumber[x]=1", INVALID),
    (76, "labels=1", INVALID),
    (77, "struct=%7B", INVALID),
    (77, "struct=[]", INVALID),
    (77, "value=", INVALID),
    (77, "any=%7B%7D", INVALID),
    (78, "children.text=x", INVALID),
    (78, "i32.x=1", INVALID),
    (78, "at.seconds=1", INVALID),
    (78, "child=x", INVALID),
    (79, "choiceText=a&choiceNumber=1", INVALID),
    (79, "choiceMoney.units=1&choice_text=a", INVALID),
    (80, f"{DEEP}child.i32=1", MANY),
)


@pytest.mark.parametrize(("query", "reason"), REFUSED)
def test_query_is_refused_with_its_parameter(codec: Codec, query: str, reason: str) -> None:
    with pytest.raises(ClientError) as caught:
        binder(codec).bind((), query.encode(), b"")

    assert caught.value.reason == reason
    assert caught.value.status == 400
    assert caught.value.violations


@pytest.mark.rule("transcoding.80")
def test_more_parameters_than_allowed(codec: Codec) -> None:
    bound = binder(codec, max_parameters=3)

    assert bound.bind((), b"tags=a&&tags=b&tags=c", b"")
    with pytest.raises(ClientError) as caught:
        bound.bind((), b"tags=a&tags=b&tags=c&tags=d", b"")
    assert caught.value.reason == MANY


@pytest.mark.rule("transcoding.158")
def test_all_faults_of_path_and_query_come_together(codec: Codec) -> None:
    with pytest.raises(ClientError) as caught:
        binder(codec, "i64").bind(("abc",), b"i32=x&nope=1&flag=maybe&text=fine", b"")

    assert caught.value.reason == "INVALID_FIELD"
    assert [each.field for each in caught.value.violations] == ["i64", "i32", "nope", "flag"]


@pytest.mark.rule("transcoding.62")
def test_unknown_parameter_tells_the_nearest(codec: Codec) -> None:
    with pytest.raises(ClientError) as caught:
        binder(codec).bind((), b"txet=1", b"")

    assert caught.value.metadata == {"parameter": "txet"}
    assert caught.value.violations[0].description.endswith("did you mean text?")


@pytest.mark.rule("transcoding.58")
def test_json_name_wins_a_clash(codec: Codec) -> None:
    wire = binder(codec, kind="kitchen.v1.Renamed").bind((), b"two=a&three=b", b"")

    assert wire == b"\x0a\x01a\x12\x01b"


PATHS = table(
    (53, "i64", ("5", {"i64": "5"})),
    (53, "octets", ("_-8", {"octets": "/+8="})),
    (53, "boxed_number", ("0", {"boxedNumber": 0})),
    (53, "state", ("STATE_NEW", {"state": "STATE_NEW"})),
    (53, "child.child.text", ("ü/b", {"child": {"child": {"text": "ü/b"}}})),
    (53, "at", ("2024-01-02T03:04:05Z", {"at": "2024-01-02T03:04:05Z"})),
    (36, "text", ("", {})),
)


@pytest.mark.parametrize(("variable", "rest"), PATHS)
def test_path_variable_binds(codec: Codec, variable: str, rest: tuple[str, Any]) -> None:
    assert shown(codec, binder(codec, variable).bind((rest[0],), b"", b"")) == rest[1]


@pytest.mark.rule("transcoding.53")
def test_path_variable_that_does_not_fit_is_400(codec: Codec) -> None:
    with pytest.raises(ClientError) as caught:
        binder(codec, "text", "i64").bind(("a", "abc"), b"", b"")

    assert caught.value.reason == "INVALID_FIELD"
    assert caught.value.metadata == {"field": "i64"}


CONFLICTS = table(
    (65, "text=9999", CONFLICT),
    (65, "text=100", None),
    (65, "text=", CONFLICT),
    (65, "boxedText=bad", CONFLICT),
    (65, "boxed_text=7", None),
    (65, "child.text=", CONFLICT),
    (65, "text=100&text=100", INVALID),
    (79, "choiceNumber=1", INVALID),
)


@pytest.mark.parametrize(("query", "reason"), CONFLICTS)
def test_query_never_overrules_the_path(codec: Codec, query: str, reason: str | None) -> None:
    bound = binder(codec, "text", "boxed_text", "child.text", "choice_text")
    captures = ("100", "7", "c", "d")

    if reason is None:
        assert bound.bind(captures, query.encode(), b"") == bound.bind(captures, b"", b"")
        return
    with pytest.raises(ClientError) as caught:
        bound.bind(captures, query.encode(), b"")
    assert caught.value.reason == reason


WHOLE = table(
    (81, "", {"text": "1", "child": {"text": "c"}}),
    (81, "{}", {"text": "1", "child": {"text": "c"}}),
    (83, '{"text":"1"}', {"text": "1", "child": {"text": "c"}}),
    (83, '{"text":""}', {"text": "1", "child": {"text": "c"}}),
    (83, '{"child":{"i32":5}}', {"text": "1", "child": {"i32": 5, "text": "c"}}),
    (83, '{"child":null,"i32":2}', {"i32": 2, "text": "1", "child": {"text": "c"}}),
    (83, '{"text":"9"}', CONFLICT),
    (83, '{"child":{"text":"x"}}', CONFLICT),
    (81, " ", "INVALID_JSON"),
    (86, "null", "INVALID_FIELD"),
)


@pytest.mark.parametrize(("body", "expected"), WHOLE)
def test_whole_body_under_the_path(codec: Codec, body: str, expected: Any) -> None:
    bound = binder(codec, "text", "child.text", body="*")

    if isinstance(expected, dict):
        assert shown(codec, bound.bind(("1", "c"), b"", body.encode())) == expected
        return
    with pytest.raises(ClientError) as caught:
        bound.bind(("1", "c"), b"", body.encode())
    assert caught.value.reason == expected


@pytest.mark.rule("transcoding.63")
def test_whole_body_leaves_no_field_to_the_query(codec: Codec) -> None:
    bound = binder(codec, body="*")

    assert bound.bind((), b"key=1", b"{}") == b""
    with pytest.raises(ClientError) as caught:
        bound.bind((), b"text=x", b"{}")
    assert caught.value.reason == UNKNOWN


@pytest.mark.rule("transcoding.26")
def test_body_may_not_pick_another_member_than_the_path(codec: Codec) -> None:
    bound = binder(codec, "choice_number", body="*")

    assert shown(codec, bound.bind(("5",), b"", b'{"choiceNumber":5}')) == {"choiceNumber": 5}
    with pytest.raises(ClientError) as caught:
        bound.bind(("5",), b"", b'{"choiceText":"x"}')
    assert caught.value.reason == CONFLICT


@pytest.mark.rule("transcoding.81")
def test_body_without_a_place_is_refused(codec: Codec) -> None:
    bound = binder(codec, "text")

    assert not bound.takes_body
    with pytest.raises(ClientError) as caught:
        bound.bind(("a",), b"", b"{}")
    assert caught.value.reason == "BODY_NOT_ALLOWED"


FIELDS = table(
    (82, "child", ('{"text":"x"}', {"child": {"text": "x"}})),
    (82, "child", ("", {})),
    (82, "child", ("{}", {"child": {}})),
    (82, "tags", ('["a"]', {"tags": ["a"]})),
    (86, "tags", ("null", {})),
    (82, "text", ('"x"', {"text": "x"})),
    (82, "state", ('"STATE_NEW"', {"state": "STATE_NEW"})),
    (82, "by_number", ('{"1":"x"}', {"byNumber": {"1": "x"}})),
    (82, "at", ('"2024-01-02T03:04:05Z"', {"at": "2024-01-02T03:04:05Z"})),
    (94, "value", ("null", {"value": None})),
    (94, "boxed_text", ("null", {})),
)


@pytest.mark.parametrize(("field", "rest"), FIELDS)
def test_body_is_one_field(codec: Codec, field: str, rest: tuple[str, Any]) -> None:
    bound = binder(codec, body=field)

    wire = bound.bind((), b"real=1.5", rest[0].encode())

    assert shown(codec, wire) == {"real": 1.5, **rest[1]}


BAD_FIELDS = table(
    (82, "tags", ('["a",1]', "INVALID_FIELD", "[1]")),
    (82, "tags", ("{}", "INVALID_FIELD", "")),
    (82, "tags", ('["a"],"text":"b"', "INVALID_JSON", "")),
    (82, "child", ('{"children":[{"i32":""}]}', "INVALID_FIELD", "children[0].i32")),
    (86, "child", ("null", "INVALID_FIELD", "")),
    (96, "by_number", ('{"x":"a"}', "INVALID_FIELD", '["x"]')),
)


@pytest.mark.parametrize(("field", "rest"), BAD_FIELDS)
def test_body_field_is_refused_by_the_path_that_was_sent(
    codec: Codec, field: str, rest: tuple[str, str, str]
) -> None:
    with pytest.raises(ClientError) as caught:
        binder(codec, body=field).bind((), b"", rest[0].encode())

    assert caught.value.reason == rest[1]
    assert [each.field for each in caught.value.violations] in ([rest[2]], [])


@pytest.mark.rule("transcoding.64")
def test_query_may_not_reach_into_the_body_field(codec: Codec) -> None:
    for query in (b"child.text=x", b"child.child.i32=1"):
        with pytest.raises(ClientError) as caught:
            binder(codec, body="child").bind((), query, b"{}")
        assert caught.value.reason == CONFLICT


@pytest.mark.rule("transcoding.83")
def test_path_inside_the_body_field(codec: Codec) -> None:
    bound = binder(codec, "child.text", body="child")

    assert shown(codec, bound.bind(("a",), b"i32=1", b'{"i32":2}')) == {
        "i32": 1,
        "child": {"i32": 2, "text": "a"},
    }
    assert shown(codec, bound.bind(("a",), b"", b"")) == {"child": {"text": "a"}}
    with pytest.raises(ClientError) as caught:
        bound.bind(("a",), b"", b'{"text":"b"}')
    assert caught.value.reason == CONFLICT


@pytest.mark.rule("transcoding.80")
def test_deep_keys_are_remembered_up_to_a_bound(codec: Codec) -> None:
    """A client that asks for ever new keys must not make the gateway grow."""
    bound = binder(codec)
    middles = ("child.", "choice_money.")
    names = [field.name for field in codec.message_type(KIND).fields if field.kind == "int32"]  # type: ignore[union-attr]
    for depth in range(2, 15):
        for name in names:
            bound.bind((), f"{middles[0] * depth}{name}=1".encode(), b"")
            for key in ("child.labels", "child.child.labels"):
                bound.bind((), f"{key}[{depth}{name}]=1".encode(), b"")
        with pytest.raises(ClientError):
            bound.bind((), f"child.child.nope{depth}=1".encode(), b"")

    assert len(bound._table._cached) == 13 * len(names) + 2 < 256


@pytest.mark.rule("transcoding.80")
def test_keys_beyond_the_bound_are_bound_and_not_remembered(codec: Codec) -> None:
    bound = binder(codec)
    message = codec.message_type(KIND)
    assert message is not None
    names = [
        name
        for name, field in message.by_name.items()
        if field.kind not in {"message", "enum", "bool", "bytes"} and not field.is_map
    ]
    keys = ["child." * depth + name for name in names for depth in range(2, 15)]
    keys = [key for key in keys if "[" not in key]
    assert len(keys) > 280

    wires = [bound.bind((), f"{key}=1".encode(), b"") for key in keys]
    again = [bound.bind((), f"{key}=1".encode(), b"") for key in keys]

    assert wires == again
    assert len(bound._table._cached) == 256
    # The keys of depth 1 and 2 are there from the start, with room for the plain ones of the bound.
    assert len(bound._table._plain) <= len(bound._table._setters) + 256


TYPES = table(
    (100, "application/json", True),
    (100, "Application/JSON; charset=UTF-8", True),
    (100, 'application/json;charset="utf-8"', True),
    (100, "application/merge-patch+json", True),
    (100, "application/json; charset=latin1", False),
    (100, "application/+json", False),
    (100, "text/json", False),
    (100, "application/jsonx", False),
    (48, "application/grpc", False),
    (48, "application/grpc+json", False),
)


@pytest.mark.parametrize(("value", "is_taken"), TYPES)
def test_content_type(value: str, is_taken: bool) -> None:
    if is_taken:
        judge_content_type(value.encode())
        return
    with pytest.raises(ClientError) as caught:
        judge_content_type(value.encode())
    assert (caught.value.status, caught.value.headers) == (415, ((b"accept", b"application/json"),))


@pytest.mark.rule("transcoding.100")
def test_absent_content_type_is_json() -> None:
    judge_content_type(None)
