"""Frames of the subprotocol: what is an envelope, and what is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.transcoding.envelopes import read_envelope

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@pytest.mark.rule("transcoding.135")
@given(_JSON, st.sampled_from(["", " ", "\n\t"]), st.booleans())
def test_a_message_comes_out_as_it_went_in(message: object, space: str, plain: bool) -> None:
    text = json.dumps(message, ensure_ascii=plain)
    if not plain and any("\ud800" <= each <= "\udfff" for each in text):
        return
    frame = f'{space}{{{space}"message"{space}:{space}{text}{space}}}{space}'

    assert read_envelope(frame.encode()) == text.encode()


@pytest.mark.rule("transcoding.135")
@pytest.mark.parametrize("frame", [b'{"end":true}', b' {"end" : true }\n'])
def test_the_end_is_no_message(frame: bytes) -> None:
    assert read_envelope(frame) is None


@pytest.mark.rule("transcoding.136")
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"null",
        b"{}",
        b'{"end":1}',
        b'{"end":null}',
        b'{"end":false}',
        b'{"end":true,"end":true}',
        b'{"end":false,"end":true}',
        b'{"message":1,"message":2}',
        b'{"message":2,"message":2}',
        b'{"message":"a","message":{}}',
        b'{"message":{},"end":true}',
        b'{"message":{},"id":1}',
        b'{"message":{}}{"message":{}}',
        b'{"message":{}',
        b"\xff",
        b'[{"message":{}}]',
    ],
)
def test_anything_else_is_refused(frame: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        read_envelope(frame)

    assert caught.value.reason == "INVALID_JSON"
