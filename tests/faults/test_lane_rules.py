"""What the lane does at each row of its tables, seen by a server at the other end of a socket.

docs/wire.md says for every row where it is proved.
"""

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable

import hpack
import pytest

from bff.core.errors import UpstreamError
from bff.core.events import silent
from bff.core.status import Code
from bff.wire.channel import UnaryReply
from bff.wire.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    ping_frame,
    settings_frame,
)
from bff.wire.http2.lane import LaneChannel
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
from tests.support.lane import PATH, ending, lane_to, soon_s

U32 = struct.Struct(">I").pack
Script = Callable[[Peer], Awaitable[None]]


def fault(end: UnaryReply | UpstreamError) -> UpstreamError:
    assert isinstance(end, UpstreamError), end
    return end


def codes(peer: Peer, kind: int) -> list[tuple[int, int]]:
    """(stream id, error code) of each RST_STREAM or GOAWAY that the server read."""
    return [(one[2], int.from_bytes(one[3][-4:])) for one in peer.frames if one[0] == kind]


async def fine(peer: Peer) -> None:
    while True:
        stream_id, message = await peer.message()
        peer.send(reply(stream_id, message))


# The request


class _Standing:
    """A clock that stands, so that what is left of a deadline is exact."""

    def now_s(self) -> float:
        return 1_000.0

    def unix_s(self) -> float:
        return 1_700_000_000.0


@pytest.mark.rule("upstreams.1")
@pytest.mark.parametrize(
    ("left_s", "text"),
    [(0.0019, b"1m"), (1.2349, b"1234m"), (99_999.9996, b"99999999m"), (100_000.9, b"100000S"),
     (1e12, b"99999999S")],
)  # fmt: skip
async def test_the_time_left_is_rounded_down_and_has_eight_digits(
    left_s: float, text: bytes
) -> None:
    async with H2Server(fine) as server:
        lane = LaneChannel(
            server.address, tls=None, authority=None, clock=_Standing(), random=random.Random(1),
            emit=silent,
        )  # fmt: skip
        await lane.unary(PATH, b"", (), 1_000.0 + left_s)
        await lane.close()
        sent = next(one[3] for one in server.peers[0].frames if one[0] == HEADERS)

    assert dict(hpack.Decoder().decode(sent, raw=True))[b"grpc-timeout"] == text


@pytest.mark.rule("upstreams.1")
async def test_a_request_is_a_block_of_literals_that_no_table_keeps() -> None:
    """The order of fields, whose `:authority`, which are never to be indexed; octets unpadded."""
    metadata = (("authorization", "Bearer t"), ("x-a", "1"), ("x-b-bin", b"\xff"))

    async with H2Server(fine) as server, lane_to(server.address, authority="orders.test") as lane:
        for _ in range(2):
            assert isinstance(await ending(lane, metadata=metadata), UnaryReply)
        first, second = (one[3] for one in server.peers[0].frames if one[0] == HEADERS)

    decoder = hpack.Decoder()
    fields = decoder.decode(second, raw=True)
    assert (first[:1], second[:1]) == (b"\x20", b"\x83")
    assert len(decoder.header_table.dynamic_entries) == 0
    names = [name for name, _ in fields]
    assert names == [
        b":method", b":scheme", b":path", b":authority", b"te", b"content-type", b"user-agent",
        b"grpc-accept-encoding", b"grpc-timeout", b"authorization", b"x-a", b"x-b-bin",
    ]  # fmt: skip
    found = dict(fields)
    assert found[b":authority"] == b"orders.test"
    assert (found[b"te"], found[b"x-b-bin"]) == (b"trailers", b"/w")
    assert [one[0] for one in fields if not one.indexable] == [b"authorization"]


@pytest.mark.rule("upstreams.1")
async def test_a_request_leaves_behind_settings_and_a_window_in_the_preface() -> None:
    async with H2Server(fine) as server, lane_to(server.address) as lane:
        assert isinstance(await ending(lane, b"hi"), UnaryReply)
        seen = server.peers[0].frames

    assert [one[0] for one in seen[:2]] == [SETTINGS, WINDOW_UPDATE]
    assert dict(struct.iter_unpack(">HI", seen[0][3])) == {
        1: 0, 2: 0, 4: (4 << 20) + 65_536, 5: 1 << 20, 6: 32 * 1024,
    }  # fmt: skip
    assert seen[1][3] == U32((16 << 20) - 65_535)
    # The ACK of the server's SETTINGS goes before the call that waited for them.
    assert [one[0] for one in seen[2:5]] == [SETTINGS, HEADERS, DATA]


