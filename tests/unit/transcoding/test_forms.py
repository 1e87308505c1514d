"""HttpBody replies, read from their octets."""

import pytest
from google.api import httpbody_pb2
from google.protobuf import any_pb2

from bff.core.errors import UpstreamError
from bff.transcoding.forms import OCTETS, http_body_reader

READ = http_body_reader()


def wire(content_type: str, content: bytes) -> bytes:
    body = httpbody_pb2.HttpBody(
        content_type=content_type, data=content, extensions=[any_pb2.Any()]
    )
    octets: bytes = body.SerializeToString()
    return octets


@pytest.mark.rule("transcoding.118")
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\r\n", b"x" * 100_000], ids=["none", "binary", "large"]
)
def test_content_goes_out_as_it_is(content: bytes) -> None:
    assert READ(wire("image/png", content)) == ("image/png", content)


@pytest.mark.rule("transcoding.118")
@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("", OCTETS),
        ("text/html; charset=utf-8", "text/html; charset=utf-8"),
        ("application/vnd.x+json", "application/vnd.x+json"),
        ("text/html\r\nset-cookie: a=b", OCTETS),
        ("text/html; a=b\n", OCTETS),
        ("html", OCTETS),
        ("text/", OCTETS),
        ("text/ü", OCTETS),
    ],
)
def test_content_type_is_a_media_type_or_octets(sent: str, shown: str) -> None:
    assert READ(wire(sent, b"x"))[0] == shown


@pytest.mark.rule("transcoding.118")
def test_unknown_fields_are_skipped() -> None:
    unknown = b"\x20\x96\x01" + b"\x29" + bytes(8) + b"\x35" + bytes(4)

    assert READ(unknown + wire("a/b", b"x")) == ("a/b", b"x")


@pytest.mark.rule("transcoding.117")
@pytest.mark.parametrize(
    "octets",
    [
        b"\x0a\x05ab",
        b"\xff",
        b"\x0a\x01\xff",
        b"\x00",
        b"\x0b",
        b"\x29\x00",
        b"\x0a" + b"\xff" * 11,
    ],
    ids=["cut", "varint", "not utf-8", "field 0", "group", "cut fixed", "long varint"],
)
def test_octets_that_are_no_http_body(octets: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        READ(octets)

    assert caught.value.reason == "UPSTREAM_MESSAGE"
