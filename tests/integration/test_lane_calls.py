"""The lane over real sockets: TLS, pool, queue, reconnecting, renewal, limits of a request."""

import asyncio
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import decompress as gunzip
from pathlib import Path
from typing import Any

import grpc
import hpack
import pytest

from bff.core.errors import GatewayBug, UpstreamError
from bff.core.events import Event, Noted
from bff.core.status import Code
from bff.wire.channel import UnaryReply
from bff.wire.grpcio import GrpcioChannel, TlsSettings
from bff.wire.http2.frames import DATA, GOAWAY, HEADERS, WINDOW_UPDATE, frame
from bff.wire.http2.lane import LaneSettings
from bff.wire.split import SplitChannel
from tests.support.h2_server import GRPC, OK, H2Server, Peer, data, grpc_message, headers
from tests.support.lane import CLOCK, PATH, ending, lane_to, soon_s
from tests.support.upstream_lab import Step, UpstreamLab, refused_address, self_signed


def fault(end: UnaryReply | UpstreamError) -> UpstreamError:
    assert isinstance(end, UpstreamError), end
    return end


def answer(stream_id: int, message: bytes) -> bytes:
    return (
        headers(stream_id, *GRPC)
        + data(stream_id, grpc_message(message))
        + headers(stream_id, *OK, end=True)
    )


async def echo(peer: Peer, *settings: tuple[int, int]) -> None:
    while True:
        stream_id, message = await peer.message(*settings)
        peer.send(answer(stream_id, message))


# TLS


@pytest.mark.rule("upstreams.15")
@pytest.mark.parametrize(
    ("name", "known", "reason"),
    [("orders.test", True, ""), ("other.test", True, "UPSTREAM_TLS"), ("orders.test", False, "UPSTREAM_TLS")],
    ids=["right", "wrong-name", "unknown-issuer"],
)  # fmt: skip
async def test_chain_and_name_are_verified(name: str, known: bool, reason: str) -> None:
    cert, key = self_signed("orders.test")
    stranger, _ = self_signed("orders.test")
    credentials = grpc.ssl_server_credentials([(key, cert)])
    tls = TlsSettings(ca=cert if known else stranger, name=name)
    async with UpstreamLab(credentials=credentials) as lab, lane_to(lab.address, tls=tls) as lane:
        lab.on(PATH, Step(message=b"ok"))
        end = await ending(lane)

    if not reason:
        assert isinstance(end, UnaryReply)
        return
    assert (fault(end).reason, fault(end).sent) == (reason, "never")
    assert fault(end).public == "The service is not available now."


@pytest.mark.parametrize("with_cert", [True, False])
async def test_a_service_that_wants_our_certificate_gets_it(with_cert: bool) -> None:
    cert, key = self_signed("orders.test")
    ours, our_key = self_signed("gateway.test")
    credentials = grpc.ssl_server_credentials([(key, cert)], ours, require_client_auth=True)
    more = {"cert": ours, "key": our_key} if with_cert else {}
    tls = TlsSettings(ca=cert, name="orders.test", **more)
    async with UpstreamLab(credentials=credentials) as lab, lane_to(lab.address, tls=tls) as lane:
        lab.on(PATH, Step(message=b"ok"))
        end = await ending(lane)

    assert isinstance(end, UnaryReply) is with_cert
    if not with_cert:
        assert fault(end).sent == "never"


@contextmanager
def server_context(
    *protocols: str, version: ssl.TLSVersion
) -> Iterator[tuple[ssl.SSLContext, bytes]]:
    cert, key = self_signed("orders.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(list(protocols))
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder) / "pair.pem"
        both.write_bytes(cert + key)
        context.load_cert_chain(both)
    yield context, cert


@pytest.mark.rule("upstreams.1")
@pytest.mark.parametrize("protocols", [(), ("http/1.1",)], ids=["none", "http1"])
async def test_a_peer_that_does_not_choose_h2_is_not_spoken_to(protocols: tuple[str, ...]) -> None:
    seen = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.extend(await reader.read(100))
        except ConnectionError:
            pass
        finally:
            writer.close()

    with server_context(*protocols, version=ssl.TLSVersion.TLSv1_3) as (context, cert):
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        tls = TlsSettings(ca=cert, name="orders.test")
        async with lane_to(f"127.0.0.1:{port}", tls=tls) as lane:
            error = fault(await ending(lane))
        server.close()
        await server.wait_closed()

    assert (error.reason, error.sent) == ("UPSTREAM_TLS", "never")
    assert not seen


# Connections


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_refused_connection_was_never_sent_and_is_not_tried_at_once(host: str) -> None:
    port = (await refused_address()).rpartition(":")[2]
    events: list[Event] = []
    async with lane_to(f"{host}:{port}", emit=events.append) as lane:
        first, second = fault(await ending(lane)), fault(await ending(lane))

    for error in (first, second):
        assert (error.reason, error.code, error.origin, error.sent) == (
            "UPSTREAM_UNAVAILABLE", Code.UNAVAILABLE, "wire", "never",
        )  # fmt: skip
    names = [event.name for event in events if isinstance(event, Noted)]
    assert names == ["upstream_not_connected"]


