"""Calls to real gRPC servers, and to peers that speak something else, through channel and stack."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from bff.core.errors import GatewayBug, UpstreamError
from bff.core.events import BreakerMoved, Event
from bff.core.ports import SystemClock
from bff.core.status import Code
from bff.upstream.call import (
    BreakerSettings,
    Endpoint,
    Operation,
    RetrySettings,
    UpstreamSettings,
    UpstreamStack,
)
from bff.wire.grpcio import GrpcioChannel, TlsSettings
from bff.wire.http2.frames import GOAWAY, RST_STREAM, frame
from tests.support.h2_server import GRPC, data, grpc_message, headers
from tests.support.soak_streams import soak_streams
from tests.support.stray import nothing_stray
from tests.support.upstream_lab import (
    RawPeer,
    Step,
    UpstreamLab,
    refused_address,
    self_signed,
)

GET = "/shop.v1.Orders/Get"
WATCH = "/shop.v1.Orders/Watch"
CLOCK = SystemClock()
# Longer than any wait of these tests: what ends earlier was ended by something else.
FAR_S = 60.0

MESSAGE = data(1, grpc_message(b"hi"))


def soon_s(seconds: float = 10.0) -> float:
    return CLOCK.now_s() + seconds


@asynccontextmanager
async def channel_to(address: str, **options: Any) -> AsyncIterator[GrpcioChannel]:
    channel = GrpcioChannel(address, tls=None, authority=None, clock=CLOCK, **options)
    with nothing_stray():
        try:
            yield channel
        finally:
            await channel.close()
        assert channel.open_calls == 0


@asynccontextmanager
async def stack_over(
    *addresses: str,
    emit: Callable[[Event], None] = lambda _event: None,
    clock: SystemClock = CLOCK,
    **settings: Any,
) -> AsyncIterator[UpstreamStack]:
    stack = UpstreamStack(
        UpstreamSettings(
            name="orders",
            endpoints=tuple(Endpoint(address) for address in addresses),
            **settings,
        ),
        clock=clock,
        random=random.Random(5),
        emit=emit,
        connect=lambda endpoint: GrpcioChannel(
            endpoint.address, tls=None, authority=None, clock=clock
        ),
    )
    try:
        yield stack
    finally:
        await stack.close(grace_s=0.0)


def operation(**more: Any) -> Operation:
    return Operation(name="orders.Get", path=GET, upstream="orders", **more)


async def error_of(channel: GrpcioChannel, deadline_s: float | None = None) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await channel.unary(GET, b"asked", (), deadline_s or soon_s())
    return caught.value


async def test_bytes_and_metadata_cross_both_ways() -> None:
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        lab.on(
            GET,
            Step(
                message=lambda asked: asked[::-1],
                initial=(("x-first", "1"),),
                trailers=(("x-last-bin", b"\0\xff"),),
            ),
        )
        sent = (("x-user", "u1"), ("x-twice", "a"), ("x-twice", "b"), ("x-raw-bin", b"\0\1"))

        reply = await channel.unary(GET, b"abc", sent, soon_s(), want_metadata=True)
        plain = await channel.unary(GET, b"", (), soon_s())

    assert (reply.message, plain.message) == (b"cba", b"")
    assert reply.metadata == (("x-first", "1"), ("x-last-bin", b"\0\xff"))
    assert plain.metadata == ()
    seen = lab.calls(GET)[0]
    assert seen.all("x-twice") == ["a", "b"]
    assert seen.all("x-raw-bin") == [b"\0\1"]


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
async def test_each_status_of_a_service_arrives_as_it_is(code: Code) -> None:
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        trailers = (("grpc-status-details-bin", b"\x08\x05"), ("grpc-retry-pushback-ms", "70"))
        lab.on(GET, Step(code=code, details="naïve % text", trailers=trailers))

        error = await error_of(channel)

    assert (error.reason, error.code, error.origin) == (code.name, code, "service")
    assert error.message == "naïve % text"
    assert error.details_bin == b"\x08\x05"
    assert error.pushback_ms == 70


@pytest.mark.rule("transcoding.148")
async def test_the_service_sees_less_time_than_the_caller_has() -> None:
    async with UpstreamLab() as lab, stack_over(lab.address) as stack:
        lab.on(GET, Step(message=b"ok"))

        await stack.unary(operation(timeout_s=2.0), b"", (), soon_s(60.0))
        await stack.unary(operation(), b"", (), soon_s(1.0))

    first, second = (call.left_s for call in lab.calls(GET))
    assert first is not None
    assert second is not None
    assert first <= 2.0
    assert second <= 1.0


@pytest.mark.rule("upstreams.2")
async def test_our_deadline_ends_the_call_here_and_there() -> None:
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        lab.on(GET, Step(hang=True))

        error = await error_of(channel, soon_s(0.5))
        await lab.until(lambda: lab.calls(GET)[0].cancelled)

    assert (error.reason, error.status, error.origin) == ("TIMEOUT", 504, "wire")


@pytest.mark.rule("upstreams.3")
async def test_a_caller_that_leaves_cancels_at_the_service_and_leaks_nothing() -> None:
    async with UpstreamLab() as lab, stack_over(lab.address) as stack:
        lab.on(GET, Step(hang=True))
        calls = [
            asyncio.create_task(stack.unary(operation(), b"", (), soon_s(FAR_S))) for _ in range(20)
        ]
        await lab.until(lambda: len(lab.calls(GET)) == 20)

        for call in calls:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        await lab.until(lambda: all(seen.cancelled for seen in lab.calls(GET)))

        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        assert stack.describe()["running"] == 0


@pytest.mark.rule("upstreams.3")
async def test_calls_that_run_when_the_channel_closes_end_with_unavailable() -> None:
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        lab.on(GET, Step(hang=True))
        call = asyncio.create_task(channel.unary(GET, b"", (), soon_s()))
        await lab.until(lambda: len(lab.calls(GET)) == 1)

        await channel.close()

        with pytest.raises(UpstreamError) as caught:
            await call
        assert (caught.value.reason, caught.value.sent) == ("UPSTREAM_UNAVAILABLE", "maybe")
        assert (await error_of(channel)).sent == "never"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_refused_connection_was_never_sent(host: str) -> None:
    port = (await refused_address()).rpartition(":")[2]
    async with channel_to(f"{host}:{port}") as channel:
        error = await error_of(channel)

    assert (error.reason, error.origin, error.sent) == ("UPSTREAM_UNAVAILABLE", "wire", "never")


@pytest.mark.rule("upstreams.9")
async def test_with_one_endpoint_dead_unsafe_calls_all_succeed() -> None:
    async with UpstreamLab() as lab, stack_over(await refused_address(), lab.address) as stack:
        lab.on(GET, Step(message=b"ok"))

        for _ in range(30):
            await stack.unary(operation(repeat="never"), b"", (), soon_s())

    assert len(lab.calls(GET)) == 30


@pytest.mark.rule("upstreams.9")
async def test_a_lost_connection_is_not_repeated_for_unsafe_calls() -> None:
    peer = RawPeer(b"", close=True)
    async with peer, UpstreamLab() as lab, stack_over(peer.address, balance="round_robin") as sole:
        with pytest.raises(UpstreamError) as caught:
            await sole.unary(operation(repeat="never"), b"", (), soon_s())
        assert (caught.value.reason, caught.value.sent) == ("UPSTREAM_UNAVAILABLE", "maybe")

        async with stack_over(peer.address, lab.address, balance="round_robin") as both:
            lab.on(GET, Step(message=b"ok"))
            for _ in range(4):
                await both.unary(operation(repeat="always"), b"", (), soon_s())

    assert len(lab.calls(GET)) == 4


@pytest.mark.rule("upstreams.16")
async def test_amplification_stays_within_the_budget() -> None:
    no_wait = RetrySettings(attempts=5)
    async with UpstreamLab() as lab, stack_over(lab.address) as stack:
        lab.on(GET, Step(code=Code.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "0"),)))
        started_s = CLOCK.now_s()

        for _ in range(200):
            with pytest.raises(UpstreamError):
                await stack.unary(
                    operation(repeat="always", retry=no_wait, breaker=None), b"", (), soon_s()
                )

    # Ten to start with, one in five, and one a second.
    assert 240 <= len(lab.calls(GET)) <= 200 + 10 + 40 + 1 + (CLOCK.now_s() - started_s)


class AheadClock(SystemClock):
    """The machine's clock, moved ahead by `ahead_s`, so that a test need not wait for a pause to end."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.now_s = lambda: CLOCK.now_s() + self.ahead_s


