"""An open loop: requests leave at a fixed rate, whatever the replies do, and latency counts from when each was due.

So a gateway that stalls is charged for all who waited (no coordinated omission). If every connection
is taken, a request waits here for one, and that too counts. A loop of its own around select(2), whose
timeout is in microseconds; the timers of event loops are in milliseconds, longer than what is measured.
`python -m benchmarks.open_loop --help`; prints one JSON line.
"""

import argparse
import ctypes
import json
import select
import socket
import struct
import time
from collections import deque

from benchmarks.h2_probe import block_of, frame_of, greeting
from benchmarks.load import Target, request_of

__all__ = ["GrpcWire", "HttpWire", "Wire", "main", "run"]

_CONNECTIONS = 64
_RECEIVE_BYTES = 1 << 18
# Whatever hangs: no reply for so long ends the run.
_STALL_S = 10.0
_PR_SET_TIMERSLACK = 29


class Wire:
    """One connection, one request at a time: what to send, and whether a reply is whole."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_STALL_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_s = 0.0
        self._buffer = b""

    def send(self, due_s: float) -> None:
        """Ask; a request is far smaller than a socket's buffer, so this does not wait."""
        self.due_s = due_s
        self.socket.sendall(self._request())

    def receive(self) -> bool:
        """Take what came; True once the reply is whole. Raises RuntimeError if it is not the right one."""
        data = self.socket.recv(_RECEIVE_BYTES)
        if not data:
            raise RuntimeError("a connection was closed")
        self._buffer += data
        used = self._whole(self._buffer)
        self._buffer = self._buffer[used:]
        return used > 0

    def _request(self) -> bytes:
        raise NotImplementedError

    def _whole(self, buffer: bytes) -> int:
        """Octets of the reply if the buffer holds it all, else 0."""
        raise NotImplementedError


class HttpWire(Wire):
    """HTTP/1.1 to a gateway."""

    def __init__(self, port: int, request: bytes, body_bytes: int) -> None:
        super().__init__(port)
        self._fixed = request
        self._body_bytes = body_bytes

    def _request(self) -> bytes:
        return self._fixed

    def _whole(self, buffer: bytes) -> int:
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if not buffer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"a reply was {buffer[:40]!r}")
        # The sample before the run said how long replies are.
        size = end + 4 + self._body_bytes
        return size if len(buffer) >= size else 0


class GrpcWire(Wire):
    """HTTP/2 to the canned upstream itself."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(port)
        self.socket.sendall(greeting())
        # The first block tells that we keep no table, as `h2_probe`.
        self._block = block_of(path)
        self._prefix = b"\x20"
        self._stream = -1

    def _request(self) -> bytes:
        self._stream += 2
        head = frame_of(1, 0x4, self._stream, self._prefix + self._block)
        self._prefix = b""
        return head + frame_of(0, 0x1, self._stream, b"\x00\x00\x00\x00\x0a\x0a\x08ord-0001")

    def _whole(self, buffer: bytes) -> int:
        at = 0
        while len(buffer) - at >= 9:
            high, low, kind, flags, _ = struct.unpack_from(">HBBBI", buffer, at)
            end = at + 9 + int(high << 8 | low)
            if end > len(buffer):
                return 0
            if kind == 1 and flags & 0x1:
                if not buffer.startswith(b"\x00\x0bgrpc-status\x010", at + 9):
                    raise RuntimeError("the upstream answered with an error")
                return end
            at = end
        return 0


def run(wires: list[Wire], *, rate: int, requests: int) -> list[float]:
    """Latencies in seconds. Raises RuntimeError if a reply is wrong or none comes for 10 s."""
    idle = list(wires)
    busy = {wire.socket.fileno(): wire for wire in wires}
    asked: set[int] = set()
    due: deque[float] = deque()
    latencies_s: list[float] = []
    began_s = time.perf_counter()
    sent = 0
    while len(latencies_s) < requests:
        now_s = time.perf_counter()
        while sent < requests and began_s + sent / rate <= now_s:
            due.append(began_s + sent / rate)
            sent += 1
        while due and idle:
            wire = idle.pop()
            wire.send(due.popleft())
            asked.add(wire.socket.fileno())
        wait_s = (
            _STALL_S if sent >= requests else max(0.0, began_s + sent / rate - time.perf_counter())
        )
        ready, _, _ = select.select(asked, (), (), wait_s)
        if not ready and sent >= requests:
            raise RuntimeError(f"no reply for {_STALL_S:.0f} s")
        for number in ready:
            wire = busy[number]
            if wire.receive():
                latencies_s.append(time.perf_counter() - wire.due_s)
                asked.discard(number)
                idle.append(wire)
    return latencies_s


def main() -> None:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.open_loop")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--authorization", default="")
    parser.add_argument("--rate", type=int, required=True, help="requests a second")
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--body-bytes", type=int, default=0)
    parser.add_argument("--grpc", action="store_true", help="the path is that of a gRPC method")
    given = parser.parse_args()
    # The kernel may wake us 50 us late by default, as much as a gateway adds.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1_000)
    target = Target(port=given.port, path=given.path, authorization=given.authorization)
    wires: list[Wire] = [
        GrpcWire(given.port, given.path)
        if given.grpc
        else HttpWire(given.port, request_of(target), given.body_bytes)
        for _ in range(_CONNECTIONS)
    ]
    for wire in wires:
        # One request each, which pays for the connection.
        wire.send(0.0)
        while not wire.receive():
            pass
    latencies_us = sorted(
        round(latency_s * 1e6) for latency_s in run(wires, rate=given.rate, requests=given.requests)
    )
    figures = {
        "requests": len(latencies_us),
        "bytes": 0,
        "errors": 0,
        "p50_us": latencies_us[len(latencies_us) // 2],
        "p99_us": latencies_us[len(latencies_us) * 99 // 100],
    }
    print("stopped")
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
