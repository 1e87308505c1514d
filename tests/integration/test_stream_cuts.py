"""Clients that leave in any turn of the loop: the call is cancelled, and nothing of it is left.

Everything runs on the test's loop, so that a cut can be put after any number of its turns.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.talk_gateway import TalkGateway
from tests.support.talker import Talker

_FRAME = b'{"message":{"text":"a"}}'
_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nhost: g\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_POST = (
    "POST {path} HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-ndjson\r\n"
    "transfer-encoding: chunked\r\n\r\n"
)
_LINE = b'{"text":"a"}\n'


def get(path: str, accept: str = "*/*") -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: g\r\naccept: {accept}\r\n\r\n".encode()


def chunk(octets: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(octets), octets)


def frame(text: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


FRAMINGS = {
    "array": get("/down"),
    "ndjson": get("/down", "application/x-ndjson"),
    "sse": get("/down", "text/event-stream"),
    "raw": get("/file"),
    "client stream": _POST.format(path="/up").encode() + chunk(_LINE * 2),
    "half duplex": _POST.format(path="/deaf").encode() + chunk(_LINE * 2) + chunk(b""),
    "socket down": _HANDSHAKE.format(path="/down").encode() + frame(_FRAME),
    "socket up": _HANDSHAKE.format(path="/up").encode() + frame(_FRAME) * 2,
    "socket both": _HANDSHAKE.format(path="/both").encode() + frame(_FRAME) * 2,
    "socket deaf": _HANDSHAKE.format(path="/deaf").encode() + frame(_FRAME) * 9,
}
# After the last of them every framing is well into its stream.
TURNS = 80


@pytest.fixture
async def talker() -> AsyncIterator[Talker]:
    async with Talker(lingers=True) as running:
        yield running


def tasks_of_requests() -> list[str]:
    """What runs for some request, by the file of its coroutine; those of grpcio's core have none."""
    codes = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
    files = [code.co_filename for code in codes if code is not None]
    return [file for file in files if "/bff/" in file or "/uvicorn/" in file]


async def settled(gateway: TalkGateway) -> None:
    """Wait until no request runs and no task is left of one."""
    async with asyncio.timeout(10):
        # Turns of the loop are what is waited for.
        while gateway.door.inflight or tasks_of_requests():  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.rule("transcoding.139")
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_cut_in_any_turn_cancels_the_call_and_leaves_nothing(
    framing: str, talker: Talker, tmp_path: Path
) -> None:
    async with TalkGateway(tmp_path, talker) as gateway:
        for turns in range(TURNS):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(FRAMINGS[framing])
            for _ in range(turns):
                await asyncio.sleep(0)
            writer.transport.abort()
            await settled(gateway)
            await talker.until(lambda: not talker.open)

        assert {reason for _, reason in gateway.ends} <= {"CLIENT_GONE", ""}
        assert set(talker.ends) == {"cancelled"}
        assert len(talker.ends) > 10
