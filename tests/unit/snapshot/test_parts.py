"""Parts that no version wants: taken out at once, closed after."""

import asyncio
from typing import Any, cast

from bff.snapshot.parts import Lease, Parts
from bff.upstream.upstream import Endpoint, UpstreamSettings
from bff.wire.channel import Channel
from tests.support.upstream_fakes import FakeClock, Half


class SlowChannel:
    """A channel whose close waits until it is let go."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.let_go = asyncio.Event()

    async def close(self, *, grace_s: float = 0.0) -> None:
        self.closing.set()
        await self.let_go.wait()


def _parts(channels: dict[str, list[SlowChannel]]) -> Parts:
    def connect(settings: UpstreamSettings, _: Endpoint) -> Channel:
        channel = SlowChannel()
        channels.setdefault(settings.name, []).append(channel)
        return cast("Channel", channel)

    def no_store(_: object) -> Any:
        raise AssertionError("no limits here")

    return Parts(
        clock=FakeClock(),
        random=Half(),
        emit=lambda _: None,
        connect=connect,
        make_store=no_store,
    )


def _settings(name: str) -> UpstreamSettings:
    return UpstreamSettings(name=name, endpoints=(Endpoint("10.0.0.1:1"),))


async def test_what_goes_live_while_others_close_stays_open() -> None:
    channels: dict[str, list[SlowChannel]] = {}
    parts = _parts(channels)
    old = Lease()
    parts.stack(_settings("first"), old)
    unused = parts.stack(_settings("second"), old)

    closing = asyncio.create_task(parts.close_unused())
    await channels["first"][0].closing.wait()
    new = Lease()
    wanted = parts.stack(_settings("second"), new)
    await parts.go_live(new)
    for channel in (*channels["first"], *channels["second"]):
        channel.let_go.set()
    await closing

    assert wanted is not unused
    assert [channel.closing.is_set() for channel in channels["second"]] == [True, False]
    assert parts.stack(_settings("second"), Lease()) is wanted


async def test_what_a_live_version_uses_is_not_closed() -> None:
    channels: dict[str, list[SlowChannel]] = {}
    parts = _parts(channels)
    live = Lease()
    stack = parts.stack(_settings("first"), live)
    await parts.go_live(live)

    await parts.close_unused()

    assert not channels["first"][0].closing.is_set()
    assert parts.stack(_settings("first"), Lease()) is stack
