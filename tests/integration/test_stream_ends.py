"""How streams over plain HTTP end when their time is over, in every framing."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.samples import SampleServices
from tests.support.talk_gateway import TalkGateway
from tests.support.talker import Talker

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


def last_error(text: str, framing: str) -> tuple[int, str]:
    """Code and status of the error that stands last."""
    if framing == "array":
        last = json.loads(text)[-1]
    elif framing == "ndjson":
        last = json.loads(text.splitlines()[-1])
    else:
        name, _, data = text.rstrip("\n").rpartition("\n\n")[2].partition("\n")
        assert name == "event: error"
        last = json.loads(data.removeprefix("data: "))
    return last["error"]["code"], last["error"]["status"]


@pytest.mark.rule("transcoding.140")
@pytest.mark.parametrize("stream", ["{idle: 150ms}", "{max_duration: 150ms}"])
@pytest.mark.parametrize("framing", ACCEPT)
async def test_silence_and_age_end_a_stream(
    talker: Talker, tmp_path: Path, stream: str, framing: str
) -> None:
    async with TalkGateway(tmp_path, talker, f"stream: {stream}") as gateway:
        reply = await get(gateway, "/down", ACCEPT[framing])
        await talker.until(lambda: not talker.open)

    assert reply.status_code == 200
    assert last_error(reply.text, framing) == (504, "DEADLINE_EXCEEDED")
    assert reply.text.count("wwwww") == 2
    assert talker.ends == ["cancelled"]
    assert gateway.ends == [(200, "TIMEOUT")]


@pytest.mark.rule("transcoding.127")
async def test_a_part_of_each_message_may_be_the_message(talker: Talker, tmp_path: Path) -> None:
    async with TalkGateway(tmp_path, talker, "stream: {idle: 150ms}") as gateway:
        reply = await get(gateway, "/texts", "application/json")

    assert reply.json()[:2] == ["wwwww", "wwwww"]


@pytest.mark.rule("transcoding.137")
@pytest.mark.parametrize("framing", ["ndjson", "sse"])
async def test_a_stream_ends_with_its_callers_credential(
    gateway: GatewayProcess, samples: SampleServices, framing: str
) -> None:
    token = await samples.user_token("premium", expires_in_s=2)
    headers = {"authorization": f"Bearer {token}", "accept": ACCEPT[framing]}
    async with gateway.client() as http:
        reply = await http.get("/v1/orders/o-1:watch", headers=headers)

    assert reply.status_code == 200
    assert last_error(reply.text, framing) == (401, "UNAUTHENTICATED")
    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: not calls.in_flight)
    assert (seen.calls, seen.cancelled) == (1, 1)
