"""One client connection of HTTP/2 as a state machine: bytes in, ended streams and bytes out. No I/O.

Every rule of RFC 9113 that a client must hold a server to is here; a broken one ends a stream or the
connection. Time is an argument, in monotonic seconds.
"""

from typing import Literal

from bff.core.status import Code
from bff.wire.http2.frames import (
    ACK,
    DATA,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_WINDOW_BYTES,
    MESSAGE_HEAD_BYTES,
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
    read_head,
    read_message_head,
    read_settings,
    rst_frame,
    settings_frame,
    window_update_frame,
)
from bff.wire.http2.headers import LIST_MAX_BYTES, Block, BlockDecoder
from bff.wire.http2.reading import FRAME_MAX_BYTES, Reader
from bff.wire.http2.sending import Sender
from bff.wire.http2.stream import Fault, Stream
from bff.wire.http2.vigil import Vigil

__all__ = ["Connection", "State"]

State = Literal["connecting", "ready", "draining", "closed"]

_CONNECTION_WINDOW_BYTES = 16 << 20
# What a stream's window has beyond the longest reply: prefix, padding, a little that is dropped.
_WINDOW_SPARE_BYTES = 64 * 1024
_STREAMS_MAX = 1_000
# The flags of a block that is whole and ends its stream.
_END_BOTH = END_HEADERS | END_STREAM
# From here on the connection wants a successor; it leaves room for those that open meanwhile.
_LAST_STREAM_ID = 2**30
_INFORMATIONAL_MAX = 4
# Frames of the peer that move nothing, and the time over which they are counted.
_NOISE_MAX, _NOISE_S = 1_000, 10.0
# Late frames of closed streams are ignored for so long, or for so many younger streams.
_LATE_S, _LATE_STREAMS = 2.0, 1_000
_RESETS_KEPT = 4_096
# Cancels that are told to the peer in one second; servers count rapid resets as an attack.
_CANCELS_PER_S = 200

# RST_STREAM of the peer (gRPC over HTTP/2, "Errors"); any other code is INTERNAL.
_RESETS: dict[int, Fault] = {
    ErrorCode.REFUSED_STREAM: Fault(
        reason="UPSTREAM_UNAVAILABLE", code=Code.UNAVAILABLE, sent="refused",
        detail="the peer refused the stream",
    ),
    ErrorCode.CANCEL: Fault(
        reason="CANCELLED", code=Code.CANCELLED, detail="the peer cancelled the stream"
    ),
    ErrorCode.ENHANCE_YOUR_CALM: Fault(
        reason="RESOURCE_EXHAUSTED", code=Code.RESOURCE_EXHAUSTED,
        detail="the peer reset the stream: ENHANCE_YOUR_CALM",
    ),
    ErrorCode.INADEQUATE_SECURITY: Fault(
        reason="PERMISSION_DENIED", code=Code.PERMISSION_DENIED,
        detail="the peer reset the stream: INADEQUATE_SECURITY",
    ),
}  # fmt: skip
_GOAWAY_REFUSED = Fault(
    reason="UPSTREAM_UNAVAILABLE", code=Code.UNAVAILABLE, sent="refused",
    detail="above the last stream of GOAWAY",
)  # fmt: skip
_LIST_TOO_LARGE = Fault(
    reason="REPLY_TOO_LARGE", code=Code.RESOURCE_EXHAUSTED, detail="header list over its bounds"
)
_MESSAGE_TOO_LARGE = Fault(
    reason="REPLY_TOO_LARGE", code=Code.RESOURCE_EXHAUSTED, detail="message over its limit"
)


