"""Clients that leave in any turn of the loop: the call is cancelled, and nothing of it is left.

Everything runs on the test's loop, so that a cut can be put after any number of its turns.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.talk_gateway import TalkGateway
from tests.support.talk_requests import EVERY
from tests.support.talker import Talker

# After the last of them every framing is well into its stream, unless the service is slow to begin.
TURNS = 80
# So many more cuts are made where it has begun for sure.
WITHIN = 12


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
    async with asyncio.timeout(30):
        # Turns of the loop are what is waited for.
        while gateway.door.inflight or tasks_of_requests():  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.rule("transcoding.107", "transcoding.139")
@pytest.mark.parametrize("framing", EVERY)
async def test_a_cut_in_any_turn_cancels_the_call_and_leaves_nothing(
    framing: str, talker: Talker, tmp_path: Path
) -> None:
    async with TalkGateway(tmp_path, talker) as gateway:
        for turns, is_within in (
            *((turns, False) for turns in range(TURNS)),
            *((turns, True) for turns in range(WITHIN)),
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(EVERY[framing])
            if is_within:
                await talker.until(lambda: talker.open == 1)
            for _ in range(turns):
                await asyncio.sleep(0)
            writer.transport.abort()
            await settled(gateway)
            await talker.until(lambda: not talker.open)

        assert {reason for _, reason in gateway.ends} <= {"CLIENT_GONE", ""}
        assert set(talker.ends) == {"cancelled"}
        assert len(talker.ends) > 10
