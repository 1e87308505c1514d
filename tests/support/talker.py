"""A gRPC service that talks in every direction, and remembers how each of its calls ended.

async with Talker() as talker:
    ...                        # /talk.v1.Talk/Down, File, Up, Both, Deaf, .. at talker.address
    await talker.until(lambda: talker.open == 0)

Down and File send `count` messages of `size` octets and then wait for ever; Up reads all and says
how many there were; Both sends each message back; Deaf reads nothing. Load and Pour are as Up, of files,
and Idle as Deaf. With `lingers` Up and Both
wait for ever when there is nothing more to read: grpc.aio ends what is read from a call that is
cancelled just as that of one that was ended, and they would be done before they could be cancelled.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import grpc.aio

__all__ = ["TALK", "Talker"]

TALK = """
syntax = "proto3";
package talk.v1;
import "google/api/httpbody.proto";
message Word { string text = 1; string topic = 2; }
message Upload {
  string topic = 1; google.api.HttpBody file = 2; string note = 3; bytes raw = 4;
  repeated bytes more = 5;
}
service Talk {
  rpc Down(Word) returns (stream Word);
  rpc File(Word) returns (stream google.api.HttpBody);
  rpc Up(stream Word) returns (Word);
  rpc Both(stream Word) returns (stream Word);
  rpc Deaf(stream Word) returns (stream Word);
  rpc Load(stream Upload) returns (Word);
  rpc Pour(stream google.api.HttpBody) returns (Word);
  rpc Idle(stream Upload) returns (Word);
}
"""


@dataclass
class Talker:
    """The service on a port of its own. `ends` has a word for each call that is over: done or cancelled."""

    count: int = 2
    size: int = 5
    lingers: bool = False
    port: int = 0
    open: int = 0
    sent: int = 0
    heard: list[bytes] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    _waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = field(default_factory=list)
    _server: Any = None

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._server.stop(None)

    async def until(self, fact: Callable[[], bool], *, within_s: float = 30.0) -> None:
        """Wait until `fact` holds; it is looked at whenever something happened here."""
        if fact():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((fact, waiter))
        async with asyncio.timeout(within_s):
            await waiter

    def changed(self) -> None:
        """Look at the facts that are waited for."""
        for fact, waiter in tuple(self._waiting):
            if not waiter.done() and fact():
                waiter.set_result(None)
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]

    async def watched(self, talk: Any) -> Any:
        """Await what a call does, and note how it ends."""
        self.open += 1
        self.changed()
        end = "cancelled"
        try:
            answer = await talk
            end = "done"
            return answer
        finally:
            self.open -= 1
            self.ends.append(end)
            self.changed()

    async def down(self, _word: bytes, context: Any) -> None:
        """`count` messages, then silence."""
        # Field 1 of Word, and of HttpBody the content type, which any text may be.
        await self._say(context, b"\n", self.size)

    async def file(self, _word: bytes, context: Any) -> None:
        """`count` pieces, then silence."""
        await self._say(context, b"\x12", self.size)

    async def _say(self, context: Any, tag: bytes, size: int) -> None:
        length = bytes([size]) if size < 128 else _varint(size)
        for _ in range(self.count):
            await context.write(tag + length + b"w" * size)
            self.sent += 1
            self.changed()
        await asyncio.Event().wait()

    async def up(self, words: AsyncIterator[bytes], _context: Any) -> bytes:
        """How many there were, as text."""
        async for word in words:
            self.heard.append(word)
            self.changed()
        await self._linger()
        text = str(len(self.heard)).encode()
        return b"\n" + bytes([len(text)]) + text

    load = up
    pour = up

    async def both(self, words: AsyncIterator[bytes], context: Any) -> None:
        """Each message back."""
        async for word in words:
            self.heard.append(word)
            await context.write(word)
            self.sent += 1
            self.changed()
        await self._linger()

    async def _linger(self) -> None:
        if self.lingers:
            await asyncio.Event().wait()

    async def deaf(self, _words: AsyncIterator[bytes], _context: Any) -> None:
        """Nothing, for ever."""
        await asyncio.Event().wait()

    idle = deaf


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    def __init__(self, talker: Talker) -> None:
        self._talker = talker

    def service(self, handler_call_details: Any) -> Any:
        talker = self._talker
        name = handler_call_details.method.rpartition("/")[2]
        act = getattr(talker, name.lower())

        async def answer(asked: Any, context: Any) -> Any:
            return await talker.watched(act(asked, context))

        makers = {
            "Down": grpc.unary_stream_rpc_method_handler,
            "File": grpc.unary_stream_rpc_method_handler,
            "Up": grpc.stream_unary_rpc_method_handler,
            "Both": grpc.stream_stream_rpc_method_handler,
            "Deaf": grpc.stream_stream_rpc_method_handler,
            "Load": grpc.stream_unary_rpc_method_handler,
            "Pour": grpc.stream_unary_rpc_method_handler,
            "Idle": grpc.stream_unary_rpc_method_handler,
        }
        return makers[name](answer)
