"""The one slot that readers see: which snapshot is live, and when an old one may be closed.

A request leases the snapshot it starts with and holds it to its last byte, so a swap is one
assignment and never changes a request under way.
"""

import asyncio

from bff.pipeline.route import Tools

__all__ = ["Current"]


class Current:
    """The live snapshot of one worker. Belongs to one event loop; nothing here waits."""

    def __init__(self, first: Tools) -> None:
        self._live = first
        # Closings under way; kept so that none is dropped half done.
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def live(self) -> Tools:
        """The snapshot that new requests get."""
        return self._live

    def lease(self) -> Tools:
        """The live snapshot, held until `release`."""
        tools = self._live
        tools.leases += 1
        return tools

    def release(self, tools: Tools) -> None:
        """Give a lease back; the last one of a retired snapshot closes it."""
        tools.leases -= 1
        if tools.leases == 0 and tools is not self._live:
            self._close(tools)

    def swap(self, new: Tools) -> Tools:
        """Make `new` live and return the old one, which closes when its last request ends."""
        old, self._live = self._live, new
        if old.leases == 0:
            self._close(old)
        return old

    async def close(self) -> None:
        """Close the live snapshot and wait for closings under way."""
        self._close(self._live)
        while self._closing:
            await asyncio.gather(*self._closing)

    def _close(self, tools: Tools) -> None:
        closing, tools.closing = tools.closing, None
        if closing is None:
            return
        task = asyncio.ensure_future(closing())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
