"""A WebSocket client (RFC 6455) that says what it is told to, right or wrong.

async with WsClient.open(port, "/v1/orders:track", headers) as socket:
    await socket.send('{"message":{}}')
    kind, payload = await socket.receive()
"""

import asyncio
import base64
import json
import os
import struct
from collections.abc import Mapping
from typing import Any, Self

__all__ = ["BINARY", "CLOSE", "PING", "PONG", "TEXT", "WsClient"]

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_GUARD_S = 30.0


class WsClient:
    """One connection. `status` is that of the handshake; refused ones have `body`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @classmethod
    async def open(
        cls, port: int, target: str, headers: Mapping[str, str] | None = None
    ) -> "WsClient":
        """Connect and ask for the upgrade; look at `status` for the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = cls(reader, writer)
        lines = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
        async with asyncio.timeout(_GUARD_S):
            await client._read_head()
        return client

    async def _read_head(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if self.status == 101:
            return
        if "content-length" in self.headers:
            self.body = await self._reader.readexactly(int(self.headers["content-length"]))
        elif self.headers.get("transfer-encoding") == "chunked":
            while size := int(await self._reader.readline(), 16):
                self.body += (await self._reader.readexactly(size + 2))[:-2]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Cut the connection, without a word."""
        self._writer.transport.abort()

    async def send(self, text: str | bytes, kind: int = TEXT) -> None:
        """One frame; text that is bytes goes as it is."""
        payload = text.encode() if isinstance(text, str) else text
        size = len(payload)
        head = bytes([0x80 | kind])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack("!H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack("!Q", size)
        # A mask of zeros is a mask.
        self._writer.write(head + b"\0\0\0\0" + payload)
        await self._writer.drain()

    async def say(self, message: Any) -> None:
        """One envelope with a message."""
        await self.send(json.dumps({"message": message}))

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: its kind and payload."""
        async with asyncio.timeout(_GUARD_S):
            kind, size = await self._reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
            return kind & 15, await self._reader.readexactly(size)

    async def hear(self) -> Any:
        """The next text frame, as JSON. Raises AssertionError for any other."""
        kind, payload = await self.receive()
        assert kind == TEXT, (kind, payload)
        return json.loads(payload)

    async def closed(self) -> int:
        """The code that the server closes with, which must be its next frame."""
        kind, payload = await self.receive()
        assert kind == CLOSE, (kind, payload)
        return int(struct.unpack("!H", payload[:2])[0])