class _Set(_Standing):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at_s = 1_000.0

    def now_s(self) -> float:
        return self.at_s


@pytest.mark.rule("upstreams.1")
@pytest.mark.parametrize(
    ("after_s", "reason", "origin"),
    [(0.499, "DEADLINE_EXCEEDED", "service"), (0.5, "TIMEOUT", "wire"), (0.6, "TIMEOUT", "wire")],
    ids=["its own", "as told", "late"],
)
async def test_a_service_that_keeps_to_the_time_it_was_told_says_what_we_would_say(
    after_s: float, reason: str, origin: str
) -> None:
    """It was told 500 ms of 500.9, and its word may be here before ours; before that it is a deadline of its own."""
    clock = _Set()

    async def script(peer: Peer) -> None:
        stream_id = await peer.request()
        clock.at_s += after_s
        peer.send(headers(stream_id, *GRPC, (b"grpc-status", b"4"), end=True))

    async with H2Server(script) as server:
        lane = LaneChannel(
            server.address, tls=None, authority=None, clock=clock, random=random.Random(1),
            emit=silent,
        )  # fmt: skip
        with pytest.raises(UpstreamError) as caught:
            await lane.unary(PATH, b"", (), 1_000.5009)
        await lane.close()

    assert (caught.value.reason, caught.value.code) == (reason, Code.DEADLINE_EXCEEDED)
    assert caught.value.origin == origin


# Time: pings, settings, late frames


