"""One message on its way from who reads to who sends: never two."""

import asyncio

import pytest

from bff.pipeline.hearing import Hearing
from tests.support.virtual_loop import run_virtual


@pytest.mark.rule("transcoding.138")
def test_nothing_is_put_before_the_last_was_taken() -> None:
    async def main() -> None:
        hearing = Hearing()
        put = []

        async def read() -> None:
            for message in (b"a", b"b", b"c"):
                put.append(message)
                await hearing.put(message)
            hearing.end()

        reading = asyncio.get_running_loop().create_task(read())
        for expected in (b"a", b"b", b"c"):
            await asyncio.sleep(100)
            assert put[-1] == expected
            assert await hearing.take() == expected
        assert await hearing.take() is None
        await reading

    run_virtual(main())


def test_who_asks_first_waits() -> None:
    async def main() -> None:
        hearing = Hearing()
        taking = asyncio.get_running_loop().create_task(hearing.take())
        await asyncio.sleep(1)
        await hearing.put(b"a")
        assert await taking == b"a"
        ending = asyncio.get_running_loop().create_task(hearing.take())
        await asyncio.sleep(1)
        hearing.end()
        assert await ending is None

    run_virtual(main())
