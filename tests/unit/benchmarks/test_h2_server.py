"""The canned upstream's protocol, octet by octet, over a transport that only remembers."""

import asyncio
import struct
from typing import Any

import hpack
import pytest

from benchmarks.h2_server import CannedProtocol, frames_of
from benchmarks.hpack_prefix import end_of_path, path_of

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATH = "/bench.v1.OrderService/GetLarge"
MESSAGE = bytes(range(256)) * 40
FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", "127.0.0.1:50051"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def window(stream: int, credit: int) -> bytes:
    return frame(8, 0, stream, struct.pack(">I", credit))


def connect() -> tuple[CannedProtocol, Transport]:
    protocol = CannedProtocol(frames_of({PATH: MESSAGE}))
    transport = Transport()
    protocol.connection_made(transport)
    transport.sent.clear()
    return protocol, transport


def call(block: bytes, stream: int = 1) -> bytes:
    return frame(1, 0x4, stream, block) + frame(0, 0x1, stream, b"\0\0\0\0\0")


def context_free_block(path: str = PATH, *, huffman: bool = True, first: bool = True) -> bytes:
    """What a client sends that follows our SETTINGS; its first block empties the table."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    fields = [(name, path if name == ":path" else value, True) for name, value in FIELDS]
    block = bytes(encoder.encode(fields, huffman=huffman))
    return block if first else block.removeprefix(b"\x20")


def frames_in(octets: bytes) -> list[tuple[int, int, int, bytes]]:
    found = []
    at = 0
    while at < len(octets):
        size = int.from_bytes(octets[at : at + 3])
        kind, flags, stream = struct.unpack_from(">BBI", octets, at + 3)
        found.append((kind, flags, stream, octets[at + 9 : at + 9 + size]))
        at += 9 + size
    return found


def reply_of(octets: bytes, stream: int) -> tuple[bytes, list[tuple[str, str]]]:
    """The message and the trailers of one stream."""
    body = b""
    trailers: list[tuple[str, str]] = []
    for kind, flags, number, payload in frames_in(octets):
        if number == stream and kind == 0:
            body += payload
        if number == stream and kind == 1 and flags & 0x1:
            trailers = [(str(n), str(v)) for n, v in hpack.Decoder().decode(payload)]
    return body, trailers


WHOLE = b"\0" + struct.pack(">I", len(MESSAGE)) + MESSAGE


@pytest.mark.parametrize("cut", [1, 9, 24, 30, 60, 90])
def test_a_call_in_two_parts_is_answered_as_in_one(cut: int) -> None:
    octets = PREFACE + frame(4, 0, 0) + call(context_free_block())
    protocol, transport = connect()

    protocol.data_received(octets[:cut])
    protocol.data_received(octets[cut:])

    assert reply_of(bytes(transport.sent), 1) == (WHOLE, [("grpc-status", "0")])
    assert (4, 1, 0, b"") in frames_in(bytes(transport.sent))


def test_a_client_with_a_dynamic_table_is_understood_until_it_empties_it() -> None:
    """The first calls of a client may be coded before it has read our SETTINGS."""
    encoder = hpack.Encoder()
    protocol, transport = connect()

    protocol.data_received(PREFACE)
    for stream in (1, 3):
        protocol.data_received(call(bytes(encoder.encode(FIELDS)), stream))
    encoder.header_table_size = 0
    for stream in (5, 7, 9):
        protocol.data_received(call(bytes(encoder.encode(FIELDS)), stream))
        protocol.data_received(window(0, len(WHOLE)))

    for stream in (1, 3, 5, 7, 9):
        assert reply_of(bytes(transport.sent), stream)[0] == WHOLE, stream


def test_paths_with_a_common_beginning_are_told_apart() -> None:
    longer = PATH + "Again"
    protocol = CannedProtocol(frames_of({PATH: b"short", longer: b"long"}))
    transport = Transport()
    protocol.connection_made(transport)

    protocol.data_received(PREFACE + call(context_free_block()))
    for stream, path in ((3, PATH), (5, longer), (7, PATH)):
        protocol.data_received(call(context_free_block(path, first=False), stream))

    sent = bytes(transport.sent)
    assert [reply_of(sent, stream)[0][5:] for stream in (3, 5, 7)] == [b"short", b"long", b"short"]


def test_a_reply_waits_for_the_windows_and_goes_on() -> None:
    """RFC 9113 5.2: no more octets than the smaller of both windows, then the rest as credit comes."""
    protocol, transport = connect()
    small = frame(4, 0, 0, struct.pack(">HI", 4, 100))

    protocol.data_received(PREFACE + small + call(context_free_block()))
    held_back = reply_of(bytes(transport.sent), 1)
    protocol.data_received(window(1, 50))
    with_credit = reply_of(bytes(transport.sent), 1)
    protocol.data_received(window(1, len(WHOLE)))

    assert held_back == (WHOLE[:100], [])
    assert with_credit == (WHOLE[:150], [])
    assert reply_of(bytes(transport.sent), 1) == (WHOLE, [("grpc-status", "0")])


def test_the_window_of_the_connection_bounds_all_streams() -> None:
    protocol, transport = connect()
    protocol.data_received(PREFACE + call(context_free_block()))
    streams = [3, 5, 7, 9, 11, 13, 15]

    protocol.data_received(b"".join(call(context_free_block(first=False), n) for n in streams))
    sent_bytes = sum(len(data) for kind, _, _, data in frames_in(bytes(transport.sent)) if not kind)
    protocol.data_received(window(0, 1 << 20))

    assert sent_bytes == 65_535
    assert all(reply_of(bytes(transport.sent), n)[0] == WHOLE for n in streams)


def test_a_limit_of_the_table_is_answered_with_one_update() -> None:
    """RFC 7541 4.2: the first header block after the acknowledgement begins with it, no later one."""
    protocol, transport = connect()
    no_table = frame(4, 0, 0, struct.pack(">HI", 1, 0))

    protocol.data_received(PREFACE + no_table + call(context_free_block()))
    protocol.data_received(call(context_free_block(first=False), 3))

    blocks = [data for kind, _, _, data in frames_in(bytes(transport.sent)) if kind == 1]
    assert [block[0] == 0x20 for block in blocks] == [True, False, False, False]
    assert reply_of(bytes(transport.sent), 1) == (WHOLE, [("grpc-status", "0")])


def test_an_unknown_method_is_unimplemented_and_a_ping_is_answered() -> None:
    protocol, transport = connect()

    protocol.data_received(PREFACE + call(context_free_block("/other/Method")))
    protocol.data_received(frame(6, 0, 0, b"12345678"))

    assert reply_of(bytes(transport.sent), 1)[1][-1] == ("grpc-status", "12")
    assert (6, 1, 0, b"12345678") in frames_in(bytes(transport.sent))


def test_what_is_not_http2_is_hung_up_on() -> None:
    protocol, transport = connect()

    protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert transport.closed
    assert not transport.sent


@pytest.mark.parametrize("huffman", [True, False])
def test_the_path_is_found_whatever_its_coding(huffman: bool) -> None:
    block = context_free_block(huffman=huffman)

    end = end_of_path(block)

    assert path_of(block[:end]) == PATH.encode()
    assert end < len(block)


@pytest.mark.parametrize(
    "block", [b"\x83\x86", b"\xbe", b"\x04\x05/a"], ids=["no path", "dynamic entry", "cut"]
)
def test_blocks_that_cannot_be_read_are_refused(block: bytes) -> None:
    with pytest.raises(ValueError):
        end_of_path(block)
