"""The connections to one endpoint: one to four, a bounded queue before them, reconnecting, deadlines.

Deadlines share one timer, which looks at the open calls when the nearest that it saw is due: calls
that end in time cost a comparison.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from bff.core.events import Emit, Noted
from bff.core.ports import Random
from bff.core.status import Code
from bff.wire.http2.dialling import Dialler, fault_of_dial
from bff.wire.http2.headers import measured
from bff.wire.http2.link import Link, settle
from bff.wire.http2.reply import error_of
from bff.wire.http2.stream import Fault, Stream

__all__ = ["Pool"]

_WAITING_MAX = 1_000
# Reconnecting: first wait, growth, longest wait, and how far chance moves it.
_BACKOFF_S, _BACKOFF_GROWTH, _BACKOFF_MAX_S, _BACKOFF_JITTER = 0.1, 1.6, 10.0, 0.2
# A connection that lived so long was a good one.
_GOOD_S = 10.0
# How long a call waits for a peer that was there to be connected again: so much of its time, at most.
_PATIENCE_S, _PATIENCE_SHARE = 1.0, 0.25
# The timer runs no oftener than this; a lone call still ends on time.
_SWEEP_S = 0.004
_LOOK_S = 1.0
_NEVER_S = float("inf")

_TIMEOUT = Fault(reason="TIMEOUT", code=Code.DEADLINE_EXCEEDED, detail="the deadline passed")
_TIMEOUT_UNSENT = Fault(
    reason="TIMEOUT", code=Code.DEADLINE_EXCEEDED, sent="never",
    detail="the deadline passed before the call could leave",
)  # fmt: skip
_CLOSED = "the channel is closed"
_CLOSED_UNSENT = Fault(
    reason="UPSTREAM_UNAVAILABLE", code=Code.UNAVAILABLE, sent="never", detail=_CLOSED
)
_LIST_TOO_LARGE = Fault(
    reason="METADATA_TOO_LARGE", code=Code.RESOURCE_EXHAUSTED, sent="never", origin="local",
    detail="request headers over the peer's bound",
)  # fmt: skip
_POOL_EXHAUSTED = Fault(
    reason="POOL_EXHAUSTED", code=Code.UNAVAILABLE, sent="never", origin="local",
    detail="too many calls wait for a stream",
)  # fmt: skip


class Pool:
    """Takes calls to connections. Made inside the running event loop; it connects at the first call."""

    def __init__(
        self,
        address: str,
        *,
        dialler: Dialler,
        connections: int,
        now_s: Callable[[], float],
        random: Random,
        emit: Emit,
    ) -> None:
        self._address = address
        self._dialler = dialler
        self._connections = connections
        self._now_s = now_s
        self._random = random
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._links: list[Link] = []
        self._waiting: OrderedDict[Stream, None] = OrderedDict()
        self._dialling: asyncio.Task[None] | None = None
        self._failures = 0
        self._is_forgiven = False
        self._was_there = False
        self._redial_at_s = 0.0
        self._last_fault = _CLOSED_UNSENT
        self._redial: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_at_s = _NEVER_S
        self._swept_s = 0.0
        self.is_closed = False

    @property
    def open_calls(self) -> int:
        """Calls that wait or run, given-up ones included while they hold a stream."""
        return len(self._waiting) + sum(len(link.connection.streams) for link in self._links)

    @property
    def connections(self) -> int:
        """Connections that are there, those that drain included."""
        return len(self._links)

    def submit(self, stream: Stream, now_s: float) -> None:
        """Send a call, or queue it. Raises UpstreamError if it can do neither."""
        if self._waiting or not self._open(stream, now_s):
            self._wait(stream)
        look_at_s = now_s + _LOOK_S
        # No min(): this runs for each call.
        if stream.deadline_s < look_at_s:  # noqa: PLR1730 - as above
            look_at_s = stream.deadline_s
        if look_at_s < self._sweep_at_s:
            self._arm(look_at_s, now_s)

    def warm(self) -> None:
        """Connect before the first call; what fails is tried again as for calls."""
        self._dial_if_short()

    def abandon(self, stream: Stream) -> None:
        """The caller of a call that has not ended has left."""
        if stream.via is not None:
            stream.via.give_up(stream, self._now_s(), overdue=False)
        else:
            self._waiting.pop(stream, None)
            stream.is_ended = True

    async def close(self) -> None:
        """End all calls with UNAVAILABLE, and the connections with GOAWAY."""
        if self.is_closed:
            return
        self.is_closed = True
        for timer in (self._timer, self._redial):
            if timer is not None:
                timer.cancel()
        self._fail_waiting(_CLOSED_UNSENT)
        dialling = self._dialling
        if dialling is not None:
            dialling.cancel()
            await asyncio.wait([dialling])
        links = tuple(self._links)
        for link in links:
            link.end(_CLOSED)
        if links:
            await asyncio.wait([link.gone for link in links])

    def _open(self, stream: Stream, now_s: float) -> bool:
        """Send the call on the first connection that takes it; False if none does."""
        for link in self._links:
            sender = link.sender
            if (
                len(link.streams) < link.connection.limit
                and sender.waiting_bytes <= sender.room_bytes
            ):
                most = sender.peer.header_list_bytes
                if stream.list_bytes > most and measured(stream.block) > most:
                    stream.fault = _LIST_TOO_LARGE
                    stream.is_ended = True
                    settle(stream)
                else:
                    link.open(stream, now_s)
                return True
        return False

    def _wait(self, stream: Stream) -> None:
        """Queue a call, and see to a connection for it."""
        if self._redial is not None and not self._has_ready() and not self._may_wait(stream):
            raise error_of(self._last_fault)
        if len(self._waiting) >= _WAITING_MAX:
            raise error_of(_POOL_EXHAUSTED)
        self._waiting[stream] = None
        self._dial_if_short()

    def _may_wait(self, stream: Stream) -> bool:
        """Whether a call waits for the next attempt to connect, or had better go elsewhere.

        It waits only for a peer that was there, and only a little: a quarter of its time.
        """
        if not self._was_there:
            return False
        now_s = self._now_s()
        wait_s = self._redial_at_s - now_s
        return wait_s <= min(_PATIENCE_S, _PATIENCE_SHARE * (stream.deadline_s - now_s))

    def _fail_waiting(self, fault: Fault) -> None:
        waiting, self._waiting = self._waiting, OrderedDict()
        for stream in waiting:
            stream.fault = fault
            stream.is_ended = True
            settle(stream)

    # What links tell

    def freed(self) -> None:
        """Send calls that wait, in order."""
        waiting = self._waiting
        if not waiting:
            return
        now_s = self._now_s()
        while waiting:
            stream = next(iter(waiting))
            if not self._open(stream, now_s):
                self._dial_if_short()
                return
            del waiting[stream]

    def moved(self, link: Link) -> None:
        """A connection drains or is closed: see to the next one."""
        state = link.connection.state
        if link not in self._links or state == "ready":
            return
        if state == "closed" and link.gone.done():
            self._links.remove(link)
        if not link.is_counted_out:
            link.is_counted_out = True
            self._lost(link)

    def _lost(self, link: Link) -> None:
        """A connection takes no more calls.

        Its loss is forgiven once: services restart, and a call that is safe to repeat shall find
        the next connection. One that then ends without having answered a call has to wait.
        """
        connection = link.connection
        if connection.too_many_pings:
            self._dialler.ping_less()
        if self.is_closed:
            return
        if connection.finished_calls or self._now_s() - link.made_s >= _GOOD_S:
            self._failures = 0
            self._is_forgiven = False
        if connection.is_by_choice:
            return
        why = connection.why_closed or "GOAWAY"
        self._emit(Noted("upstream_connection_ended", {"address": self._address, "why": why}))
        if self._has_ready():
            return
        if self._is_forgiven:
            self._back_off(_ended(why), was_there=True)
            return
        self._is_forgiven = True
        if self._waiting or connection.streams or not connection.had_goaway:
            self._dial_if_short()

    # Connecting

    def _has_ready(self) -> bool:
        return any(link.connection.state == "ready" for link in self._links)

    def _dial_if_short(self) -> None:
        """Connect if none does, and more connections may be there."""
        if self._dialling is not None or self._redial is not None or self.is_closed:
            return
        ready = [link for link in self._links if link.connection.state == "ready"]
        if len(ready) >= self._connections:
            return
        # A connection that is only slow to write is no reason for another.
        if all(len(link.connection.streams) >= link.connection.limit for link in ready):
            self._begin_dial(None)

    def _begin_dial(self, retiring: Link | None) -> None:
        self._dialling = self._loop.create_task(self._dial(retiring))

    async def _dial(self, retiring: Link | None) -> None:
        fault: Exception | None = None
        try:
            link = await self._dialler.dial(self)
        except (OSError, ValueError, EOFError) as error:
            fault = error
        finally:
            self._dialling = None
        if fault is not None:
            self._not_connected(fault, retiring)
        else:
            self._connected(link, retiring)

    def _connected(self, link: Link, retiring: Link | None) -> None:
        self._links.insert(0 if retiring is not None else len(self._links), link)
        if retiring is not None:
            retiring.retire()
        now_s = self._now_s()
        if link.connection.vigil.due_s < self._sweep_at_s:
            self._arm(link.connection.vigil.due_s, now_s)
        self.freed()
        # It may have begun to drain, or ended, before anyone could hear of it.
        self.moved(link)

    def _not_connected(self, error: Exception, retiring: Link | None) -> None:
        fault = fault_of_dial(error)
        self._emit(Noted("upstream_not_connected", {"address": self._address, "why": fault.detail}))
        self._back_off(fault, was_there=retiring is not None)

    def _back_off(self, fault: Fault, *, was_there: bool) -> None:
        """Wait before the next attempt; calls that have no other connection do not, if nobody was there."""
        # The exponent is bounded: an endpoint may be away for weeks.
        wait_s = min(_BACKOFF_MAX_S, _BACKOFF_S * _BACKOFF_GROWTH ** min(self._failures, 30))
        wait_s *= self._random.uniform(1 - _BACKOFF_JITTER, 1 + _BACKOFF_JITTER)
        self._failures += 1
        self._last_fault = fault
        self._was_there = was_there
        if self._redial is None and self._dialling is None and not self.is_closed:
            self._redial_at_s = self._now_s() + wait_s
            self._redial = self._loop.call_later(wait_s, self._dial_again)
        if not self._has_ready() and (not was_there or wait_s > _PATIENCE_S):
            self._fail_waiting(fault)

    def _dial_again(self) -> None:
        self._redial = None
        if not self._has_ready() or self._waiting:
            self._dial_if_short()

    # Time

    def _arm(self, at_s: float, now_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at_s = max(at_s, self._swept_s + _SWEEP_S)
        self._sweep_at_s = at_s
        self._timer = self._loop.call_later(max(0.0005, at_s - now_s), self._sweep)

    def _sweep(self) -> None:
        """End what is overdue, look after the connections, and set the timer anew."""
        now_s = self._now_s()
        self._timer = None
        self._swept_s = now_s
        self._sweep_at_s = _NEVER_S
        due_s = self._expire_waiting(now_s)
        for link in tuple(self._links):
            due_s = min(due_s, self._look_after(link, now_s))
        if due_s < self._sweep_at_s and not self.is_closed:
            self._arm(due_s, now_s)

    def _expire_waiting(self, now_s: float) -> float:
        late = [stream for stream in self._waiting if stream.deadline_s <= now_s]
        for stream in late:
            del self._waiting[stream]
            stream.fault = _TIMEOUT_UNSENT
            stream.is_ended = True
            settle(stream)
        return min((stream.deadline_s for stream in self._waiting), default=_NEVER_S)

    def _look_after(self, link: Link, now_s: float) -> float:
        streams = link.connection.streams
        for stream in [one for one in streams.values() if one.deadline_s <= now_s]:
            stream.fault = _TIMEOUT
            link.give_up(stream, now_s, overdue=True)
            settle(stream)
        link.tick(now_s)
        connection = link.connection
        if connection.state == "closed":
            return _NEVER_S
        due_s = min((stream.deadline_s for stream in streams.values()), default=_NEVER_S)
        if connection.state == "ready":
            due_s = min(due_s, self._renew(link, now_s))
        return min(due_s, connection.vigil.due_s)

    def _renew(self, link: Link, now_s: float) -> float:
        """Connect the successor of a connection that is old; returns when to look again."""
        if now_s < link.renew_at_s and not link.connection.is_worn:
            return link.renew_at_s
        if self._dialling is None and self._redial is None:
            self._begin_dial(link)
        return now_s + _LOOK_S


def _ended(why: str) -> Fault:
    """What waiting calls end with when their connection is gone; nothing of them was sent."""
    return Fault(
        reason="UPSTREAM_UNAVAILABLE",
        code=Code.UNAVAILABLE,
        sent="never",
        detail=f"the connection ended: {why}",
    )