@pytest.mark.rule("upstreams.2")
async def test_two_pings_and_no_more_go_between_headers_or_data() -> None:
    """A server that answers pings and nothing else hears two of them; a frame of a reply, and it may hear another."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for _ in range(2):
            peer.send(ping_frame((await peer.until(PING))[3], ack=True))
        stream_id, _ = await peer.message()
        peer.send(headers(stream_id, *GRPC))
        peer.send(ping_frame((await peer.until(PING))[3], ack=True))
        peer.send(data(stream_id, grpc_message(b"hi")), headers(stream_id, *OK, end=True))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        # Long enough for a third.
        quiet = fault(await ending(lane, deadline_s=soon_s(3.6)))
        pings = sum(one[0] == PING for one in server.peers[0].frames)
        end = await ending(lane)
        assert lane.connections == 1

    assert (quiet.reason, pings) == ("TIMEOUT", 2)
    assert isinstance(end, UnaryReply)
    assert sum(one[0] == PING for one in server.peers[0].frames) == 3


@pytest.mark.rule("upstreams.2")
async def test_a_server_that_never_acknowledges_our_settings_is_given_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(acknowledges=False)
        while True:
            kind, flags, _, payload = await peer.frame()
            if kind == PING and not flags & ACK:
                peer.send(ping_frame(payload, ack=True))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane, deadline_s=soon_s(30.0)))
        await server.peers[0].saw(GOAWAY)

    assert (error.reason, error.sent) == ("UPSTREAM_UNAVAILABLE", "maybe")
    assert codes(server.peers[0], GOAWAY) == [(0, ErrorCode.SETTINGS_TIMEOUT)]


@pytest.mark.rule("upstreams.2")
async def test_late_frames_of_a_stream_given_up_are_read_over() -> None:
    """All of a reply comes after its deadline: nobody gets it, and the connection goes on."""

    async def script(peer: Peer) -> None:
        late = await peer.request()
        await peer.until(RST_STREAM)
        peer.send(reply(late, b"late"), frame(RST_STREAM, 0, late, U32(8)))
        await fine(peer)

    async with H2Server(script) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane, deadline_s=soon_s(0.5)))
        end = await ending(lane, b"next")

    assert (error.reason, error.code) == ("TIMEOUT", Code.DEADLINE_EXCEEDED)
    assert isinstance(end, UnaryReply)
    assert end.message == b"next"
    assert len(server.peers) == 1
    assert codes(server.peers[0], RST_STREAM) == [(1, ErrorCode.CANCEL)]


@pytest.mark.rule("upstreams.2")
async def test_late_frames_are_errors_once_two_seconds_and_a_thousand_streams_have_passed() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.until(RST_STREAM)
        while True:
            stream_id, message = await peer.message()
            if message == b"wait":
                # Two pings are two seconds.
                for _ in range(2):
                    peer.send(ping_frame((await peer.until(PING))[3], ack=True))
            peer.send(data(1, b"late") if message == b"now" else reply(stream_id, message))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        fault(await ending(lane, deadline_s=soon_s(0.5)))
        for _ in range(1_001):
            assert isinstance(await ending(lane, b"next"), UnaryReply)
        assert isinstance(await ending(lane, b"wait"), UnaryReply)
        error = fault(await ending(lane, b"now"))
        await server.peers[0].saw(GOAWAY)

    assert error.sent == "maybe"
    assert codes(server.peers[0], GOAWAY) == [(0, ErrorCode.STREAM_CLOSED)]


# Resets


@pytest.mark.rule("upstreams.2")
async def test_no_more_than_two_hundred_resets_a_second_are_told() -> None:
    """Of 250 callers that leave at once 50 keep their streams, whose replies end them unheard."""
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        asked = [await peer.request() for _ in range(250)]
        arrived.set()
        for _ in range(200):
            asked.remove((await peer.until(RST_STREAM))[2])
        peer.send(*(reply(stream_id, b"unheard") for stream_id in asked))
        await fine(peer)

    async with H2Server(script) as server, lane_to(server.address) as lane:
        calls = [asyncio.create_task(ending(lane, deadline_s=soon_s(30.0))) for _ in range(250)]
        await arrived.wait()
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert lane.open_calls == 50
        end = await ending(lane, b"next")
        assert lane.open_calls == 0

    assert isinstance(end, UnaryReply)
    assert end.message == b"next"
    assert len(codes(server.peers[0], RST_STREAM)) == 200


@pytest.mark.rule("upstreams.2")
async def test_a_message_over_the_limit_ends_with_its_prefix() -> None:
    """Five octets say how long it is: the call ends with them, whatever else comes or does not."""

    async def script(peer: Peer) -> None:
        stream_id = await peer.request()
        peer.send(headers(stream_id, *GRPC), data(stream_id, b"\0\0\x40\0"), data(stream_id, b"\1"))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane, deadline_s=soon_s(30.0)))
        await server.peers[0].saw(RST_STREAM)

    assert (error.reason, error.code) == ("REPLY_TOO_LARGE", Code.RESOURCE_EXHAUSTED)
    assert codes(server.peers[0], RST_STREAM) == [(1, ErrorCode.CANCEL)]


@pytest.mark.rule("upstreams.2")
async def test_a_reply_before_the_body_is_out_drops_the_rest_of_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet((4, 100))
        stream_id = (await peer.until(DATA))[2]
        peer.send(headers(stream_id, *GRPC, (b"grpc-status", b"8"), end=True))
        await peer.until(RST_STREAM)
        peer.send(frame(WINDOW_UPDATE, 0, stream_id, U32(1_000_000)))
        await fine(peer)

    async with H2Server(script) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane, b"x" * 10_000))
        # With the reply to the first the window has been read too, and the second comes behind what it lets go.
        for _ in range(2):
            assert isinstance(await ending(lane, b"next"), UnaryReply)

    assert error.code is Code.RESOURCE_EXHAUSTED
    assert codes(server.peers[0], RST_STREAM) == [(1, ErrorCode.NO_ERROR)]
    sent = sum(len(one[3]) for one in server.peers[0].frames if one[:1] + one[2:3] == (DATA, 1))
    assert sent == 100


@pytest.mark.rule("upstreams.2")
async def test_the_peers_ping_is_answered_with_its_octets() -> None:
    async def script(peer: Peer) -> None:
        stream_id = await peer.request()
        peer.send(ping_frame(b"8 octets"))
        _, flags, _, payload = await peer.until(PING)
        assert (flags, payload) == (ACK, b"8 octets")
        peer.send(reply(stream_id, b"hi"))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        assert isinstance(await ending(lane), UnaryReply)


# Octets in pieces


_PIECES = (
    headers(1, (b":status", b"103"), (b"link", b"x"))
    + ping_frame(b"8 octets")
    + frame(HEADERS, 0x28, 1, b"\x02" + bytes(5) + block(*GRPC)[:9] + b"\0\0")
    + frame(9, 0, 1, block(*GRPC)[9:20])
    + frame(9, END_HEADERS, 1, block(*GRPC)[20:])
    + settings_frame((4, 70_000), (99, 7))
    + frame(PRIORITY, 0, 1, bytes(5))
    + frame(DATA, 0x08, 1, b"\x03" + grpc_message(b"hi")[:4] + bytes(3))
    + frame(77, 0xFF, 5, b"unknown")
    + frame(WINDOW_UPDATE, 0, 0, U32(5))
    + data(1, grpc_message(b"hi")[4:])
    + frame(WINDOW_UPDATE, 0, 1, U32(5))
    + headers(1, *OK, end=True)
)


@pytest.mark.rule("upstreams.2")
async def test_frames_of_every_kind_may_be_cut_at_every_octet() -> None:
    """Interim reply, padding, priority, CONTINUATION, SETTINGS, PING, what nobody knows: the call reads one message."""
    cuts = iter(range(1, len(_PIECES)))

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            cut = next(cuts)
            peer.send(_PIECES[:cut])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            peer.send(_PIECES[cut:])
            # One call to a connection: the frames name stream 1.
            peer.send(frame(GOAWAY, 0, 0, U32(1) + bytes(4)))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        for _ in range(1, len(_PIECES)):
            end = await ending(lane)
            assert isinstance(end, UnaryReply), str(end)
            assert end.message == b"hi"


@pytest.mark.rule("upstreams.2")
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_that_ends_at_any_octet_of_a_reply_ends_the_call(how: str) -> None:
    cuts = iter(range(len(_PIECES)))

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(_PIECES[: next(cuts)])
        if how == "reset":
            await peer.writer.drain()
            peer.writer.transport.abort()
        else:
            peer.writer.close()

    async with H2Server(script) as server:
        for _ in range(len(_PIECES)):
            async with lane_to(server.address) as lane:
                error = fault(await ending(lane))
                assert (error.reason, error.origin, error.sent) == (
                    "UPSTREAM_UNAVAILABLE", "wire", "maybe",
                )  # fmt: skip


@pytest.mark.rule("upstreams.2")
@pytest.mark.parametrize("greets", [True, False], ids=["settings", "nothing"])
async def test_goaway_as_the_first_word_sends_calls_elsewhere(greets: bool) -> None:
    """A server that says goodbye at once is asked nothing; the next connection gets the call."""

    async def script(peer: Peer) -> None:
        if len(server.peers) > 1:
            await fine(peer)
        goodbye = frame(GOAWAY, 0, 0, bytes(8))
        peer.send((settings_frame() if greets else b"") + goodbye)

    async with H2Server(script) as server, lane_to(server.address) as lane:
        async with asyncio.timeout(30.0):
            while not isinstance(end := await ending(lane, b"hi"), UnaryReply):
                assert end.sent in {"never", "refused"}
                await asyncio.sleep(0)

    assert not any(one[0] == DATA for one in server.peers[0].frames)


@pytest.mark.rule("upstreams.2")
async def test_goaway_during_an_upload_lets_it_go_on() -> None:
    async def script(peer: Peer) -> None:
        if len(server.peers) > 1:
            await fine(peer)
        await peer.greet((4, 10))
        await peer.until(DATA)
        peer.send(frame(GOAWAY, 0, 0, U32(1) + bytes(4)), frame(WINDOW_UPDATE, 0, 1, U32(1_000)))
        while not (await peer.until(DATA))[1] & 1:
            pass
        peer.send(reply(1, b"whole"))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        first = asyncio.create_task(ending(lane, b"x" * 500))
        await (await server.first()).saw(DATA)
        async with asyncio.timeout(30.0):
            while not isinstance(second := await ending(lane, b"hi"), UnaryReply):
                # It left on the first connection before the goodbye was read.
                assert second.sent == "refused"
        end = await first

    assert isinstance(end, UnaryReply)
    assert end.message == b"whole"
    assert len(server.peers) == 2


# HPACK


_TRICKS = {
    "index-0": (b"\x20\x80", Code.UNAVAILABLE),
    "index-beyond-static": (b"\x20\x88\xc0", Code.UNAVAILABLE),
    "name-beyond-static": (b"\x20\x88\x0f\x40\x01v", Code.UNAVAILABLE),
    "endless-integer": (b"\x20\x88\xff" + b"\xff" * 50 + b"\x01", Code.UNAVAILABLE),
    "cut-integer": (b"\x20\x88\xff\x80", Code.UNAVAILABLE),
    "string-past-the-end": (b"\x20\x88\x00\x7f\xff\x7fname", Code.UNAVAILABLE),
    "huffman-with-eos": (b"\x20\x88\x00\x84\xff\xff\xff\xff\x01v", Code.UNAVAILABLE),
    "huffman-long-padding": (b"\x20\x88\x00\x82\x1f\xff\x01v", Code.UNAVAILABLE),
    "update-within": (b"\x20\x88\x3f\xe1\x1f", Code.UNAVAILABLE),
    "update-endless": (b"\x20\x3f\xff\xff\xff\xff\xff\xff\xff\x7f\x88", Code.UNAVAILABLE),
    "bomb-of-indexes": (b"\x20\x88" + b"\x90" * 5_000, Code.RESOURCE_EXHAUSTED),
    "name-of-nothing": (b"\x20\x88\x00\x00\x01v", Code.INTERNAL),
}


@pytest.mark.rule("upstreams.2")
@pytest.mark.parametrize("name", _TRICKS)
@pytest.mark.parametrize("late", [False, True], ids=["open", "late"])
async def test_a_block_that_plays_tricks_gives_a_status(name: str, late: bool) -> None:
    """On a stream that nobody waits for any more it is decoded too: it could have moved a table."""
    raw, code = _TRICKS[name]

    async def script(peer: Peer) -> None:
        while True:
            stream_id, message = await peer.message()
            if message == b"fine":
                peer.send(reply(stream_id, b"fine"))
                continue
            if late:
                await peer.until(RST_STREAM)
            peer.send(frame(HEADERS, END_HEADERS, stream_id, raw))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        wait_s = 0.25 if late else 10.0
        error = fault(await ending(lane, b"odd", deadline_s=soon_s(wait_s)))
        async with asyncio.timeout(30.0):
            while not isinstance(end := await ending(lane, b"fine"), UnaryReply):
                assert end.origin == "wire"
                await asyncio.sleep(0.01)
        first = server.peers[0]
        await lane.close()
        await first.saw(GOAWAY)

    assert error.code is (Code.DEADLINE_EXCEEDED if late else code)
    # Closing the lane is no error.
    ended_with = ErrorCode.COMPRESSION_ERROR if code is Code.UNAVAILABLE else ErrorCode.NO_ERROR
    assert codes(first, GOAWAY) == [(0, ended_with)]
    assert (len(server.peers) > 1) is (code is Code.UNAVAILABLE)


@pytest.mark.rule("upstreams.2")
@pytest.mark.parametrize(
    "octets",
    [headers(2, *GRPC), headers(99, *GRPC), data(3, b"x"), frame(RST_STREAM, 0, 5, U32(8)),
     frame(WINDOW_UPDATE, 0, 7, U32(8))],
    ids=["even", "headers", "data", "reset", "window"],
)  # fmt: skip
async def test_a_frame_on_a_stream_never_opened_ends_the_connection(octets: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(octets)

    async with H2Server(script) as server, lane_to(server.address) as lane:
        error = fault(await ending(lane))
        await server.peers[0].saw(GOAWAY)

    assert (error.code, error.sent) == (Code.UNAVAILABLE, "maybe")
    assert codes(server.peers[0], GOAWAY) == [(0, ErrorCode.PROTOCOL_ERROR)]
