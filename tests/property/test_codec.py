"""The codec against google's json_format, and against our own slow reading, over all kinds of fields.

Known differences to json_format, which follow our rules and not a fault of either:
- it takes a doubled spelling of one field, we refuse it; members of one oneof are refused by both
- it prints a float by fewest digits and whole doubles as `2.0`; compared as numbers
- it refuses the largest float in its own spelling, so what it prints is compared with the message
- it reads `-0` of a double as 0, we keep the sign
- it takes what Python's int, float and base64 take: `"01"`, `"1_0"`, digits beyond ASCII, `1.0` for an
  enum, `true` for null, `"1.e5"` as octets, an empty text for a message; all these are refused by us
"""

import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.transcoding.exact_json import examine
from bff.transcoding.json_codec import Codec
from tests.support.proto_sets import KITCHEN, compile_set

FILE_SET = compile_set(KITCHEN)
CODEC = Codec(FILE_SET)
KIND = "kitchen.v1.Kitchen"
SHAPE = CODEC.message_type(KIND)
READ, WRITE = CODEC.reader(KIND), CODEC.writer(KIND)
WRITE_ALL = CODEC.writer(KIND, emit_unpopulated=True)
READ_MONEY = CODEC.reader("kitchen.v1.Money")


def _oracle_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(FILE_SET).file:
        pool.Add(file)
    return pool


POOL = _oracle_pool()
ORACLE = message_factory.GetMessageClass(POOL.FindMessageTypeByName(KIND))

_SIGNED = {bits: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (32, 64)}
_UNSIGNED = {bits: st.integers(0, 2**bits - 1) for bits in (32, 64)}
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
# JSON has one NaN; the sign and the payload of others are lost.
_NAN = st.just(float("nan"))
_SINGLE = st.floats(width=32, allow_nan=False) | _NAN
_REAL = st.floats(allow_nan=False) | _NAN
_STATE = st.one_of(st.integers(0, 5), _SIGNED[32])
_MONEY = st.fixed_dictionaries(
    {}, optional={"currency_code": _TEXT, "units": _SIGNED[64], "nanos": _SIGNED[32]}
)
_TIME = st.fixed_dictionaries(
    {"seconds": st.integers(-62_135_596_800, 253_402_300_799), "nanos": st.integers(0, 999_999_999)}
)
_LASTS = st.tuples(
    st.sampled_from([1, -1]), st.integers(0, 315_575_999_999), st.integers(0, 999_999_999)
).map(lambda t: {"seconds": t[0] * t[1], "nanos": t[0] * t[2]})
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), _TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXT, inner, max_size=3)),
    max_leaves=6,
)
_CHOICE: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    _TEXT.map(lambda v: {"choice_text": v}),
    _SIGNED[32].map(lambda v: {"choice_number": v}),
    _MONEY.map(lambda v: {"choice_money": v}),
)
_SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "i32": _SIGNED[32], "i64": _SIGNED[64], "u32": _UNSIGNED[32], "u64": _UNSIGNED[64],
    "s32": _SIGNED[32], "s64": _SIGNED[64], "f32": _UNSIGNED[32], "f64": _UNSIGNED[64],
    "sf32": _SIGNED[32], "sf64": _SIGNED[64],
    "single": _SINGLE, "real": _REAL, "flag": st.booleans(), "text": _TEXT,
    "octets": st.binary(max_size=8), "state": _STATE, "alias": st.integers(0, 3), "maybe": _SIGNED[32],
    "numbers": st.lists(_SIGNED[32], max_size=3), "tags": st.lists(_TEXT, max_size=3),
    "states": st.lists(_STATE, max_size=3), "prices": st.lists(_MONEY, max_size=3),
    "labels": st.dictionaries(_TEXT, _TEXT, max_size=3),
    "by_number": st.dictionaries(_SIGNED[32], _TEXT, max_size=3),
    "by_flag": st.dictionaries(st.booleans(), _TEXT, max_size=2),
    "money_of": st.dictionaries(_TEXT, _MONEY, max_size=2),
    "state_of": st.dictionaries(_UNSIGNED[64], _STATE, max_size=2),
    "at": _TIME, "lasts": _LASTS, "times": st.lists(_TIME, max_size=2),
    "boxed_number": _SIGNED[32].map(lambda v: {"value": v}),
    "boxed_text": _TEXT.map(lambda v: {"value": v}),
    "boxed_octets": st.binary(max_size=4).map(lambda v: {"value": v}),
    "boxed_single": _SINGLE.map(lambda v: {"value": v}),
    "boxed_flag": st.booleans().map(lambda v: {"value": v}),
    "boxed_long": _SIGNED[64].map(lambda v: {"value": v}),
    "from": _TEXT, "class": _SIGNED[32], "decoded": _TEXT, "custom": _TEXT,
}  # fmt: skip
_FLAT = st.tuples(st.fixed_dictionaries({}, optional=_SIMPLE), _CHOICE).map(
    lambda t: {**t[0], **t[1]}
)
_PACKED = st.fixed_dictionaries(
    {}, optional={name: _SIMPLE[name] for name in ("i64", "prices", "at", "octets", "states")}
)
_TREE = st.recursive(
    _FLAT,
    lambda inner: st.tuples(
        _FLAT,
        st.fixed_dictionaries(
            {}, optional={"child": inner, "children": st.lists(inner, max_size=2)}
        ),
    ).map(lambda t: {**t[0], **t[1]}),
    max_leaves=3,
)


