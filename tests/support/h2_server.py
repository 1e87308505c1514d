"""A raw HTTP/2 server that does what a test's script says, frame by frame, right or wrong.

async def script(peer: Peer) -> None:
    stream_id = await peer.request()          # greets, then waits for a whole request
    peer.send(reply(stream_id, b"hi"))

async with H2Server(script) as server:
    ...
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from bff.wire.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    frame,
    settings_frame,
)

__all__ = [
    "GRPC",
    "OK",
    "H2Server",
    "Peer",
    "block",
    "data",
    "grpc_message",
    "headers",
    "reply",
]

Pairs = tuple[tuple[bytes, bytes], ...]
GRPC: Pairs = ((b":status", b"200"), (b"content-type", b"application/grpc"))
OK: Pairs = ((b"grpc-status", b"0"),)


def _string(raw: bytes) -> bytes:
    size = len(raw)
    if size < 127:
        return bytes([size]) + raw
    out = bytearray([127])
    size -= 127
    while size >= 128:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes(out) + bytes([size]) + raw


def block(*pairs: tuple[bytes, bytes]) -> bytes:
    """A table-size update to 0, then literals without indexing (RFC 7541 6.3, 6.2.2)."""
    return b"\x20" + b"".join(b"\0" + _string(name) + _string(value) for name, value in pairs)


def headers(stream_id: int, *pairs: tuple[bytes, bytes], end: bool = False) -> bytes:
    """HEADERS with a whole block."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream_id, block(*pairs))


def grpc_message(message: bytes, *, flag: int = 0) -> bytes:
    """A message with its prefix (gRPC over HTTP/2)."""
    return struct.pack(">BI", flag, len(message)) + message


def data(stream_id: int, payload: bytes, *, end: bool = False) -> bytes:
    """DATA."""
    return frame(DATA, END_STREAM if end else 0, stream_id, payload)


def reply(stream_id: int, message: bytes, *trailers: tuple[bytes, bytes]) -> bytes:
    """A whole reply; OK unless `trailers` say otherwise."""
    return (
        headers(stream_id, *GRPC)
        + data(stream_id, grpc_message(message))
        + headers(stream_id, *(trailers or OK), end=True)
    )


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.frames: list[tuple[int, int, int, bytes]] = []
        self._greeted = False
        self._came = asyncio.Event()

    async def greet(self, *pairs: tuple[int, int], acknowledges: bool = True) -> None:
        """Read the preface and SETTINGS, send ours and, if it `acknowledges`, the ACK."""
        self._greeted = True
        assert await self._reader.readexactly(len(PREFACE)) == PREFACE
        kind, *_ = await self.frame()
        assert kind == SETTINGS
        # A window for all that tests send: only what a script says shall hold a client back.
        window = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30))
        self.send(settings_frame(*pairs) + (SETTINGS_ACK if acknowledges else b"") + window)

    async def frame(self) -> tuple[int, int, int, bytes]:
        """The next frame: type, flags, stream id, payload."""
        head = await self._reader.readexactly(9)
        payload = await self._reader.readexactly(int.from_bytes(head[:3]))
        one = (head[3], head[4], int.from_bytes(head[5:]), payload)
        self.frames.append(one)
        self._came.set()
        return one

    async def saw(self, kind: int) -> None:
        """Wait until a frame of this type was read, by whomever."""
        async with asyncio.timeout(30.0):
            while not any(one[0] == kind for one in self.frames):
                self._came.clear()
                await self._came.wait()

    async def until(self, kind: int) -> tuple[int, int, int, bytes]:
        """The next frame of this type; those before it are read over."""
        while True:
            one = await self.frame()
            if one[0] == kind:
                return one

    async def request(self, *pairs: tuple[int, int]) -> int:
        """Greet if that is not done, and read one whole request; its stream id."""
        return (await self.message(*pairs))[0]

    async def message(self, *pairs: tuple[int, int]) -> tuple[int, bytes]:
        """As `request`, with the request's message."""
        if not self._greeted:
            await self.greet(*pairs)
        body = b""
        while True:
            kind, flags, stream_id, payload = await self.until_any(HEADERS, DATA)
            if kind == DATA:
                body += payload
            if flags & END_STREAM:
                return stream_id, body[5:]

    async def until_any(self, *kinds: int) -> tuple[int, int, int, bytes]:
        """The next frame of one of these types."""
        while True:
            one = await self.frame()
            if one[0] in kinds:
                return one

    def send(self, *parts: bytes) -> None:
        """Write."""
        self.writer.write(b"".join(parts))

    async def rest(self) -> list[tuple[int, int, int, bytes]]:
        """Read until the client closes; all frames that came on this connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.frame()
        return self.frames


class H2Server:
    """Runs `script` for each connection, on port 0; over TLS with `context`.

    What a script raises fails the test at the end.
    """

    def __init__(
        self, script: Callable[[Peer], Awaitable[object]], *, context: ssl.SSLContext | None = None
    ) -> None:
        self._script = script
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults: list[BaseException] = []
        self._met = asyncio.Event()
        self.peers: list[Peer] = []

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def first(self) -> Peer:
        """The first connection, once it is there."""
        async with asyncio.timeout(30.0):
            await self._met.wait()
        return self.peers[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self._met.set()
        try:
            await self._script(peer)
            await peer.rest()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except Exception as fault:
            self._faults.append(fault)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        if self._faults and error is None:
            raise self._faults[0]
