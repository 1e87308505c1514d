"""Header blocks both ways: ours read back by hpack, the peer's with all they may do wrong."""

import hpack
import pytest

from bff.core.errors import GatewayBug
from bff.wire.http2.frames import ConnectionFault, ErrorCode
from bff.wire.http2.headers import (
    ABSENT,
    BROKEN,
    FIELD_EXTRA_BYTES,
    BlockMemo,
    MemoDecoder,
    RequestBlocks,
    TableDecoder,
    measured,
)
from tests.support.h2_server import GRPC, block

pytestmark = pytest.mark.rule("upstreams.1")


def requests(scheme: str = "http") -> RequestBlocks:
    return RequestBlocks(
        scheme=scheme, authority="orders", user_agent="grpc-python-bff/1", accept="identity"
    )


def read(raw: bytes) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in hpack.Decoder().decode(raw)]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_shared_block_holds_what_all_requests_have(scheme: str) -> None:
    shared = requests(scheme).of("/shop.v1.Orders/Get")

    fields = read(shared.encoded)

    assert fields == [
        (":method", "POST"), (":scheme", scheme), (":path", "/shop.v1.Orders/Get"),
        (":authority", "orders"), ("te", "trailers"), ("content-type", "application/grpc"),
        ("user-agent", "grpc-python-bff/1"), ("grpc-accept-encoding", "identity"),
    ]  # fmt: skip
    timeout = len("grpc-timeout") + 9 + 32
    assert shared.list_bytes == measured(shared.encoded) + timeout
    assert measured(shared.encoded) == sum(len(name) + len(value) + 32 for name, value in fields)


def test_the_shared_block_is_encoded_once() -> None:
    blocks = requests()

    assert blocks.of("/a/B") is blocks.of("/a/B")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(1, "1m"), (99_999_999, "99999999m"), (100_000_000, "100000S"), (10**15, "99999999S")],
)
def test_a_timeout_has_eight_digits_at_most(milliseconds: int, text: str) -> None:
    assert read(requests().timeout(milliseconds)) == [("grpc-timeout", text)]


def test_metadata_are_literals_that_no_table_keeps() -> None:
    pairs: list[tuple[str, str | bytes]] = [
        ("x-user", "u1"), ("authorization", "Bearer secret"), ("x-raw-bin", b"\0\1"),
        ("x-long", "v" * 300), ("x-user", ""), ("accept-language", "de"), ("x-trim", " v "),
    ]  # fmt: skip
    decoder = hpack.Decoder()

    raw = requests().of_metadata(pairs)
    fields = decoder.decode(raw)

    assert [tuple(field) for field in fields] == [
        ("x-user", "u1"), ("authorization", "Bearer secret"), ("x-raw-bin", "AAE"),
        ("x-long", "v" * 300), ("x-user", ""), ("accept-language", "de"), ("x-trim", "v"),
    ]  # fmt: skip
    size = sum(len(name) + len(value) + 32 for name, value in fields)
    assert measured(raw) == size <= len(raw) + FIELD_EXTRA_BYTES * len(pairs)
    assert not decoder.header_table.dynamic_entries
    assert [field.indexable for field in fields].index(False) == 1
    assert sum(not field.indexable for field in fields) == 1


@pytest.mark.parametrize(
    "pair",
    [("Bad", "v"), ("x y", "v"), (":path", "/"), ("", "v"), ("x-a", "a\nb"), ("x-a", "ä"),
     ("x-a", b"raw"), ("x-a-bin", "text\x00")],
)  # fmt: skip
def test_what_is_no_metadata_is_a_bug_of_ours(pair: tuple[str, str | bytes]) -> None:
    with pytest.raises(GatewayBug):
        requests().of_metadata([pair])


def test_blocks_are_kept_on_second_sight_and_bounded() -> None:
    memo = BlockMemo()
    decode = MemoDecoder(memo).decode
    raw = block(*GRPC)

    first, second, third = decode(raw), decode(raw), decode(raw)

    assert first is not second
    assert second is third
    for number in range(10_000):
        decode(block(*GRPC, (b"x-n", b"%d" % number)))
        assert decode(raw) is second
    assert len(memo) <= 4_096
    decode(block(*GRPC, (b"x-long", b"v" * 1_000)))
    big = block(*GRPC, (b"x-long", b"v" * 1_000))
    assert decode(big) is not decode(big)


