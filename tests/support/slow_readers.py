"""Readers that take nothing, many at once: `python -m tests.support.slow_readers --readers 500`.

Each asks one worker for a stream that never ends by itself, and leaves what comes in the kernel's
buffers. What is looked at is the worker's memory before and after, and how far the service got.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.support.gateway import GatewayProcess
from tests.support.proto_sets import compile_set
from tests.support.talk_requests import ANSWERS
from tests.support.talker import TALK, Talker

__all__ = ["Figures", "slow_readers"]

_MESSAGE_BYTES = 16_000
# No service would say so much to who takes nothing: a gateway that read ahead would be at the end of it.
_MESSAGES = 100_000
_RECEIVE_BYTES = 4096
# The service has not said anything for so long: all that can wait somewhere does.
_QUIET_S = 0.5
_ROUTES = """
service: talk.v1.Talk
upstream: talk
stream: {write_timeout: 10m}
routes: [{rpc: Down, get: "/down", websocket: true}, {rpc: File, get: "/file"}]
"""


class Figures(Struct, frozen=True, kw_only=True):
    """What so many readers cost one worker; `sent` is what the service has said to each, kernels' buffers included."""

    framing: str
    readers: int
    rss_kib: tuple[int, int]
    kib_each: float
    sent_kib_each: float


def _files(talker: Talker, types: Path) -> dict[str, str | None]:
    gateway = {
        "gateway": {
            "name": "talk",
            "domain": "talk.example",
            "workers": 1,
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "drain": {"grace": "0s", "finish": "1s"},
        },
        "tiers": {"guest": "30000/min"},
        "caps": {"inflight": 20_000},
        "limiter": {"per_address": {"rate": "10000/s", "burst": 10_000}},
        "transcoding": {"protocols": ["grpc_web"]},
        "descriptors": [{"set": str(types)}],
        "upstreams": {
            "talk": {"endpoints": [talker.address], "retry": "off", "concurrency": 20_000}
        },
    }
    return {"gateway.yaml": json.dumps(gateway), "talk.yaml": _ROUTES}


async def slow_readers(readers: int, framing: str = "ndjson") -> Figures:
    """Open so many, and look when nothing moves any more. Raises TimeoutError if it never comes to that."""
    with tempfile.TemporaryDirectory() as folder:
        types = Path(folder) / "types.binpb"
        types.write_bytes(compile_set(TALK))
        async with Talker(count=_MESSAGES, size=_MESSAGE_BYTES) as talker:
            gateway = GatewayProcess(Path(folder), None, files=_files(talker, types))
            await asyncio.to_thread(gateway.start)
            try:
                return await _measure(gateway, talker, readers, framing)
            finally:
                await asyncio.to_thread(gateway.stop)


async def _measure(gateway: GatewayProcess, talker: Talker, readers: int, framing: str) -> Figures:
    """The first one makes what is made once: connections, types, code that is loaded late."""
    async with asyncio.timeout(120 + readers / 5):
        connections = [_open(gateway.port, framing)]
        await _quiet(talker, 1)
        before, said = _rss_kib(gateway.family()), talker.sent
        connections += [_open(gateway.port, framing) for _ in range(readers)]
        await _quiet(talker, readers + 1)
        after = _rss_kib(gateway.family())
        sent_bytes = (talker.sent - said) * _MESSAGE_BYTES
        for connection in connections:
            connection.close()
        await talker.until(lambda: not talker.open, within_s=60.0)
    return Figures(
        framing=framing,
        readers=readers,
        rss_kib=(before, after),
        kib_each=round((after - before) / readers, 1),
        sent_kib_each=round(sent_bytes / 1024 / readers, 1),
    )


def _open(port: int, framing: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    connection.connect(("127.0.0.1", port))
    connection.sendall(ANSWERS[framing])
    return connection


async def _quiet(talker: Talker, calls: int) -> None:
    """Wait until so many calls are open and nothing more is said."""
    await talker.until(lambda: talker.open == calls, within_s=60.0)
    said = -1
    while said != talker.sent:
        said = talker.sent
        await asyncio.sleep(_QUIET_S)


def _rss_kib(pids: set[int]) -> int:
    """Of these together; what they share does not move."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def main() -> int:
    """Print the figures; 1 if a reader costs more than a quarter of a MiB."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.slow_readers", description=__doc__
    )
    parser.add_argument("--readers", type=int, default=500)
    parser.add_argument("--framing", choices=list(ANSWERS), default="ndjson")
    given = parser.parse_args()
    figures = asyncio.run(slow_readers(given.readers, given.framing))
    print(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode())
    return 0 if figures.kib_each < 256 else 1


if __name__ == "__main__":
    sys.exit(main())
