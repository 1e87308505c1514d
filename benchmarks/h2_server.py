"""The canned upstream: gRPC unary replies from prepared HTTP/2 frames, in one process (RFC 9113, RFC 7541).

It must cost far less than what is measured in front of it. Only what gRPC clients need is here: no
streams, no errors but 12 for an unknown path, no TLS. `python -m benchmarks.h2_server --help`.

We announce SETTINGS_HEADER_TABLE_SIZE=0, so a client that follows it sends header blocks free of
context. `:path` stands near their start and the octets up to it are the same for each call of one
method from one client, so these are looked up, and nothing behind them is decoded.
"""

import argparse
import asyncio
import signal
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import hpack
import uvloop

from benchmarks.hpack_prefix import end_of_path, path_of

__all__ = ["CannedProtocol", "Frames", "frames_of", "main"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 6, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_HEAD = struct.Struct(">HBBBI").unpack_from
_PACK_HEAD = struct.Struct(">HBBBI").pack
_INITIAL_WINDOW = 65_535
_FRAME_MAX = 16_384
_OUR_WINDOW = 1 << 20
# What a connection may hold: no client of ours opens more streams at once.
_STREAMS_MAX = 4_096
_PREFIXES_MAX = 64


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _PACK_HEAD(size >> 8, size & 0xFF, kind, flags, stream) + payload


_SETTINGS_FRAME = _frame(
    _SETTINGS,
    0,
    0,
    # 1: header table size, 4: initial window, 5: frame size
    struct.pack(">HIHIHI", 1, 0, 4, _OUR_WINDOW, 5, _FRAME_MAX),
)
_FIRST = _SETTINGS_FRAME + _frame(_WINDOW, 0, 0, struct.pack(">I", _OUR_WINDOW))
_SETTINGS_ACK = _frame(_SETTINGS, _ACK, 0, b"")
# `:status: 200` is entry 8 of the static table; the others are literals that no table keeps.
_TYPE = b"\x0f\x10\x10application/grpc"
_HEAD_BLOCK = b"\x88" + _TYPE
_OK_BLOCK = b"\x00\x0bgrpc-status\x010"
# We keep no table, and say so where the peer limits it: the update that RFC 7541 4.2 then demands.
_EMPTY_TABLE = b"\x20"
_UNKNOWN_BLOCK = b"\x88" + _TYPE + b"\x00\x0bgrpc-status\x0212"


class Frames:
    """One reply, cut where the stream's number goes: HEADERS, DATA, HEADERS with the trailers."""

    __slots__ = ("after_data", "body", "body_bytes", "data", "head", "trailers")

    def __init__(self, message: bytes) -> None:
        self.body = b"\x00" + struct.pack(">I", len(message)) + message
        self.body_bytes = len(self.body)
        self.head = _frame(_HEADERS, _END_HEADERS, 0, _HEAD_BLOCK)
        self.trailers = _frame(_HEADERS, _END_HEADERS | _END_STREAM, 0, _OK_BLOCK)
        # Head of each frame without the number, and what follows the number up to the next one.
        self.data = self.head[9:] + _frame(_DATA, 0, 0, self.body)[:5]
        self.after_data = self.body + self.trailers[:5]

    def whole(self, stream: bytes) -> bytes:
        """All frames with this stream number (4 octets)."""
        return b"".join(
            (
                self.head[:5],
                stream,
                self.data,
                stream,
                self.after_data,
                stream,
                self.trailers[9:],
            )
        )


def frames_of(messages: Mapping[str, bytes]) -> dict[bytes, Frames]:
    """Frames by gRPC path. Raises ValueError if a reply does not fit one frame."""
    made = {path.encode(): Frames(message) for path, message in messages.items()}
    for path, frames in made.items():
        if frames.body_bytes > _FRAME_MAX:
            raise ValueError(f"the reply of {path!r} is longer than one frame")
    return made


class CannedProtocol(asyncio.Protocol):
    """One connection. `replies` are frames by gRPC path."""

    def __init__(self, replies: Mapping[bytes, Frames]) -> None:
        self._replies = replies
        self._decoder = hpack.Decoder()
        # True once the peer's encoder has emptied its table: from then on blocks stand alone.
        self._context_free = False
        self._prefixes: dict[bytes, bytes] = {}
        self._rest = b""
        self._greeted = False
        self._streams: dict[int, bytes] = {}
        self._block: tuple[int, int, bytearray] | None = None
        self._window = _INITIAL_WINDOW
        self._stream_window = _INITIAL_WINDOW
        self._owes_update = False
        self._waiting: dict[int, tuple[Frames, int, int]] = {}
        self._received_bytes = 0
        self._out: list[bytes] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_FIRST)

    def data_received(self, data: bytes) -> None:
        """Take the frames that are whole, and answer all of them with one write."""
        if self._rest:
            data = self._rest + data
        at = 0
        if not self._greeted:
            if len(data) < len(_PREFACE):
                self._rest = data
                return
            if not data.startswith(_PREFACE):
                self._transport.close()
                return
            self._greeted = True
            at = len(_PREFACE)
        size = len(data)
        while size - at >= 9:
            high, low, kind, flags, stream = _HEAD(data, at)
            end = at + 9 + (high << 8 | low)
            if end > size:
                break
            self._take(kind, flags, stream, data, at + 9, end)
            at = end
        self._rest = data[at:]
        if self._received_bytes >= _OUR_WINDOW // 2:
            self._out.append(_frame(_WINDOW, 0, 0, struct.pack(">I", self._received_bytes)))
            self._received_bytes = 0
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _take(self, kind: int, flags: int, stream: int, data: bytes, at: int, end: int) -> None:
        if kind == _DATA:
            self._received_bytes += end - at
            if flags & _END_STREAM:
                self._answer(stream)
        elif kind == _HEADERS:
            if flags & _PADDED:
                end -= data[at]
                at += 1
            if flags & _PRIORITY:
                at += 5
            if flags & _END_HEADERS:
                self._begin(stream, flags, data[at:end])
            else:
                self._block = (stream, flags, bytearray(data[at:end]))
        else:
            self._take_rare(kind, flags, stream, data[at:end])

    def _take_rare(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _CONTINUATION and self._block is not None:
            number, first_flags, block = self._block
            block += payload
            if flags & _END_HEADERS:
                self._block = None
                self._begin(number, first_flags, bytes(block))
        elif kind == _WINDOW:
            self._widen(stream, struct.unpack(">I", payload)[0] & 0x7FFF_FFFF)
        elif kind == _SETTINGS and not flags & _ACK:
            self._settle(payload)
        elif kind == _PING and not flags & _ACK:
            self._out.append(_frame(_PING, _ACK, 0, payload))
        elif kind == _RST:
            self._streams.pop(stream, None)
            self._waiting.pop(stream, None)

    def _begin(self, stream: int, flags: int, block: bytes) -> None:
        if len(self._streams) >= _STREAMS_MAX:
            self._transport.close()
            return
        self._streams[stream] = self._path(block)
        if flags & _END_STREAM:
            self._answer(stream)

    def _path(self, block: bytes) -> bytes:
        for prefix, path in self._prefixes.items():
            if self._context_free and block.startswith(prefix):
                return path
        if not self._context_free:
            fields = self._decoder.decode(block, raw=True)
            self._context_free = self._decoder.header_table_size == 0
            return bytes(next((value for name, value in fields if name == b":path"), b""))
        end = end_of_path(block)
        path = path_of(block[:end])
        if len(self._prefixes) < _PREFIXES_MAX:
            self._prefixes[block[:end]] = path
        return path

    def _answer(self, stream: int) -> None:
        path = self._streams.pop(stream, None)
        if path is None:
            return
        frames = self._replies.get(path)
        if frames is None:
            self._send_block(_END_HEADERS | _END_STREAM, stream, _UNKNOWN_BLOCK)
            return
        size = frames.body_bytes
        if size <= self._window and size <= self._stream_window and not self._owes_update:
            self._window -= size
            self._out.append(frames.whole(stream.to_bytes(4, "big")))
            return
        self._send_block(_END_HEADERS, stream, _HEAD_BLOCK)
        self._waiting[stream] = (frames, 0, self._stream_window)
        self._push()

    def _send_block(self, flags: int, stream: int, block: bytes) -> None:
        if self._owes_update:
            self._owes_update = False
            block = _EMPTY_TABLE + block
        self._out.append(_frame(_HEADERS, flags, stream, block))

    def _widen(self, stream: int, credit: int) -> None:
        # Credit for a stream before its reply began is lost to us; clients that we serve give none.
        if stream == 0:
            self._window += credit
        elif stream in self._waiting:
            frames, sent, window = self._waiting[stream]
            self._waiting[stream] = (frames, sent, window + credit)
        if self._waiting:
            self._push()

    def _push(self) -> None:
        """Send what the windows allow of replies that had to wait, oldest first (RFC 9113 5.2)."""
        for stream, (frames, sent, window) in list(self._waiting.items()):
            size = min(frames.body_bytes - sent, window, self._window)
            if size <= 0:
                continue
            self._window -= size
            self._out.append(_frame(_DATA, 0, stream, frames.body[sent : sent + size]))
            if sent + size < frames.body_bytes:
                self._waiting[stream] = (frames, sent + size, window - size)
                continue
            del self._waiting[stream]
            self._out.append(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _OK_BLOCK))

    def _settle(self, payload: bytes) -> None:
        for number, value in struct.iter_unpack(">HI", payload):
            if number == 1:
                self._owes_update = True
            elif number == 4:
                change = value - self._stream_window
                self._stream_window = value
                self._waiting = {
                    stream: (frames, sent, window + change)
                    for stream, (frames, sent, window) in self._waiting.items()
                }
        self._out.append(_SETTINGS_ACK)
        if self._waiting:
            self._push()


async def _serve(replies: Mapping[bytes, Frames], host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: CannedProtocol(replies), host, port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        await stop.wait()


def main() -> None:
    """Serve the messages of a folder: `NAME` for the file of wire octets, `NAME.path` for its gRPC path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="files NAME.message and NAME.path")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    messages = {
        file.read_text(): file.with_suffix(".message").read_bytes()
        for file in given.folder.glob("*.path")
    }
    uvloop.run(_serve(frames_of(messages), "127.0.0.1", given.port))


if __name__ == "__main__":
    main()
