"""What a connection has to send: frames of calls in turn, both flow-control windows, urgent frames first. Pure."""

import struct
from collections import deque
from collections.abc import Iterable

from bff.wire.http2.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW_BYTES,
    ConnectionFault,
    ErrorCode,
    PeerSettings,
    frame,
)
from bff.wire.http2.headers import FIRST_BLOCK
from bff.wire.http2.stream import Stream

__all__ = ["Sender"]

# What may wait to be written; bodies stay where they are beyond it.
_WAITING_MAX_BYTES = 4 << 20
_PACK_HEAD = struct.Struct(">HBBBI").pack


class Sender:
    """Frames on their way out.

    `is_writable` follows the transport: while it is false, bodies stay in their streams. While
    `waiting_bytes` are above `room_bytes`, no new call should be opened.
    `flushed_id` is the last stream of which something was handed to the transport.
    """

    def __init__(self) -> None:
        self.peer = PeerSettings()
        self.urgent: list[bytes] = []
        self.room_bytes = _WAITING_MAX_BYTES
        self.flushed_id = -1
        self.waiting_bytes = 0
        # What a body may have at most to leave in one piece with its HEADERS, both windows apart.
        self._whole_bytes = min(self.peer.frame_bytes, self.peer.window_bytes)
        self._out: list[bytes] = []
        self._window = DEFAULT_WINDOW_BYTES
        # Streams with a body left: those that may take their turn, and those without a window.
        self._turns: deque[Stream] = deque()
        self._stalled: dict[int, Stream] = {}
        self._first = FIRST_BLOCK

    @property
    def has_output(self) -> bool:
        """True if `take` would give something."""
        return bool(self._out or self.urgent or (self._turns and self._can_pump))

    @property
    def is_full(self) -> bool:
        """True while no new call should be opened."""
        return self.waiting_bytes > self.room_bytes

    @property
    def is_writable(self) -> bool:
        """Whether the transport takes more."""
        return self.room_bytes >= 0

    @is_writable.setter
    def is_writable(self, yes: bool) -> None:
        # One number, because each call asks for it.
        self.room_bytes = _WAITING_MAX_BYTES if yes else -1

    @property
    def _can_pump(self) -> bool:
        return self._window > 0 and not self.is_full

    def open(self, stream: Stream) -> None:
        """Send a stream's HEADERS, and its body as far as the windows reach."""
        stream_id = stream.stream_id
        block = stream.block
        if self._first:
            block, self._first = self._first + block, b""
        body = stream.message
        size = len(block)
        body_size = len(body)
        if (
            body_size > self._whole_bytes
            or body_size > self._window
            or size > self.peer.frame_bytes
            or self._turns
        ):
            self._open_slowly(stream, block)
            return
        # The usual call: one frame each, in one piece.
        self._window -= body_size
        stream.window_delta = -body_size
        self._out += (
            _PACK_HEAD(size >> 8, size & 0xFF, HEADERS, END_HEADERS, stream_id),
            block,
            _PACK_HEAD(body_size >> 8, body_size & 0xFF, DATA, END_STREAM, stream_id),
            body,
        )
        self.waiting_bytes += size + body_size + 18

    def reset(self, stream: Stream, rst: bytes) -> None:
        """Drop what is left of a stream, and send this."""
        self.forget(stream)
        # Before its HEADERS have left, RST_STREAM must stay behind them.
        (self._out if stream.stream_id > self.flushed_id else self.urgent).append(rst)

    def forget(self, stream: Stream) -> None:
        """Drop what is left of a stream's body."""
        if stream.rest is not None:
            stream.rest = None
            self._stalled.pop(stream.stream_id, None)

    def grow(self, grown: int) -> None:
        """WINDOW_UPDATE of the connection."""
        if grown == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        if self._window + grown > MAX_WINDOW_BYTES:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")
        self._window += grown

    def grow_stream(self, stream: Stream, grown: int) -> bool:
        """WINDOW_UPDATE of a stream; False if its window grows beyond all bounds."""
        stream.window_delta += grown
        if self.peer.window_bytes + stream.window_delta > MAX_WINDOW_BYTES:
            return False
        self._wake(stream)
        return True

    def adopt(self, settings: PeerSettings, streams: Iterable[Stream]) -> None:
        """The peer's new SETTINGS: the windows of all open streams move along (RFC 9113 6.9.2)."""
        moved = settings.window_bytes != self.peer.window_bytes
        self.peer = settings
        self._whole_bytes = min(settings.frame_bytes, settings.window_bytes)
        if not moved:
            return
        for stream in streams:
            if settings.window_bytes + stream.window_delta > MAX_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")
            self._wake(stream)

    def take(self) -> bytes:
        """All that may be written now; it counts as written."""
        if self._turns:
            self._pump()
        out = self._out
        if self.urgent:
            out = self.urgent + out
            self.urgent = []
        self._out = []
        self.waiting_bytes = 0
        return b"".join(out)

    def _open_slowly(self, stream: Stream, block: bytes) -> None:
        """HEADERS with CONTINUATION where it is long (RFC 9113 6.10); the body waits for its turn."""
        most = self.peer.frame_bytes
        parts = [block[at : at + most] for at in range(0, len(block), most)]
        for number, part in enumerate(parts):
            flags = END_HEADERS if number == len(parts) - 1 else 0
            kind = CONTINUATION if number else HEADERS
            self._out.append(frame(kind, flags, stream.stream_id, part))
        self.waiting_bytes += len(block) + 9 * len(parts)
        stream.rest, stream.rest_at = stream.message, 0
        self._turns.append(stream)

    def _wake(self, stream: Stream) -> None:
        if stream.stream_id in self._stalled and self.peer.window_bytes + stream.window_delta > 0:
            self._turns.append(self._stalled.pop(stream.stream_id))

    def _pump(self) -> None:
        """One frame of each body in turn, as far as windows and the writing side allow."""
        turns, most = self._turns, self.peer.frame_bytes
        while turns and self._can_pump:
            stream = turns.popleft()
            body, at = stream.rest, stream.rest_at
            if body is None:
                continue
            free = min(self._window, self.peer.window_bytes + stream.window_delta, most)
            if free <= 0:
                self._stalled[stream.stream_id] = stream
                continue
            part = body[at : at + free]
            size = len(part)
            at += size
            ends = at == len(body)
            self._window -= size
            stream.window_delta -= size
            stream.rest_at = at
            self._out.append(frame(DATA, END_STREAM if ends else 0, stream.stream_id, part))
            self.waiting_bytes += size + 9
            if ends:
                stream.rest = None
            else:
                turns.append(stream)
