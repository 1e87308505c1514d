"""What the path says stays said: no spelling in query or body changes a field that the path binds."""

from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.config.presets import PRESET_TABLE, PRESETS
from bff.core.errors import ClientError
from bff.transcoding.binding import compile_binder
from bff.transcoding.json_codec import Codec
from bff.transcoding.switches import Switches
from tests.support.proto_sets import KITCHEN, compile_set

CODEC = Codec(compile_set(KITCHEN))
KIND = "kitchen.v1.Kitchen"
SHAPE = CODEC.message_type(KIND)
assert SHAPE is not None
TREE = CODEC.tree_writer(KIND)
READ = CODEC.writer(KIND)

# A field of each sort: plain, with two names, nested, member of a oneof, nested member.
_VARIABLES = ("text", "boxed_text", "child.decoded", "choice_text", "child.child.choice_text")
_PATH = ("p1", "p2", "p3", "p4", "p5")
_BOUND = {
    "text": "p1",
    "boxedText": "p2",
    "choiceText": "p4",
    "child": {"search[decoded]": "p3", "child": {"choiceText": "p5"}},
}
_SWITCHES = [
    msgspec.convert(
        {
            "same_field": same,
            "query_duplicate": twice,
            "query_oneof": oneof,
            "json_duplicates": json,
            "query_star_body": star,
            "query_body_field": field,
        },
        Switches,
    )
    for same in ("reject", "path_wins")
    for twice, oneof, json in (("reject", "reject", "reject"), ("last", "last", "last"))
    for star, field in (("reject", "reject"), ("bind", "merge"), ("ignore", "ignore"))
]
# And every preset as it is.
_SWITCHES += [
    msgspec.convert(
        {
            name: PRESET_TABLE[name][at]
            for name in PRESET_TABLE
            if name in Switches.__struct_fields__
        },
        Switches,
    )
    for at in range(len(PRESETS))
]
_BINDERS = {
    (body, at): compile_binder(
        codec=CODEC,
        message=SHAPE,
        variables=[tuple(name.split(".")) for name in _VARIABLES],
        body=body,
        switches=switches,
    )
    for body in ("", "*", "child")
    for at, switches in enumerate(_SWITCHES)
}

_KEYS = st.sampled_from(
    ["text", "boxed_text", "boxedText", "child.decoded", "child.search[decoded]", "choice_text", "choiceText",
     "choice_number", "choiceNumber", "choice_money.units", "child.child.choice_text", "child.child.choiceText",
     "child.child.choice_number", "child.child.choiceMoney.nanos", "child.text", "i32"]
)  # fmt: skip
_VALUES = st.sampled_from(["", "1", "7", "p1", "p4", "p5"])
_QUERIES = st.lists(st.tuples(_KEYS, _VALUES), max_size=4)
_LEAVES = st.sampled_from(["", "1", "p1", "p5", None, 7, {}, {"units": "1"}])
_NAMES = st.sampled_from(
    ["text", "boxed_text", "boxedText", "decoded", "search[decoded]", "choice_text", "choiceText", "choice_number",
     "choiceMoney", "i32"]
)  # fmt: skip
_INNER = st.dictionaries(_NAMES, _LEAVES, max_size=2)
_MIDDLE = st.builds(
    lambda own, child: {**own, **child}, _INNER, st.dictionaries(st.just("child"), _INNER)
)
_BODIES = st.builds(
    lambda own, child: {**own, **child}, _INNER, st.dictionaries(st.just("child"), _MIDDLE)
)


def _holds(tree: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(
        _holds(tree.get(key, {}), value) if isinstance(value, dict) else tree.get(key) == value
        for key, value in wanted.items()
    )


@pytest.mark.rule("transcoding.65", "transcoding.79", "transcoding.83", "transcoding.160")
@settings(max_examples=800, deadline=None)
@given(
    st.sampled_from(["", "*", "child"]),
    st.integers(0, len(_SWITCHES) - 1),
    _QUERIES,
    st.none() | _BODIES,
)
def test_no_query_and_no_body_changes_what_the_path_binds(
    body: str, switches: int, query: list[tuple[str, str]], content: dict[str, Any] | None
) -> None:
    octets = b"" if content is None or not body else msgspec.json.encode(content)
    binder = _BINDERS[body, switches]

    try:
        wire = binder.bind(_PATH, urlencode(query).encode(), octets)
    except ClientError:
        return

    assert _holds(TREE(wire), _BOUND), READ(wire)


_GOOD = st.sampled_from(["i32=1", "flag=true", "tags=a", "tags=b", "labels[x]=1", "child.i32=1"])
# Key and pair of what is wrong by itself, in any company.
_BAD = st.sampled_from(
    [("nope", "nope=1"), ("u32", "u32=-1"), ("child", "child=1"), ("child.nope", "child.nope=x"),
     ("at", "at=2024"), ("labels.x", "labels.x=1"), ("octets", "octets=A"), ("text", "text=other"),
     ("children.i32", "children.i32=1"), ("by_number[x]", "by_number[x]=1")]
)  # fmt: skip
_ONLY_TEXT = compile_binder(codec=CODEC, message=SHAPE, variables=[("text",), ("s32",)])


@pytest.mark.rule("transcoding.158")
@settings(max_examples=300, deadline=None)
@given(
    st.lists(_GOOD, unique=True, max_size=4),
    st.lists(_BAD, unique=True, min_size=1, max_size=6),
    st.booleans(),
    st.randoms(),
)
def test_every_fault_of_path_and_query_is_told_in_order(
    good: list[str], bad: list[tuple[str, str]], bad_path: bool, random: Any
) -> None:
    pairs = [("", each) for each in good] + bad
    random.shuffle(pairs)
    query = "&".join(pair for _, pair in pairs).encode()

    with pytest.raises(ClientError) as caught:
        _ONLY_TEXT.bind(("t", "x" if bad_path else "1"), query, b"")

    wanted = ["s32"] * bad_path + [key for key, _ in pairs if key]
    assert [each.field for each in caught.value.violations] == wanted
