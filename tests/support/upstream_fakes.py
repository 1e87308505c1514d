"""A clock that tests move, randomness that tests choose, and a channel that does what it is told."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

from bff.core.errors import Origin, Sent, UpstreamError
from bff.core.status import Code
from bff.wire.channel import Metadata, UnaryReply

__all__ = ["FakeChannel", "FakeClock", "Half", "fault", "of_service"]


class FakeClock:
    """Time stands until `now` is moved."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def now_s(self) -> float:
        return self.now

    def unix_s(self) -> float:
        return 1_700_000_000.0 + self.now

    async def sleep(self, seconds: float) -> None:
        """A sleep that takes no time of ours."""
        self.now += seconds
        await asyncio.sleep(0)


class Half:
    """Randomness without chance: always the middle, or the values given first."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._values = iter(values)

    def random(self) -> float:
        return next(self._values, 0.5)

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self.random()

    def getrandbits(self, k: int, /) -> int:
        return int(self.random() * 2**k)


def fault(
    code: Code = Code.UNAVAILABLE,
    *,
    reason: str = "UPSTREAM_UNAVAILABLE",
    origin: Origin = "wire",
    sent: Sent = "maybe",
    pushback_ms: int | None = None,
) -> UpstreamError:
    """A failed attempt; by default a lost connection."""
    return UpstreamError(reason, code=code, origin=origin, sent=sent, pushback_ms=pushback_ms)


def of_service(code: Code, *, pushback_ms: int | None = None) -> UpstreamError:
    """A status that the service sent."""
    return fault(code, reason=code.name, origin="service", pushback_ms=pushback_ms)


Answer = bytes | UpstreamError | Callable[..., Any]


class FakeChannel:
    """Answers in order, the last one for ever: bytes, an error, or an async function of the deadline."""

    def __init__(
        self, *answers: Answer, clock: FakeClock | None = None, takes_s: float = 0.0
    ) -> None:
        self.answers = list(answers) or [b"ok"]
        self.sent: list[tuple[str, bytes, Metadata, float | None]] = []
        self.closed = False
        self.streams_closed = 0
        self.taken: list[bytes] = []
        self._clock = clock
        self._takes_s = takes_s

    def _next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def unary(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float,
        *,
        want_metadata: bool = False,
    ) -> UnaryReply:
        self.sent.append((path, message, metadata, deadline_s))
        if self._clock is not None:
            self._clock.now += self._takes_s
        answer = self._next()
        if isinstance(answer, UpstreamError):
            raise answer
        if callable(answer):
            answer = await answer(deadline_s)
        return UnaryReply(answer)

    async def stream(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        self.sent.append((path, message, metadata, deadline_s))
        try:
            while self.answers:
                answer = self.answers.pop(0)
                if isinstance(answer, UpstreamError):
                    raise answer
                assert isinstance(answer, bytes)
                yield answer
        finally:
            self.streams_closed += 1

    async def bidi(
        self,
        path: str,
        messages: AsyncGenerator[bytes, None],
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Takes every message first, unless its next answer is an error that nothing reached."""
        answer = self.answers[0] if self.answers else None
        if not (isinstance(answer, UpstreamError) and answer.sent == "never"):
            self.taken = [message async for message in messages]
        if received is not None:
            received.append(("x-reply", "1"))
        async with aclosing(self.stream(path, b"", metadata, deadline_s)) as parts:
            async for part in parts:
                yield part

    async def close(self) -> None:
        self.closed = True
