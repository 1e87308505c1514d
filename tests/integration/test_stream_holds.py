"""Readers that hold a stream back, and those of HTTP/2 that leave it: what the door is told by its server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.asgi_client import AsgiClient
from tests.support.talk_gateway import TalkGateway
from tests.support.talk_requests import FORM, form_part
from tests.support.talker import Talker
from tests.support.tapped_channel import Tap

_LINES = [(b"content-type", b"application/x-ndjson")]
_LINE = b'{"text":"a"}\n'
HOLDS_AT = 3


def reading(accept: bytes) -> AsgiClient:
    return AsgiClient("/down", headers=[(b"accept", accept)], holds_at=HOLDS_AT)


FRAMINGS = {
    "array": lambda: reading(b"application/json"),
    "ndjson": lambda: reading(b"application/x-ndjson"),
    "sse": lambda: reading(b"text/event-stream"),
    "raw": lambda: AsgiClient("/file", holds_at=HOLDS_AT),
    "grpc-web": lambda: AsgiClient(
        "/talk.v1.Talk/Down",
        method="POST",
        headers=[(b"content-type", b"application/grpc-web+proto"), (b"content-length", b"5")],
        parts=[bytes(5)],
        holds_at=HOLDS_AT,
    ),
    "socket": lambda: AsgiClient.of_socket("/down", b'{"message":{}}', holds_at=HOLDS_AT),
}


@pytest.fixture
async def talker() -> AsyncIterator[Talker]:
    async with Talker() as running:
        yield running


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.rule("transcoding.138")
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_nothing_is_taken_ahead_of_a_reader(
    talker: Talker, tmp_path: Path, framing: str
) -> None:
    """The service has said more, and would say more still; what it says waits at its own side."""
    talker.count, talker.size = 1_000, 1_000
    tap = Tap()
    async with TalkGateway(tmp_path, talker, tap=tap) as gateway:
        client = FRAMINGS[framing]()
        serving = client.begin(gateway.door)
        await client.held()
        await talker.until(lambda: talker.sent > 10 * HOLDS_AT)
        await turns(100)
        taken = tap.taken
        client.leave()
        await serving
        await talker.until(lambda: not talker.open)

    assert taken == client.given == HOLDS_AT
    assert talker.ends == ["cancelled"]
    assert gateway.ends == [(499, "CLIENT_GONE")]


@pytest.mark.rule("transcoding.104", "transcoding.106")
@pytest.mark.parametrize("media", ["a/b", FORM])
async def test_no_more_of_a_file_is_read_than_the_service_takes(
    talker: Talker, tmp_path: Path, media: str
) -> None:
    """The service reads nothing, so most of the file stays with the client."""
    start = form_part("file", b"", file="f")[:-2]
    headers = [(b"content-type", media.encode())]
    parts = [start, *[b"x" * 65_536] * 200]
    async with TalkGateway(tmp_path, talker) as gateway:
        client = AsgiClient("/idle", method="POST", headers=headers, parts=parts, talks=True)
        serving = client.begin(gateway.door)
        await talker.until(lambda: talker.open == 1)
        await turns(5_000)
        left = client.left
        gateway.door.cancel_all()
        await serving
        await talker.until(lambda: not talker.open)

    # What a grpcio server takes ahead of its service are 4 MiB.
    assert left > len(parts) // 2
    assert talker.ends == ["cancelled"]


@pytest.mark.rule("transcoding.139")
@pytest.mark.parametrize("path", ["/both", "/deaf", "/up"])
async def test_a_client_of_http2_may_leave_in_any_turn(
    talker: Talker, tmp_path: Path, path: str
) -> None:
    talker.lingers = True
    async with TalkGateway(tmp_path, talker) as gateway:
        # The last ones where the service has begun for sure, however slow it is.
        for count, is_within in (
            *((count, False) for count in range(60)),
            *((count, True) for count in range(12)),
        ):
            client = AsgiClient(
                path, method="POST", headers=_LINES, parts=[_LINE, _LINE], talks=True
            )
            serving = client.begin(gateway.door)
            if is_within:
                await talker.until(lambda: talker.open == 1)
            await turns(count)
            client.leave()
            await serving
            await talker.until(lambda: not talker.open)
        left = [
            task.get_coro()
            for task in asyncio.all_tasks()
            if "/bff/" in getattr(getattr(task.get_coro(), "cr_code", None), "co_filename", "")
        ]

    assert left == []
    assert {reason for _, reason in gateway.ends} == {"CLIENT_GONE"}
    assert set(talker.ends) == {"cancelled"}
    assert len(talker.ends) > 10
