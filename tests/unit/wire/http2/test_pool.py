"""The pool in virtual time: reconnecting, and deadlines that hold whatever the peer does."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bff.core.events import silent
from bff.wire.http2.connection import Connection
from bff.wire.http2.dialling import Dialler as Real
from bff.wire.http2.frames import GOAWAY, RST_STREAM, ErrorCode, frame
from bff.wire.http2.headers import BlockMemo, MemoDecoder
from bff.wire.http2.link import Hub, Link
from bff.wire.http2.pool import Pool
from bff.wire.http2.reply import failure_of
from bff.wire.http2.stream import Stream
from bff.wire.http2.vigil import Vigil
from tests.support.h2_machine import BLOCK, GREETING, frames_in
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
        self.fewer_pings = 0

    async def dial(self, hub: Hub) -> Link:
        self.times_s.append(CLOCK.now_s())
        return await self.how(self, hub)

    def ping_less(self) -> None:
        self.fewer_pings += 1


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


def _frames(link: Link) -> list[Any]:
    """What was written on this link since the preface."""
    transport: Any = link.transport
    return frames_in(transport.written)


def test_a_deadline_resets_its_stream_with_cancel() -> None:
    async def scenario() -> list[Any]:
        dialler = Dialler(accept)
        pool = pool_over(dialler)
        await call(pool, 0.2).owner
        await asyncio.sleep(0.01)
        frames = _frames(dialler.links[0])
        await pool.close()
        return frames

    resets = [one for one in run_virtual(scenario()) if one[0] == RST_STREAM]

    assert [(one[2], int.from_bytes(one[3])) for one in resets] == [(1, ErrorCode.CANCEL)]


def test_a_worn_connection_goes_once_its_successor_is_there() -> None:
    async def scenario() -> tuple[int, str, str]:
        dialler = Dialler(accept)
        pool = pool_over(dialler)
        running = call(pool, 30.0)
        await asyncio.sleep(0.01)
        dialler.links[0].connection.is_worn = True
        await asyncio.sleep(1.2)
        old, new = dialler.links
        later = call(pool, 30.0)
        assert (old.connection.state, later.via) == ("draining", new)
        for link, stream in ((old, running), (new, later)):
            link.data_received(reply(stream.stream_id, b"hi"))
            await stream.owner
        states = len(dialler.links), old.connection.state, new.connection.state
        await pool.close()
        return states

    assert run_virtual(scenario()) == (2, "closed", "ready")


def test_the_wait_begins_anew_after_a_connection_that_lived() -> None:
    """Four refusals, a connection of ten seconds, and its loss: the next pauses are the first ones again."""

    async def scenario() -> list[float]:
        async def as_told(dialler: Dialler, hub: Hub) -> Link:
            return await (accept if len(dialler.times_s) == 5 else refuse)(dialler, hub)

        dialler = Dialler(as_told)
        pool = pool_over(dialler)
        await call(pool, 5.0).owner
        await asyncio.sleep(12.0)
        dialler.links[0].connection_lost(None)
        await asyncio.sleep(1.0)
        await pool.close()
        return dialler.times_s[5:8]

    at_once_s, first_s, second_s = run_virtual(scenario())

    assert 0.08 <= first_s - at_once_s <= 0.12
    assert 0.128 <= second_s - first_s <= 0.192


def test_too_many_pings_makes_later_connections_ping_half_as_often() -> None:
    async def scenario() -> None:
        dialler = Dialler(accept)
        pool = pool_over(dialler)
        stream = call(pool, 5.0)
        await asyncio.sleep(0.01)
        code = bytes(3) + bytes([ErrorCode.ENHANCE_YOUR_CALM])
        dialler.links[0].data_received(frame(GOAWAY, 0, 0, bytes(4) + code + b"too_many_pings"))
        await stream.owner
        assert dialler.fewer_pings == 1
        await pool.close()

    async def period_s(after: int) -> float:
        made = Real(
            "orders:1", tls=None, connect_s=1.0, max_age_s=1800.0, keepalive_s=10.0, reply_max_bytes=100,
            memo=None, now_s=CLOCK.now_s, random=random.Random(1),
        )  # fmt: skip
        for _ in range(after):
            made.ping_less()
        pool: Any = None
        vigil = made._make_link(pool).connection.vigil
        vigil.settings_acked()
        began_s = CLOCK.now_s()
        vigil.look(began_s + 0.001, is_busy=False)
        return vigil.due_s - began_s

    run_virtual(scenario())

    assert [round(run_virtual(period_s(after)), 3) for after in range(3)] == [10.0, 20.0, 40.0]