@st.composite
def messages(draw: st.DrawFn) -> Any:
    """An oracle message with every kind of field, Struct and Any included."""
    made: Any = ORACLE(**draw(_TREE))
    if draw(st.booleans()):
        json_format.ParseDict(draw(st.dictionaries(_TEXT, _JSON, max_size=3)), made.struct)
        json_format.ParseDict(draw(_JSON), made.value)
        made.list.extend(draw(st.lists(_JSON, max_size=3)))
        made.mask.paths.extend(
            draw(st.lists(st.sampled_from(["a.foo_bar", "h", "*", "a_b.*.c"]), max_size=2))
        )
        # No maps in here: their order inside Any's octets is free.
        made.any.Pack(ORACLE(**draw(_PACKED)))
        for _ in range(draw(st.integers(0, 2))):
            made.anys.add().Pack(made.any, type_url_prefix="a.b/c")
        if draw(st.booleans()):
            made.choice_null = 0
    return made


def _plain(text: bytes | str) -> Any:
    """JSON with numbers as doubles, so that 2 and 2.0 are one."""
    return json.loads(text, parse_int=float)


def _oracle_json(message: Any, **options: Any) -> Any:
    return _plain(json_format.MessageToJson(message, descriptor_pool=POOL, **options))


def _same_floats(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(
            _same_floats(v, theirs[k]) for k, v in ours.items()
        )
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same_floats, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float):
        # Any text that parses back to the same float will do.
        return ours == pytest.approx(theirs, rel=1e-6, abs=1e-44)
    return bool(ours == theirs)


def _same_wire(one: Any, other: Any) -> bool:
    return bool(
        one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
    )


@pytest.mark.rule("transcoding.113")
@settings(max_examples=60, deadline=None)
@given(messages())
def test_wire_to_json_agrees_with_json_format(message: Any) -> None:
    wire = message.SerializeToString()

    assert _same_floats(_plain(WRITE(wire)), _oracle_json(message))
    assert _same_floats(
        _plain(WRITE_ALL(wire)), _oracle_json(message, always_print_fields_with_no_presence=True)
    )


@pytest.mark.rule("transcoding.113")
@settings(max_examples=60, deadline=None)
@given(messages())
def test_texts_of_json_format_are_read_back(message: Any) -> None:
    text = json_format.MessageToJson(message, descriptor_pool=POOL, indent=None)

    read = ORACLE.FromString(READ(text.encode()))

    assert _same_wire(read, message)


@settings(max_examples=60, deadline=None)
@given(messages())
def test_encode_then_decode_gives_the_message(message: Any) -> None:
    again = ORACLE.FromString(READ(WRITE(message.SerializeToString())))

    assert _same_wire(again, message)


