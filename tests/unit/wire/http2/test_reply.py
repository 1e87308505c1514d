"""What the end of a call means to its caller."""

import gzip
import zlib

import pytest

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.wire.http2.headers import BlockMemo, MemoDecoder
from bff.wire.http2.reply import failure_of, message_of, metadata_of
from bff.wire.http2.stream import Fault, Stream
from tests.support.h2_server import GRPC, OK, block, grpc_message

Pairs = tuple[tuple[bytes, bytes], ...]
pytestmark = pytest.mark.rule("upstreams.2")


def ended(*trailers: tuple[bytes, bytes], headers: Pairs = GRPC, body: bytes = b"") -> Stream:
    decode = MemoDecoder(BlockMemo()).decode
    stream = Stream(b"", b"")
    stream.headers = decode(block(*headers))
    stream.trailers = decode(block(*trailers)) if trailers else None
    stream.body = body
    return stream


def failure(stream: Stream, *, overdue: bool = False, max_bytes: int = 1_000) -> UpstreamError:
    try:
        assert message_of(stream, max_bytes=max_bytes) is None
    except UpstreamError as error:
        return error
    return failure_of(stream, overdue=overdue)


@pytest.mark.parametrize("message", [b"", b"hi", b"\0" * 1_000])
def test_a_message_with_status_0_is_the_reply(message: bytes) -> None:
    assert message_of(ended(*OK, body=grpc_message(message)), max_bytes=10) == message


GZIP: Pairs = (*GRPC, (b"grpc-encoding", b"gzip"))
PACKED = gzip.compress(b"x" * 1_000)


def test_gzip_is_read_up_to_the_limit() -> None:
    stream = ended(*OK, headers=GZIP, body=grpc_message(PACKED, flag=1))

    assert message_of(stream, max_bytes=1_000) == b"x" * 1_000
    error = failure(stream, max_bytes=999)

    assert (error.reason, error.code) == ("REPLY_TOO_LARGE", Code.RESOURCE_EXHAUSTED)


def test_a_bomb_is_not_inflated_beyond_the_limit() -> None:
    bomb = zlib.compressobj(9, wbits=31)
    packed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(64)) + bomb.flush()

    error = failure(ended(*OK, headers=GZIP, body=grpc_message(packed, flag=1)))

    assert error.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (GRPC, b""), (GRPC, b"\0\0\0"), (GRPC, b"\0\0\0\0\3hi"), (GRPC, grpc_message(b"hi") * 2),
        (GRPC, grpc_message(b"hi") + b"x"), (GRPC, grpc_message(b"hi", flag=2)),
        (GRPC, grpc_message(PACKED, flag=1)), (GZIP, grpc_message(b"hi", flag=1)),
        (GZIP, grpc_message(PACKED[:-3], flag=1)), (GZIP, grpc_message(PACKED + b"x", flag=1)),
        ((*GRPC, (b"grpc-encoding", b"br")), grpc_message(PACKED, flag=1)),
    ],
    ids=["none", "cut-prefix", "past-end", "two", "trailing", "flag-2", "no-encoding", "no-gzip",
         "cut-gzip", "gzip-and-more", "unknown-encoding"],
)  # fmt: skip
def test_ok_without_one_sound_message_is_internal(headers: Pairs, body: bytes) -> None:
    error = failure(ended(*OK, headers=headers, body=body))

    assert (error.reason, error.code, error.origin) == ("UPSTREAM_PROTOCOL", Code.INTERNAL, "wire")


@pytest.mark.parametrize(
    ("status", "kind", "code", "http"),
    [
        (b"400", b"application/grpc", Code.INTERNAL, 502), (b"401", b"", Code.UNAUTHENTICATED, 502),
        (b"403", b"text/html", Code.PERMISSION_DENIED, 502), (b"404", b"", Code.UNIMPLEMENTED, 502),
        (b"429", b"", Code.UNAVAILABLE, 503), (b"431", b"", Code.INTERNAL, 502),
        (b"502", b"", Code.UNAVAILABLE, 503), (b"503", b"", Code.UNAVAILABLE, 503),
        (b"504", b"", Code.UNAVAILABLE, 503), (b"500", b"", Code.UNKNOWN, 502),
        (b"200", b"text/html", Code.UNKNOWN, 502), (b"200", b"application/grpc", Code.UNKNOWN, 502),
    ],
)  # fmt: skip
def test_an_end_without_grpc_status_means(
    status: bytes, kind: bytes, code: Code, http: int
) -> None:
    headers = ((b":status", status), (b"content-type", kind))

    for trailers in ((), ((b"x-t", b"1"),)):
        error = failure(ended(*trailers, headers=headers, body=b"<html>"))
        assert (error.code, error.status, error.origin) == (code, http, "wire")


