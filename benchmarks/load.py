"""Load on one gateway: a fixed number of requests, from wrk where it is installed, else from our generator."""

import asyncio
import base64
import http.client
import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.processes import Child

__all__ = ["Figures", "Target", "generator_name", "load", "open_load", "request_of", "sample"]

_SCRIPT = Path(__file__).resolve().parent / "fixed.lua"
# No run may take longer, whatever hangs.
RUN_S = 240
_SAMPLES = 5


class Target(Struct, frozen=True, kw_only=True):
    """What is asked for: a path of the gateway on this port of loopback."""

    port: int
    path: str
    authorization: str = ""
    # What is posted; empty asks with GET.
    body: bytes = b""


class Figures(Struct, frozen=True, kw_only=True):
    """What the generator counted; `bytes` are all octets that it received, latencies in microseconds."""

    requests: int
    bytes: int
    errors: int
    p50_us: int
    p99_us: int


def generator_name() -> str:
    """`wrk`, or `own`."""
    return "wrk" if shutil.which("wrk") else "own"


def request_of(target: Target) -> bytes:
    """The octets of one request on HTTP/1.1."""
    method = "POST" if target.body else "GET"
    head = f"{method} {target.path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
    if target.authorization:
        head += f"Authorization: {target.authorization}\r\n"
    if target.body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(target.body)}\r\n"
    return f"{head}\r\n".encode() + target.body


def sample(target: Target, tree: Any) -> int:
    """Ask a few times; returns the octets of the body. Raises RuntimeError unless status, type and tree are right."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
    headers = {"authorization": target.authorization} if target.authorization else {}
    method = "POST" if target.body else "GET"
    if target.body:
        headers["content-type"] = "application/json"
    sizes = set()
    try:
        for _ in range(_SAMPLES):
            connection.request(method, target.path, body=target.body or None, headers=headers)
            reply = connection.getresponse()
            body = reply.read()
            if reply.status != 200:
                raise RuntimeError(f"{target.path}: status {reply.status}: {body[:300]!r}")
            if json.loads(body) != tree:
                raise RuntimeError(f"{target.path}: the reply is not the order: {body[:300]!r}")
            sizes.add(len(body))
    finally:
        connection.close()
    if len(sizes) != 1:
        raise RuntimeError(f"{target.path}: replies of several sizes: {sorted(sizes)}")
    return sizes.pop()


async def load(
    target: Target,
    *,
    requests: int,
    connections: int,
    body_bytes: int,
    core: int,
    log: Path,
    generator: str,
    at_end: Callable[[], None],
) -> Figures:
    """Send the requests; `at_end` runs when the last one has left (wrk) or been answered (own).

    Raises RuntimeError if a request failed or a reply was not of the size that the sample had,
    TimeoutError after 4 minutes.
    """
    command = (
        _wrk(target, requests, connections)
        if generator == "wrk" and not target.body
        else _own(target, requests, connections, body_bytes)
    )
    figures = await _figures(command, core, log, at_end)
    _judge(figures, requests, connections, body_bytes)
    return figures


async def open_load(
    target: Target, *, rate: int, requests: int, body_bytes: int, core: int, log: Path, grpc: bool
) -> Figures:
    """Requests at a fixed rate; with `grpc` the target is a service, its path a method. Raises as `load`."""
    command = [sys.executable, "-m", "benchmarks.open_loop", "--port", str(target.port)]
    command += ["--path", target.path, "--authorization", target.authorization]
    command += ["--rate", str(rate), "--requests", str(requests), "--body-bytes", str(body_bytes)]
    return await _figures([*command, *(["--grpc"] if grpc else [])], core, log, lambda: None)


async def _figures(command: list[str], core: int, log: Path, at_end: Callable[[], None]) -> Figures:
    """What the generator said at its end."""
    async with (
        asyncio.timeout(RUN_S),
        Child("load generator", command, core=core, log=log, read_stdout=True) as child,
    ):
        output = child.process.stdout
        assert output is not None
        while (line := await output.readline()) and line.strip() != b"stopped":
            pass
        at_end()
        if command[0] == "wrk":
            # Its main thread sleeps for the whole duration; an interrupt ends that.
            child.process.send_signal(signal.SIGINT)
        rest = await output.read()
        await child.process.wait()
        if not line or child.process.returncode:
            raise RuntimeError(f"the load generator failed: {child.said()}")
    return msgspec.json.decode(rest.splitlines()[-1], type=Figures)


def _wrk(target: Target, requests: int, connections: int) -> list[str]:
    command = ["wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{RUN_S}s", "--timeout", "30s", "--script", str(_SCRIPT)]
    if target.authorization:
        command += ["--header", f"Authorization: {target.authorization}"]
    return [*command, f"http://127.0.0.1:{target.port}{target.path}", "--", str(requests)]


def _own(target: Target, requests: int, connections: int, body_bytes: int) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.generator", "--port", str(target.port)]
    command += ["--path", target.path, "--requests", str(requests)]
    command += ["--connections", str(connections), "--body-bytes", str(body_bytes)]
    command += ["--body", base64.b64encode(target.body).decode()]
    return [*command, "--authorization", target.authorization]


def _judge(figures: Figures, requests: int, connections: int, body_bytes: int) -> None:
    if figures.errors:
        raise RuntimeError(f"{figures.errors} of {figures.requests} requests failed")
    # wrk leaves what is in flight at the stop unread.
    if figures.requests < requests - 2 * connections:
        raise RuntimeError(f"only {figures.requests} of {requests} requests were answered")
    mean_bytes = figures.bytes / figures.requests
    if not body_bytes < mean_bytes < body_bytes + 2_000:
        raise RuntimeError(f"replies had {mean_bytes:.0f} bytes, the body alone has {body_bytes}")
