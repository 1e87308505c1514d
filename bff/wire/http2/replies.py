"""The replies on one connection: their frames in any order that a peer may send, and how each call ends. Pure.

Every rule of RFC 9113 and of gRPC over HTTP/2 that concerns a stream is here; what concerns the
connection is in `connection.py`.
"""

from abc import ABC, abstractmethod
from typing import Literal

from bff.core.status import Code
from bff.wire.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MESSAGE_HEAD_BYTES,
    ConnectionFault,
    ErrorCode,
    read_head,
    read_message_head,
    rst_frame,
)
from bff.wire.http2.headers import Block, BlockDecoder
from bff.wire.http2.reading import FRAME_MAX_BYTES
from bff.wire.http2.sending import Sender
from bff.wire.http2.stream import Fault, Stream
from bff.wire.http2.vigil import Vigil

__all__ = ["CONNECTION_WINDOW_BYTES", "Replies", "State"]

State = Literal["connecting", "ready", "draining", "closed"]

CONNECTION_WINDOW_BYTES = 16 << 20
# What a stream's window has beyond the longest reply: prefix, padding, a little that is dropped.
_WINDOW_SPARE_BYTES = 64 * 1024
# The flags of a block that is whole and ends its stream.
_END_BOTH = END_HEADERS | END_STREAM
_INFORMATIONAL_MAX = 4
# Frames of the peer that move nothing, and the time over which they are counted.
_NOISE_MAX, _NOISE_S = 1_000, 10.0
# Late frames of closed streams are ignored for so long, or for so many younger streams.
_LATE_S, _LATE_STREAMS = 2.0, 1_000
_RESETS_KEPT = 4_096

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
_LIST_TOO_LARGE = Fault(
    reason="REPLY_TOO_LARGE", code=Code.RESOURCE_EXHAUSTED, detail="header list over its bounds"
)
_MESSAGE_TOO_LARGE = Fault(
    reason="REPLY_TOO_LARGE", code=Code.RESOURCE_EXHAUSTED, detail="message over its limit"
)


class Replies(ABC):
    """The open streams of a connection, and what the peer sends on them. A `Taker` of its reader.

    `streams` are the open ones; `finished_calls` counts replies that came to their end.
    """

    def __init__(
        self, *, now_s: float, decoder: BlockDecoder, reply_max_bytes: int, vigil: Vigil
    ) -> None:
        self.state: State = "connecting"
        self.streams: dict[int, Stream] = {}
        self.vigil = vigil
        self.sender = Sender()
        self.finished_calls = 0
        self._decoder = decoder
        self._decode = decoder.decode
        self._reply_max_bytes = reply_max_bytes
        # The longest message that one frame may hold.
        self._whole_max_bytes = min(reply_max_bytes, FRAME_MAX_BYTES - 5)
        self._stream_window = reply_max_bytes + _WINDOW_SPARE_BYTES
        self._credit = CONNECTION_WINDOW_BYTES
        self._next_id = 1
        self._ended: list[Stream] = []
        self._reset_at_s: dict[int, float] = {}
        self._noise, self._noise_since_s = 0, now_s
        self._now_s = now_s

    @abstractmethod
    def _close_if_drained(self) -> None:
        """A stream has ended while the connection drains."""

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
