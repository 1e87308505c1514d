"""The pool in virtual time: reconnecting, and deadlines that hold whatever the peer does."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bff.core.events import silent
from bff.wire.http2.connection import Connection
from bff.wire.http2.headers import BlockMemo, MemoDecoder
from bff.wire.http2.link import Hub, Link
from bff.wire.http2.pool import Pool
from bff.wire.http2.reply import failure_of
from bff.wire.http2.stream import Stream
from bff.wire.http2.vigil import Vigil
from tests.support.h2_machine import BLOCK, GREETING
from tests.support.h2_server import grpc_message, reply
from tests.support.virtual_loop import VirtualClock, run_virtual

pytestmark = pytest.mark.rule("upstreams.2")
CLOCK = VirtualClock()


class Transport:
    """Takes what is written; `close` is seen by the link at once."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.written = b""
        self.closed = False

    def write(self, octets: bytes) -> None:
        self.written += octets

    def get_extra_info(self, _name: str) -> None:
        return None

    def set_write_buffer_limits(self, *, high: int) -> None:
        assert high > 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)

    abort = close


class Dialler:
    """Connects as `how` says, and remembers when it was asked."""

    def __init__(self, how: Callable[["Dialler", Hub], Awaitable[Link]]) -> None:
        self.how = how
        self.times_s: list[float] = []
        self.links: list[Link] = []

    async def dial(self, hub: Hub) -> Link:
        self.times_s.append(CLOCK.now_s())
        return await self.how(self, hub)

    def ping_less(self) -> None:
        pass


async def refuse(_dialler: Dialler, _hub: Hub) -> Link:
    raise ConnectionRefusedError("nobody there")


async def accept(dialler: Dialler, hub: Hub) -> Link:
    now_s = CLOCK.now_s()
    connection = Connection(
        now_s=now_s,
        decoder=MemoDecoder(BlockMemo()),
        table_bytes=0,
        reply_max_bytes=1_000,
        vigil=Vigil(idle_s=1800.0, keepalive_s=None),
    )
    link = Link(connection, hub=hub, now_s=CLOCK.now_s, renew_at_s=now_s + 1800.0)
    transport: Any = Transport(link)
    link.connection_made(transport)
    link.data_received(GREETING)
    dialler.links.append(link)
    return link


async def never(_dialler: Dialler, _hub: Hub) -> Link:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def pool_over(dialler: Any) -> Pool:
    return Pool(
        "orders:1",
        dialler=dialler,
        connections=4,
        now_s=CLOCK.now_s,
        random=random.Random(3),
        emit=silent,
    )


def call(pool: Pool, after_s: float) -> Stream:
    now_s = CLOCK.now_s()
    future = asyncio.get_running_loop().create_future()
    stream = Stream(BLOCK, grpc_message(b"hi"), deadline_s=now_s + after_s, owner=future)
    pool.submit(stream, now_s)
    return stream


def test_reconnecting_waits_longer_each_time_up_to_ten_seconds_and_for_ever() -> None:
    async def scenario() -> list[float]:
        dialler = Dialler(refuse)
        pool = pool_over(dialler)
        stream = call(pool, 5.0)
        await stream.owner
        assert (failure_of(stream, overdue=False).sent) == "never"
        # Ten hours.
        await asyncio.sleep(36_000.0)
        await pool.close()
        return dialler.times_s

    times_s = run_virtual(scenario())

    waits_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
    for number, wait_s in enumerate(waits_s):
        usual_s = min(10.0, 0.1 * 1.6 ** min(number, 20))
        assert 0.8 * usual_s - 0.01 <= wait_s <= 1.2 * usual_s + 0.01
    assert len(waits_s) > 2_900


@pytest.mark.parametrize(
    ("how", "sent"), [(never, "never"), (accept, "maybe")], ids=["queued", "open"]
)
def test_every_call_ends_by_its_deadline(how: Any, sent: str) -> None:
    async def scenario() -> list[tuple[float, Stream]]:
        pool = pool_over(Dialler(how))
        chance = random.Random(4)
        calls = [call(pool, chance.uniform(0.001, 0.9)) for _ in range(500)]
        ended: list[tuple[float, Stream]] = []

        async def wait(stream: Stream) -> None:
            await stream.owner
            ended.append((CLOCK.now_s(), stream))

        await asyncio.gather(*map(wait, calls))
        assert pool.open_calls == 0
        await pool.close()
        return ended

    for at_s, stream in run_virtual(scenario()):
        error = failure_of(stream, overdue=True)
        assert (error.reason, error.sent) == ("TIMEOUT", sent)
        assert stream.deadline_s <= at_s <= stream.deadline_s + 0.0055


def test_a_lost_connection_is_followed_at_once_then_after_a_pause_that_calls_wait_out() -> None:
    async def scenario() -> list[float]:
        dialler = Dialler(accept)
        pool = pool_over(dialler)
        lost_s = []
        for _ in range(3):
            stream = call(pool, 5.0)
            await asyncio.sleep(0.15)
            lost_s.append(CLOCK.now_s())
            dialler.links[-1].connection_lost(ConnectionResetError("reset"))
            await stream.owner
            assert failure_of(stream, overdue=False).reason == "UPSTREAM_UNAVAILABLE"
        last = call(pool, 5.0)
        await asyncio.sleep(0.5)
        dialler.links[-1].data_received(reply(last.stream_id, b"hi"))
        await last.owner
        assert last.fault is None
        await pool.close()
        return [dialled - lost for dialled, lost in zip(dialler.times_s[1:], lost_s, strict=True)]

    at_once_s, first_s, second_s = run_virtual(scenario())

    assert at_once_s == pytest.approx(0.0, abs=0.001)
    assert 0.08 <= first_s <= 0.12
    assert 0.128 <= second_s <= 0.192


def test_a_call_without_time_to_wait_goes_elsewhere() -> None:
    async def scenario() -> None:
        dialler = Dialler(accept)
        pool = pool_over(dialler)
        for _ in range(2):
            stream = call(pool, 5.0)
            await asyncio.sleep(0.01)
            dialler.links[-1].connection_lost(None)
            await stream.owner

        with pytest.raises(Exception, match="connection ended") as caught:
            call(pool, 0.1)

        assert caught.value.sent == "never"  # type: ignore[attr-defined]  # an UpstreamError
        await pool.close()

    run_virtual(scenario())
