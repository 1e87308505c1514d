"""One HTTP/2 stream with both directions open at once, over prior knowledge (RFC 9113 3.3); as little as tests need."""

import asyncio
import contextlib
import struct
from collections.abc import Mapping
from typing import Self

__all__ = ["H2Stream"]

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW = 0, 1, 3, 4, 6, 8
_END, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
# RFC 7541 appendix A, index 8: `:status: 200`.
_STATUS_200 = 0x88
_GUARD_S = 60.0


class H2Stream:
    """A POST whose body is sent piece by piece while the reply is read. `ok`: the status was 200.

    `:method` among the headers makes it another; a GET has no body.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._body = b""
        self.ok = False
        self.ended = False

    @classmethod
    async def open(cls, port: int, target: str, headers: Mapping[str, str]) -> "H2Stream":
        """Connect and send the header fields."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b""))
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": target,
            ":authority": f"127.0.0.1:{port}",
            **headers,
        }
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
        end = _END if fields[":method"] == "GET" else 0
        writer.write(_frame(_HEADERS, _END_HEADERS | end, 1, block))
        return cls(reader, writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._writer.transport.abort()
        # Gone before the test goes on: a gateway that leaves would wait for us.
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def send(self, data: bytes, *, end: bool = False) -> None:
        """A piece of the body."""
        self._writer.write(_frame(_DATA, _END if end else 0, 1, data))

    def widen(self, octets: int) -> None:
        """Let the server send so much more than the 64 KiB that it may begin with (RFC 9113 6.9)."""
        for stream in (0, 1):
            self._writer.write(_frame(_WINDOW, 0, stream, octets.to_bytes(4)))

    async def line(self) -> bytes:
        """The next line of the reply's body; empty when it has ended."""
        while b"\n" not in self._body and not self.ended:
            await self.read()
        line, found, self._body = self._body.partition(b"\n")
        return line + found

    async def rest(self) -> bytes:
        """The reply's body as far as it was not read yet."""
        while not self.ended:
            await self.read()
        body, self._body = self._body, b""
        return body

    async def read(self) -> None:
        """One frame."""
        async with asyncio.timeout(_GUARD_S):
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3]))
        kind, flags = head[3], head[4]
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _HEADERS:
            self.ok = payload[0] == _STATUS_200
            self.ended = bool(flags & _END)
        elif kind == _DATA:
            self._body += payload
            self.ended = bool(flags & _END)
        elif kind == _RESET:
            raise ConnectionResetError(struct.unpack("!I", payload)[0])


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def _text(text: str) -> bytes:
    """A string without Huffman coding; its length in the integer form of RFC 7541 5.1, prefix 7."""
    octets = text.encode()
    size = len(octets)
    if size < 127:
        return bytes([size]) + octets
    head, rest = b"\x7f", size - 127
    while rest >= 128:
        head += bytes([rest % 128 + 128])
        rest //= 128
    return head + bytes([rest]) + octets
