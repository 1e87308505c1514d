"""Generated calls through the lane and through grpcio, against servers of four implementations: equal ends.

Two of the servers are grpcio's (threads, and grpc.aio), one is grpclib's, one @grpc/grpc-js's.
"""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.wire.channel import Channel, UnaryReply
from bff.wire.grpcio import GrpcioChannel
from bff.wire.http2.lane import LaneSettings
from tests.support.echo_contract import aio_server, grpclib_server, sync_server
from tests.support.lane import CLOCK, ending, lane_to, soon_s
from tests.support.node_server import UnobtainableError, node_server, obtain

pytestmark = pytest.mark.rule("upstreams.2")
MIB = 1 << 20
SIZES = (0, 1, 1_019, 1_024, 16_379, 16_384, 65_530, 65_536, 300_000, MIB, 4 * MIB)
TEXTS = ("", "plain", "naïve % text", "100%zz", "a\nb\ttab", "日本語 " * 10, "%41")


@asynccontextmanager
async def _node(*, gzip: bool) -> AsyncIterator[str]:
    try:
        packages = await asyncio.to_thread(obtain)
    except UnobtainableError as error:
        pytest.skip(str(error))
    async with node_server(packages, gzip=gzip) as address:
        yield address


SERVERS: dict[str, Callable[..., AbstractAsyncContextManager[str]]] = {
    "grpcio": sync_server, "grpc.aio": aio_server, "grpclib": grpclib_server, "grpc-js": _node,
}  # fmt: skip
CASES = [(name, gzip) for name in SERVERS for gzip in (False, True) if (name, gzip) != ("grpclib", True)]  # fmt: skip


@asynccontextmanager
async def both(name: str, *, gzip: bool) -> AsyncIterator[tuple[Channel, Channel]]:
    async with SERVERS[name](gzip=gzip) as address:
        reference = GrpcioChannel(address, tls=None, authority=None, clock=CLOCK)
        try:
            async with lane_to(address, settings=LaneSettings(gzip=gzip)) as lane:
                yield lane, reference
        finally:
            await reference.close()


def plain(end: UnaryReply | UpstreamError) -> Any:
    """What both must agree on."""
    if isinstance(end, UnaryReply):
        # Some servers date their replies.
        return end.message, sorted(pair for pair in end.metadata if pair[0] != "date")
    return end.reason, end.code, end.origin, end.sent, end.message, end.details_bin, end.pushback_ms


def _some_pairs(chance: random.Random, start: str) -> list[tuple[str, str | bytes]]:
    pairs: list[tuple[str, str | bytes]] = []
    for _ in range(chance.randrange(5)):
        if chance.random() < 0.4:
            pairs.append(
                (f"{start}{chance.randrange(3)}-bin", chance.randbytes(chance.randrange(100)))
            )
        else:
            text = "".join(
                chr(chance.randrange(0x21, 0x7F)) for _ in range(chance.randrange(1, 150))
            )
            # A comma would part one value in two where servers join them.
            pairs.append((f"{start}{chance.randrange(3)}", text.replace(",", ".")))
    return pairs


def _told(pairs: list[tuple[str, str | bytes]]) -> list[tuple[str, str]]:
    return [
        (name, base64.b64encode(value).decode() if isinstance(value, bytes) else value)
        for name, value in pairs
    ]


def _request(chance: random.Random, code: int, size: int, *, plain: bool) -> tuple[bytes, Any]:
    """`plain`: without the protocol's own trailers, which grpclib lets nobody write."""
    script: dict[str, Any] = {"size": size, "code": code}
    if code:
        script["details"] = chance.choice(TEXTS)
    if chance.random() < 0.5:
        script["initial"] = _told(_some_pairs(chance, "first"))
    trailers = _some_pairs(chance, "last")
    if code and not plain and chance.random() < 0.5:
        trailers.append(("grpc-status-details-bin", bytes([8, code]) + b"\x12\x01x"))
    if code and not plain and chance.random() < 0.3:
        # No number at all is for the lane "do not retry" (gRFC A6); grpcio breaks the call off.
        trailers.append(("grpc-retry-pushback-ms", chance.choice(["70", "-1", "0"])))
    script["trailers"] = _told(trailers)
    line = json.dumps(script).encode() + b"\n"
    # The reply's size is asked for; the request's own is another of the list.
    filling = max(0, chance.choice(SIZES) - len(line))
    return line + chance.randbytes(filling // 2) + bytes(filling - filling // 2), tuple(
        _some_pairs(chance, "x-")
    )


@pytest.mark.parametrize(("name", "gzip"), CASES)
async def test_generated_calls_end_alike(name: str, gzip: bool) -> None:
    chance = random.Random(f"{name} {gzip}")
    is_plain = name == "grpclib"
    calls = [_request(chance, code, 10, plain=is_plain) for code in range(17)]
    calls += [_request(chance, 0, size, plain=is_plain) for size in SIZES]

    ends = []
    async with both(name, gzip=gzip) as (lane, reference):
        for message, metadata in calls:
            ours, theirs = [
                plain(await ending(channel, message, metadata)) for channel in (lane, reference)
            ]
            assert ours == theirs
            ends.append(ours)

    # 16 failures with their own code, and replies of the size that was asked for.
    assert [end[1] for end in ends[1:17]] == [Code(number) for number in range(1, 17)]
    assert [len(end[0]) for end in (ends[0], *ends[17:])] == [10, *SIZES]


@pytest.mark.parametrize("name", SERVERS)
async def test_deadlines_end_alike_and_reach_the_service(name: str) -> None:
    async with both(name, gzip=False) as channels:
        # Connected first, so that the short time is the call's alone.
        for one in channels:
            assert isinstance(await ending(one, b'{"size": 1}\n'), UnaryReply)
        ends = [
            plain(await ending(one, b'{"hang": true}\n', deadline_s=soon_s(0.2)))
            for one in channels
        ]
        # A server under load may see a deadline before its handler runs.
        await _until(channels[0], lambda begun, cancelled: begun == cancelled)

    # Servers know the deadline too, and one may be the first to say so.
    assert [(end[1], end[3]) for end in ends] == [(Code.DEADLINE_EXCEEDED, "maybe")] * 2


@pytest.mark.parametrize("name", SERVERS)
async def test_cancels_reach_the_service_alike(name: str) -> None:
    async with both(name, gzip=False) as channels:
        for number, channel in enumerate(channels, 1):
            call = asyncio.create_task(ending(channel, b'{"hang": true}\n'))
            await _until(channels[0], lambda begun, _cancelled: begun == number)  # noqa: B023 - awaited here
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await _until(channels[0], lambda _begun, cancelled: cancelled == number)  # noqa: B023 - as above


async def _until(channel: Channel, is_so: Callable[[int, int], bool]) -> None:
    """Ask the server until its calls that began to hang, and those that were cancelled, are so many."""
    async with asyncio.timeout(20.0):
        while True:
            end = await ending(channel, b'{"ask": ""}\n')
            assert isinstance(end, UnaryReply)
            if is_so(*map(int, end.message.split())):
                return
