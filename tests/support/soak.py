"""Many calls through one lane, a fifth cancelled, 5 % reset by the server: `python -m tests.support.soak`.

Each call carries its number in message and metadata, and checks both in its reply. Server and lane
share the process, so what is left at the end of either is seen.
"""

import argparse
import asyncio
import gc
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import uvloop
from msgspec import Struct

from bff.core.errors import UpstreamError
from bff.core.events import silent
from bff.core.status import Code
from bff.wire.http2.frames import (
    DATA,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    frame,
    ping_frame,
    settings_frame,
    window_update_frame,
)
from bff.wire.http2.lane import LaneChannel
from bff.wire.http2.stream import Stream
from tests.support.h2_server import GRPC, OK, data, grpc_message, headers
from tests.support.lane import CLOCK, PATH
from tests.support.soaking import print_figures, spend, there_now

__all__ = ["Figures", "soak"]

_AT_ONCE = 50
_CANCELS, _RESETS = 0.2, 0.05
_CALL_S = 60.0
_SIZES = (0, 0, 0, 10, 700, 5_000, 40_000)
_MARK = b"x-number"


class Figures(Struct, frozen=True, kw_only=True):
    """How calls ended, and what was there before and after; `before` is taken when a tenth had ended.

    `crossed` are replies that reached another call than theirs.
    """

    calls: int
    ends: dict[str, int]
    crossed: int
    tasks: tuple[int, int]
    files: tuple[int, int]
    rss_kib: tuple[int, int]
    streams: tuple[int, int]
    open_calls: int
    connections: int
    seconds: float


class _Echo(asyncio.Protocol):
    """Answers each request with its message and number, after a turn or two of the loop, or resets it."""

    def __init__(self, chance: random.Random) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._chance = chance
        self._rest = b""
        self._greeted = False
        self._numbers: dict[int, bytes] = {}
        self._due: list[tuple[int, bytes, bytes]] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(settings_frame() + SETTINGS_ACK + window_update_frame(0, 1 << 30))

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)

    def data_received(self, octets: bytes) -> None:
        octets = self._rest + octets
        if not self._greeted and octets.startswith(PREFACE):
            self._greeted, octets = True, octets[len(PREFACE) :]
        received = 0
        while len(octets) >= 9 and len(octets) >= (end := 9 + int.from_bytes(octets[:3])):
            kind, flags, stream_id = octets[3], octets[4], int.from_bytes(octets[5:9])
            self._take(kind, flags, stream_id, octets[9:end])
            received += end - 9 if kind == DATA else 0
            octets = octets[end:]
        self._rest = octets
        if received:
            self._transport.write(window_update_frame(0, received))

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == HEADERS:
            at = payload.index(_MARK) + len(_MARK)
            self._numbers[stream_id] = payload[at + 1 : at + 1 + payload[at]]
        elif kind == DATA and flags & END_STREAM and stream_id in self._numbers:
            if not self._due:
                asyncio.get_running_loop().call_soon(self._answer)
            self._due.append((stream_id, self._numbers.pop(stream_id), payload[5:]))
        elif kind == RST_STREAM:
            self._numbers.pop(stream_id, None)
        elif kind == SETTINGS and not flags:
            self._transport.write(SETTINGS_ACK)
        elif kind == PING and not flags:
            self._transport.write(ping_frame(payload, ack=True))

    def _answer(self) -> None:
        due, self._due = self._due, []
        self._chance.shuffle(due)
        parts = []
        for stream_id, number, message in due:
            if self._chance.random() < _RESETS:
                parts.append(frame(RST_STREAM, 0, stream_id, b"\0\0\0\2"))
                continue
            body = grpc_message(message + bytes(self._chance.choice(_SIZES)))
            cut = self._chance.randrange(0, len(body))
            end = headers(stream_id, *OK, (_MARK, number), end=True)
            parts += [headers(stream_id, *GRPC), data(stream_id, body[:cut])]
            parts += [data(stream_id, body[cut:]), end]
        self._transport.write(b"".join(parts))


async def soak(calls: int, *, seed: int = 5, at_once: int = _AT_ONCE) -> Figures:
    """Make so many calls. A reply that is not the call's own is counted, not raised."""
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    peers: list[_Echo] = []

    def make() -> _Echo:
        peers.append(_Echo(random.Random(seed)))
        return peers[-1]

    server = await loop.create_server(make, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    lane = LaneChannel(
        f"127.0.0.1:{port}", tls=None, authority=None, clock=CLOCK, random=chance, emit=silent
    )
    began_s = CLOCK.now_s()
    ends: Counter[str] = Counter()
    numbers = iter(range(calls))
    await _spend(lane, numbers, calls // 10, at_once, ends, chance)
    before, streams_before = there_now(), _streams()
    await _spend(lane, numbers, calls, at_once, ends, chance)
    after = there_now()
    figures = Figures(
        calls=calls,
        ends=dict(ends),
        crossed=ends["crossed"],
        tasks=(before.tasks, after.tasks),
        files=(before.files, after.files),
        rss_kib=(before.rss_kib, after.rss_kib),
        streams=(streams_before, _streams()),
        open_calls=lane.open_calls,
        connections=lane.connections,
        seconds=round(CLOCK.now_s() - began_s, 1),
    )
    await lane.close()
    server.close()
    await server.wait_closed()
    await asyncio.wait([peer.gone for peer in peers])
    return figures


async def _spend(
    lane: LaneChannel,
    numbers: Iterator[int],
    most: int,
    at_once: int,
    ends: Counter[str],
    chance: random.Random,
) -> None:
    """At most so many of the calls; returns when the lane is quiet."""
    await spend(numbers, most, lambda number: _one(lane, number, chance), ends, at_once=at_once)
    # What the limit of resets kept unheard runs out.
    async with asyncio.timeout(_CALL_S):
        while lane.open_calls:
            await _ask(lane, b"0")


async def _one(lane: LaneChannel, number: int, chance: random.Random) -> str:
    asked = b"%d" % number
    if chance.random() >= _CANCELS:
        return await _ask(lane, asked)
    call = asyncio.create_task(_ask(lane, asked))
    for _ in range(chance.randrange(6)):
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    return "cancelled" if call.cancelled() else call.result()


async def _ask(lane: LaneChannel, asked: bytes) -> str:
    text = asked.decode()
    metadata = ((_MARK.decode(), text), ("x-request-id", f"request-{text}"))
    message = asked + b"!"
    try:
        reply = await lane.unary(
            PATH, message, metadata, CLOCK.now_s() + _CALL_S, want_metadata=True
        )
    except UpstreamError as error:
        return "reset" if error.code is Code.INTERNAL else str(error)
    own = reply.message.startswith(message) and (_MARK.decode(), text) in reply.metadata
    return "ok" if own else "crossed"


def _streams() -> int:
    """Streams of the lane that are still known to anybody."""
    return sum(type(one) is Stream for one in gc.get_objects())


def main() -> int:
    """Print the figures; 1 if something was left or a reply went astray."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    figures: Any = uvloop.run(soak(given.calls, seed=given.seed))
    print_figures(figures)
    is_sound = not figures.crossed and not figures.open_calls
    is_clean = figures.tasks[0] == figures.tasks[1] and figures.streams[1] < figures.streams[0] + 10
    return 0 if is_sound and is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
