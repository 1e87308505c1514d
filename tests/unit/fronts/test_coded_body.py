"""Coded bodies: read as what they hold, in any cut; refused for what no coding allows; held to their bounds."""

import gzip
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.core.exchange import BodyLimits
from bff.fronts.coded_body import CodedBody
from bff.fronts.codings import CODINGS, BrokenCodingError
from tests.support.door_bodies import exchange_of

pytestmark = pytest.mark.rule("transcoding.101")

KIB, MIB = 1024, 1024 * 1024
CODERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.compress,
}
TEXT = b'{"text":"' + bytes(range(32, 127)).replace(b'"', b"") * 3 + b'"}'


def inflate(coding: bytes, *parts: bytes) -> bytes:
    """What these octets hold. Raises ValueError where they end too early."""
    inflater = CODINGS[coding]()
    plain = b"".join(step for part in parts for step in inflater.take(part))
    if not inflater.is_whole:
        raise ValueError("it breaks off")
    return plain


def rle_bomb(blocks: int) -> bytes:
    """A zstd frame in which each four octets say 128 KiB (RFC 8878 3.1.1.2.2)."""
    block = ((128 * KIB << 3) | 0b010).to_bytes(3, "little") + b"a"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * blocks


BOMBS = {
    "gzip": (b"gzip", gzip.compress(bytes(50 * MIB), 9)),
    "br": (b"br", brotli.compress(bytes(50 * MIB))),
    "zstd": (b"zstd", zstandard.compress(bytes(50 * MIB))),
    "zstd of run lengths": (b"zstd", rle_bomb(16_000)),
}


@given(
    coding=st.sampled_from(sorted(CODERS)),
    texts=st.lists(st.binary(max_size=300), min_size=1, max_size=3),
    repeat=st.integers(1, 400),
    data=st.data(),
)
def test_a_body_is_read_as_what_it_holds_however_it_is_cut(
    coding: bytes, texts: list[bytes], repeat: int, data: st.DataObject
) -> None:
    """gzip and zstd also in several members."""
    texts = [text * repeat for text in (texts[:1] if coding == b"br" else texts)]
    octets = b"".join(map(CODERS[coding], texts))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    parts = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]

    assert inflate(coding, *parts) == b"".join(texts)


@pytest.mark.parametrize("coding", CODERS)
def test_a_body_cut_at_any_octet_breaks_off(coding: bytes) -> None:
    octets = CODERS[coding](TEXT)
    assert inflate(coding, octets) == TEXT

    for end in range(1, len(octets)):
        with pytest.raises(ValueError, match="it breaks off"):
            inflate(coding, octets[:end])


@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.parametrize("junk", [b"\0", b"x", b"junk behind it", b"\xff" * 20])
def test_what_stands_behind_a_body_is_refused(coding: bytes, junk: bytes) -> None:
    """At once, or as a member that never ends; in the same read or the next."""
    octets = CODERS[coding](TEXT)

    for parts in ((octets + junk,), (octets, junk)):
        with pytest.raises((BrokenCodingError, ValueError)):
            inflate(coding, *parts)


def test_brotli_is_one_stream() -> None:
    with pytest.raises(BrokenCodingError):
        inflate(b"br", brotli.compress(b"{}") * 2)


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
def test_members_are_counted(coding: bytes) -> None:
    member = CODERS[coding](b" ")
    assert inflate(coding, member * 64) == b" " * 64

    with pytest.raises(BrokenCodingError, match="too many members"):
        inflate(coding, member * 65)


def test_frames_of_zstd_that_hold_nothing_are_passed_over_and_counted() -> None:
    nothing = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    assert inflate(b"zstd", nothing, zstandard.compress(b"{}"), nothing) == b"{}"

    with pytest.raises(BrokenCodingError, match="too many members"):
        inflate(b"zstd", nothing * 65)


@pytest.mark.parametrize(("window_log", "is_taken"), [(23, True), (24, False)])
def test_a_frame_of_zstd_may_want_a_window_of_8_mib(window_log: int, is_taken: bool) -> None:
    """RFC 9659 3."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=window_log)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    octets = stream.compress(TEXT) + stream.flush()

    if is_taken:
        assert inflate(b"zstd", octets) == TEXT
    else:
        with pytest.raises(BrokenCodingError, match="memory"):
            inflate(b"zstd", octets)


@pytest.mark.parametrize("coding", CODERS)
@given(octets=st.binary(max_size=400))
def test_no_octets_end_in_another_way(coding: bytes, octets: bytes) -> None:
    """Neither noise nor a body with noise in it is anything but read, refused or too short."""
    good = CODERS[coding](TEXT)
    for sent in (octets, good[: len(good) // 2] + octets + good[len(good) // 2 :]):
        sizes: list[int] = []
        with suppress(BrokenCodingError):
            sizes += map(len, CODINGS[coding]().take(sent))
        assert all(0 < size <= 64 * KIB for size in sizes)


@pytest.mark.parametrize(("coding", "octets"), BOMBS.values(), ids=BOMBS)
async def test_a_bomb_is_refused_before_it_is_large(coding: bytes, octets: bytes) -> None:
    """With a cap that would allow all of it, it grows to a hundred times what came, and a few MiB beside."""
    most = max(64 * KIB, 100 * len(octets))
    body = CodedBody(await exchange_of(octets, b"never read", ends=False), CODINGS[coding])
    parts = body.read_parts(BodyLimits(cap_bytes=1024 * MIB))
    grown = 0

    tracemalloc.start()
    try:
        async for part in parts:
            grown += len(part)
        reason = ""
    except ClientError as error:
        reason = error.reason
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert reason == "BODY_TOO_LARGE"
    assert grown <= most
    assert peak_bytes < 8 * MIB


@pytest.mark.parametrize(("coding", "octets"), BOMBS.values(), ids=BOMBS)
async def test_a_bomb_is_held_to_the_cap_of_a_plain_body(coding: bytes, octets: bytes) -> None:
    exchange = await exchange_of(octets)
    body = CodedBody(exchange, CODINGS[coding])

    with pytest.raises(ClientError, match="BODY_TOO_LARGE"):
        await body.read_body(64 * KIB)

    assert exchange.unread


@pytest.mark.parametrize("coding", CODERS)
async def test_a_body_may_grow_to_just_its_cap(coding: bytes) -> None:
    octets = CODERS[coding](bytes(64 * KIB))

    body = await CodedBody(await exchange_of(octets), CODINGS[coding]).read_body(64 * KIB)
    assert body == bytes(64 * KIB)
    with pytest.raises(ClientError, match="BODY_TOO_LARGE"):
        await CodedBody(await exchange_of(octets), CODINGS[coding]).read_body(64 * KIB - 1)


@pytest.mark.parametrize("coding", CODERS)
async def test_an_empty_body_has_no_coding(coding: bytes) -> None:
    assert await CodedBody(await exchange_of(b""), CODINGS[coding]).read_body(10) == b""


@pytest.mark.parametrize("coding", CODERS)
async def test_a_body_that_breaks_off_is_a_fault_of_its_coding(coding: bytes) -> None:
    octets = CODERS[coding](TEXT)[:-1]

    with pytest.raises(ClientError, match="INVALID_CODING"):
        await CodedBody(await exchange_of(octets), CODINGS[coding]).read_body(MIB)
