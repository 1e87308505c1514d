"""One attempt: pick an endpoint, ask the operation's breaker, send, and learn from the outcome."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import Struct

from bff.core.errors import UpstreamError
from bff.core.events import AttemptEnded, BreakerMoved, Emit
from bff.core.ports import Clock, Random
from bff.core.status import Code
from bff.upstream.balance import Spot, picker, slowest_s
from bff.upstream.breaker import REFUSED, Breaker, Moved, judge
from bff.upstream.retry import History
from bff.upstream.upstream import Endpoint, Operation, UpstreamSettings
from bff.wire.channel import Channel, Metadata, UnaryReply

__all__ = ["MARGIN_S", "Attempts", "Known", "Outgoing", "Wish", "no_time"]

# What an attempt leaves of the time, so that its failure can still be answered; less is no call.
MARGIN_S = 0.005
# Slow is more than half the operation's timeout, or of this if it has none.
_USUAL_TIMEOUT_S = 5.0
# A deadline tells of the service if the attempt had the operation's timeout, or this, nearly whole:
# the queue and the margin take a little of it.
_FULL_TIME_S = 1.0
_NEARLY = 0.9
# Operations come from config, but a stack outlives versions of it.
_OPERATIONS_MAX = 4_096


class Known:
    """What the stack knows of one operation."""

    __slots__ = ("breaker", "full_time_s", "operation")

    def __init__(self, operation: Operation, breaker: Breaker | None) -> None:
        self.operation = operation
        self.breaker = breaker
        self.full_time_s = _NEARLY * (operation.timeout_s or _FULL_TIME_S)


class Wish(Struct):
    """What is sent, and by when (monotonic; None: a stream without end).

    `messages` is set where the client streams too; `received` takes a stream's reply metadata.
    """

    message: bytes
    metadata: Metadata
    deadline_s: float | None
    want_metadata: bool = False
    messages: "Outgoing | None" = None
    received: list[tuple[str, str | bytes]] | None = None


class Outgoing:
    """The client's messages, and whether one was asked for: from then on nothing can be repeated."""

    def __init__(self, messages: AsyncGenerator[bytes, None]) -> None:
        self._messages = messages
        self.taken = False

    async def each(self) -> AsyncGenerator[bytes, None]:
        """The messages; one reader at a time."""
        self.taken = True
        async with aclosing(self._messages) as messages:
            async for message in messages:
                yield message


