"""The lane over TLS: versions, certificates that change while it serves, and callers that leave at any await."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.wire.channel import UnaryReply
from bff.wire.grpcio import TlsSettings
from bff.wire.http2.frames import GOAWAY, HEADERS
from bff.wire.http2.lane import LaneSettings
from tests.conftest import ROOMY
from tests.support.gateway import TRANSPORT, GatewayProcess
from tests.support.h2_server import H2Server, Peer, reply
from tests.support.lane import ending, lane_to, soon_s
from tests.support.samples import SampleServices
from tests.support.upstream_lab import self_signed

NAME = "orders.test"
# Steps of the loop after which a caller leaves: connecting, shaking hands, sending and waiting are among them.
STEPS = range(0, 60, 3)


def fault(end: UnaryReply | UpstreamError) -> UpstreamError:
    assert isinstance(end, UpstreamError), end
    return end


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    """The server's certificate and key."""
    return self_signed(NAME)


def server_context(folder: Path, pair: tuple[bytes, bytes], *trusted: bytes) -> ssl.SSLContext:
    """A server that speaks `h2`, and asks for a certificate if some are trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    both = folder / "server.pem"
    both.write_bytes(b"".join(pair))
    context.load_cert_chain(both)
    if trusted:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=b"".join(trusted).decode())
    return context


async def fine(peer: Peer) -> None:
    while True:
        stream_id, message = await peer.message()
        peer.send(reply(stream_id, message))


# Versions


@asynccontextmanager
async def _old_server(context: ssl.SSLContext) -> AsyncIterator[tuple[str, list[str]]]:
    """Shakes hands, alerts and all, and notes how each ended: asyncio's own server drops the alert."""
    ends: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        side = context.wrap_bio(incoming, outgoing, server_side=True)
        while octets := await reader.read(65_536):
            incoming.write(octets)
            try:
                side.do_handshake()
                ends.append(side.version() or "")
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                continue
            except ssl.SSLError as error:
                ends.append(error.reason)
            writer.write(outgoing.read())
            break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", ends
    server.close()
    await server.wait_closed()


@pytest.mark.rule("upstreams.1")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_tls_below_1_2_is_refused(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    """The server offers 1.1 alone, and a client without our floor gets it: so it is the version that we refuse."""
    old = ssl.TLSVersion.TLSv1_1
    context = server_context(tmp_path, pair)
    lax = ssl.create_default_context(cadata=pair[0].decode())
    for each in (context, lax):
        each.set_ciphers("ALL:@SECLEVEL=0")
        each.minimum_version = each.maximum_version = old

    async with _old_server(context) as (address, ends):
        host, _, port = address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=lax, server_hostname=NAME)
        writer.close()
        async with lane_to(address, tls=TlsSettings(ca=pair[0], name=NAME)) as lane:
            error = fault(await ending(lane))

    assert ends == ["TLSv1.1", "UNSUPPORTED_PROTOCOL"]
    assert (error.reason, error.code, error.sent) == ("UPSTREAM_TLS", Code.UNAVAILABLE, "never")


@pytest.mark.rule("upstreams.1")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_from_1_2_on_is_spoken(
    tmp_path: Path, pair: tuple[bytes, bytes], version: ssl.TLSVersion
) -> None:
    context = server_context(tmp_path, pair)
    context.minimum_version = context.maximum_version = version
    tls = TlsSettings(ca=pair[0], name=NAME)

    async with H2Server(fine, context=context) as server, lane_to(server.address, tls=tls) as lane:
        assert isinstance(await ending(lane), UnaryReply)


# Callers that leave


@pytest.mark.rule("upstreams.2")
@pytest.mark.parametrize("most", [1, 100], ids=["queued", "sent"])
async def test_a_caller_may_leave_at_any_step_over_tls(
    tmp_path: Path, pair: tuple[bytes, bytes], most: int
) -> None:
    """Connecting, shaking hands, queued or waiting for the reply: nothing is left, and the next call is served."""
    context = server_context(tmp_path, pair)
    tls = TlsSettings(ca=pair[0], name=NAME)

    async def script(peer: Peer) -> None:
        while True:
            stream_id, message = await peer.message((3, most))
            peer.send(reply(stream_id, message))

    async with H2Server(script, context=context) as server:
        for steps in STEPS:
            async with lane_to(server.address, tls=tls) as lane:
                # The first stays: with one stream to a connection the others queue behind it.
                calls = [asyncio.create_task(ending(lane, b"%d" % n)) for n in range(7)]
                for _ in range(steps):
                    await asyncio.sleep(0)
                for call in calls[1::2]:
                    call.cancel()
                await asyncio.wait(calls)
                stayed = [call.result() for call in calls[::2]]
                assert [end.message for end in stayed if isinstance(end, UnaryReply)] == [
                    b"0", b"2", b"4", b"6",
                ]  # fmt: skip
                assert isinstance(await ending(lane, b"next"), UnaryReply)
                assert lane.open_calls == 0


