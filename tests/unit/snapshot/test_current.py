"""The slot of the live snapshot: who holds one, and when an old one is closed."""

from typing import Any, cast

from bff.pipeline.route import Tools
from bff.snapshot.current import Current


class Snapshot:
    """What `Current` sees of Tools: leases, and what closes it."""

    def __init__(self) -> None:
        self.leases = 0
        self.closed = 0
        self.closing: Any = self._close

    async def _close(self) -> None:
        self.closed += 1


def made() -> tuple[Snapshot, Tools]:
    snapshot = Snapshot()
    return snapshot, cast("Tools", snapshot)


async def test_an_unused_snapshot_is_closed_by_the_swap() -> None:
    (old, old_tools), (new, new_tools) = made(), made()
    current = Current(old_tools)

    assert current.swap(new_tools) is old_tools
    await current.close()

    assert (old.closed, new.closed) == (1, 1)


async def test_a_request_keeps_its_snapshot_to_its_end() -> None:
    (old, old_tools), (_, new_tools) = made(), made()
    current = Current(old_tools)
    first, second = current.lease(), current.lease()

    current.swap(new_tools)
    during = current.lease()
    current.release(first)
    await _settle(current)
    still_open = old.closed
    current.release(second)
    await _settle(current)

    assert first is second is old_tools
    assert during is new_tools
    assert (still_open, old.closed) == (0, 1)


async def test_releasing_the_live_one_closes_nothing() -> None:
    snapshot, tools = made()
    current = Current(tools)

    current.release(current.lease())
    await _settle(current)

    assert (snapshot.closed, current.live) == (0, tools)


async def test_a_snapshot_is_closed_once() -> None:
    (old, old_tools), (_, new_tools), (_, newest) = made(), made(), made()
    current = Current(old_tools)
    held = current.lease()
    current.swap(new_tools)
    current.swap(newest)
    current.release(held)

    await current.close()
    await current.close()

    assert old.closed == 1


async def _settle(current: Current) -> None:
    """Let closings under way end, without closing the live one."""
    while current._closing:
        await next(iter(current._closing))