class Attempts:
    """The endpoints of an upstream and the breakers of its operations."""

    def __init__(
        self,
        settings: UpstreamSettings,
        *,
        clock: Clock,
        random: Random,
        emit: Emit,
        connect: Callable[[Endpoint], Channel],
    ) -> None:
        self.name = settings.name
        self.spots = tuple(
            Spot(endpoint, connect(endpoint), rotation=random.uniform(0.0, endpoint.weight))
            for endpoint in settings.endpoints
        )
        self._now_s = clock.now_s
        self._random = random
        self._emit = emit
        self._choose = picker(
            settings.balance, weights=[spot.weight for spot in self.spots], random=random
        )
        # Until then some endpoint is avoided; later none is, which spares looking at each.
        self._avoid_until_s = 0.0
        self._known: dict[str, Known] = {}

    def known(self, operation: Operation) -> Known:
        """The state of this operation; it outlives versions that leave the operation as it is."""
        known = self._known.get(operation.name)
        if known is not None and known.operation is operation:
            return known
        return self._learn(operation, known)

    def pick(self, tried: Sequence[Spot]) -> Spot:
        """The endpoint of the next attempt: not one tried before or just refused, if another exists."""
        spots: Sequence[Spot] = self.spots
        if not spots:
            raise _refusal("NO_ENDPOINT")
        if not tried and self._avoid_until_s == 0.0:
            return self._choose(spots)
        now_s = self._now_s()
        if now_s >= self._avoid_until_s:
            self._avoid_until_s = 0.0
        there = [spot for spot in spots if spot.avoid_until_s <= now_s] or spots
        return self._choose(
            [spot for spot in there if spot not in tried]
            or [spot for spot in spots if spot not in tried]
            or there
        )

    def has_other(self, tried: Sequence[Spot]) -> bool:
        """True if an endpoint is left that was not tried."""
        return any(spot not in tried for spot in self.spots)

    def describe_breakers(self) -> dict[str, Any]:
        """Each operation's breaker by name."""
        now_s = self._now_s()
        return {
            name: known.breaker.describe(now_s)
            for name, known in self._known.items()
            if known.breaker is not None
        }

    def describe_endpoints(self) -> list[dict[str, Any]]:
        """The endpoints' figures of now."""
        now_s = self._now_s()
        return [
            {
                "address": spot.endpoint.address,
                "weight": spot.weight,
                "in_flight": spot.in_flight,
                "latency_ms": round(spot.latency_s * 1000, 3),
                "connect_failures": spot.connect_failures,
                "avoided": now_s < spot.avoid_until_s,
            }
            for spot in self.spots
        ]

    async def send(
        self,
        known: Known,
        spot: Spot,
        wish: Wish,
        deadline_s: float,
        history: History,
    ) -> UnaryReply:
        """One attempt at one endpoint: breaker, send, and what the outcome teaches."""
        operation, breaker = known.operation, known.breaker
        now_s = self._now_s()
        until_s = deadline_s - MARGIN_S
        if until_s <= now_s:
            raise no_time()
        if operation.retry is not None and operation.retry.per_try_s is not None:
            until_s = min(until_s, now_s + operation.retry.per_try_s)
        granted = 0
        if breaker is not None:
            granted = breaker.ask(now_s)
            if granted == REFUSED:
                raise _refusal("BREAKER_OPEN", breaker.wait_s(now_s))
        kind = "retry" if history.tries else "first"
        history.tries += 1
        spot.in_flight += 1
        code, origin = "CANCELLED", "local"
        try:
            reply = await spot.channel.unary(
                operation.path,
                wish.message,
                wish.metadata,
                until_s,
                want_metadata=wish.want_metadata,
            )
            code, origin = "OK", "service"
        except UpstreamError as error:
            code, origin = error.code.name, error.origin
            history.attempts += error.sent != "never"
            self._failed(known, spot, error, granted, now_s, until_s)
            raise
        finally:
            spot.in_flight -= 1
            ended_s = self._now_s()
            if code == "CANCELLED" and origin == "local" and breaker is not None:
                breaker.abandoned(granted)
            self._emit(AttemptEnded(self.name, operation.name, kind, code, origin, ended_s - now_s))
        spot.sample(ended_s - now_s, ended_s)
        if spot.connect_failures:
            spot.connected()
        if breaker is not None:
            breaker.ended(granted, "ok", ended_s, ended_s - now_s)
        return reply

    def _failed(
        self,
        known: Known,
        spot: Spot,
        error: UpstreamError,
        granted: int,
        began_s: float,
        until_s: float,
    ) -> None:
        """An attempt failed: tell the breaker and the balancer."""
        now_s = self._now_s()
        took_s = now_s - began_s
        verdict = judge(error, had_full_time=until_s - began_s >= known.full_time_s)
        if verdict == "not_connected":
            spot.not_connected(now_s, self._random)
            self._avoid_until_s = max(self._avoid_until_s, spot.avoid_until_s)
        elif verdict == "failed":
            spot.sample(max(took_s, slowest_s(self.spots)), now_s)
        elif error.origin == "service":
            spot.sample(took_s, now_s)
            spot.connected()
        if known.breaker is not None:
            known.breaker.ended(granted, verdict, now_s, took_s)

    async def stream(
        self, known: Known, spot: Spot, wish: Wish, history: History
    ) -> AsyncGenerator[bytes, None]:
        """One stream at one endpoint. The breaker hears of its first message, or of its end before one."""
        operation, breaker = known.operation, known.breaker
        now_s = self._now_s()
        granted = 0
        if breaker is not None:
            granted = breaker.ask(now_s)
            if granted == REFUSED:
                raise _refusal("BREAKER_OPEN", breaker.wait_s(now_s))
        kind = "retry" if history.tries else "first"
        history.tries += 1
        spot.in_flight += 1
        code, origin, told = "CANCELLED", "local", False
        parts = _open(spot.channel, operation.path, wish)
        try:
            async with aclosing(parts):
                async for part in parts:
                    if not told:
                        told = True
                        self._answered(known, spot, granted, now_s, wish)
                    yield part
            code, origin = "OK", "service"
            if not told:
                told = True
                self._answered(known, spot, granted, now_s, wish)
        except UpstreamError as error:
            code, origin = error.code.name, error.origin
            if not told:
                told = True
                until_s = wish.deadline_s or now_s + _USUAL_TIMEOUT_S
                self._failed(known, spot, error, granted, now_s, until_s)
            raise
        finally:
            spot.in_flight -= 1
            if not told and breaker is not None:
                breaker.abandoned(granted)
            self._emit(
                AttemptEnded(self.name, operation.name, kind, code, origin, self._now_s() - now_s)
            )

    def _answered(self, known: Known, spot: Spot, granted: int, began_s: float, wish: Wish) -> None:
        """A stream began well: its time to the first message is its latency.

        Where the client streams too, its pace is no fault of the service.
        """
        now_s = self._now_s()
        if wish.messages is not None:
            began_s = now_s
        spot.sample(now_s - began_s, now_s)
        spot.connected()
        if known.breaker is not None:
            known.breaker.ended(granted, "ok", now_s, now_s - began_s)

    def _learn(self, operation: Operation, before: Known | None) -> Known:
        """Note an operation that is new, or comes from another version of the configuration."""
        breaker = None
        if operation.breaker is not None:
            slow_s = (operation.timeout_s or _USUAL_TIMEOUT_S) / 2
            old = before.breaker if before is not None else None
            if old is not None and old.settings == operation.breaker:
                breaker = old
                breaker.slow_s = slow_s
            else:
                breaker = Breaker(
                    operation.breaker,
                    slow_s=slow_s,
                    random=self._random,
                    moved=self._tell_of(operation.name),
                )
        if before is None and len(self._known) >= _OPERATIONS_MAX:
            del self._known[next(iter(self._known))]
        known = self._known[operation.name] = Known(operation, breaker)
        return known

    def _tell_of(self, name: str) -> Callable[[Moved], None]:
        upstream, emit = self.name, self._emit

        def tell(moved: Moved) -> None:
            emit(
                BreakerMoved(
                    upstream,
                    name,
                    moved.before,
                    moved.after,
                    moved.calls,
                    moved.failed,
                    moved.why,
                )
            )

        return tell


def _open(channel: Channel, path: str, wish: Wish) -> AsyncGenerator[bytes, None]:
    if wish.messages is None:
        return channel.stream(
            path, wish.message, wish.metadata, wish.deadline_s, received=wish.received
        )
    return channel.bidi(
        path, wish.messages.each(), wish.metadata, wish.deadline_s, received=wish.received
    )


def no_time() -> UpstreamError:
    """Too little is left of the deadline to begin."""
    return UpstreamError("NO_TIME", code=Code.DEADLINE_EXCEEDED, origin="local", sent="never")


def _refusal(reason: str, retry_after_s: float | None = None) -> UpstreamError:
    return UpstreamError(
        reason, code=Code.UNAVAILABLE, origin="local", sent="never", retry_after_s=retry_after_s
    )