async def test_it_connects_again_by_itself_when_the_service_is_back() -> None:
    async with UpstreamLab() as lab, lane_to(lab.address) as lane:
        lab.on(PATH, Step(message=b"ok"))
        assert isinstance(await ending(lane), UnaryReply)
        await lab.stop()
        assert fault(await ending(lane)).code is Code.UNAVAILABLE

        await lab.start(lab.port)
        while not isinstance(end := await ending(lane), UnaryReply):
            assert end.sent == "never"
            await asyncio.sleep(0.01)

    assert len(lab.calls(PATH)) == 2


async def test_a_unix_socket_is_an_address_too() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/orders.sock"

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await echo(Peer(reader, writer))
            except asyncio.IncompleteReadError:
                writer.close()

        server = await asyncio.start_unix_server(serve, path)
        async with lane_to(f"unix:{path}") as lane:
            assert isinstance(await ending(lane), UnaryReply)
        server.close()
        await server.wait_closed()


@pytest.mark.rule("upstreams.1")
async def test_more_connections_come_as_streams_run_out_and_the_rest_waits_in_order() -> None:
    release, full = asyncio.Event(), asyncio.Event()
    order: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            stream_id, message = await peer.message((3, 2))
            order.append(message)
            if len(order) == 4:
                full.set()
            await release.wait()
            peer.send(answer(stream_id, message))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        calls = [asyncio.create_task(ending(lane, b"%02d" % n)) for n in range(20)]
        await full.wait()
        leaving = calls.pop(15)
        leaving.cancel()
        await asyncio.wait([leaving])
        release.set()
        ends = await asyncio.gather(*calls)
        assert lane.connections == 4

    assert all(isinstance(end, UnaryReply) for end in ends)
    assert len(order) == 19
    assert b"15" not in order


@pytest.mark.rule("upstreams.1")
async def test_a_thousand_calls_wait_and_no_more() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet((3, 0))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        calls = [asyncio.create_task(ending(lane)) for _ in range(1_001)]
        refused, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        ends = [fault(await call) for call in refused]
        await lane.close()
        others = [fault(await call) for call in waiting]

    assert [(end.reason, end.code, end.origin, end.sent) for end in ends] == [
        ("POOL_EXHAUSTED", Code.UNAVAILABLE, "local", "never")
    ]
    assert [(end.reason, end.sent) for end in others] == [("UPSTREAM_UNAVAILABLE", "never")] * 1_000


@pytest.mark.rule("upstreams.2")
async def test_an_old_connection_goes_once_its_successor_is_there() -> None:
    hold = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            stream_id, message = await peer.message()
            if message == b"long":
                await hold.wait()
            peer.send(answer(stream_id, message))

    settings = LaneSettings(max_age_s=0.05)
    async with H2Server(script) as server, lane_to(server.address, settings=settings) as lane:
        long = asyncio.create_task(ending(lane, b"long"))
        while len(server.peers) < 2:
            assert isinstance(
                await ending(lane, deadline_s=soon_s(0.02)), (UnaryReply, UpstreamError)
            )
        hold.set()
        assert isinstance(await long, UnaryReply)
        assert isinstance(await ending(lane), UnaryReply)
        first = server.peers[0]
        await first.saw(GOAWAY)


@pytest.mark.rule("upstreams.2")
async def test_closing_ends_what_runs_and_tells_the_peer() -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()

    async with H2Server(script) as server, lane_to(server.address) as lane:
        call = asyncio.create_task(ending(lane))
        await arrived.wait()
        await lane.close()
        error = fault(await call)
        late = fault(await ending(lane))
        frames = await server.peers[0].rest()

    assert (error.reason, error.sent) == ("UPSTREAM_UNAVAILABLE", "maybe")
    assert (late.reason, late.sent) == ("UPSTREAM_UNAVAILABLE", "never")
    assert frames[-1][0] == GOAWAY


# Requests


@pytest.mark.rule("upstreams.1")
@pytest.mark.parametrize(("theirs", "size"), [(None, 6_200), (500, 300)], ids=["ours", "theirs"])
async def test_headers_over_a_bound_are_not_sent(theirs: int | None, size: int) -> None:
    async def script(peer: Peer) -> None:
        await echo(peer, *([(6, theirs)] if theirs else []))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        end = await ending(lane)
        assert isinstance(end, UnaryReply)
        error = fault(await ending(lane, metadata=(("x-a", "v" * size),)))
        frames = server.peers[0].frames

    assert (error.reason, error.status, error.origin, error.sent) == (
        "METADATA_TOO_LARGE", 431, "local", "never",
    )  # fmt: skip
    assert sum(one[0] == HEADERS for one in frames) == 1


async def test_less_than_a_millisecond_is_no_time() -> None:
    async with lane_to("127.0.0.1:1") as lane:
        error = fault(await ending(lane, deadline_s=soon_s(0.0005)))

    assert (error.reason, error.code, error.origin) == ("NO_TIME", Code.DEADLINE_EXCEEDED, "local")


