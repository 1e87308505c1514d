"""Slots for calls in flight, so that a slow service holds no more of us than its share.

A bounded queue waits for slots, shortly: who would wait longer is better told at once.
"""

import asyncio

__all__ = ["Bulkhead"]


class Bulkhead:
    """`limit` slots (>= 1) and as many waiters. `try_enter` first, then `enter`; always `leave`.

    A slot is handed over, never put down for anyone to grab, so that waiters are served in order
    and a newcomer cannot overtake them.
    """

    __slots__ = ("_waiters", "in_flight", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        # A dict for its order and its cheap removal; the values are not used.
        self._waiters: dict[asyncio.Future[bool], None] = {}

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return len(self._waiters)

    def try_enter(self) -> bool:
        """Take a slot if one is free."""
        if self.in_flight < self.limit:
            self.in_flight += 1
            return True
        return False

    async def enter(self, wait_s: float) -> bool:
        """Wait at most `wait_s` for a slot; False if the queue is full or the time is over."""
        if self.try_enter():
            return True
        if len(self._waiters) >= self.limit:
            return False
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters[waiter] = None
        timer = loop.call_later(wait_s, self._give_up, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # The slot may have been handed over in the very turn in which the caller left.
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.leave()
            raise
        finally:
            timer.cancel()
            self._waiters.pop(waiter, None)

    def leave(self) -> None:
        """Give a slot back, to the first waiter if there is one."""
        while self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if not waiter.done():
                waiter.set_result(True)
                return
        self.in_flight -= 1

    def _give_up(self, waiter: asyncio.Future[bool]) -> None:
        if not waiter.done():
            waiter.set_result(False)
