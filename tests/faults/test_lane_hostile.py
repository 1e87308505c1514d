"""Servers that break the rules, stall, flood or die under the lane: always a status, and in time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.wire.channel import UnaryReply
from bff.wire.http2.frames import (
    CONTINUATION,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    settings_frame,
)
from bff.wire.http2.lane import LaneSettings
from tests.support.h2_server import (
    GRPC,
    OK,
    H2Server,
    Peer,
    block,
    data,
    grpc_message,
    headers,
    reply,
)
from tests.support.lane import CLOCK, ending, lane_to, soon_s
from tests.support.soak import soak

pytestmark = pytest.mark.rule("upstreams.2")
Script = Callable[[Peer], Awaitable[None]]
GOAWAY_ALL = frame(GOAWAY, 0, 0, bytes(8))
REPLY = reply(1, b"hi")
# Enough for a lane under load to answer; calls that hang are ended by this deadline.
SHORT_S = 0.5


def fault(end: UnaryReply | UpstreamError) -> UpstreamError:
    assert isinstance(end, UpstreamError), end
    return end


def sends(*parts: bytes, then: str = "") -> Script:
    """A script that takes one request, answers with these octets and then waits, or closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(*parts)
        if then == "close":
            peer.writer.close()
        elif then == "half":
            peer.writer.write_eof()

    return script


PARTS = [headers(1, *GRPC), data(1, grpc_message(b"hi")), headers(1, *OK, end=True)]


@pytest.mark.parametrize("then", ["close", "half"])
@pytest.mark.parametrize("cut", [0, 1, 9, 20, len(PARTS[0]), len(PARTS[0]) + 9, len(REPLY) - 1])
async def test_a_connection_that_dies_within_a_reply_ends_the_call(cut: int, then: str) -> None:
    async with H2Server(sends(REPLY[:cut], then=then)) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane))

    assert (error.reason, error.code, error.origin, error.sent) == (
        "UPSTREAM_UNAVAILABLE", Code.UNAVAILABLE, "wire", "maybe",
    )  # fmt: skip


@pytest.mark.parametrize("then", ["", "close"])
@pytest.mark.parametrize("at", range(4))
async def test_goaway_at_each_point_loses_no_reply_that_comes(at: int, then: str) -> None:
    goaway = frame(GOAWAY, 0, 0, b"\0\0\0\1" + bytes(4))
    parts = [*PARTS[:at], goaway, *PARTS[at:]]

    async with H2Server(sends(*parts, then=then)) as server, lane_to(server.address) as lane:
        end = await ending(lane)
        assert isinstance(end, UnaryReply)
        assert end.message == b"hi"
        # The next call takes another connection.
        assert isinstance(await ending(lane), UnaryReply)
        assert len(server.peers) == 2


@pytest.mark.parametrize("at", range(3))
async def test_goaway_below_the_call_says_that_it_was_refused(at: int) -> None:
    parts = [*PARTS[:at], GOAWAY_ALL, *PARTS[at:]]

    async with H2Server(sends(*parts)) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane))

    assert (error.code, error.sent) == (Code.UNAVAILABLE, "refused")


async def _no_settings(peer: Peer) -> None:
    await peer.rest()


async def _never_replies(peer: Peer) -> None:
    await peer.request()
    await peer.rest()


async def _no_window(peer: Peer) -> None:
    await peer.greet((4, 0))


async def _no_streams(peer: Peer) -> None:
    await peer.greet((3, 0))


async def _endless_headers(peer: Peer) -> None:
    await peer.request()
    peer.send(frame(HEADERS, 0, 1, block(*GRPC)))


@pytest.mark.parametrize(
    ("script", "sent"),
    [(_never_replies, "maybe"), (_no_window, "maybe"), (_no_streams, "never"), (_endless_headers, "maybe")],
)  # fmt: skip
async def test_a_peer_that_stalls_costs_no_more_than_the_deadline(
    script: Script, sent: str
) -> None:
    async with H2Server(script) as server, lane_to(server.address) as lane:
        began_s = CLOCK.now_s()
        error = fault(await ending(lane, b"x" * 100_000, deadline_s=soon_s(SHORT_S)))
        took_s = CLOCK.now_s() - began_s

    assert (error.reason, error.code, error.sent) == ("TIMEOUT", Code.DEADLINE_EXCEEDED, sent)
    assert took_s >= SHORT_S - 0.01


async def test_a_peer_without_settings_is_not_connected_after_a_second() -> None:
    usual = LaneSettings()
    async with H2Server(_no_settings) as server, lane_to(server.address, settings=usual) as lane:
        error = fault(await ending(lane))

    assert (error.reason, error.sent) == ("UPSTREAM_UNAVAILABLE", "never")