@pytest.mark.parametrize(
    "raw",
    [b"\x88\x40\x03x-a\x01v", b"\x88\xbe", b"\x3f\x01", b"\x20\x3f\x01", b"\x20\xbe", b"\x20\xff\xff\xff\xff\xff\xff",
     b"\x20\x00\x01", b"\x20\x88\x20", b"\x20\x80", b"\x20\x00\x81\xff\x00"],
    ids=["no-update", "no-update-dynamic", "grown", "grown-again", "dynamic", "long-index", "cut",
         "late-update", "index-0", "bad-huffman"],
)  # fmt: skip
def test_a_block_that_needs_a_table_or_is_broken_is_a_compression_error(raw: bytes) -> None:
    with pytest.raises(ConnectionFault) as caught:
        MemoDecoder(BlockMemo()).decode(raw)

    assert caught.value.code is ErrorCode.COMPRESSION_ERROR
    assert "<memory" not in str(caught.value)


def test_a_first_block_that_needs_no_table_may_lack_the_update() -> None:
    decode = MemoDecoder(BlockMemo()).decode

    assert decode(b"\x88").status == 200
    assert decode(b"\x88\x00\x0bgrpc-status\x014").grpc_code == 4
    with pytest.raises(ConnectionFault):
        decode(b"\x88\x40\x03x-a\x01v")


def test_a_literal_to_be_indexed_is_read_and_forgotten() -> None:
    decode = MemoDecoder(BlockMemo()).decode
    literal = b"\x20\x88\x40\x03x-a\x01v"

    assert decode(literal).pairs == ((b":status", b"200"), (b"x-a", b"v"))
    with pytest.raises(ConnectionFault):
        decode(b"\x88\xbe")


def test_with_a_table_blocks_depend_on_those_before() -> None:
    decode = TableDecoder().decode

    decode(b"\x88\x40\x03x-a\x01v")

    assert decode(b"\x88\xbe").pairs == ((b":status", b"200"), (b"x-a", b"v"))
    with pytest.raises(ConnectionFault):
        decode(b"\xbf")


def test_a_bomb_in_the_table_ends_the_connection() -> None:
    decode = TableDecoder().decode
    decode(b"\x88\x40\x03x-a\x7f\xa1\x1e" + b"v" * 4000)

    assert decode(b"\x88" + b"\xbe" * 20).is_too_large
    with pytest.raises(ConnectionFault) as caught:
        decode(b"\x88" + b"\xbe" * 200)

    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([], ABSENT), ([b"0"], 0), ([b"16"], 16), ([b"17"], 17), ([b"007"], 7), ([b""], BROKEN),
        ([b"-1"], BROKEN), ([b"+1"], BROKEN), ([b" 1"], BROKEN), ([b"x"], BROKEN),
        ([b"9" * 9_000], 999), ([b"5", b"5"], 5), ([b"5", b"6"], BROKEN), ([b"0", b"x"], BROKEN),
    ],
)  # fmt: skip
@pytest.mark.rule("upstreams.2")
def test_grpc_status_reads_as(fields: list[bytes], code: int) -> None:
    found = MemoDecoder(BlockMemo()).decode(block(*((b"grpc-status", value) for value in fields)))

    assert found.grpc_code == code


@pytest.mark.parametrize(
    ("kind", "is_grpc"),
    [(b"application/grpc", True), (b"application/grpc+proto", True), (b"Application/gRPC;x=1", True),
     (b"application/grpc-web", False), (b"text/html", False), (b"", False)],
)  # fmt: skip
def test_a_content_type_is_grpc(kind: bytes, is_grpc: bool) -> None:
    found = MemoDecoder(BlockMemo()).decode(block((b":status", b"200"), (b"content-type", kind)))

    assert found.is_grpc is is_grpc
