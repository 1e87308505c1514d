"""JSON of strangers is read strictly."""

import pytest

from bff.core.errors import ClientError
from bff.core.json_text import read_json


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        (b'{"a":1,"b":[{"c":null}]}', {"a": 1, "b": [{"c": None}]}),
        (b' { "a" : 1 } ', {"a": 1}),
        (b'{"a":{"x":1},"b":{"x":1}}', {"a": {"x": 1}, "b": {"x": 1}}),
        (b'"text"', "text"),
    ],
    ids=["compact", "spaced", "one key in two objects", "scalar"],
)
def test_sound_text_is_a_tree(text: bytes, tree: object) -> None:
    assert read_json(text) == tree


@pytest.mark.rule("graphql.7.2")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":1,"a":1}', "DUPLICATE_FIELD"),
        (b'{"v":{"b":[{"k":1, "k":2}]}}', "DUPLICATE_FIELD"),
        (b'{"a":1', "INVALID_JSON"),
        (b'{"a":1}x', "INVALID_JSON"),
        (b'{"a":"\xff"}', "INVALID_JSON"),
        (b"", "INVALID_JSON"),
        (b"[" * 100_000, "TOO_DEEP"),
    ],
    ids=["doubled", "doubled below", "cut", "tail", "not UTF-8", "empty", "deep"],
)
def test_unsound_text_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(ClientError) as refused:
        read_json(text)

    assert refused.value.reason == reason


def test_the_doubled_key_is_named() -> None:
    with pytest.raises(ClientError) as refused:
        read_json(b'{"query":"{a}","query":"{b}"}')

    assert refused.value.violations[0].field == "query"