async def test_a_silent_peer_is_found_dead_by_a_ping() -> None:
    async with H2Server(_never_replies) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane, deadline_s=soon_s(30.0)))

    assert (error.reason, error.sent) == ("UPSTREAM_UNAVAILABLE", "maybe")
    assert "PING" in error.detail
    assert any(one[0] == PING for one in server.peers[0].frames)


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n", bytes(100), b"\xff" * 100,
        frame(SETTINGS, 1, 0), REPLY, b"\0\0\6\4\0\0\0\0\0\0\2\0\0\0\1",
    ],
    ids=["http1", "zeros", "ones", "ack-first", "reply-first", "push-on"],
)  # fmt: skip
async def test_a_peer_that_speaks_something_else_was_sent_nothing(octets: bytes) -> None:
    async def script(peer: Peer) -> None:
        peer.send(octets)

    async with H2Server(script) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane))

    assert (error.reason, error.origin, error.sent) == ("UPSTREAM_UNAVAILABLE", "wire", "never")


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (frame(HEADERS, END_HEADERS, 1, b"\x20\x88\xbe"), Code.UNAVAILABLE),
        (frame(HEADERS, END_HEADERS, 1, b"\x3f\xe1\x1f\x88"), Code.UNAVAILABLE),
        (frame(HEADERS, END_HEADERS, 1, b"\x88\x40\x01a\x01b"), Code.UNAVAILABLE),
        (frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * 40, Code.UNAVAILABLE),
        (headers(1, *GRPC, (b"x-a", b"v" * 40_000)), Code.RESOURCE_EXHAUSTED),
        (headers(1, *GRPC, (b"x-a", b"v" * 400_000)), Code.RESOURCE_EXHAUSTED),
        (headers(1, *GRPC) + data(1, b"\0\xff\xff\xff\xff"), Code.RESOURCE_EXHAUSTED),
        (headers(1, *GRPC) + data(1, b"\0\0\0\0\5hi", end=True), Code.UNKNOWN),
        (data(1, grpc_message(b"hi")), Code.INTERNAL),
        (frame(RST_STREAM, 0, 1, b"\0\0\0\7"), Code.UNAVAILABLE),
        (frame(PING, 0, 0, bytes(8)) * 1_500, Code.UNAVAILABLE),
        (settings_frame() * 1_500, Code.UNAVAILABLE),
        (headers(1, *GRPC) + data(1, b"") * 1_500, Code.UNAVAILABLE),
        (frame(77, 0, 0, b"x" * 50) * 1_500, Code.UNAVAILABLE),
        (frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2, Code.UNAVAILABLE),
        (frame(5, 4, 1, b"\0\0\0\2" + block(*GRPC)), Code.UNAVAILABLE),
    ],
    ids=["dynamic-index", "table-grown", "no-update", "continuation-flood", "large-list", "larger-list",
         "endless-message", "cut-message", "data-first", "refused", "ping-flood", "settings-flood",
         "empty-data-flood", "unknown-flood", "window-over", "push"],
)  # fmt: skip
async def test_a_peer_that_breaks_a_rule_gives_a_status_and_the_next_call_works(
    octets: bytes, code: Code
) -> None:
    async with H2Server(_with_good_calls(octets)) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane))
        # A connection that gave nothing is followed by a short pause.
        while not isinstance(end := await ending(lane, b"fine"), UnaryReply):
            assert end.sent == "never"
            await asyncio.sleep(0.01)

    assert error.code is code
    assert error.origin == "wire"


def _with_good_calls(octets: bytes) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            stream_id, message = await peer.message()
            if message == b"fine":
                peer.send(headers(stream_id, *GRPC), data(stream_id, grpc_message(b"fine")),
                          headers(stream_id, *OK, end=True))  # fmt: skip
            else:
                peer.send(octets)

    return script


async def test_a_peer_that_does_not_read_holds_calls_in_the_queue() -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet((4, (1 << 31) - 1))
        await release.wait()

    async with H2Server(script) as server, lane_to(server.address) as lane:
        sending = [
            asyncio.create_task(ending(lane, bytes(4 << 20), deadline_s=soon_s(60.0)))
            for _ in range(12)
        ]
        # The socket's buffers and ours are full once no call leaves any more.
        queued = 0
        while queued < 3:
            error = fault(await ending(lane, b"small", deadline_s=soon_s(0.05)))
            assert error.code is Code.DEADLINE_EXCEEDED
            queued += error.sent == "never"
        await lane.close()
        ends = [fault(end) for end in await asyncio.gather(*sending)]
        release.set()

    assert {(end.code, end.sent) for end in ends} == {(Code.UNAVAILABLE, "maybe")}


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancel_at_each_await_leaves_no_stream(steps: int) -> None:
    async def script(peer: Peer) -> None:
        while True:
            peer.send(reply(await peer.request(), b"hi"))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        assert isinstance(await ending(lane), UnaryReply)
        for _ in range(20):
            call = asyncio.create_task(ending(lane))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
        assert isinstance(await ending(lane), UnaryReply)
        assert lane.open_calls == 0


async def test_many_calls_with_cancels_and_resets_end_at_the_baseline() -> None:
    """20,000 calls, a fifth cancelled, 5 % reset: each reply is its own, and nothing is left."""
    figures = await soak(20_000)

    assert set(figures.ends) <= {"ok", "reset", "cancelled"}
    assert sum(figures.ends.values()) == figures.calls
    assert figures.ends["cancelled"] > 0.1 * figures.calls
    assert figures.ends["reset"] > 0.02 * figures.calls
    assert figures.ends["ok"] > 0.7 * figures.calls
    assert (figures.crossed, figures.open_calls, figures.connections) == (0, 0, 1)
    assert figures.tasks[1] <= figures.tasks[0]
    # Fewer where a connection of the test before was only then let go of.
    assert figures.files[1] <= figures.files[0]
    assert figures.streams[1] < figures.streams[0] + 10
