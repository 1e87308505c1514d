"""The same calls through the lane and through grpcio, against grpc.aio: the same ends.

What is marked so in the requirements may differ; it is not among these calls.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.wire.channel import Channel, UnaryReply
from bff.wire.grpcio import GrpcioChannel
from bff.wire.http2.lane import LaneSettings
from tests.support.h2_server import GRPC, H2Server, Peer, data, grpc_message, headers
from tests.support.lane import CLOCK, PATH, ending, lane_to, soon_s
from tests.support.upstream_lab import Step, UpstreamLab

MIB = 1 << 20


@asynccontextmanager
async def both(
    address: str, *, settings: LaneSettings | None = None, **more: Any
) -> AsyncIterator[tuple[Channel, Channel]]:
    reference = GrpcioChannel(address, tls=None, authority=None, clock=CLOCK, **more)
    try:
        async with lane_to(address, settings=settings or LaneSettings(), **more) as lane:
            yield lane, reference
    finally:
        await reference.close()


def plain(end: UnaryReply | UpstreamError) -> Any:
    """What both must agree on."""
    if isinstance(end, UnaryReply):
        # Only the channels' own user agents differ, and these are no reply's.
        return end.message, end.metadata
    return end.reason, end.code, end.origin, end.sent, end.message, end.details_bin, end.pushback_ms


async def same_end(lab: UpstreamLab, step: Step, *args: Any, **more: Any) -> Any:
    lab.on(PATH, step)
    async with both(lab.address, **more) as channels:
        lane, reference = [plain(await ending(channel, *args)) for channel in channels]
    assert lane == reference
    return lane


TEXTS = ["", "plain", "naïve % text", "100%zz", "a\nb\ttab", "日本語 " * 10, "%41"]


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
async def test_each_status_ends_alike(code: Code) -> None:
    trailers = (("grpc-status-details-bin", b"\x08\x05\x12\x01x"), ("grpc-retry-pushback-ms", "70"))
    async with UpstreamLab() as lab:
        end = await same_end(lab, Step(code=code, details=TEXTS[code % 7], trailers=trailers))

    assert end[:3] == (code.name, code, "service")


@pytest.mark.parametrize("text", TEXTS)
async def test_texts_of_a_status_are_read_alike(text: str) -> None:
    async with UpstreamLab() as lab:
        end = await same_end(lab, Step(code=Code.ABORTED, details=text))

    assert end[4] == text


@pytest.mark.parametrize("pushback", ["0", "-5", "soon", "9999999999", "007"])
async def test_pushback_is_read_alike(pushback: str) -> None:
    trailers = (("grpc-retry-pushback-ms", pushback),)
    async with UpstreamLab() as lab:
        await same_end(lab, Step(code=Code.UNAVAILABLE, trailers=trailers))


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@pytest.mark.parametrize(
    "size", [0, 1, 1023, 16_379, 16_384, 65_530, 65_536, MIB, 4 * MIB], ids=str
)
async def test_messages_of_all_sizes_cross_alike(size: int, compression: grpc.Compression) -> None:
    message = random.Random(size).randbytes(size // 2) + bytes(size - size // 2)
    options = (("grpc.default_compression_algorithm", compression.value),
               ("grpc.max_receive_message_length", 5 * MIB))  # fmt: skip
    gzips = compression is grpc.Compression.Gzip
    async with UpstreamLab(options=options) as lab:
        end = await same_end(
            lab, Step(message=lambda asked: asked), message, settings=LaneSettings(gzip=gzips)
        )
        assert [one.message for one in lab.calls(PATH)] == [message, message]

    assert end == (message, ())


async def test_a_reply_over_the_limit_ends_alike() -> None:
    async with UpstreamLab() as lab:
        for size in (10_000, 10_001):
            await same_end(lab, Step(message=b"x" * size), max_message_bytes=10_000)
        end = await same_end(lab, Step(message=b""), b"x" * 10_001, max_message_bytes=10_000)

    assert end[:4] == ("BODY_TOO_LARGE", Code.RESOURCE_EXHAUSTED, "local", "never")


async def test_metadata_cross_alike_both_ways() -> None:
    chance = random.Random(11)

    def some() -> tuple[tuple[str, str | bytes], ...]:
        pairs: list[tuple[str, str | bytes]] = []
        for _ in range(chance.randrange(8)):
            if chance.random() < 0.4:
                raw = chance.randbytes(chance.randrange(200))
                pairs.append((f"x-{chance.randrange(4)}-bin", raw))
            else:
                text = "".join(
                    chr(chance.randrange(0x21, 0x7F)) for _ in range(chance.randrange(1, 200))
                )
                pairs.append((f"x-{chance.randrange(4)}.a_b", text))
        return tuple(pairs)

    async with UpstreamLab() as lab:
        for _ in range(12):
            step = Step(message=b"ok", initial=some(), trailers=some())
            await same_end(lab, step, b"", some())
            ours, theirs = (
                [pair for pair in call.metadata if pair[0] != "user-agent"]
                for call in lab.calls(PATH)[-2:]
            )
            assert ours == theirs


async def test_trailers_only_and_metadata_of_a_failure_end_alike() -> None:
    async with UpstreamLab() as lab:
        await same_end(lab, Step(code=Code.NOT_FOUND))
        await same_end(lab, Step(code=Code.NOT_FOUND, initial=(("x-a", "1"),)))


async def test_deadlines_end_alike() -> None:
    async with UpstreamLab() as lab:
        lab.on(PATH, Step(hang=True))
        async with both(lab.address) as channels:
            lane, reference = [plain(await ending(one, deadline_s=soon_s(0.5))) for one in channels]
            await lab.until(lambda: all(call.cancelled for call in lab.calls(PATH)))

    assert lane[:4] == reference[:4] == ("TIMEOUT", Code.DEADLINE_EXCEEDED, "wire", "maybe")


async def test_cancels_arrive_alike() -> None:
    async with UpstreamLab() as lab:
        lab.on(PATH, Step(hang=True))
        async with both(lab.address) as channels:
            for number, channel in enumerate(channels, 1):
                call = asyncio.create_task(ending(channel))
                await lab.until(lambda: len(lab.calls(PATH)) == number)  # noqa: B023 - awaited here
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await lab.until(lambda: lab.calls(PATH)[-1].cancelled)


MESSAGE = grpc_message(b"hi")


def _raw(*parts: Any) -> Any:
    return parts


@pytest.mark.rule("upstreams.2")
@pytest.mark.parametrize(
    "answer",
    [
        _raw(headers(1, *GRPC), data(1, MESSAGE), headers(1, (b"grpc-status", b"7"), end=True)),
        _raw(headers(1, *GRPC), data(1, MESSAGE), headers(1, (b"x-t", b"1"), end=True)),
        _raw(headers(1, *GRPC, (b"grpc-status", b"42"), end=True)),
        _raw(headers(1, *GRPC, (b"grpc-status", b"007"), end=True)),
        _raw(headers(1, *GRPC, (b"grpc-status", b"5"), (b"grpc-message", b"%C3%A4%zz%4"), end=True)),
        *(_raw(headers(1, (b":status", b"%d" % status), (b"content-type", b"text/html"), end=True))
          for status in (400, 401, 403, 404, 418, 429, 500, 502, 503, 504)),
        _raw(headers(1, *GRPC, (b"grpc-status", b"abc"), end=True)),
        _raw(headers(1, (b":status", b"502"), (b"content-type", b"text/html")),
             data(1, b"<html>", end=True)),
        _raw(headers(1, (b":status", b"503"), (b"grpc-status", b"5"), end=True)),
        _raw(headers(1, *GRPC), data(1, grpc_message(b"hi", flag=1)),
             headers(1, (b"grpc-status", b"0"), end=True)),
        _raw(headers(1, *GRPC, (b"grpc-encoding", b"gzip")), data(1, grpc_message(b"hi", flag=1)),
             headers(1, (b"grpc-status", b"0"), end=True)),
    ],
)  # fmt: skip
async def test_odd_replies_end_alike(answer: tuple[bytes, ...]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(*answer)

    async with H2Server(script) as server, both(server.address) as channels:
        lane, reference = [plain(await ending(channel)) for channel in channels]

    assert lane == reference