class Connection:
    """The machine. Feed it with `receive`, `eof` and `tick`; write what `take_output` gives.

    `streams` are the open ones; a call may be opened while `len(streams) < limit`. Once `is_worn`,
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
        self.state: State = "connecting"
        self.why_closed = ""
        self.streams: dict[int, Stream] = {}
        self.limit = 0
        self.vigil = vigil
        self.sender = Sender()
        self._send = self.sender.open
        self.too_many_pings = False
        self.had_goaway = False
        self.is_by_choice = False
        self.is_worn = False
        self.finished_calls = 0
        self._decoder = decoder
        self._decode = decoder.decode
        self._reply_max_bytes = reply_max_bytes
        # The longest message that one frame may hold.
        self._whole_max_bytes = min(reply_max_bytes, FRAME_MAX_BYTES - 5)
        self._stream_window = reply_max_bytes + _WINDOW_SPARE_BYTES
        self._credit = _CONNECTION_WINDOW_BYTES
        self._next_id = 1
        self._goaway_last = 2**31 - 1
        self._ended: list[Stream] = []
        self._reset_at_s: dict[int, float] = {}
        self._noise, self._noise_since_s = 0, now_s
        self._cancels, self._cancels_since_s = 0, now_s
        self._now_s = now_s
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
        grown = _CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES
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
            if self._credit <= _CONNECTION_WINDOW_BYTES // 2:
                grown = _CONNECTION_WINDOW_BYTES - self._credit
                self.sender.urgent.append(window_update_frame(0, grown))
                self._credit = _CONNECTION_WINDOW_BYTES
        except ConnectionFault as fault:
            ended += self.close(str(fault), fault.code)
        self._ended = []
        return ended

    def take_output(self) -> bytes:
        """What is to be written now, ACKs, resets and window updates first. Whoever takes it writes it."""
        self.sender.flushed_id = self._next_id - 2
        return self.sender.take()

    # Frames of a reply; the reader calls these

    def take_block(self, stream_id: int, ends: int, raw: bytes) -> None:
        """A header block; those of closed streams are decoded too."""
        self.vigil.pings = 0
        block = self._decode(raw)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_late(stream_id)
        elif block.is_too_large:
            self._fail(stream, ErrorCode.CANCEL, _LIST_TOO_LARGE)
        elif block.flaw:
            self._break(stream, block.flaw)
        elif stream.headers is not None:
            if not ends:
                self._break(stream, "HEADERS in the midst of a reply")
            elif block.has_pseudo:
                self._break(stream, "a pseudo field in trailers")
            else:
                stream.trailers = block
                self._finish(stream)
        else:
            self._begin_reply(stream, block, ends)

    def _begin_reply(self, stream: Stream, block: Block, ends: int) -> None:
        if not block.status:
            self._break(stream, "a reply without :status")
        elif block.status < 200:
            stream.informational += 1
            if ends or block.status == 101 or stream.informational > _INFORMATIONAL_MAX:
                self._break(stream, "an interim reply out of place")
        else:
            stream.headers = block
            if ends:
                stream.trailers = block
                self._finish(stream)

    def take_reply(self, data: bytes, start: int, end: int, stream_id: int) -> int:
        """As `Taker.take_reply`: OK with one message, uncompressed, both blocks seen before.

        Nearly every reply is that, and comes in one piece; what differs in anything goes the long way.
        """
        memo = self._decoder.memo
        stream = self.streams.get(stream_id)
        # A body still under way, or a reply that has begun, is for the long way.
        if memo is None or stream is None or stream.headers is not None or stream.rest is not None:
            return 0
        known = memo.fresh
        headers = known.get(data[start:end])
        size = len(data)
        if headers is None or not headers.is_plain_start or size - end < MESSAGE_HEAD_BYTES + 9:
            return 0
        high, low, kind, flags, owner_id, packed, length = read_message_head(data, end)
        body_size = length + 5
        start = end + MESSAGE_HEAD_BYTES
        end = start + length
        if (
            kind != DATA
            or flags
            or packed
            or owner_id != stream_id
            or body_size != high << 8 | low
            or length > self._whole_max_bytes
            or body_size > self._credit
            or size - end < 9
        ):
            return 0
        high, low, kind, flags, owner_id = read_head(data, end)
        trailers_at = end + 9
        trailers_end: int = trailers_at + (high << 8 | low)
        if kind != HEADERS or flags != _END_BOTH or owner_id != stream_id or trailers_end > size:
            return 0
        trailers = known.get(data[trailers_at:trailers_end])
        if trailers is None or not trailers.is_plain_end:
            return 0
        stream.headers = headers
        stream.trailers = trailers
        stream.reply = data[start:end]
        stream.is_ended = True
        del self.streams[stream_id]
        self._ended.append(stream)
        self._credit -= body_size
        self.vigil.pings = 0
        self._noise = 0
        self.finished_calls += 1
        if self.state == "draining":
            self._close_if_drained()
        return trailers_end

    def take_data(self, stream_id: int, ends: int, part: bytes, size: int) -> None:
        """DATA; it counts for the connection's window whatever becomes of it."""
        self.vigil.pings = 0
        self._credit -= size
        if self._credit < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the window")
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_late(stream_id)
            return
        if not part and not ends:
            self._count_noise()
        stream.received_bytes += size
        if stream.received_bytes > self._stream_window:
            self._break(stream, "DATA beyond the stream's window", ErrorCode.FLOW_CONTROL_ERROR)
            return
        headers = stream.headers
        if headers is None:
            self._break(stream, "DATA before HEADERS")
            return
        _collect(stream, part)
        if not stream.expected_bytes and headers.is_grpc and not self._fits(stream):
            return
        if ends:
            self._finish(stream)

    def _fits(self, stream: Stream) -> bool:
        body = stream.body
        if len(body) < 5:
            return True
        stream.expected_bytes = 5 + int.from_bytes(body[1:5])
        # A proxy's error page is no message, whatever its type says.
        headers = stream.headers
        if stream.expected_bytes - 5 <= self._reply_max_bytes or (
            headers is not None and headers.status != 200
        ):
            return True
        self._fail(stream, ErrorCode.CANCEL, _MESSAGE_TOO_LARGE)
        return False

    def take_unknown(self) -> None:
        """A frame that is to be ignored (RFC 9113 5.5)."""
        self._count_noise()

    def _on_rst(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._count_noise()
        self._check_known(stream_id)
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        code = int.from_bytes(payload)
        stream.fault = _RESETS.get(code) or _internal(f"the peer reset the stream with code {code}")
        self._remove(stream)

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

    def _finish(self, stream: Stream) -> None:
        headers = stream.headers
        if headers is not None and headers.content_length not in (-1, len(stream.body)):
            self._break(stream, "content-length does not add up", is_open=False)
            return
        # A finished call pays for the noise before it.
        self._noise = 0
        self.finished_calls += 1
        stream_id = stream.stream_id
        if stream.rest is not None:
            # The peer needs no more of the request (RFC 9113 8.1).
            self._rst(stream, ErrorCode.NO_ERROR)
        del self.streams[stream_id]
        stream.is_ended = True
        self._ended.append(stream)
        if self.state == "draining":
            self._close_if_drained()

    def _break(
        self,
        stream: Stream,
        why: str,
        code: ErrorCode = ErrorCode.PROTOCOL_ERROR,
        *,
        is_open: bool = True,
    ) -> None:
        """The reply is malformed (RFC 9113 8.1.1): a stream error."""
        self._fail(stream, code, _internal(why), is_open=is_open)

    def _fail(self, stream: Stream, code: ErrorCode, fault: Fault, *, is_open: bool = True) -> None:
        stream.fault = fault
        if is_open or stream.rest is not None:
            self._reset(stream, code)
        else:
            self._remove(stream)

    def _reset(self, stream: Stream, code: ErrorCode) -> None:
        self._rst(stream, code)
        reset_at_s = self._reset_at_s
        reset_at_s[stream.stream_id] = self._now_s
        if len(reset_at_s) > _RESETS_KEPT:
            del reset_at_s[next(iter(reset_at_s))]
        self._remove(stream)

    def _rst(self, stream: Stream, code: ErrorCode) -> None:
        self.sender.reset(stream, rst_frame(stream.stream_id, code))

    def _remove(self, stream: Stream) -> None:
        self.sender.forget(stream)
        self.streams.pop(stream.stream_id, None)
        stream.is_ended = True
        self._ended.append(stream)
        if self.state == "draining":
            self._close_if_drained()

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

    # Checks

    def _check_known(self, stream_id: int) -> None:
        if not stream_id & 1 or stream_id >= self._next_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame on a stream never opened")

    def _check_late(self, stream_id: int) -> None:
        """A frame of a reply whose stream is closed: ignored for a while, then an error."""
        self._check_known(stream_id)
        self._count_noise()
        if stream_id >= self._next_id - 2 * _LATE_STREAMS:
            return
        if self._now_s - self._reset_at_s.get(stream_id, float("-inf")) > _LATE_S:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "a reply after its end")

    def _count_noise(self) -> None:
        if not self._noise:
            self._noise_since_s = self._now_s
        self._noise += 1
        if self._noise <= _NOISE_MAX:
            return
        if self._now_s - self._noise_since_s < _NOISE_S:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "frames that move nothing")
        self._noise, self._noise_since_s = 1, self._now_s


def _collect(stream: Stream, part: bytes) -> None:
    body = stream.body
    if not body:
        stream.body = part
        return
    if type(body) is bytes:
        # Grows in place: a reply in many small frames is not copied for each.
        body = stream.body = bytearray(body)
    body += part


def _internal(why: str) -> Fault:
    return Fault(reason="UPSTREAM_PROTOCOL", code=Code.INTERNAL, detail=why)


def _lost(why: str, *, written: bool) -> Fault:
    return Fault(
        reason="UPSTREAM_UNAVAILABLE",
        code=Code.UNAVAILABLE,
        sent="maybe" if written else "never",
        detail=f"the connection ended: {why}",
    )
