"""How many calls a second the canned upstream answers: one blocking connection, calls in pipelined batches.

No gateway is faster than what stands behind it, so a report without this figure proves nothing.
"""

import socket
import struct
import time

from msgspec import Struct

__all__ = ["Probe", "block_of", "frame_of", "greeting", "probe"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW = (1 << 31) - 1
_TIMEOUT_S = 30.0
_RECEIVE_BYTES = 1 << 20
_BATCH = 32


class Probe(Struct, frozen=True, kw_only=True):
    """Calls that were answered, and the wall time that they took in seconds."""

    calls: int
    seconds: float

    @property
    def calls_per_s(self) -> float:
        """The rate."""
        return self.calls / self.seconds


def probe(port: int, path: str, *, calls: int) -> Probe:
    """Call `path` so often (rounded up to whole batches). Raises OSError, or RuntimeError on a bad reply."""
    batches = -(-calls // _BATCH)
    block = block_of(path)
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(greeting())
        # The first batch carries the emptying of the table and warms up; it is not counted.
        reader = _Reader(connection)
        _batch(connection, reader, b"\x20" + block, block, 1)
        started_s = time.perf_counter()
        for number in range(1, batches + 1):
            _batch(connection, reader, block, block, 1 + number * _BATCH * 2)
        seconds = time.perf_counter() - started_s
    return Probe(calls=batches * _BATCH, seconds=seconds)


def greeting() -> bytes:
    """What a client sends first: no header table, and windows so wide that none need be watched for long."""
    settings = struct.pack(">HIHI", 1, 0, 4, _WINDOW)
    wide = struct.pack(">I", _WINDOW - 65_535)
    return _PREFACE + frame_of(4, 0, 0, settings) + frame_of(8, 0, 0, wide)


def _batch(
    connection: socket.socket, reader: "_Reader", first: bytes, other: bytes, stream: int
) -> None:
    out = []
    for n in range(_BATCH):
        out.append(frame_of(1, 0x4, stream + 2 * n, other if n else first))
        out.append(frame_of(0, 0x1, stream + 2 * n, b"\x00\x00\x00\x00\x0a\x0a\x08ord-0001"))
    connection.sendall(b"".join(out))
    reader.read_ends(_BATCH)


class _Reader:
    """Counts the frames that end a stream; gives the connection's window back as data come."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def read_ends(self, count: int) -> None:
        while count > 0:
            got = self._connection.recv(_RECEIVE_BYTES)
            if not got:
                raise RuntimeError("the upstream closed the connection")
            data = self._rest + got
            at = 0
            received_bytes = 0
            while len(data) - at >= 9:
                high, low, kind, flags, _ = struct.unpack_from(">HBBBI", data, at)
                size = high << 8 | low
                if at + 9 + size > len(data):
                    break
                if kind == 0:
                    received_bytes += size
                if kind == 1 and flags & 0x1:
                    count -= 1
                    if not data.startswith(b"\x00\x0bgrpc-status\x010", at + 9):
                        raise RuntimeError("the upstream answered with an error")
                at += 9 + size
            self._rest = data[at:]
            if received_bytes:
                self._connection.sendall(frame_of(8, 0, 0, struct.pack(">I", received_bytes)))


def block_of(path: str) -> bytes:
    """The header block of a call: literals that no table keeps, Huffman coding left out (RFC 7541 6.2.2)."""
    fields = (("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "5S"))
    block = b"\x83\x86" + b"\x04" + _text(path)
    return block + b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)


def _text(text: str) -> bytes:
    raw = text.encode()
    return bytes([len(raw)]) + raw


def frame_of(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame of HTTP/2 (RFC 9113 4.1)."""
    size = len(payload)
    return struct.pack(">HBBBI", size >> 8, size & 0xFF, kind, flags, stream) + payload