@pytest.mark.rule("upstreams.10")
async def test_a_breaker_opens_on_total_failure_and_closes_when_the_service_is_back() -> None:
    moves: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, BreakerMoved):
            moves.append(event.after)

    one = operation(breaker=BreakerSettings(min_calls=5))
    clock = AheadClock()
    async with (
        UpstreamLab() as lab,
        stack_over(lab.address, emit=listen, clock=clock) as stack,
    ):
        lab.on(GET, Step(code=Code.INTERNAL))
        for _ in range(5):
            with pytest.raises(UpstreamError, match="INTERNAL"):
                await stack.unary(one, b"", (), clock.now_s() + 10)
        with pytest.raises(UpstreamError, match="BREAKER_OPEN"):
            await stack.unary(one, b"", (), clock.now_s() + 10)
        assert len(lab.calls(GET)) == 5

        lab.on(GET, Step(message=b"ok"))
        clock.ahead_s = 2.0
        for _ in range(3):
            await stack.unary(one, b"", (), clock.now_s() + 10)

    assert moves == ["open", "half_open", "closed"]


@pytest.mark.rule("upstreams.15")
async def test_a_reply_over_the_limit_is_our_502() -> None:
    async with UpstreamLab() as lab, channel_to(lab.address, max_message_bytes=10_000) as channel:
        lab.on(GET, Step(message=b"x" * 10_000), Step(message=b"x" * 10_001))

        assert len((await channel.unary(GET, b"", (), soon_s())).message) == 10_000
        error = await error_of(channel)

    assert (error.reason, error.status, error.origin) == ("REPLY_TOO_LARGE", 502, "wire")
    assert error.code is Code.RESOURCE_EXHAUSTED


