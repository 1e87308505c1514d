"""One endpoint by two ways: unary calls on one channel, streams on another."""

from collections.abc import AsyncGenerator, Callable

from bff.wire.channel import Channel, Metadata

__all__ = ["SplitChannel"]


class SplitChannel:
    """A `Channel` of two. The one for streams is opened at the first stream: most endpoints see none."""

    def __init__(self, unary: Channel, open_streams: Callable[[], Channel]) -> None:
        self._unary = unary
        # The other channel's own method: this runs for each call.
        self.unary = unary.unary
        self._open_streams = open_streams
        self._streams: Channel | None = None

    def stream(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """As `Channel.stream`."""
        if self._streams is None:
            self._streams = self._open_streams()
        return self._streams.stream(path, message, metadata, deadline_s, received=received)

    def bidi(
        self,
        path: str,
        messages: AsyncGenerator[bytes, None],
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """As `Channel.bidi`."""
        if self._streams is None:
            self._streams = self._open_streams()
        return self._streams.bidi(path, messages, metadata, deadline_s, received=received)

    async def close(self) -> None:
        """Close both."""
        try:
            await self._unary.close()
        finally:
            if self._streams is not None:
                await self._streams.close()
