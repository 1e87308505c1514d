"""The messages of one stream, taken one at a time, with every way in which the wait may end.

A stream may be silent for a while, live for a while, and be asked to end; a reader may want to hear
when nothing came (first wait, heartbeats). One timer serves all of it for the whole life of the
stream: it is moved when it fires, not when a message comes.
"""

import asyncio
import enum
from collections.abc import AsyncGenerator
from math import inf

from bff.core.errors import DeniedError, GatewayError, UpstreamError
from bff.core.status import Code

__all__ = ["END", "QUIET", "Feed"]


class _Word(enum.Enum):
    END = "end"
    QUIET = "quiet"


# The stream ended well; nothing came in the time that the reader gave.
END = _Word.END
QUIET = _Word.QUIET


class Feed:
    """Reads `messages` for one reader; made in the running loop. Close it, however it ends.

    `idle_s` is the longest silence of the service, `max_duration_s` the longest life, and
    `expires_in_s` what is left of the caller's credential. The next
    message is asked for when the reader asks, so that at most one waits here.
    """

    def __init__(
        self,
        messages: AsyncGenerator[bytes, None],
        *,
        upstream: str,
        idle_s: float,
        max_duration_s: float,
        expires_in_s: float = inf,
    ) -> None:
        self._messages = messages
        self._upstream = upstream
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        now_s = self._loop.time()
        # Whoever asked is nobody any more from then on.
        self._expires_s = now_s + expires_in_s
        self._ends_s = now_s + min(max_duration_s, expires_in_s)
        self._silent_s = inf
        self._pending: asyncio.Task[bytes | None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: Exception | None = None

    async def take(self, quiet_s: float = inf) -> bytes | _Word:
        """The next message, END, or QUIET when none came in `quiet_s`; the wait then goes on.

        Raises UpstreamError with what the service ended with, TIMEOUT for too long a silence or life;
        what `finish` or `fail` said; DeniedError once the caller's credential is over.
        """
        now_s = self._loop.time()
        pending = self._pending
        if pending is None:
            pending = self._pending = self._loop.create_task(self._next())
            pending.add_done_callback(self._wake)
            self._silent_s = now_s + self._idle_s
        quiet_at_s = now_s + quiet_s
        while True:
            if self._ending is not None:
                raise self._ending
            if now_s >= self._expires_s:
                raise DeniedError("TOKEN_INVALID")
            if now_s >= self._ends_s:
                raise self._late("the stream's time is over")
            if pending.done():
                self._pending = None
                message = pending.result()
                return END if message is None else message
            if now_s >= self._silent_s:
                raise self._late("the stream was silent for too long")
            if now_s >= quiet_at_s:
                return QUIET
            self._arm(min(self._ends_s, self._silent_s, quiet_at_s))
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            now_s = self._loop.time()

    def finish(self) -> None:
        """Let the reader end the stream with UNAVAILABLE, now or when it next asks."""
        self.fail(GatewayError("UNAVAILABLE", "The gateway is leaving; come back."))

    def fail(self, error: Exception) -> None:
        """Let the reader end the stream with this error, now or when it next asks; the first one counts."""
        if self._ending is None:
            self._ending = error
        self._wake()

    def stir(self) -> None:
        """Something was said on the other side, so that the stream is not silent."""
        self._silent_s = self._loop.time() + self._idle_s

    async def close(self) -> None:
        """Cancel the call, if it still runs; may be called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
            await asyncio.wait([pending])
            if not pending.cancelled():
                # Looked at, or the loop would report an error that nobody took.
                pending.exception()
        await self._messages.aclose()

    async def _next(self) -> bytes | None:
        return await anext(self._messages, None)

    def _wake(self, _done: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _arm(self, due_s: float) -> None:
        """A timer that fires early is moved then; only one that would fire late is moved now."""
        timer = self._timer
        if timer is not None:
            if timer.when() <= due_s:
                return
            timer.cancel()
        self._timer = self._loop.call_at(due_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._wake()

    def _late(self, detail: str) -> UpstreamError:
        return UpstreamError(
            "TIMEOUT",
            code=Code.DEADLINE_EXCEEDED,
            origin="local",
            upstream=self._upstream,
            detail=detail,
        )