async def test_a_request_over_the_limit_is_not_sent() -> None:
    async with UpstreamLab() as lab, channel_to(lab.address, max_message_bytes=10_000) as channel:
        with pytest.raises(UpstreamError) as caught:
            await channel.unary(GET, b"x" * 10_001, (), soon_s())

    assert (caught.value.reason, caught.value.sent) == ("BODY_TOO_LARGE", "never")
    assert lab.calls() == []


@pytest.mark.rule("transcoding.155")
@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [
        (headers(1, (b":status", b"502"), (b"content-type", b"text/html"))
         + data(1, b"<html>", end=True), "UPSTREAM_UNAVAILABLE", 503),
        (headers(1, (b":status", b"429"), end=True), "UPSTREAM_UNAVAILABLE", 503),
        (headers(1, (b":status", b"404"), end=True), "UPSTREAM_PROTOCOL", 502),
        (headers(1, (b":status", b"200"), (b"content-type", b"text/html"))
         + data(1, b"<html>", end=True), "UPSTREAM_PROTOCOL", 502),
        (headers(1, *GRPC) + MESSAGE + headers(1, (b"x-t", b"1"), end=True),
         "UPSTREAM_PROTOCOL", 502),
        (headers(1, *GRPC, (b"grpc-status", b"0"), end=True), "UPSTREAM_PROTOCOL", 502),
        (headers(1, *GRPC, (b"grpc-status", b"42"), end=True), "UNKNOWN", 500),
        (headers(1, *GRPC, (b"grpc-encoding", b"gzip")) + data(1, b"\1\0\0\0\2hi")
         + headers(1, (b"grpc-status", b"0"), end=True), "UPSTREAM_PROTOCOL", 502),
        (headers(1, *GRPC) + data(1, b"\0\x7f\0\0\7hi"), "REPLY_TOO_LARGE", 502),
        (frame(RST_STREAM, 0, 1, b"\0\0\0\2"), "UPSTREAM_PROTOCOL", 502),
        (frame(RST_STREAM, 0, 1, b"\0\0\0\7"), "UPSTREAM_UNAVAILABLE", 503),
        (frame(GOAWAY, 0, 0, bytes(8)), "UPSTREAM_UNAVAILABLE", 503),
    ],
    ids=["html-502", "html-429", "html-404", "html-200", "no-status", "ok-without-message",
         "status-42", "bad-gzip", "endless-prefix", "reset-internal", "reset-refused", "goaway"],
)  # fmt: skip
async def test_a_peer_that_breaks_the_protocol_gives(
    answer: bytes, reason: str, status: int
) -> None:
    async with RawPeer(answer) as peer, channel_to(peer.address) as channel:
        error = await error_of(channel)

    assert (error.reason, error.status) == (reason, status)
    assert "html" not in error.public


