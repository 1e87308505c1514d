"""How streams end when their time is over, the gateway leaves, or has a bug: in every framing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from bff.core.events import Noted
from tests.support.gateway import GatewayProcess
from tests.support.samples import SampleServices
from tests.support.talk_gateway import TalkGateway
from tests.support.talk_replies import ending, ending_of, read_reply
from tests.support.talk_requests import ANSWERS, EVERY
from tests.support.talker import Talker
from tests.support.tapped_channel import Tap

ACCEPT = {
    "array": "application/json",
    "ndjson": "application/x-ndjson",
    "sse": "text/event-stream",
}


@pytest.fixture
async def talker() -> AsyncIterator[Talker]:
    async with Talker() as running:
        yield running


async def get(gateway: TalkGateway, path: str, accept: str) -> httpx.Response:
    url = f"http://127.0.0.1:{gateway.port}"
    async with httpx.AsyncClient(base_url=url, verify=False) as http:
        return await http.get(path, headers={"accept": accept})


def told(framing: str, status: str) -> str:
    """What a client can tell; octets of a file have no word for an error."""
    return "cut" if framing == "raw" else status


@pytest.mark.rule("transcoding.140")
@pytest.mark.parametrize("stream", ["{idle: 400ms}", "{max_duration: 400ms}"])
@pytest.mark.parametrize("framing", ANSWERS)
async def test_silence_and_age_end_a_stream(
    talker: Talker, tmp_path: Path, stream: str, framing: str
) -> None:
    async with TalkGateway(tmp_path, talker, f"stream: {stream}") as gateway:
        octets = await read_reply(gateway.port, ANSWERS[framing], framing)
        await talker.until(lambda: not talker.open)

    assert octets.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 101 "))
    assert ending(octets, framing) == told(framing, "DEADLINE_EXCEEDED")
    assert talker.sent == 2
    assert talker.ends == ["cancelled"]
    assert [reason for _, reason in gateway.ends] == ["TIMEOUT"]


@pytest.mark.rule("transcoding.140")
async def test_the_deadline_of_a_route_ends_no_stream_that_has_begun(
    talker: Talker, tmp_path: Path
) -> None:
    """It covers the time to the header fields; heartbeats show that the stream lives on."""
    service = "deadline: 300ms\nstream: {idle: 1500ms, sse: {heartbeat: 100ms}}"
    async with TalkGateway(tmp_path, talker, service) as gateway:
        reply = await get(gateway, "/down", ACCEPT["sse"])

    assert (reply.status_code, reply.text.count("wwwww")) == (200, 2)
    # More than the deadline has time for.
    assert reply.text.count(": hb") >= 4


@pytest.mark.rule("transcoding.140")
@pytest.mark.parametrize("framing", [*ANSWERS, "socket up", "socket both", "socket deaf"])
async def test_a_gateway_that_leaves_says_so(talker: Talker, tmp_path: Path, framing: str) -> None:
    talker.lingers = True
    async with TalkGateway(tmp_path, talker) as gateway:
        reading = asyncio.create_task(read_reply(gateway.port, EVERY[framing], framing))
        await talker.until(
            lambda: talker.open == 1 and (framing not in ANSWERS or talker.sent == 2)
        )
        gateway.door.finish_streams()
        octets = await reading
        await talker.until(lambda: not talker.open)

    assert ending(octets, framing) == told(framing, "UNAVAILABLE")
    assert talker.ends == ["cancelled"]


@pytest.mark.rule("transcoding.159")
@pytest.mark.parametrize("framing", ANSWERS)
async def test_a_bug_costs_its_own_stream_and_is_told(
    talker: Talker, tmp_path: Path, framing: str
) -> None:
    """The client reads a fixed sentence as the last frame; the trace is in the log alone."""
    async with TalkGateway(tmp_path, talker, tap=Tap(breaks_after=2)) as gateway:
        octets = await read_reply(gateway.port, ANSWERS[framing], framing)
        await talker.until(lambda: not talker.open)

    assert ending(octets, framing) == told(framing, "INTERNAL")
    assert b"secret" not in octets
    assert framing in {"raw", "grpc-web", "grpc-web-text"} or b"The gateway failed." in octets
    [bug] = [each for each in gateway.events if isinstance(each, Noted)]
    route_id = "talk.File" if framing == "raw" else "talk.Down"
    assert (bug.name, str(bug.fields["route_id"]).removesuffix("-rpc")) == ("bug", route_id)
    assert "a secret of ours" in str(bug.fields["trace"])
    assert [reason for _, reason in gateway.ends] == ["INTERNAL"]
    assert talker.ends == ["cancelled"]


@pytest.mark.rule("transcoding.127")
async def test_a_part_of_each_message_may_be_the_message(talker: Talker, tmp_path: Path) -> None:
    async with TalkGateway(tmp_path, talker, "stream: {idle: 400ms}") as gateway:
        reply = await get(gateway, "/texts", "application/json")

    assert reply.json()[:2] == ["wwwww", "wwwww"]


@pytest.mark.rule("transcoding.137")
@pytest.mark.parametrize("framing", ["ndjson", "sse"])
async def test_a_stream_ends_with_its_callers_credential(
    gateway: GatewayProcess, samples: SampleServices, framing: str
) -> None:
    token = await samples.user_token("premium", expires_in_s=3)
    headers = {"authorization": f"Bearer {token}", "accept": ACCEPT[framing]}
    async with gateway.client() as http:
        reply = await http.get("/v1/orders/o-1:watch", headers=headers)

    assert reply.status_code == 200
    assert ending_of(reply.content, framing) == "UNAUTHENTICATED"
    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: not calls.in_flight)
    assert (seen.calls, seen.cancelled) == (1, 1)
