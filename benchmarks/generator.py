"""Our own load generator, where wrk is not installed: HTTP/1.1 keep-alive connections, one request at a time each.

Closed loop: a connection sends its next request when it has the reply. Every reply's status and
length are checked. Prints one JSON line. `python -m benchmarks.generator --help`.
"""

import argparse
import asyncio
import base64
import json
import re
import time
from typing import cast

import uvloop

from benchmarks.load import Target, request_of

__all__ = ["Run", "main", "run"]

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n").search
_TIMEOUT_S = 600.0


class Run:
    """What all connections share: how many requests are left, and what came of those sent."""

    def __init__(self, request: bytes, count: int, body_bytes: int) -> None:
        self.request = request
        self.left = count
        self.body_bytes = body_bytes
        self.missing = count
        self.errors = 0
        self.received_bytes = 0
        self.latencies_s: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def count(self, latency_s: float, *, is_good: bool) -> None:
        """One reply."""
        self.latencies_s.append(latency_s)
        self.errors += not is_good
        self.missing -= 1
        if self.missing <= 0 and not self.ended.done():
            self.ended.set_result(None)

    def fail(self, why: str) -> None:
        """Give up: a connection broke or a reply cannot be read."""
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(why))


class _Connection(asyncio.Protocol):
    def __init__(self, shared: Run) -> None:
        self._run = shared
        self._buffer = b""
        self._wanted_bytes = 0
        self._is_good = False
        self._sent_s = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._run.missing > 0 and self._sent_s:
            self._run.fail(f"the gateway closed a connection: {error}")

    def _send(self) -> None:
        run = self._run
        if run.left <= 0:
            self._sent_s = 0.0
            self._transport.close()
            return
        run.left -= 1
        self._sent_s = time.perf_counter()
        self._transport.write(run.request)

    def data_received(self, data: bytes) -> None:
        run = self._run
        run.received_bytes += len(data)
        buffer = self._buffer + data if self._buffer else data
        if not self._wanted_bytes:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = buffer
                return
            length = _LENGTH(buffer, 0, end + 2)
            if length is None:
                run.fail("a reply without content-length")
                return
            self._is_good = buffer.startswith(b"HTTP/1.1 200 ") and int(length[1]) == run.body_bytes
            self._wanted_bytes = end + 4 + int(length[1])
        if len(buffer) < self._wanted_bytes:
            self._buffer = buffer
            return
        run.count(time.perf_counter() - self._sent_s, is_good=self._is_good)
        self._buffer = b""
        self._wanted_bytes = 0
        self._send()


async def run(port: int, request: bytes, *, count: int, connections: int, body_bytes: int) -> Run:
    """Send `count` requests. Raises RuntimeError if a connection breaks, TimeoutError after 10 minutes."""
    shared = Run(request, count, body_bytes)
    loop = asyncio.get_running_loop()
    for _ in range(min(connections, count)):
        await loop.create_connection(lambda: _Connection(shared), "127.0.0.1", port)
    async with asyncio.timeout(_TIMEOUT_S):
        await shared.ended
    return shared


def main() -> None:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generator")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--authorization", default="")
    parser.add_argument("--body", default="", help="what is posted, in base64; none asks with GET")
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--body-bytes", type=int, required=True)
    given = parser.parse_args()
    target = Target(
        port=given.port,
        path=given.path,
        authorization=given.authorization,
        body=base64.b64decode(given.body),
    )
    ended = uvloop.run(
        run(
            given.port,
            request_of(target),
            count=given.requests,
            connections=given.connections,
            body_bytes=given.body_bytes,
        )
    )
    latencies_us = sorted(round(seconds * 1e6) for seconds in ended.latencies_s)
    figures = {
        "requests": len(latencies_us),
        "bytes": ended.received_bytes,
        "errors": ended.errors,
        "p50_us": latencies_us[len(latencies_us) // 2],
        "p99_us": latencies_us[len(latencies_us) * 99 // 100],
    }
    print("stopped")
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
