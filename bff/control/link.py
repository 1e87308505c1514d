"""What a node and its workers tell each other over a unix socket: frames of MessagePack.

One worker, one connection, opened by the worker. The node asks, the worker answers; state changes
are told unasked. (Numbers do not travel here: the node reads each worker's table of metrics.)

A frame is 4 octets of length and a tagged message, 32 MiB at most.
"""

import asyncio

import msgspec
from msgspec import Struct

__all__ = [
    "Drain",
    "Hello",
    "Link",
    "LinkClosed",
    "Loaded",
    "Reload",
    "WorkerState",
]

_MAX_FRAME_BYTES = 32 * 1024 * 1024


class Hello(Struct, frozen=True, tag=True):
    """A worker's first word."""

    pid: int


class WorkerState(Struct, frozen=True, tag=True):
    """What a worker serves: `version` of its snapshot, and whether it takes requests."""

    ready: bool
    version: str
    routes: int
    detail: str = ""


class Reload(Struct, frozen=True, tag=True):
    """Load the mappings again and swap, if they are sound."""

    ask: int


class Loaded(Struct, frozen=True, tag=True):
    """How a reload went: the version that is live now, and why a new one was refused."""

    ask: int
    ok: bool
    version: str
    problems: tuple[str, ...] = ()


class Drain(Struct, frozen=True, tag=True):
    """No new connections will come: ask clients to close theirs."""


Message = Hello | WorkerState | Reload | Loaded | Drain

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class LinkClosed(Exception):
    """The other side is gone."""


class Link:
    """One end of the connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: Message) -> None:
        """Send one message. Raises LinkClosed."""
        frame = _encode(message)
        try:
            self._writer.write(len(frame).to_bytes(4, "big") + frame)
            await self._writer.drain()
        except OSError as error:
            raise LinkClosed from error

    async def receive(self) -> Message:
        """The next message. Raises LinkClosed at the end, on a broken frame or one beyond the bound."""
        try:
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            if size > _MAX_FRAME_BYTES:
                raise LinkClosed
            return _decoder.decode(await self._reader.readexactly(size))
        except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
            raise LinkClosed from error

    async def close(self) -> None:
        """Close this end."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            # The other side closed first; that is what we wanted.
            return
