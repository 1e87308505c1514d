"""A call to an upstream, through its layers in the order in which they run.

    deadline -> bulkhead -> retry [ pick endpoint -> breaker -> send ]

A layer that is off is absent. This runs for every request: a call that needs no second attempt
takes no timer and no task.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Protocol

from bff.core.errors import UpstreamError
from bff.core.events import Emit
from bff.core.exchange import UpstreamCall
from bff.core.ports import Clock, Random
from bff.core.status import Code
from bff.upstream.attempt import MARGIN_S, Attempts, Known, Outgoing, Wish, no_time
from bff.upstream.balance import Spot
from bff.upstream.budget import Budget
from bff.upstream.bulkhead import Bulkhead
from bff.upstream.retry import History, choose, wait_before_s
from bff.upstream.upstream import (
    BreakerSettings,
    Endpoint,
    Operation,
    RetrySettings,
    UpstreamSettings,
)
from bff.wire.channel import Channel, Metadata, UnaryReply

__all__ = [
    "BreakerSettings",
    "Endpoint",
    "Notes",
    "Operation",
    "RetrySettings",
    "UpstreamSettings",
    "UpstreamStack",
]

# The share of the time left that a call may spend on waiting for a slot.
_QUEUE_SHARE = 0.25


class Notes(Protocol):
    """Where a call leaves its note for the access log: `Request.calls`."""

    def append(self, call: UpstreamCall, /) -> None:
        """Keep it."""
        ...


class UpstreamStack:
    """A running upstream: channels and the state of all layers. Made inside the event loop.

    It may serve many versions of the configuration as long as the settings stay equal; breakers
    are kept by the operation's name. `connect` opens the channel of an endpoint.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        *,
        clock: Clock,
        random: Random,
        emit: Emit,
        connect: Callable[[Endpoint], Channel],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self._now_s = clock.now_s
        self._random = random
        self._sleep = sleep
        self._attempts = Attempts(settings, clock=clock, random=random, emit=emit, connect=connect)
        self._bulkhead = None if settings.limit is None else Bulkhead(settings.limit)
        self._budget = Budget(settings.budget)
        self._running = 0
        self._closed = False
        self._idle: asyncio.Future[None] | None = None

    async def unary(
        self,
        operation: Operation,
        message: bytes,
        metadata: Metadata,
        deadline_s: float,
        notes: Notes | None = None,
        *,
        source: str = "",
        want_metadata: bool = False,
    ) -> UnaryReply:
        """One call, with the retries it may have. `deadline_s` is monotonic.

        Raises UpstreamError with `upstream` set: after retries the last status of the service,
        else the last fault. Leaves one note, however it ends.
        """
        started_s = self._now_s()
        timeout_s = operation.timeout_s
        if timeout_s is not None and started_s + timeout_s < deadline_s:
            deadline_s = started_s + timeout_s
        history = History()
        code = "CANCELLED"
        entered = False
        try:
            if not self._try_enter(deadline_s - started_s):
                await self._queue(deadline_s - started_s)
            entered = True
            attempts = self._attempts
            known = attempts.known(operation)
            wish = Wish(message, metadata, deadline_s, want_metadata)
            self._budget.earn()
            spot = attempts.pick(())
            try:
                reply = await attempts.send(known, spot, wish, deadline_s, history)
            except UpstreamError as error:
                reply = await self._again(error, known, spot, wish, history)
            code = "OK"
        except UpstreamError as error:
            error.upstream = self.name
            code = error.code.name
            raise
        finally:
            if entered:
                self._leave()
            if notes is not None:
                self._note(notes, operation, code, started_s, history, source)
        return reply

    def stream(
        self,
        operation: Operation,
        message: bytes,
        metadata: Metadata,
        deadline_s: float | None,
        notes: Notes | None = None,
        *,
        source: str = "",
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The messages of a server stream; it holds its slot to the end. Close it when you leave early.

        The deadline is that of the whole stream; `timeout_s` of the operation is not for streams.
        Another endpoint is tried only for a request that no service has seen.
        """
        wish = Wish(message, metadata, deadline_s, received=received)
        return self._stream(operation, wish, notes, source)

    def bidi(
        self,
        operation: Operation,
        messages: AsyncGenerator[bytes, None],
        metadata: Metadata,
        deadline_s: float | None,
        notes: Notes | None = None,
        *,
        source: str = "",
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """As `stream`, with messages both ways. Nothing is repeated once one of the client's was taken.

        What `messages` raises cancels the call and is raised here.
        """
        wish = Wish(b"", metadata, deadline_s, messages=Outgoing(messages), received=received)
        return self._stream(operation, wish, notes, source)

    async def client_stream(
        self,
        operation: Operation,
        messages: AsyncGenerator[bytes, None],
        metadata: Metadata,
        deadline_s: float | None,
        notes: Notes | None = None,
        *,
        source: str = "",
        want_metadata: bool = False,
    ) -> UnaryReply:
        """As `bidi`, for a method that answers with one message."""
        received: list[tuple[str, str | bytes]] | None = [] if want_metadata else None
        parts = self.bidi(
            operation, messages, metadata, deadline_s, notes, source=source, received=received
        )
        reply: bytes | None = None
        initial = 0
        async with aclosing(parts):
            async for part in parts:
                if reply is not None:
                    raise self._protocol_fault("more than one message")
                reply, initial = part, len(received or ())
        if reply is None:
            raise self._protocol_fault("OK without a message")
        return UnaryReply(reply, tuple(received or ()), initial)

    async def _stream(
        self, operation: Operation, wish: Wish, notes: Notes | None, source: str
    ) -> AsyncGenerator[bytes, None]:
        started_s = self._now_s()
        left_s = float("inf") if wish.deadline_s is None else wish.deadline_s - started_s
        history = History()
        code = "CANCELLED"
        entered = False
        try:
            if not self._try_enter(left_s):
                await self._queue(left_s)
            entered = True
            parts = self._redirect(self._attempts.known(operation), wish, history)
            async with aclosing(parts):
                async for part in parts:
                    yield part
            code = "OK"
        except UpstreamError as error:
            error.upstream = self.name
            code = error.code.name
            raise
        finally:
            if entered:
                self._leave()
            if notes is not None:
                self._note(notes, operation, code, started_s, history, source)

    def _protocol_fault(self, detail: str) -> UpstreamError:
        return UpstreamError(
            "UPSTREAM_PROTOCOL",
            code=Code.INTERNAL,
            origin="wire",
            upstream=self.name,
            detail=detail,
        )

    async def close(self, *, grace_s: float = 30.0) -> None:
        """Take no new calls, let those in flight end within `grace_s`, then close the channels."""
        self._closed = True
        if self._running:
            self._idle = asyncio.get_running_loop().create_future()
            # What still runs after it ends with UNAVAILABLE, when its channel closes.
            await asyncio.wait([self._idle], timeout=grace_s)
        for spot in self._attempts.spots:
            await spot.channel.close()

    def describe(self) -> dict[str, Any]:
        """The figures of now, for operators: endpoints, slots, budget, and each operation's breaker."""
        bulkhead = self._bulkhead
        return {
            "upstream": self.name,
            "balance": self.settings.balance,
            "running": self._running,
            "endpoints": self._attempts.describe_endpoints(),
            "bulkhead": None
            if bulkhead is None
            else {
                "limit": bulkhead.limit,
                "in_flight": bulkhead.in_flight,
                "waiting": bulkhead.waiting,
            },
            "retry_budget": round(self._budget.level, 2),
            "breakers": self._attempts.describe_breakers(),
        }

    def _try_enter(self, left_s: float) -> bool:
        """Count the call in if there is time and a slot; False if it has to queue."""
        if self._closed:
            raise _refusal("UPSTREAM_UNAVAILABLE", "the upstream is closed")
        if left_s < MARGIN_S:
            raise no_time()
        if self._bulkhead is not None and not self._bulkhead.try_enter():
            return False
        self._running += 1
        return True

    async def _queue(self, left_s: float) -> None:
        bulkhead = self._bulkhead
        assert bulkhead is not None
        wait_s = min(self.settings.bulkhead_wait_s, _QUEUE_SHARE * left_s)
        if not await bulkhead.enter(wait_s):
            raise _refusal("BULKHEAD_FULL", f"{bulkhead.in_flight} in flight")
        self._running += 1

    def _leave(self) -> None:
        if self._bulkhead is not None:
            self._bulkhead.leave()
        self._running -= 1
        if self._idle is not None and self._running == 0 and not self._idle.done():
            self._idle.set_result(None)

    def _note(
        self,
        notes: Notes,
        operation: Operation,
        code: str,
        started_s: float,
        history: History,
        source: str,
    ) -> None:
        notes.append(
            UpstreamCall(
                operation=operation.name,
                upstream=self.name,
                code=code,
                ms=int((self._now_s() - started_s) * 1_000_000) / 1000,
                attempts=history.tries,
                source=source,
            )
        )

    async def _again(
        self, error: UpstreamError, known: Known, spot: Spot, wish: Wish, history: History
    ) -> UnaryReply:
        """After a first attempt that failed: others, until one succeeds or none may follow."""
        attempts = self._attempts
        metadata, deadline_s = wish.metadata, wish.deadline_s
        assert deadline_s is not None
        tried = [spot]
        # What the service itself said last tells more than a fault of ours after it.
        shown = error
        while True:
            retry = known.operation.retry
            if retry is None or not await self._may_repeat(
                error, known, retry, history, tried, deadline_s
            ):
                if shown is error:
                    raise error
                raise shown from error
            if history.attempts:
                number = str(history.attempts)
                wish.metadata = (*metadata, ("grpc-previous-rpc-attempts", number))
            spot = attempts.pick(tried)
            try:
                return await attempts.send(known, spot, wish, deadline_s, history)
            except UpstreamError as failed:
                error = failed
                if _outranks(error, shown):
                    shown = error
                tried.append(spot)

    async def _may_repeat(
        self,
        error: UpstreamError,
        known: Known,
        retry: RetrySettings,
        history: History,
        tried: list[Spot],
        deadline_s: float,
    ) -> bool:
        """Decide on one more attempt, and wait for its time."""
        now_s = self._now_s()
        choice = choose(
            error,
            repeat=known.operation.repeat,
            settings=retry,
            history=history,
            other_endpoint=self._attempts.has_other(tried),
            per_try_ended=retry.per_try_s is not None and now_s < deadline_s - MARGIN_S,
        )
        if choice == "stop":
            return False
        if choice == "elsewhere":
            history.refused = history.refused or error.sent == "refused"
            return deadline_s - now_s >= MARGIN_S
        wait_s = wait_before_s(error, retry=history.attempts, random=self._random)
        if wait_s is None or now_s + wait_s >= deadline_s - MARGIN_S:
            return False
        if known.breaker is not None and known.breaker.is_open(now_s):
            return False
        if not self._budget.spend(now_s):
            return False
        await self._sleep(wait_s)
        return True

    async def _redirect(
        self, known: Known, wish: Wish, history: History
    ) -> AsyncGenerator[bytes, None]:
        """A stream, begun at another endpoint while no service has seen the request."""
        attempts = self._attempts
        tried: list[Spot] = []
        began = False
        while True:
            spot = attempts.pick(tried)
            try:
                async with aclosing(attempts.stream(known, spot, wish, history)) as parts:
                    async for part in parts:
                        began = True
                        yield part
            except UpstreamError as error:
                tried.append(spot)
                if began or error.origin == "local" or error.sent == "maybe":
                    raise
                if wish.messages is not None and wish.messages.taken:
                    raise
                if known.operation.retry is None or not attempts.has_other(tried):
                    raise
            else:
                return


def _outranks(error: UpstreamError, shown: UpstreamError) -> bool:
    """True if `error`, the later one, is what the caller should read."""
    if error.origin == "service":
        return True
    return error.origin == "wire" and shown.origin != "service"


def _refusal(reason: str, detail: str) -> UpstreamError:
    return UpstreamError(reason, code=Code.UNAVAILABLE, origin="local", sent="never", detail=detail)