async def test_metadata_that_is_none_is_a_bug_of_ours() -> None:
    async with UpstreamLab() as lab, lane_to(lab.address) as lane:
        with pytest.raises(GatewayBug):
            await lane.unary(PATH, b"", (("Bad Name", "v"),), soon_s())


@pytest.mark.rule("upstreams.2")
@pytest.mark.parametrize("warm", [True, False])
async def test_a_warm_lane_connects_before_the_first_call(warm: bool) -> None:
    settings = LaneSettings(warm=warm)
    async with H2Server(echo) as server, lane_to(server.address, settings=settings) as lane:
        if warm:
            await server.first()
        else:
            await asyncio.sleep(0)
            assert not server.peers
        assert isinstance(await ending(lane), UnaryReply)
        assert len(server.peers) == 1


@pytest.mark.rule("upstreams.1")
async def test_the_service_reads_who_asks_and_by_when() -> None:
    async with UpstreamLab() as lab, lane_to(lab.address, authority="orders.internal") as lane:
        lab.on(PATH, Step(message=b"ok"))
        await ending(lane, deadline_s=soon_s(3.0))
        (seen,) = lab.calls(PATH)

    assert seen.left_s is not None
    assert 2.0 < seen.left_s <= 3.0
    assert str(seen.all("user-agent")[0]).startswith("grpc-python-bff/")


@pytest.mark.rule("upstreams.1")
@pytest.mark.parametrize(("gzip", "size"), [(True, 1_023), (True, 1_024), (False, 5_000)])
async def test_only_what_is_worth_it_goes_compressed_and_only_where_asked(
    gzip: bool, size: int
) -> None:
    message = b"a" * size
    settings = LaneSettings(gzip=gzip)
    async with UpstreamLab() as lab, lane_to(lab.address, settings=settings) as lane:
        lab.on(PATH, Step(message=lambda asked: asked))
        end = await ending(lane, message)

    async with H2Server(echo) as server, lane_to(server.address, settings=settings) as lane:
        await ending(lane, message)
        frames = server.peers[0].frames
    body = b"".join(one[3] for one in frames if one[0] == DATA)
    pairs = dict(hpack.Decoder().decode(next(one[3] for one in frames if one[0] == HEADERS)))

    assert isinstance(end, UnaryReply)
    assert end.message == message
    assert pairs["grpc-accept-encoding"] == ("identity,gzip" if gzip else "identity")
    is_packed = gzip and size >= 1_024
    assert (body[0], pairs.get("grpc-encoding")) == ((1, "gzip") if is_packed else (0, None))
    assert (gunzip(body[5:]) if is_packed else body[5:]) == message


@pytest.mark.parametrize("header_memo", [True, False])
async def test_with_and_without_the_memo_replies_are_the_same(header_memo: bool) -> None:
    settings = LaneSettings(header_memo=header_memo)
    async with UpstreamLab() as lab, lane_to(lab.address, settings=settings) as lane:
        for number in range(5):
            lab.on(PATH, Step(message=b"%d" % number, trailers=(("x-n", str(number % 2)),)))
            end = await ending(lane)
            assert end == UnaryReply(b"%d" % number, (("x-n", str(number % 2)),))


async def test_a_stalled_upload_does_not_hold_other_calls() -> None:
    stalled = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet((4, 100))
        while True:
            kind, flags, stream_id, _ = await peer.frame()
            if kind == 0:
                stalled.set()
            if kind == 0 and flags & 1:
                peer.send(answer(stream_id, b"done"))
            if kind == 0 and stream_id == 3:
                peer.send(frame(WINDOW_UPDATE, 0, 1, bytes(2) + b"\x10\0"))

    async with H2Server(script) as server, lane_to(server.address) as lane:
        large = asyncio.create_task(ending(lane, b"x" * 3_000))
        await stalled.wait()
        assert isinstance(await ending(lane, b"small"), UnaryReply)
        assert isinstance(await large, UnaryReply)


async def test_streams_go_their_own_way() -> None:
    opened: list[GrpcioChannel] = []

    async with UpstreamLab() as lab:

        def grpcio() -> GrpcioChannel:
            opened.append(GrpcioChannel(lab.address, tls=None, authority=None, clock=CLOCK))
            return opened[-1]

        lab.on(PATH, Step(message=b"ok"))
        lab.on("/shop.v1.Orders/Watch", Step(messages=[b"1", b"2"]), stream=True)
        async with lane_to(lab.address) as lane:
            channel: Any = SplitChannel(lane, grpcio)
            assert isinstance(await ending(channel), UnaryReply)
            assert not opened
            for _ in range(2):
                parts = channel.stream("/shop.v1.Orders/Watch", b"", (), soon_s())
                assert [part async for part in parts] == [b"1", b"2"]
            assert len(opened) == 1
            with pytest.raises(GatewayBug):
                lane.stream(PATH, b"", (), None)
            await channel.close()
            assert fault(await ending(channel)).sent == "never"
