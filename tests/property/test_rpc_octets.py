"""Octets of Connect and gRPC-Web: what is written is read again, and nothing else makes a fault of ours."""

import random
from base64 import b64encode, urlsafe_b64encode
from contextlib import suppress
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.transcoding.connect_protocol import read_get
from bff.transcoding.grpc_web import text_octets, trailer_frame
from bff.transcoding.message_frames import message_frame, read_frame


def read_message(body: bytes) -> bytes:
    return read_frame(body, coding=b"gzip", accept=b"grpc-accept-encoding", cap_bytes=100_000)


@pytest.mark.rule("transcoding.167")
@given(st.lists(st.binary(max_size=9), max_size=6))
def test_a_text_in_parts_is_their_octets(parts: list[bytes]) -> None:
    assert text_octets(b"".join(map(b64encode, parts))) == b"".join(parts)


@pytest.mark.rule("transcoding.167")
@given(st.binary(max_size=40), st.integers(1, 90), st.booleans())
def test_a_frame_is_read_again(message: bytes, times: int, is_zipped: bool) -> None:
    assert read_message(message_frame(message * times, is_zipped=is_zipped)) == message * times


_OCTETS = st.binary(max_size=40)


@pytest.mark.rule("transcoding.167")
@pytest.mark.parametrize(
    ("message", "is_zipped"),
    [
        (b"a" * 1023, False),
        (b"a" * 1024, True),
        (b"a" * 256 * 1024, True),
        (b"a" * (256 * 1024 + 1), False),
        (bytes(random.Random(1).randbytes(2048)), False),
    ],
    ids=["small", "just large enough", "largest", "too large", "does not shrink"],
)
def test_a_message_is_compressed_where_it_is_worth_it(message: bytes, is_zipped: bool) -> None:
    frame = message_frame(message, is_zipped=True)

    assert bool(frame[0]) == is_zipped
    assert len(frame) <= 5 + len(message)


def _zipped(payload: bytes) -> bytes:
    """A frame that says of any octets that they are compressed."""
    return b"\x01" + len(payload).to_bytes(4, "big") + payload


@pytest.mark.rule("transcoding.167")
@given(
    st.one_of(
        st.binary(max_size=40),
        st.binary(max_size=20).map(message_frame),
        st.binary(max_size=20).map(_zipped),
    )
)
def test_any_body_is_a_message_or_the_clients_fault(body: bytes) -> None:
    for read in (read_message, text_octets):
        with suppress(ClientError):
            read(body)


@pytest.mark.rule("transcoding.167")
@given(st.integers(0, 16), st.text(max_size=30))
def test_a_status_never_breaks_its_frame(code: int, message: str) -> None:
    """Line breaks in a service's words begin no field of their own."""
    frame = trailer_frame(code, message)

    assert frame[:1] == b"\x80"
    assert int.from_bytes(frame[1:5], "big") == len(frame) - 5
    lines = frame[5:].split(b"\r\n")
    assert len(lines) == (3 if message else 2)
    assert frame[5:].isascii()


@pytest.mark.rule("transcoding.166")
@given(st.binary(max_size=30), st.booleans())
def test_a_call_by_get_is_read_again(message: bytes, is_base64: bool) -> None:
    text = urlsafe_b64encode(message) if is_base64 else message
    more = b"&base64=1" if is_base64 else b""
    query = b"connect=v1&encoding=proto&message=" + quote_from_bytes(text, "").encode() + more

    assert read_get(query).message == message


@pytest.mark.rule("transcoding.166")
@given(st.binary(max_size=60))
def test_any_query_is_a_call_or_the_clients_fault(query: bytes) -> None:
    with suppress(ClientError):
        read_get(query)
