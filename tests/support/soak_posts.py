"""Many requests with bodies through a whole gateway, where a fifth of the clients leave.

`python -m tests.support.soak_posts`: a hundred thousand of them.

HTTP/1.1 listener, pipeline and unary lane in their own process; clients and service here. Each
request carries a number of its own, the service sends its message back, and the reply is looked at.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop
from msgspec import Struct

from tests.support.gateway import GatewayProcess
from tests.support.h2_server import H2Server, Peer, reply
from tests.support.lane import CLOCK
from tests.support.proto_sets import compile_set
from tests.support.soaking import print_figures, rss_kib

__all__ = ["PostFigures", "soak_posts"]

_NOTE = """
syntax = "proto3";
package soak.v1;
message Note { string id = 1; string text = 2; }
service Soak { rpc Echo(Note) returns (Note); }
"""
_AT_ONCE = 24
_LEAVES = 0.2
_ANSWER_S = 0.004
_QUIET_S = 30.0
_SIZES = (0, 10, 300, 2_000, 9_000)
# What may be left in a phase beyond the baseline, in KiB of resident memory.
_GROWTH_KIB = 12 * 1024


class PostFigures(Struct, frozen=True, kw_only=True):
    """How requests ended, and what the gateway had: `before` at a tenth (files: at the start), and at the end.

    `crossed` are replies that are not their request's own; `left` are clients that went away.
    """

    requests: int
    ends: dict[str, int]
    crossed: int
    files: tuple[int, int]
    rss_kib: tuple[int, int]
    seconds: float


async def soak_posts(
    requests: int, folder: Path, *, seed: int = 5, at_once: int = _AT_ONCE
) -> PostFigures:
    """Make so many requests. A reply that is not the request's own is counted, not raised."""
    chance = random.Random(seed)
    began_s = CLOCK.now_s()
    ends: Counter[str] = Counter()
    numbers = iter(range(requests))
    async with H2Server(_echo(chance)) as service:
        gateway = GatewayProcess(folder, None, files=_files(folder, service.address))
        try:
            await asyncio.to_thread(gateway.start)
            port = gateway.port
            # The connection to the service is there from now on.
            await _spend(port, numbers, 1, 1, ends, chance)
            files = await _settled(gateway, _files_of(gateway))
            await _spend(port, numbers, requests // 10, at_once, ends, chance)
            await _settled(gateway, files)
            before_kib = rss_kib(gateway.family())
            await _spend(port, numbers, requests, at_once, ends, chance)
            after = await _settled(gateway, files)
            figures = PostFigures(
                requests=requests,
                ends=dict(ends),
                crossed=ends["crossed"],
                files=(files, after),
                rss_kib=(before_kib, rss_kib(gateway.family())),
                seconds=round(CLOCK.now_s() - began_s, 1),
            )
        finally:
            gateway.terminate()
            await asyncio.to_thread(gateway.wait)
    return figures


def _files(folder: Path, address: str) -> dict[str, str]:
    types = folder / "types.binpb"
    types.write_bytes(compile_set(_NOTE))
    gateway: dict[str, Any] = {
        # One worker: its one connection to the service is there from the first request on.
        "gateway": {
            "workers": 1,
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "drain": {"grace": "0s", "finish": "5s"},
        },
        "descriptors": [{"set": str(types)}],
        "upstreams": {"soak": {"endpoints": [address], "retry": "off", "breaker": "off"}},
        "tiers": {"guest": "10000/s"},
        "limiter": {"per_address": {"rate": "10000/s", "burst": 10_000}},
    }
    routes = [{"rpc": "Echo", "post": "/notes/{id}", "body": "*"}]
    service = {"service": "soak.v1.Soak", "upstream": "soak", "routes": routes}
    return {"gateway.yaml": json.dumps(gateway), "soak.yaml": json.dumps(service)}


def _echo(chance: random.Random) -> Any:
    """Sends each message back a little later, so that replies overtake each other and clients leave before them."""

    async def script(peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        while True:
            stream_id, message = await peer.message()
            # The frames are of no interest here, and would be many.
            peer.frames.clear()
            loop.call_later(chance.random() * _ANSWER_S, peer.send, reply(stream_id, message))

    return script


# The clients


async def _spend(
    port: int,
    numbers: Iterator[int],
    most: int,
    at_once: int,
    ends: Counter[str],
    chance: random.Random,
) -> None:
    """At most so many of the requests."""
    left = most

    async def client() -> None:
        nonlocal left
        connection: _Connection | None = None
        while left > 0 and (number := next(numbers, None)) is not None:
            left -= 1
            connection = connection or await _connect(port)
            end = await _one(*connection, number, chance)
            ends[end] += 1
            if end == "left":
                connection = None
        if connection is not None:
            connection[1].close()

    await asyncio.gather(*(client() for _ in range(at_once)))


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(port: int) -> _Connection:
    return await asyncio.open_connection("127.0.0.1", port)


async def _one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, chance: random.Random
) -> str:
    text = f"{number}:" + "x" * chance.choice(_SIZES)
    octets = _request(number, json.dumps({"text": text}).encode(), is_chunked=chance.random() < 0.3)
    if chance.random() < _LEAVES and number:
        # In the midst of the head or the body, or before the reply.
        cut = chance.choice((chance.randrange(len(octets)), len(octets)))
        writer.write(octets[:cut])
        for _ in range(chance.choice((0, 1, 3, 10))):
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            writer.transport.abort()
        writer.close()
        return "left"
    cut = chance.randrange(len(octets))
    writer.write(octets[:cut])
    await asyncio.sleep(0)
    writer.write(octets[cut:])
    status, body = await _reply(reader)
    if status != 200:
        return str(status)
    return "ok" if json.loads(body) == {"id": str(number), "text": text} else "crossed"


def _request(number: int, body: bytes, *, is_chunked: bool) -> bytes:
    head = b"POST /notes/%d HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n" % number
    if not is_chunked:
        return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def _reply(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(size)


# What the gateway has


def _files_of(gateway: GatewayProcess) -> int:
    count = 0
    for pid in gateway.family():
        with contextlib.suppress(FileNotFoundError):
            count += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names alone are wanted
    return count


async def _settled(gateway: GatewayProcess, files: int) -> int:
    """The open files, once they are no more than these; or what they are after half a minute."""
    until_s = CLOCK.now_s() + _QUIET_S
    while (there := _files_of(gateway)) > files and CLOCK.now_s() < until_s:  # noqa: ASYNC110 - files of another process tell nobody
        await asyncio.sleep(0.01)
    return there


def main() -> int:
    """Print the figures; 1 if something was left, or a reply went astray."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.soak_posts", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = uvloop.run(soak_posts(given.requests, Path(folder), seed=given.seed))
    print_figures(figures)
    is_sound = set(figures.ends) <= {"ok", "left"} and figures.files[1] <= figures.files[0]
    return 0 if is_sound and figures.rss_kib[1] - figures.rss_kib[0] < _GROWTH_KIB else 1


if __name__ == "__main__":
    sys.exit(main())
