"""A connection on a transport: one write per turn of the loop, results to those who wait."""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from bff.wire.http2.connection import Connection
from bff.wire.http2.stream import Stream

__all__ = ["Hub", "Link", "NoH2Error", "settle"]

# After this a closed transport that the peer does not read from is cut off.
_CLOSE_S = 0.25
_WRITE_HIGH_BYTES = 1 << 20


class NoH2Error(ConnectionError):
    """The peer chose no `h2` by ALPN (RFC 9113 3.2)."""


class Hub(Protocol):
    """What a link tells its pool."""

    def freed(self) -> None:
        """A slot or room to write has become free."""
        ...

    def moved(self, link: "Link") -> None:
        """The state of its connection has changed."""
        ...


def settle(stream: Stream) -> None:
    """Wake whoever waits for this call."""
    if not stream.owner.done():
        stream.owner.set_result(stream.reply)


class Link(asyncio.Protocol):
    """The asyncio protocol around one `Connection`.

    `ready` is done when the peer's SETTINGS came, or cannot come any more; `gone` when the transport is closed.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        hub: Hub,
        now_s: Callable[[], float],
        renew_at_s: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.connection = connection
        self.transport: asyncio.Transport
        self.ready: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.made_s = now_s()
        self.renew_at_s = renew_at_s
        self.lost_by: Exception | None = None
        # The pool's note: it has reacted to the end of this connection.
        self.is_counted_out = False
        self._hub = hub
        self._now_s = now_s
        self._call_soon = loop.call_soon
        self._call_later = loop.call_later
        self._is_flushing = False
        # How many calls the last read ended: so many may come again in this turn.
        self._batch = 0
        self._seen = connection.state
        # The connection's own, which the pool asks for each call.
        self.streams = connection.streams
        self.sender = connection.sender
        self._open = connection.open
        self._receive = connection.receive

    def open(self, stream: Stream, now_s: float) -> None:
        """Send a call; only while the connection has a stream left and its sender is not full."""
        stream.via = self
        self._open(stream, now_s)
        if not self._is_flushing:
            if self._batch <= 1 and len(self.streams) == 1:
                # A lone caller: a turn of the loop more would cost a fifth of its call.
                self._flush()
                return
            self._is_flushing = True
            self._call_soon(self._flush)

    def give_up(self, stream: Stream, now_s: float, *, overdue: bool) -> None:
        """Reset a call whose caller has left, or whose deadline has passed."""
        self.connection.cancel(stream, now_s, overdue=overdue)
        self.after()
        self._hub.freed()

    def tick(self, now_s: float) -> None:
        """See to pings and limits of time."""
        self._settle(self.connection.tick(now_s))
        self.after()

    def end(self, why: str) -> None:
        """Close with GOAWAY; calls end with UNAVAILABLE."""
        self._settle(self.connection.close(why))
        self.after()

    def retire(self) -> None:
        """Take no new calls; close when the last one has ended."""
        self.connection.drain(self._now_s())
        self.after()

    def after(self) -> None:
        """Write what there is, and tell of a new state; to be called after any use of the connection."""
        if self.connection.state != self._seen:
            self._change()
        if not self._is_flushing and self.sender.has_output:
            self._is_flushing = True
            self._call_soon(self._flush)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface at once; over TLS only to a peer that chose `h2`."""
        # A cast: uvloop's transports are no subclass of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        secured = transport.get_extra_info("ssl_object")
        if secured is None or secured.selected_alpn_protocol() == "h2":
            self._flush()
            return
        self.lost_by = NoH2Error("the peer did not choose h2")
        self.connection.eof(str(self.lost_by))
        self.transport.abort()
        self._change()

    def data_received(self, data: bytes) -> None:
        """Runs for each read: ended calls are woken, what they make the peer wait for leaves with them."""
        ended = self._receive(data, self._now_s())
        self._batch = len(ended)
        for stream in ended:
            owner = stream.owner
            if not owner.done():
                owner.set_result(stream.reply)
        self.after()
        if ended:
            self._hub.freed()

    def pause_writing(self) -> None:
        """The socket is full: bodies and new calls wait."""
        self.sender.is_writable = False

    def resume_writing(self) -> None:
        """The socket has room again."""
        self.sender.is_writable = True
        self.after()
        self._hub.freed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes."""
        self.lost_by = self.lost_by or exc
        self._settle(self.connection.eof("closed by the peer" if exc is None else str(exc)))
        if not self.gone.done():
            self.gone.set_result(None)
        self._change()

    def _flush(self) -> None:
        self._is_flushing = False
        if self.transport.is_closing():
            return
        data = self.connection.take_output()
        if data:
            self.transport.write(data)
        if self.connection.state == "closed":
            self.transport.close()
            self._call_later(_CLOSE_S, self.transport.abort)
        elif self.sender.has_output:
            # Bodies beyond what may wait: the next part follows when this one is out.
            self.after()

    def _settle(self, ended: list[Stream]) -> None:
        for stream in ended:
            settle(stream)

    def _change(self) -> None:
        self._seen = self.connection.state
        if not self.ready.done() and self._seen != "connecting":
            self.ready.set_result(None)
        self._hub.moved(self)