@pytest.mark.parametrize(
    "answer", [None, b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"\0" * 100], ids=["close", "http1", "zeros"]
)  # fmt: skip
async def test_a_peer_that_speaks_no_http2_was_sent_nothing(answer: bytes | None) -> None:
    async with (
        RawPeer(answer, after_request=False) as peer,
        channel_to(peer.address) as channel,
    ):
        error = await error_of(channel)

    assert (error.reason, error.sent) == ("UPSTREAM_UNAVAILABLE", "never")


@pytest.mark.rule("upstreams.15")
@pytest.mark.parametrize(
    ("name", "known", "reason"),
    [("orders.test", True, ""), ("other.test", True, "UPSTREAM_TLS"), ("orders.test", False, "UPSTREAM_TLS")],
    ids=["right", "wrong-name", "unknown-issuer"],
)  # fmt: skip
async def test_chain_and_name_of_the_service_are_verified(
    name: str, known: bool, reason: str
) -> None:
    cert, key = self_signed("orders.test")
    stranger, _ = self_signed("orders.test")
    credentials = grpc.ssl_server_credentials([(key, cert)])
    tls = TlsSettings(ca=cert if known else stranger, name=name)
    async with UpstreamLab(credentials=credentials) as lab:
        lab.on(GET, Step(message=b"ok"))
        channel = GrpcioChannel(lab.address, tls=tls, authority=None, clock=CLOCK)
        try:
            if not reason:
                assert (await channel.unary(GET, b"", (), soon_s())).message == b"ok"
                return
            error = await error_of(channel)
        finally:
            await channel.close()

    assert (error.reason, error.status, error.sent) == (reason, 503, "never")
    assert error.public == "The service is not available now."


async def test_metadata_that_is_none_is_a_bug_of_ours_not_of_the_service() -> None:
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        with pytest.raises(GatewayBug):
            await channel.unary(GET, b"", (("Bad Name", "v"),), soon_s())


@pytest.mark.rule("transcoding.138")
async def test_a_slow_reader_holds_the_service_back() -> None:
    part = b"x" * 64_000
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        lab.on(WATCH, Step(messages=[part] * 1_000), stream=True)
        parts = channel.stream(WATCH, b"asked", (), None)

        assert await anext(parts) == part
        # Unheld, the service would write 64 MB while another thousand calls pass.
        lab.on(GET, Step(message=b"ok"))
        for _ in range(100):
            await channel.unary(GET, b"", (), soon_s())
        held = lab.calls(WATCH)[0].sent
        rest = [len(part) async for part in parts]

    assert held < 500
    assert len(rest) == 999


