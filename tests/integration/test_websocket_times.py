"""WebSocket sessions over time: silence, age, pings, readers that take nothing, a gateway that leaves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bff.core.events import Noted
from tests.support.gateway import GatewayProcess
from tests.support.samples import SampleServices
from tests.support.talk_gateway import TalkGateway
from tests.support.talk_replies import is_over
from tests.support.talk_requests import ANSWERS
from tests.support.talker import Talker
from tests.support.ws_client import CLOSE, PING, PONG, WsClient


@pytest.fixture
async def talker() -> AsyncIterator[Talker]:
    async with Talker() as running:
        yield running


async def last_words(socket: WsClient) -> tuple[str, int]:
    """The status in the error frame, and the code of the close that follows."""
    while "error" not in (heard := await socket.hear()):
        pass
    return heard["error"]["status"], await socket.closed()


@pytest.mark.rule("transcoding.140")
@pytest.mark.parametrize(
    ("stream", "path"),
    [
        ("{idle: 400ms}", "/down"),
        ("{idle: 400ms}", "/both"),
        ("{idle: 400ms}", "/up"),
        ("{max_duration: 400ms}", "/down"),
        ("{max_duration: 400ms}", "/deaf"),
        ("{max_duration: 400ms}", "/up"),
    ],
)
async def test_silence_and_age_end_a_session(
    talker: Talker, tmp_path: Path, stream: str, path: str
) -> None:
    talker.lingers = True
    async with (
        TalkGateway(tmp_path, talker, f"stream: {stream}") as gateway,
        await WsClient.open(gateway.port, path) as socket,
    ):
        await socket.say({"text": "a"})
        assert await last_words(socket) == ("DEADLINE_EXCEEDED", 4004)
        await talker.until(lambda: not talker.open)

    assert set(talker.ends) == {"cancelled"}


@pytest.mark.rule("transcoding.140")
async def test_a_client_that_never_says_what_it_wants_is_not_held(
    talker: Talker, tmp_path: Path
) -> None:
    async with (
        TalkGateway(tmp_path, talker, "stream: {idle: 400ms}") as gateway,
        await WsClient.open(gateway.port, "/down") as socket,
    ):
        assert await last_words(socket) == ("DEADLINE_EXCEEDED", 4004)

    assert talker.ends == []


@pytest.mark.rule("transcoding.140")
async def test_the_deadline_of_a_clients_stream_begins_with_its_end(
    talker: Talker, tmp_path: Path
) -> None:
    """Until then only silence and age count; the service that does not answer then is given up."""
    service = "deadline: 500ms\nstream: {first_wait: 500ms}"
    async with (
        TalkGateway(tmp_path, talker, service, ping_s=0.3) as gateway,
        await WsClient.open(gateway.port, "/up") as socket,
    ):
        await socket.say({"text": "a"})
        await talker.until(lambda: len(talker.heard) == 1)
        # With the second ping more time has passed than the deadline would give.
        for _ in range(2):
            kind, payload = await socket.receive()
            assert kind == PING
            await socket.send(payload, PONG)
        await socket.send('{"end":true}')
        assert (await socket.hear())["message"] == {"text": "1"}


@pytest.mark.rule("transcoding.140")
async def test_sessions_end_in_good_order_when_the_gateway_leaves(
    tmp_path: Path, samples: SampleServices, premium: dict[str, str]
) -> None:
    changes = {"gateway": {"drain": {"grace": "0s", "finish": "2s"}}}
    with GatewayProcess(tmp_path, samples, changes=changes) as gateway:
        async with await WsClient.open(gateway.port, "/v1/orders/o-1:watch", premium) as socket:
            await socket.say({})
            await socket.hear()
            gateway.terminate()
            assert await last_words(socket) == ("UNAVAILABLE", 4014)
            await socket.send(b"\x0f\xae", CLOSE)
            code = await asyncio.to_thread(gateway.wait)

    assert code == 0


# Pings


@pytest.mark.rule("transcoding.137")
async def test_who_answers_no_ping_is_gone(talker: Talker, tmp_path: Path) -> None:
    talker.lingers = True
    async with (
        TalkGateway(tmp_path, talker, ping_s=0.3) as gateway,
        await WsClient.open(gateway.port, "/both") as socket,
    ):
        await socket.say({"text": "a"})
        assert await socket.hear() == {"message": {"text": "a"}}
        kind, _ = await socket.receive()
        await talker.until(lambda: not talker.open)

    assert kind == PING
    assert talker.ends == ["cancelled"]


@pytest.mark.rule("transcoding.137")
async def test_who_answers_pings_stays(talker: Talker, tmp_path: Path) -> None:
    async with (
        TalkGateway(tmp_path, talker, ping_s=0.3) as gateway,
        await WsClient.open(gateway.port, "/both") as socket,
    ):
        for _ in range(5):
            kind, payload = await socket.receive()
            assert kind == PING
            await socket.send(payload, PONG)
        await socket.say({"text": "a"})
        assert await socket.hear() == {"message": {"text": "a"}}
        await socket.send('{"end":true}')
        assert await socket.hear() == {"end": {}}
        assert await socket.closed() == 1000


@pytest.mark.rule("transcoding.137", "transcoding.138")
async def test_who_is_held_back_by_the_service_is_not_taken_for_gone(
    talker: Talker, tmp_path: Path
) -> None:
    """The service takes nothing, so we read nothing, and the pong stands behind what we do not read."""
    words = 200
    async with (
        TalkGateway(tmp_path, talker, ping_s=0.1) as gateway,
        await WsClient.open(gateway.port, "/deaf") as socket,
    ):

        async def talk() -> None:
            for _ in range(words):
                await socket.say({"text": "a" * 100_000})

        talking = asyncio.create_task(talk())
        for _ in range(5):
            kind, _ = await socket.receive()
            assert kind == PING
        is_held = not talking.done()
        talking.cancel()
        await asyncio.wait([talking])
        still_open = talker.open

    assert is_held
    assert still_open == 1


# Readers


@pytest.mark.rule("transcoding.138", "transcoding.139")
@pytest.mark.parametrize("framing", ANSWERS)
async def test_who_takes_nothing_is_cut(talker: Talker, tmp_path: Path, framing: str) -> None:
    """And until then holds the service back: most of its messages are never made."""
    talker.count, talker.size = 4_000, 16_000
    async with TalkGateway(tmp_path, talker, "stream: {write_timeout: 200ms}") as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
        writer.write(ANSWERS[framing])
        await talker.until(lambda: bool(talker.ends))
        octets = b""
        try:
            while part := await reader.read(1 << 20):
                octets += part
        except ConnectionResetError:
            pass
        writer.close()

    assert talker.ends == ["cancelled"]
    assert talker.sent < talker.count // 2
    assert gateway.ends == [(499, "CLIENT_GONE")]
    slow = [each for each in gateway.events if isinstance(each, Noted)]
    assert [each.name for each in slow] == ["slow_reader"]
    assert len(octets) < talker.count * talker.size // 2
    assert not is_over(octets, framing)
