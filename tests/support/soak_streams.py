"""Many streams over one grpcio channel, a fifth cancelled: `python -m tests.support.soak_streams`.

Each stream carries its number in every message, both ways, and checks it. The service is a process
of its own, so that the memory which is looked at is the channel's alone.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from msgspec import Struct

from bff.wire.grpcio import GrpcioChannel
from tests.support.lane import CLOCK
from tests.support.soaking import print_figures, spend, there_now

__all__ = ["StreamFigures", "soak_streams"]

_AT_ONCE = 20
_CANCELS = 0.2
_CALL_S = 60.0
_MOST_MESSAGES = 12
_SIZES = (0, 0, 10, 700, 20_000)
_DOWN, _BOTH = "/soak.v1.Soak/Down", "/soak.v1.Soak/Both"


class StreamFigures(Struct, frozen=True, kw_only=True):
    """How streams ended, and what was there before and after; `before` is taken when a tenth had ended.

    `crossed` are streams that read a message of another.
    """

    streams: int
    ends: dict[str, int]
    crossed: int
    open_calls: int
    tasks: tuple[int, int]
    files: tuple[int, int]
    rss_kib: tuple[int, int]
    seconds: float


# The service


class _Soak(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """Down sends what it was sent as many times as the first octet says; Both sends each message back."""

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method == _DOWN:
            return grpc.unary_stream_rpc_method_handler(_down)
        return grpc.stream_stream_rpc_method_handler(_both)


async def _down(asked: bytes, context: Any) -> None:
    for _ in range(asked[0]):
        await context.write(asked)


async def _both(asked: AsyncIterator[bytes], context: Any) -> None:
    async for message in asked:
        await context.write(message)


async def _serve() -> None:
    """Tell the port, and serve until the parent closes our input, or is gone."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_Soak(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


@asynccontextmanager
async def _service() -> AsyncIterator[str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.soak_streams", "--serve",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        port = int(await child.stdout.readline())
        yield f"127.0.0.1:{port}"
    finally:
        child.stdin.close()
        await child.wait()


# The streams


async def soak_streams(streams: int, *, seed: int = 5, at_once: int = _AT_ONCE) -> StreamFigures:
    """Open so many streams. A message that is not the stream's own is counted, not raised."""
    chance = random.Random(seed)
    began_s = CLOCK.now_s()
    ends: Counter[str] = Counter()
    numbers = iter(range(streams))
    async with _service() as address:
        channel = GrpcioChannel(address, tls=None, authority=None, clock=CLOCK)
        await _spend(channel, numbers, streams // 10, at_once, ends, chance)
        before = there_now()
        await _spend(channel, numbers, streams, at_once, ends, chance)
        after = there_now()
        open_calls = channel.open_calls
        await channel.close()
    return StreamFigures(
        streams=streams,
        ends=dict(ends),
        crossed=ends["crossed"],
        open_calls=open_calls,
        tasks=(before.tasks, after.tasks),
        files=(before.files, after.files),
        rss_kib=(before.rss_kib, after.rss_kib),
        seconds=round(CLOCK.now_s() - began_s, 1),
    )


async def _spend(
    channel: GrpcioChannel,
    numbers: Iterator[int],
    most: int,
    at_once: int,
    ends: Counter[str],
    chance: random.Random,
) -> None:
    """At most so many of the streams; returns when the core has let go of all of them."""
    await spend(numbers, most, lambda number: _one(channel, number, chance), ends, at_once=at_once)
    async with asyncio.timeout(_CALL_S):
        while channel.open_calls:
            # A stream more is a turn in which the core says what it has let go of.
            await _talk(channel, b"\x01last", is_both=False)


async def _one(channel: GrpcioChannel, number: int, chance: random.Random) -> str:
    count = chance.randrange(_MOST_MESSAGES + 1)
    asked = bytes([count]) + b"%d|" % number + bytes(chance.choice(_SIZES))
    talk = asyncio.create_task(_talk(channel, asked, is_both=chance.random() < 0.5))
    if chance.random() < _CANCELS:
        # Before it begins, in its midst, or when it is over.
        for _ in range(chance.choice((0, 1, 2, 5, 20, 80))):
            await asyncio.sleep(0)
        talk.cancel()
    await asyncio.wait([talk])
    return "cancelled" if talk.cancelled() else talk.result()


async def _talk(channel: GrpcioChannel, asked: bytes, *, is_both: bool) -> str:
    count = asked[0]
    deadline_s = CLOCK.now_s() + _CALL_S
    if is_both:
        parts = channel.bidi(_BOTH, _said(asked, count), (), deadline_s)
    else:
        parts = channel.stream(_DOWN, asked, (), deadline_s)
    try:
        heard = [part async for part in parts]
    finally:
        await parts.aclose()
    return "ok" if heard == [asked] * count else "crossed"


async def _said(asked: bytes, count: int) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        yield asked


def main() -> int:
    """Print the figures; 1 if something was left, or a message went astray."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.soak_streams", description=__doc__
    )
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help="be the service")
    given = parser.parse_args()
    if given.serve:
        asyncio.run(_serve())
        return 0
    figures = asyncio.run(soak_streams(given.streams, seed=given.seed))
    print_figures(figures)
    is_sound = not figures.crossed and not figures.open_calls
    return 0 if is_sound and figures.tasks[0] == figures.tasks[1] else 1


if __name__ == "__main__":
    sys.exit(main())