@pytest.mark.rule("transcoding.139")
async def test_closing_a_stream_cancels_it_at_the_service() -> None:
    async with UpstreamLab() as lab, stack_over(lab.address) as stack:
        lab.on(WATCH, Step(messages=[b"1"], hang_after=True), stream=True)
        watch = Operation(name="orders.Watch", path=WATCH, upstream="orders")
        parts = stack.stream(watch, b"", (), None)
        assert await anext(parts) == b"1"

        await parts.aclose()
        await lab.until(lambda: lab.calls(WATCH)[0].cancelled)

        assert stack.describe()["running"] == 0


@pytest.mark.rule("upstreams.3")
async def test_cancelling_a_reader_cancels_the_stream_and_leaks_nothing() -> None:
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        lab.on(WATCH, Step(messages=[b"1"], hang_after=True), stream=True)

        async def read() -> None:
            async for _ in channel.stream(WATCH, b"", (), None):
                pass

        reader = asyncio.create_task(read())
        await lab.until(lambda: len(lab.calls(WATCH)) == 1 and lab.calls(WATCH)[0].sent == 1)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await lab.until(lambda: lab.calls(WATCH)[0].cancelled)


@pytest.mark.rule("upstreams.3")
@pytest.mark.parametrize("step", [Step(hang=True), Step(messages=[b"1"], hang_after=True)])
async def test_streams_that_run_when_the_channel_closes_end_with_unavailable(step: Step) -> None:
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        lab.on(WATCH, step, stream=True)

        async def read() -> list[bytes]:
            return [part async for part in channel.stream(WATCH, b"", (), None)]

        reader = asyncio.create_task(read())
        await lab.until(lambda: len(lab.calls(WATCH)) == 1)

        await channel.close()

        with pytest.raises(UpstreamError) as caught:
            await reader
        assert (caught.value.reason, caught.value.sent) == ("UPSTREAM_UNAVAILABLE", "maybe")


async def test_a_stream_ends_with_the_status_of_the_service() -> None:
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        lab.on(
            WATCH,
            Step(messages=[b"1", b"", b"3"], code=Code.OUT_OF_RANGE, details="over"),
            Step(messages=[]),
            stream=True,
        )
        parts = channel.stream(WATCH, b"", (), soon_s())

        assert [await anext(parts) for _ in range(3)] == [b"1", b"", b"3"]
        with pytest.raises(UpstreamError) as caught:
            await anext(parts)

        assert (caught.value.reason, caught.value.message) == ("OUT_OF_RANGE", "over")
        assert [part async for part in channel.stream(WATCH, b"", (), soon_s())] == []


@pytest.mark.rule("upstreams.3")
async def test_a_fifth_of_many_calls_cancelled_leaves_none_behind() -> None:
    chance = random.Random(3)
    async with UpstreamLab() as lab, channel_to(lab.address) as channel:
        gate = asyncio.Event()
        gate.set()
        lab.on(GET, Step(message=lambda asked: asked, gate=gate))

        async def one(number: int) -> bool:
            asked = b"%d" % number
            call = asyncio.create_task(channel.unary(GET, asked, (), soon_s(FAR_S)))
            if chance.random() < 0.2:
                for _ in range(chance.randrange(0, 4)):
                    await asyncio.sleep(0)
                call.cancel()
            await asyncio.wait([call])
            return call.cancelled() or call.result().message == asked

        for batch in range(20):
            right = await asyncio.gather(*(one(batch * 50 + n) for n in range(50)))
            assert all(right)


@pytest.mark.rule("upstreams.3")
async def test_a_fifth_of_many_streams_cancelled_leaves_none_behind() -> None:
    """1,500 streams to the client and both ways, left at any step: each message is its own, and the core lets go."""
    figures = await soak_streams(1_500)

    assert set(figures.ends) == {"ok", "cancelled"}
    assert sum(figures.ends.values()) == figures.streams
    assert figures.ends["cancelled"] > 0.1 * figures.streams
    assert figures.open_calls == 0
    assert figures.tasks[1] <= figures.tasks[0]
    # Fewer where a connection of the test before was only then let go of.
    assert figures.files[1] <= figures.files[0]
