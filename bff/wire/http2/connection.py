"""One client connection of HTTP/2 as a state machine: bytes in, ended streams and bytes out. No I/O.

The rules of RFC 9113 for the connection itself are here, those for its streams in `replies.py`; a
broken one ends a stream or the connection. Time is an argument, in monotonic seconds.
"""

from bff.core.status import Code
from bff.wire.http2.frames import (
    ACK,
    DEFAULT_WINDOW_BYTES,
    GOAWAY,
    MAX_WINDOW_BYTES,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    ConnectionFault,
    ErrorCode,
    goaway_frame,
    ping_frame,
    read_settings,
    settings_frame,
    window_update_frame,
)
from bff.wire.http2.headers import LIST_MAX_BYTES, BlockDecoder
from bff.wire.http2.reading import FRAME_MAX_BYTES, Reader
from bff.wire.http2.replies import CONNECTION_WINDOW_BYTES, Replies, State
from bff.wire.http2.stream import Fault, Stream
from bff.wire.http2.vigil import Vigil

__all__ = ["Connection", "State"]

_STREAMS_MAX = 1_000
# From here on the connection wants a successor; it leaves room for those that open meanwhile.
_LAST_STREAM_ID = 2**30
# Cancels that are told to the peer in one second; servers count rapid resets as an attack.
_CANCELS_PER_S = 200

_GOAWAY_REFUSED = Fault(
    reason="UPSTREAM_UNAVAILABLE", code=Code.UNAVAILABLE, sent="refused",
    detail="above the last stream of GOAWAY",
)  # fmt: skip


