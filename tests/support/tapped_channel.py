"""A channel around a real one: counts what is taken of streams, and breaks where a test says so."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from bff.wire.channel import Channel, Metadata, UnaryReply

__all__ = ["Tap", "TappedChannel"]


class Tap:
    """What a test sees and says: messages taken so far, and after how many the channel has a bug."""

    def __init__(self, *, breaks_after: int | None = None) -> None:
        self.taken = 0
        self.breaks_after = breaks_after


class TappedChannel:
    """Passes everything on to `channel`."""

    def __init__(self, channel: Channel, tap: Tap) -> None:
        self._channel = channel
        self._tap = tap

    async def unary(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float,
        *,
        want_metadata: bool = False,
    ) -> UnaryReply:
        return await self._channel.unary(
            path, message, metadata, deadline_s, want_metadata=want_metadata
        )

    def stream(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        return self._tapped(
            self._channel.stream(path, message, metadata, deadline_s, received=received)
        )

    def bidi(
        self,
        path: str,
        messages: AsyncGenerator[bytes, None],
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        return self._tapped(
            self._channel.bidi(path, messages, metadata, deadline_s, received=received)
        )

    async def _tapped(self, messages: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(messages):
            async for message in messages:
                self._tap.taken += 1
                yield message
                if self._tap.taken == self._tap.breaks_after:
                    raise ZeroDivisionError("a secret of ours")

    async def close(self) -> None:
        await self._channel.close()