@pytest.mark.parametrize(
    ("number", "code", "reason", "origin"),
    [
        *((b"%d" % code, code, code.name, "service") for code in Code if code is not Code.OK),
        (b"99", Code.UNKNOWN, "UNKNOWN", "service"),
        (b"abc", Code.INTERNAL, "UPSTREAM_PROTOCOL", "wire"),
    ],
)
def test_a_status_of_the_service_passes(
    number: bytes, code: Code, reason: str, origin: str
) -> None:
    odd = ((b":status", b"503"), (b"content-type", b"text/html"))

    for headers in (GRPC, odd):
        error = failure(ended((b"grpc-status", number), headers=headers, body=grpc_message(b"hi")))
        assert (error.code, error.reason, error.origin) == (code, reason, origin)


@pytest.mark.parametrize(
    ("sent", "text"),
    [(b"plain", "plain"), (b"na%C3%AFve", "naïve"), (b"100%zz%4", "100%zz%4"), (b"%FF", "\N{REPLACEMENT CHARACTER}"),
     (b"x" * 2_000, "x" * 1_024)],
)  # fmt: skip
def test_grpc_message_is_decoded_and_bounded(sent: bytes, text: str) -> None:
    assert failure(ended((b"grpc-status", b"5"), (b"grpc-message", sent))).message == text


@pytest.mark.rule("transcoding.151")
@pytest.mark.parametrize(
    ("sent", "details"),
    [(b"CAU", b"\x08\x05"), (b"CAU=", b"\x08\x05"), (b"C", b""), (b"?", b""),
     (b"A" * 21_848, b""), (b"A" * 21_844, bytes(16_383))],
)  # fmt: skip
def test_details_are_decoded_padded_or_not(sent: bytes, details: bytes) -> None:
    error = failure(ended((b"grpc-status", b"5"), (b"grpc-status-details-bin", sent)))

    assert error.details_bin == details


@pytest.mark.parametrize(
    ("sent", "pushback"), [(b"70", 70), (b"0", 0), (b"-1", -1), (b"soon", -1), (b"9" * 10, -1)]
)
def test_pushback_is_a_number_or_a_no(sent: bytes, pushback: int) -> None:
    error = failure(ended((b"grpc-status", b"14"), (b"grpc-retry-pushback-ms", sent)))

    assert error.pushback_ms == pushback


def test_a_cancelled_after_the_deadline_is_the_deadline() -> None:
    reset = ended()
    reset.fault = Fault(reason="CANCELLED", code=Code.CANCELLED, detail="reset")

    for stream in (reset, ended((b"grpc-status", b"1")), ended((b"grpc-status", b"4"))):
        assert failure(stream).reason in {"CANCELLED", "DEADLINE_EXCEEDED"}
        late = failure(stream, overdue=True)
        assert (late.reason, late.code, late.origin) == ("TIMEOUT", Code.DEADLINE_EXCEEDED, "wire")
    assert failure(ended((b"grpc-status", b"5")), overdue=True).reason == "NOT_FOUND"


def test_metadata_leave_the_protocols_own_fields_out() -> None:
    stream = ended(*OK, (b"x-t-bin", b"AAE"), (b"x-u-bin", b"?"), headers=(*GRPC, (b"x-a", b"1")))

    assert metadata_of(stream) == ((("x-a", "1"), ("x-t-bin", b"\0\1")), 1)
    stream.headers = stream.trailers
    assert metadata_of(stream) == ((("x-t-bin", b"\0\1"),), 0)
