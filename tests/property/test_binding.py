"""The binder: what one side writes the other reads, and no input makes anything but a client's error."""

from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.transcoding.binding import compile_binder
from bff.transcoding.json_codec import Codec
from tests.support.proto_sets import KITCHEN, compile_set

CODEC = Codec(compile_set(KITCHEN))
KIND = "kitchen.v1.Kitchen"
SHAPE = CODEC.message_type(KIND)
assert SHAPE is not None
TREE = CODEC.tree_writer(KIND)
BY_QUERY = compile_binder(codec=CODEC, message=SHAPE, variables=[("text",)])
BY_BODY = compile_binder(codec=CODEC, message=SHAPE, variables=[("text",)], body="*")

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_VALUES: dict[str, st.SearchStrategy[str]] = {
    "i32": st.integers(-(2**31), 2**31 - 1).map(str),
    "u64": st.integers(0, 2**64 - 1).map(str),
    "s64": st.integers(-(2**63), 2**63 - 1).map(str),
    "flag": st.sampled_from(["true", "false"]),
    "decoded": _TEXT,
    "boxedText": _TEXT,
    "state": st.sampled_from(["STATE_NEW", "STATE_PAID"]),
    "child.text": _TEXT,
    "child.i64": st.integers(-(2**63), 2**63 - 1).map(str),
    "child.child.maybe": st.integers(0, 9).map(str),
    "at": st.sampled_from(["2024-01-02T03:04:05Z", "1969-12-31T23:59:59.999Z"]),
    "labels[a&b=c]": _TEXT,
}


def _tree_of(pairs: dict[str, str], text: str) -> dict[str, Any]:
    """The JSON body that says the same as the query; texts of numbers may stand quoted."""
    tree: dict[str, Any] = {"text": text}
    for key, value in pairs.items():
        if key.startswith("labels["):
            tree["labels"] = {key[7:-1]: value}
            continue
        *above, last = key.split(".")
        here = tree
        for name in above:
            here = here.setdefault(name, {})
        here[last] = value == "true" if last == "flag" else value
    return tree


@pytest.mark.rule("transcoding.55")
@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional=_VALUES), _TEXT)
def test_query_and_body_of_equal_meaning_bind_equally(pairs: dict[str, str], text: str) -> None:
    by_query = BY_QUERY.bind((text,), urlencode(pairs).encode(), b"")

    assert TREE(by_query) == TREE(CODEC.tree_reader(KIND)(_tree_of(pairs, text)))


_KEYS = st.sampled_from(
    ["i32", "child.i32", "child", "labels[a]", "labels[", "by_number[1]", "at", "lasts", "mask", "value",
     "struct", "octets", "single", "any", "text", "choiceText", "choice_number", "nope", "child..i32", ".", "[]",
     "children.i32", "boxed_octets", "key", "child." * 20 + "i32"]
) | st.text(max_size=6)  # fmt: skip


@pytest.mark.rule("transcoding.61")
@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(_KEYS, st.text(max_size=8) | st.integers().map(str)), max_size=5),
    st.booleans(),
)
def test_any_query_binds_or_is_the_client_s_fault(
    pairs: list[tuple[str, str]], escape: bool
) -> None:
    def octets(text: str) -> bytes:
        raw = text.encode("utf-8", "surrogatepass")
        return quote_from_bytes(raw).encode() if escape else raw

    query = b"&".join(octets(key) + b"=" + octets(value) for key, value in pairs)

    try:
        wire = BY_QUERY.bind(("x",), query, b"")
    except ClientError as error:
        _is_complete(error)
    else:
        CODEC.message_class(KIND).from_binary(wire)


def _is_complete(error: ClientError) -> None:
    assert error.status == 400
    assert error.violations or error.reason == "TOO_MANY_PARAMETERS"


@pytest.mark.rule("transcoding.83")
@settings(max_examples=150, deadline=None)
@given(_TEXT, st.none() | _TEXT)
def test_path_wins_or_the_request_is_refused(path: str, body: str | None) -> None:
    """Whatever the body says, no other value than the path's ever goes out."""
    tree = {} if body is None else {"text": body}
    text = CODEC.writer(KIND)(CODEC.tree_reader(KIND)(tree))

    try:
        wire = BY_BODY.bind((path,), b"", text)
    except ClientError as error:
        conflict = error.reason
        assert body not in {"", path}
        assert conflict == "FIELD_CONFLICT"
    else:
        assert TREE(wire).get("text", "") == path
        assert body in {None, "", path}


_PLAIN = st.sampled_from(
    [
        "i32=1",
        "i32=x",
        "i32=007",
        "i32=",
        "u64=18446744073709551615",
        "text=x",
        "text=y",
        "decoded=a+b",
        "decoded=%C3%BC",
        "decoded=%zz",
        "decoded=%ff",
        "flag=true",
        "flag=1",
        "boxedText=",
        "boxed_text=q",
        "maybe=0",
        "single=1.5",
        "octets=AQI",
        "child.text=a",
        "child.i32=0",
        "child.child.text=b",
        "child.child.maybe=0",
        "tags=a",
        "choiceText=a",
        "choice_number=1",
        "nope=1",
        "=x",
        "state=STATE_NEW",
        "state=9",
        "at=2024-01-02T03:04:05Z",
        "labels[a]=1",
    ]
)


def _outcome(query: str) -> object:
    try:
        return TREE(BY_QUERY.bind(("x",), query.encode(), b""))
    except ClientError as error:
        return error.reason, error.violations


@pytest.mark.rule("transcoding.55", "transcoding.158")
@settings(max_examples=500, deadline=None)
@given(st.lists(_PLAIN, max_size=5))
def test_a_parameter_that_is_skipped_changes_nothing(pairs: list[str]) -> None:
    """A query of plain keys takes a shorter way than one with any other key; both end alike."""
    query = "&".join(pairs)

    assert _outcome(query) == _outcome(f"{query}&key=1")