_TINY, _TINIER = f"0.{'0' * 400}1", f"0.{'0' * 250}1e-90"
_NASTY = st.sampled_from(
    ['"1_0"', '"1.e5"', '"-1.E5"', '"-01"', '"1e-0400"', '"0_1"', '"é"', '"a1_2"', '"5\\u0663"', '"-\\u0663"',
     '"+5"', '"01"', '"٣"', '".5"', '"5."', '"-.5"', '"1e0"', "1e-400", '"1E-0400"',
     _TINY, _TINIER, "1e400", "-0", "1.0", '"1"',
     "null", "true", "[]", "{}", '"NaN"', '"01s"', '"1.s"', '"315576000000.5s"', "3.4028235e38", "1.5",
     '"STATE_NEW"', '"2024-01-02T03:04:05Z"', '"\\u0031_0"', '"\\ud800"', "9223372036854775808",
     '{"@type":"a/kitchen.v1.Money","units":1}', '{"1":"a"}', '{"01":"a"}', '{"a":1,"a":1}', "[null]", '""']
)  # fmt: skip
_KEYS = st.sampled_from(
    ["i32", "i64", "u64", "real", "single", "text", "flag", "octets", "state", "choiceText", "choice_text",
     "choiceNumber", "choiceNull", "numbers", "labels", "byNumber", "by_number", "byFlag", "child", "children",
     "at", "lasts", "mask", "any", "struct", "value", "list", "boxedNumber", "boxed_number", "boxedSingle",
     "nope", "custom", "bespoke", "stateOf", "c\\u0068ild"]
)  # fmt: skip


@st.composite
def odd_bodies(draw: st.DrawFn, depth: int = 2) -> str:
    """JSON texts near the edges: odd numbers, doubled keys, wrong kinds, nested a little."""
    members = []
    for _ in range(draw(st.integers(0, 4))):
        value = draw(_NASTY)
        key = draw(_KEYS)
        if depth and key in {"child", "children", "c\\u0068ild"} and draw(st.booleans()):
            value = draw(odd_bodies(depth=depth - 1))
            value = f"[{value}]" if key == "children" else value
        members.append(f'"{key}":{value}')
    space = draw(st.sampled_from(["", " "]))
    return "{" + f",{space}".join(members) + "}"


def _refusal(text: bytes) -> tuple[str, str] | None:
    """Reason and path if the body is refused; any other exception fails the test."""
    try:
        READ(text)
    except ClientError as error:
        return error.reason, error.metadata.get("field", "")
    return None


@pytest.mark.rule("transcoding.90")
@settings(max_examples=800, deadline=None)
@given(odd_bodies())
def test_fast_reading_refuses_what_slow_reading_refuses(text: str) -> None:
    """The octet tests never miss: codec and doubts together accept exactly what the rules accept."""
    assert SHAPE is not None
    fault = examine(text.encode(), SHAPE, CODEC.message_type)

    assert _refusal(text.encode()) == (fault and (fault.reason, fault.path))


@pytest.mark.rule("transcoding.90", "transcoding.95")
@settings(max_examples=400, deadline=None)
@given(odd_bodies())
def test_what_is_taken_json_format_takes_too_and_alike(text: str) -> None:
    """Where the verdicts differ we are the stricter one, about a value or a double."""
    assume("3.4028235e38" not in text and "-0" not in text)
    refusal = _refusal(text.encode())
    try:
        expected = json_format.Parse(text, ORACLE(), descriptor_pool=POOL)
    except json_format.ParseError:
        assert refusal is not None
        return

    if refusal is None:
        assert _same_wire(ORACLE.FromString(READ(text.encode())), expected)
    else:
        assert refusal[0] in {"INVALID_FIELD", "DUPLICATE_FIELD"}


@pytest.mark.rule("transcoding.84")
@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=40) | st.text(max_size=40).map(lambda t: t.encode("utf-8", "surrogatepass"))
)
def test_any_octets_give_a_client_error_or_a_message(text: bytes) -> None:
    _refusal(text)


@settings(max_examples=60, deadline=None)
@given(messages(), st.data())
def test_cut_bodies_are_invalid_json(message: Any, data: st.DataObject) -> None:
    text = WRITE(message.SerializeToString())
    cut = data.draw(st.integers(0, len(text) - 1))
    assume(text[:cut].strip())

    with pytest.raises(ClientError) as caught:
        READ(text[:cut])
    assert caught.value.reason == "INVALID_JSON"
