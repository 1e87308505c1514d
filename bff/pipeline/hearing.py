"""Messages of a client on their way to a call: one at most, handed from who reads to who sends."""

import asyncio
from collections.abc import AsyncGenerator

__all__ = ["Hearing"]


class Hearing:
    """A place for one message, with one task that puts and one that takes."""

    def __init__(self) -> None:
        self._message: bytes | None = None
        self._changed = asyncio.Event()
        self.has_ended = False

    async def put(self, message: bytes) -> None:
        """Leave a message; returns when it was taken, so that nothing is read ahead of it."""
        self._message = message
        self._changed.set()
        while self._message is not None:
            await self._wait()

    def end(self) -> None:
        """There will be no more."""
        self.has_ended = True
        self._changed.set()

    async def take(self) -> bytes | None:
        """The next message; None: there are no more."""
        while self._message is None:
            if self.has_ended:
                return None
            await self._wait()
        message, self._message = self._message, None
        self._changed.set()
        return message

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Each message, until the end."""
        while (message := await self.take()) is not None:
            yield message

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
