"""Lanes for tests: made on the running loop, closed and looked over at the end."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bff.core.errors import UpstreamError
from bff.core.events import silent
from bff.core.ports import SystemClock
from bff.wire.channel import Channel, UnaryReply
from bff.wire.http2.lane import LaneChannel, LaneSettings
from tests.support.stray import nothing_stray

__all__ = ["CLOCK", "PATH", "ending", "lane_to", "soon_s"]

CLOCK = SystemClock()
PATH = "/shop.v1.Orders/Get"


def soon_s(seconds: float = 10.0) -> float:
    """A deadline that many seconds from now."""
    return CLOCK.now_s() + seconds


@asynccontextmanager
async def lane_to(address: str, **more: Any) -> AsyncIterator[LaneChannel]:
    """A lane that must leave nothing behind: no call, no stray exception."""
    # A busy machine may take more than the second that connecting has by default.
    settings = LaneSettings(connect_s=20.0)
    arguments: dict[str, Any] = {
        "tls": None, "authority": None, "emit": silent, "settings": settings, **more,
    }  # fmt: skip
    lane = LaneChannel(address, clock=CLOCK, random=random.Random(7), **arguments)
    with nothing_stray():
        try:
            yield lane
        finally:
            await lane.close()
        assert lane.open_calls == 0


async def ending(
    channel: Channel,
    message: bytes = b"asked",
    metadata: Any = (),
    deadline_s: float | None = None,
    *,
    path: str = PATH,
) -> UnaryReply | UpstreamError:
    """How one call ends: its reply, or its error. It must end by its deadline and a little."""
    until_s = soon_s() if deadline_s is None else deadline_s
    async with asyncio.timeout(until_s - CLOCK.now_s() + 2.0):
        try:
            return await channel.unary(path, message, metadata, until_s, want_metadata=True)
        except UpstreamError as error:
            return error