class Connection(Replies):
    """The machine. Feed it with `receive`, `eof` and `tick`; write what `take_output` gives.

    A call may be opened while `len(streams) < limit`. Once `is_worn`,
    its stream numbers run out. `is_by_choice`: it is we who wanted its end.
    """

    def __init__(
        self,
        *,
        now_s: float,
        decoder: BlockDecoder,
        table_bytes: int,
        reply_max_bytes: int,
        vigil: Vigil,
    ) -> None:
        super().__init__(now_s=now_s, decoder=decoder, reply_max_bytes=reply_max_bytes, vigil=vigil)
        self.why_closed = ""
        self.limit = 0
        self._send = self.sender.open
        self.too_many_pings = False
        self.had_goaway = False
        self.is_by_choice = False
        self.is_worn = False
        self._goaway_last = 2**31 - 1
        self._cancels, self._cancels_since_s = 0, now_s
        self._reader = Reader(
            self,
            {
                PRIORITY: self._on_priority,
                RST_STREAM: self._on_rst,
                SETTINGS: self._on_settings,
                PING: self._on_ping,
                GOAWAY: self._on_goaway,
                WINDOW_UPDATE: self._on_window_update,
            },
        )
        vigil.began(now_s)
        pairs = (
            (1, table_bytes),
            (2, 0),
            (4, min(self._stream_window, MAX_WINDOW_BYTES)),
            (5, FRAME_MAX_BYTES),
            (6, LIST_MAX_BYTES),
        )
        grown = CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES
        self.sender.urgent.append(PREFACE + settings_frame(*pairs) + window_update_frame(0, grown))

    # Calls

    def open(self, stream: Stream, now_s: float) -> None:
        """Send a call. Only while `len(streams) < limit`."""
        stream_id = self._next_id
        self._next_id = stream_id + 2
        stream.stream_id = stream_id
        streams = self.streams
        if not streams:
            self.vigil.busy_since_s = now_s
        streams[stream_id] = stream
        self._send(stream)
        if stream_id >= _LAST_STREAM_ID:
            self.is_worn = True
            if stream_id >= 2**31 - 3:
                self.drain(now_s)

    def cancel(self, stream: Stream, now_s: float, *, overdue: bool = False) -> None:
        """Give an open call up: by its caller, or because its deadline has passed.

        Beyond 200 cancels a second the stream runs on unheard; a deadline always resets it.
        """
        if stream.is_ended:
            return
        if not overdue:
            if now_s - self._cancels_since_s >= 1.0:
                self._cancels, self._cancels_since_s = 0, now_s
            self._cancels += 1
            if self._cancels > _CANCELS_PER_S:
                stream.is_unheard = True
                return
        self._now_s = now_s
        self._reset(stream, ErrorCode.CANCEL)
        self._ended.clear()

    def drain(self, now_s: float) -> None:
        """Take no new calls; close when the last one has ended, or 30 s from now."""
        if self.state in {"draining", "closed"}:
            return
        self.is_by_choice = not self.had_goaway
        self.state = "draining"
        self.limit = 0
        self.vigil.drains(now_s)
        self._close_if_drained()

    def close(self, why: str, code: ErrorCode = ErrorCode.NO_ERROR) -> list[Stream]:
        """End the connection with GOAWAY, and all streams with it."""
        if self.state != "closed":
            self.sender.urgent.append(goaway_frame(code))
        return self._end_all(why)

    def eof(self, why: str) -> list[Stream]:
        """The transport is gone."""
        return self._end_all(why)

    def tick(self, now_s: float) -> list[Stream]:
        """See to pings and limits of time; `vigil.due_s` says when next. Returns streams that ended."""
        if self.state == "closed":
            return []
        match self.vigil.look(now_s, is_busy=bool(self.streams)):
            case "ping":
                self.sender.urgent.append(ping_frame(self.vigil.payload))
            case "dead":
                return self.close("no answer to a PING")
            case "settings":
                return self.close("SETTINGS without ACK", ErrorCode.SETTINGS_TIMEOUT)
            case "idle" | "drained":
                self.is_by_choice = not self.had_goaway
                return self.close("its time was over")
        return []

    # Bytes

    def receive(self, data: bytes, now_s: float) -> list[Stream]:
        """Take what came from the peer, cut anywhere. Returns the streams that ended, faulted or not."""
        if self.state == "closed":
            return []
        self._now_s = self.vigil.received_s = now_s
        ended = self._ended = []
        try:
            self._reader.feed(data)
            if self._credit <= CONNECTION_WINDOW_BYTES // 2:
                grown = CONNECTION_WINDOW_BYTES - self._credit
                self.sender.urgent.append(window_update_frame(0, grown))
                self._credit = CONNECTION_WINDOW_BYTES
        except ConnectionFault as fault:
            ended += self.close(str(fault), fault.code)
        self._ended = []
        return ended

    def take_output(self) -> bytes:
        """What is to be written now, ACKs, resets and window updates first. Whoever takes it writes it."""
        self.sender.flushed_id = self._next_id - 2
        return self.sender.take()

    # Frames of the connection

    def _on_settings(self, flags: int, _stream_id: int, payload: bytes) -> None:
        self._count_noise()
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ACK with a payload")
            self.vigil.settings_acked()
            return
        settings = read_settings(payload, self.sender.peer)
        self.sender.adopt(settings, self.streams.values())
        self.sender.urgent.append(SETTINGS_ACK)
        if self.state == "connecting":
            self.state = "ready"
            self._reader.is_greeted = True
        if self.state == "ready":
            self.limit = min(settings.max_streams, _STREAMS_MAX)

    def _on_ping(self, flags: int, _stream_id: int, payload: bytes) -> None:
        self._count_noise()
        if flags & ACK:
            self.vigil.pong(payload)
        else:
            self.sender.urgent.append(ping_frame(payload, ack=True))

    def _on_goaway(self, _flags: int, _stream_id: int, payload: bytes) -> None:
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a wrong length")
        self._count_noise()
        self.had_goaway = True
        last = int.from_bytes(payload[:4]) & 0x7FFFFFFF
        self._goaway_last = min(self._goaway_last, last)
        if payload[8:] == b"too_many_pings":
            self.too_many_pings = True
        for stream in [one for id_, one in self.streams.items() if id_ > self._goaway_last]:
            stream.fault = _GOAWAY_REFUSED
            self._remove(stream)
        self.drain(self._now_s)
        self._close_if_drained()

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        grown = int.from_bytes(payload) & 0x7FFFFFFF
        if stream_id == 0:
            self.sender.grow(grown)
            return
        self._check_known(stream_id)
        stream = self.streams.get(stream_id)
        if stream is None:
            # RFC 9113 6.9: no error, however late.
            self._count_noise()
        elif grown == 0:
            self._break(stream, "WINDOW_UPDATE of 0")
        elif not self.sender.grow_stream(stream, grown):
            self._break(stream, "a window above 2^31-1", ErrorCode.FLOW_CONTROL_ERROR)

    def _on_priority(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        self._count_noise()

    # Ends

    def _close_if_drained(self) -> None:
        if self.state == "draining" and not self.streams:
            self.close("drained")

    def _end_all(self, why: str) -> list[Stream]:
        self.state = "closed"
        self.why_closed = self.why_closed or why
        self.limit = 0
        ended = list(self.streams.values())
        self.streams.clear()
        lost = _lost(why, written=True)
        unwritten = _lost(why, written=False)
        for stream in ended:
            stream.fault = lost if stream.stream_id <= self.sender.flushed_id else unwritten
            stream.is_ended = True
            self.sender.forget(stream)
        self._reader.is_stopped = True
        return ended


def _lost(why: str, *, written: bool) -> Fault:
    return Fault(
        reason="UPSTREAM_UNAVAILABLE",
        code=Code.UNAVAILABLE,
        sent="maybe" if written else "never",
        detail=f"the connection ended: {why}",
    )
