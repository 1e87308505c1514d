"""Where the pinned codec is laxer than the rules, row by row: it takes the text, we do not (or print otherwise).

A row that the codec itself refuses one day fails here: then what mends it can go.
"""

import json
from typing import Any

import pytest

from bff.core.errors import ClientError
from bff.transcoding.dynamic_types import registry_of
from bff.transcoding.exact_json import examine
from bff.transcoding.json_codec import Codec
from bff.transcoding.json_doubt import compact_form, compile_doubt
from bff.transcoding.switches import Switches
from tests.support.proto_sets import KITCHEN, compile_set

FILE_SET = compile_set(KITCHEN)
CODEC = Codec(FILE_SET)
KIND = "kitchen.v1.Kitchen"
REGISTRY = registry_of(FILE_SET)
READ = CODEC.reader(KIND)

# What the codec takes, and the reason for which we refuse it.
LAX = {
    "one key twice": ('{"i32":1,"i32":2}', "DUPLICATE_FIELD"),
    "one key twice within": ('{"child":{"i32":1,"i32":1}}', "DUPLICATE_FIELD"),
    "one entry twice": ('{"labels":{"a":"1","a":"2"}}', "DUPLICATE_FIELD"),
    "both spellings": ('{"boxedText":"a","boxed_text":"b"}', "DUPLICATE_FIELD"),
    "a oneof twice": ('{"choiceText":"a","choiceNumber":1}', "DUPLICATE_FIELD"),
    "digits with underscores": ('{"i32":"1_0"}', "INVALID_FIELD"),
    "a plus": ('{"i32":"+5"}', "INVALID_FIELD"),
    "a zero first": ('{"i32":"01"}', "INVALID_FIELD"),
    "digits of another script": ('{"i32":"٣"}', "INVALID_FIELD"),
    "a dot first": ('{"real":".5"}', "INVALID_FIELD"),
    "a dot last": ('{"real":"5."}', "INVALID_FIELD"),
    "underflow to 0": ('{"i32":1e-400}', "INVALID_FIELD"),
    "an exponent as a key": ('{"byNumber":{"1e0":"a"}}', "INVALID_FIELD"),
    "a URL without a slash": ('{"any":{"@type":"kitchen.v1.Money"}}', "INVALID_FIELD"),
}


def lax(text: str) -> Any:
    return CODEC.message_class(KIND).from_json(text.encode(), registry=REGISTRY)


@pytest.mark.rule("transcoding.90", "transcoding.95", "transcoding.96", "transcoding.97")
@pytest.mark.parametrize(("text", "reason"), LAX.values(), ids=LAX)
def test_what_the_codec_takes_is_refused(text: str, reason: str) -> None:
    lax(text)

    with pytest.raises(ClientError) as caught:
        READ(text.encode())
    assert caught.value.reason == reason


@pytest.mark.parametrize(("text", "reason"), LAX.values(), ids=LAX)
def test_it_is_doubted_in_any_spacing(text: str, reason: str) -> None:
    """The octet tests see it in compact form and in the client's own."""
    message = CODEC.message_type(KIND)
    assert message is not None
    doubt = compile_doubt(message)

    for each in (text, text.replace(":", " :\n "), text.replace(",", "\t, ")):
        compact = compact_form(each.encode())
        assert compact is not None
        assert doubt(each.encode(), compact)
        fault = examine(each.encode(), message, CODEC.message_type)
        assert fault is not None
        assert fault.reason == reason


def test_a_plain_body_is_not_doubted() -> None:
    """Else every body would cost the slow walk."""
    message = CODEC.message_type(KIND)
    assert message is not None
    text = json.dumps(
        {
            "i32": 5, "i64": "7", "real": 1.5, "text": "a-b. c: 1.5s +1 x", "tags": ["a", "b"],
            "child": {"choiceText": "x", "lasts": "1.500s", "at": "2024-01-02T03:04:05.120Z"},
            "labels": {"a-1": "b"}, "state": "STATE_NEW", "boxedNumber": 0, "money_": None,
        },
        separators=(",", ":"),
    ).encode().replace(b',"money_":null', b"")  # fmt: skip

    compact = compact_form(text)
    assert compact == text
    assert not compile_doubt(message)(text, compact)


@pytest.mark.rule("transcoding.92")
def test_the_largest_float_is_taken_as_others_print_it() -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        lax('{"single":3.4028235e38}')

    assert READ(b'{"single":3.4028235e38}') == b"\x5d\xff\xff\x7f\x7f"


@pytest.mark.rule("transcoding.97")
def test_the_url_of_an_any_stays_as_it_was_sent() -> None:
    text = '{"any":{"@type":"a.b/kitchen.v1.Money","units":"5"}}'
    assert b"a.b/" not in lax(text).to_binary()

    assert b"a.b/kitchen.v1.Money" in READ(text.encode())


@pytest.mark.rule("transcoding.114")
def test_the_first_alias_is_printed_and_the_last_is_not() -> None:
    assert CODEC.writer(KIND)(READ(b'{"alias":"ALIAS_SECOND"}')) == b'{"alias":"ALIAS_FIRST"}'


@pytest.mark.rule("transcoding.87")
def test_an_unknown_number_of_an_open_enum_stays_where_unknown_keys_go() -> None:
    read = CODEC.reader(KIND, Switches(json_unknown="ignore"))

    shown = json.loads(CODEC.writer(KIND)(read(b'{"nope":1,"state":99,"states":["NOPE",98]}')))
    assert shown == {"state": 99, "states": [98]}


@pytest.mark.rule("transcoding.157")
@pytest.mark.parametrize(
    "text",
    ['{"i32":"x"}', '{"at":"x"}', '{"child":1}', '{"any":{"@type":"x/y"}}', '{"u32":-1}', '{"real":1e400}', "7"],
)  # fmt: skip
def test_no_words_of_the_codec_reach_a_client(text: str) -> None:
    """Its exceptions name types and values."""
    with pytest.raises(ClientError) as caught:
        READ(text.encode())

    told = " ".join([caught.value.public, *[each.description for each in caught.value.violations]])
    assert not any(word in told for word in ("kitchen", "google", "int32", "Kitchen", "1e400"))
