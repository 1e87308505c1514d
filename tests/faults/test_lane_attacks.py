"""Replies in odd pieces and orders, settings that move, resets without end, and callers that leave at any await."""

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable

import pytest

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.wire.channel import UnaryReply
from bff.wire.http2.frames import (
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    settings_frame,
)
from bff.wire.http2.lane import LaneChannel, LaneSettings
from tests.support.h2_server import (
    GRPC,
    OK,
    H2Server,
    Peer,
    data,
    grpc_message,
    headers,
    reply,
)
from tests.support.lane import ending, lane_to, soon_s

pytestmark = pytest.mark.rule("upstreams.2")
SHORT_S = 0.3


def grown(stream_id: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", size))


def codes(peer: Peer, kind: int) -> list[tuple[int, int]]:
    return [(one[2], int.from_bytes(one[3][-4:])) for one in peer.frames if one[0] == kind]


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def works_again(lane: LaneChannel) -> None:
    """A connection that gave nothing is followed by a short pause; then calls are answered."""
    async with asyncio.timeout(30.0):
        while not isinstance(end := await ending(lane, b"fine"), UnaryReply):
            assert end.sent in {"never", "refused"}
            await asyncio.sleep(0.01)


def fine(stream_id: int) -> bytes:
    return reply(stream_id, b"fine")


async def test_a_reply_cut_at_every_octet_is_read() -> None:
    async def script(peer: Peer) -> None:
        while True:
            stream_id, message = await peer.message()
            whole, cut = reply(stream_id, b"hi"), int(message)
            peer.send(whole[:cut])
            await turns()
            peer.send(whole[cut:])

    async with H2Server(script) as server, lane_to(server.address) as lane:
        for cut in range(1, len(reply(1, b"hi"))):
            end = await ending(lane, b"%d" % cut)
            assert isinstance(end, UnaryReply)
            assert end.message == b"hi"
        assert lane.connections == 1


@pytest.mark.parametrize("seed", range(60))
async def test_frames_in_any_order_give_each_call_an_end(seed: int) -> None:
    chance = random.Random(seed)

    async def script(peer: Peer) -> None:
        while True:
            stream_id, message = await peer.message()
            if message == b"fine":
                peer.send(fine(stream_id))
                continue
            parts = [
                headers(stream_id, *GRPC), data(stream_id, grpc_message(b"hi")), headers(stream_id, *OK, end=True),
                frame(PING, 0, 0, bytes(8)), settings_frame((4, chance.randrange(1, 70_000))), grown(0, 100),
                grown(stream_id, 100), frame(RST_STREAM, 0, stream_id, b"\0\0\0\2"), frame(77, 0, 0, b"x"),
                data(stream_id, b"", end=True), frame(SETTINGS, 1, 0), frame(GOAWAY, 0, 0, bytes(8)),
            ]  # fmt: skip
            peer.send(*chance.sample(parts, chance.randrange(1, len(parts))))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        ends = await asyncio.gather(
            *(ending(lane, b"odd", deadline_s=soon_s(SHORT_S)) for _ in range(3))
        )
        assert all(isinstance(end, UnaryReply | UpstreamError) for end in ends)
        assert all(end.message == b"hi" for end in ends if isinstance(end, UnaryReply))
        await works_again(lane)


async def test_a_body_leaves_octet_by_octet_where_the_window_is_so_small() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet((4, 0))
        body = b""
        stream_id = (await peer.until(HEADERS))[2]
        while True:
            peer.send(grown(stream_id, 1))
            _, flags, _, part = await peer.until(DATA)
            assert len(part) <= 1
            body += part
            if flags & END_STREAM:
                assert body == grpc_message(b"x" * 200)
                peer.send(reply(stream_id, b"whole"))
                return

    async with H2Server(script) as server, lane_to(server.address) as lane:
        end = await ending(lane, b"x" * 200)

    assert isinstance(end, UnaryReply)


async def test_settings_that_move_under_an_upload_are_followed() -> None:
    """The window shrinks below zero, grows, and frames become larger, while a body is on its way."""
    message = random.Random(3).randbytes(300_000)

    async def script(peer: Peer) -> None:
        await peer.greet((4, 50_000))
        body = b""
        stream_id = (await peer.until(HEADERS))[2]
        while len(body) < 50_000:
            body += (await peer.until(DATA))[3]
        assert len(body) == 50_000
        peer.send(settings_frame((4, 10_000)), settings_frame((5, 100_000), (3, 1)))
        # 40,000 below zero: these open nothing yet.
        peer.send(grown(stream_id, 40_000), frame(PING, 0, 0, b"nothing?"))
        assert (await peer.until_any(DATA, PING))[0] == PING
        peer.send(settings_frame((4, 90_000)))
        largest = 0
        while True:
            _, flags, _, part = await peer.until(DATA)
            largest = max(largest, len(part))
            body += part
            if flags & END_STREAM:
                break
            peer.send(grown(stream_id, len(part)))
        assert 16_384 < largest <= 100_000
        assert body == grpc_message(message)
        peer.send(reply(stream_id, b"whole"))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        end = await ending(lane, message)

    assert isinstance(end, UnaryReply)


async def test_a_flood_of_resets_ends_the_connection_and_every_call() -> None:
    async def script(peer: Peer) -> None:
        while True:
            stream_id, message = await peer.message()
            if message == b"fine":
                peer.send(fine(stream_id))
            else:
                peer.send(frame(RST_STREAM, 0, stream_id, b"\0\0\0\2"))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        found = [
            end
            for _ in range(1_001)
            if isinstance(end := await ending(lane, b"odd"), UpstreamError)
        ]
        assert len(found) == 1_001
        # The frames of the greeting are counted too.
        assert {end.code for end in found[:990]} == {Code.INTERNAL}
        assert {end.code for end in found[990:]} == {Code.INTERNAL, Code.UNAVAILABLE}
        await works_again(lane)
        await server.peers[0].saw(GOAWAY)

    assert codes(server.peers[0], GOAWAY) == [(0, ErrorCode.ENHANCE_YOUR_CALM)]


# A caller that leaves


async def _no_settings(peer: Peer) -> None:
    await peer.rest()


async def _no_streams(peer: Peer) -> None:
    await peer.greet((3, 0))
    await turns(20)
    peer.send(settings_frame((3, 100)))
    await _fine_later(peer)


async def _no_window(peer: Peer) -> None:
    await peer.greet((4, 3))
    await peer.until(RST_STREAM)
    await _fine_later(peer)


async def _half_a_reply(peer: Peer) -> None:
    stream_id = await peer.request()
    peer.send(headers(stream_id, *GRPC), data(stream_id, grpc_message(b"hi")[:6]))
    await peer.until(RST_STREAM)
    await _fine_later(peer)


async def _silent(peer: Peer) -> None:
    await peer.request()
    await peer.until(RST_STREAM)
    await _fine_later(peer)


async def _fine_later(peer: Peer) -> None:
    peer.send(settings_frame((4, 65_535)))
    while True:
        stream_id, _ = await peer.message()
        peer.send(fine(stream_id))


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 8, 30])
@pytest.mark.parametrize(
    "script", [_no_streams, _no_window, _silent, _half_a_reply],
    ids=["queued", "sending", "waiting", "reading"],
)  # fmt: skip
async def test_a_caller_may_leave_at_any_await(
    script: Callable[[Peer], Awaitable[None]], after: int
) -> None:
    """After so many turns of the loop: connecting, queued, sending, waiting or reading, all are met."""
    # It leaves before anything was sent: the next call is the first that comes.
    is_early = after < 3

    async def whole(peer: Peer) -> None:
        await (_fine_later if is_early else script)(peer)

    async with H2Server(whole) as server, lane_to(server.address) as lane:
        call = asyncio.create_task(ending(lane, b"leaves", deadline_s=soon_s(30.0)))
        await turns(after)
        if not is_early and script in (_silent, _half_a_reply):
            await (await server.first()).saw(DATA)
        elif not is_early and script is _no_window:
            await (await server.first()).saw(HEADERS)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert isinstance(await ending(lane, b"next"), UnaryReply)
        assert lane.open_calls == 0


async def test_a_caller_that_leaves_while_connecting_costs_the_others_nothing() -> None:
    usual = LaneSettings()
    async with H2Server(_no_settings) as server, lane_to(server.address, settings=usual) as lane:
        calls = [asyncio.create_task(ending(lane)) for _ in range(3)]
        await server.first()
        calls[0].cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(ends[0], asyncio.CancelledError)
    for end in ends[1:]:
        assert isinstance(end, UpstreamError)
        assert end.sent == "never"