@pytest.mark.rule("upstreams.2")
@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
async def test_a_lane_may_be_closed_at_any_step(
    tmp_path: Path, pair: tuple[bytes, bytes], secure: bool
) -> None:
    """Whatever its calls are at, they end; `lane_to` looks that nothing stays behind."""
    context = server_context(tmp_path, pair) if secure else None
    tls = TlsSettings(ca=pair[0], name=NAME) if secure else None

    async def script(peer: Peer) -> None:
        await peer.greet((3, 2))
        await peer.rest()

    async with H2Server(script, context=context) as server:
        for steps in STEPS:
            async with lane_to(server.address, tls=tls) as lane:
                calls = [asyncio.create_task(ending(lane, b"x" * 100_000)) for _ in range(5)]
                for _ in range(steps):
                    await asyncio.sleep(0)
                await lane.close()
                for call in calls:
                    error = fault(await call)
                    assert (error.code, error.origin) == (Code.UNAVAILABLE, "wire")
                assert lane.connections == 0


@pytest.mark.rule("upstreams.2")
async def test_a_handshake_that_never_ends_costs_the_time_to_connect() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1_000):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tls, usual = TlsSettings(ca=self_signed(NAME)[0]), LaneSettings()
    async with lane_to(f"127.0.0.1:{port}", tls=tls, settings=usual) as lane:
        error = fault(await ending(lane, deadline_s=soon_s(30.0)))
    server.close()
    await server.wait_closed()

    assert (error.reason, error.sent) == ("UPSTREAM_UNAVAILABLE", "never")


# Certificates that change


def _subject(peer: Peer) -> str:
    named: Any = peer.writer.get_extra_info("peercert")["subject"]
    return str(dict(pair for part in named for pair in part)["commonName"])


@pytest.mark.rule("upstreams.1")
@pytest.mark.skipif(TRANSPORT == "grpcio", reason="looks at the lane's connections")
async def test_changed_files_serve_new_connections_and_the_old_one_drains(
    tmp_path: Path, shop: SampleServices, pair: tuple[bytes, bytes]
) -> None:
    """At SIGHUP: a call that runs ends on the connection with the old certificate, the next one shows the new."""
    arrived, release = asyncio.Event(), asyncio.Event()
    shown: list[str] = []

    async def script(peer: Peer) -> None:
        shown.append(_subject(peer))
        while True:
            stream_id, _ = await peer.message()
            if not arrived.is_set():
                arrived.set()
                await release.wait()
            peer.send(reply(stream_id, b""))

    ours, key = tmp_path / "gateway.pem", tmp_path / "gateway.key"
    old, new = self_signed("old.test"), self_signed("new.test")
    _write(ours, key, old)
    (tmp_path / "ca.pem").write_bytes(pair[0])
    tls = {"ca": str(tmp_path / "ca.pem"), "name": NAME, "cert": str(ours), "key": f"file:{key}"}
    context = server_context(tmp_path, pair, old[0], new[0])
    async with H2Server(script, context=context) as server:
        catalog = {"endpoints": [server.address], "tls": tls, "timeout": "30s"}
        changes = {**ROOMY, "upstreams": {"catalog": catalog}, "deadline": "30s"}
        with GatewayProcess(tmp_path, shop, changes=changes) as gateway:
            async with gateway.client() as http:
                running = asyncio.create_task(http.get("/v1/products/p-1"))
                await arrived.wait()
                _write(ours, key, new)
                os.kill(gateway.pid, signal.SIGHUP)
                await gateway.event("config_applied")
                later = await http.get("/v1/products/p-2")
                release.set()
                first = await running
            await server.peers[0].saw(GOAWAY)

    assert (first.status_code, later.status_code) == (200, 200)
    assert shown[:2] == ["old.test", "new.test"]
    assert sum(one[0] == HEADERS for one in server.peers[0].frames) == 1


def _write(cert: Path, key: Path, both: tuple[bytes, bytes]) -> None:
    cert.write_bytes(both[0])
    key.write_bytes(both[1])
