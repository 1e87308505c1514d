"""A fake identity provider: plain HTTP on a free loopback port, scripted per path, counting requests."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

__all__ = ["FakeIdp", "Scripted"]


class Scripted(Struct, frozen=True):
    """What a path answers: status, body, further header lines."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class FakeIdp:
    """`replies[path]` is the script; `hits` counts requests by path; `asked` keeps their headers."""

    def __init__(self) -> None:
        self.replies: dict[str, Scripted] = {}
        self.hits: Counter[str] = Counter()
        self.asked: list[dict[str, str]] = []
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def run(cls) -> AsyncIterator["FakeIdp"]:
        """A provider that listens while the block runs."""
        idp = cls()
        server = await asyncio.start_server(idp._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        idp.url = f"http://127.0.0.1:{port}"
        try:
            yield idp
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            self.hits[path] += 1
            fields = (line.partition(":") for line in head[1:] if line)
            self.asked.append({name.lower(): value.strip() for name, _, value in fields})
            reply = self.replies.get(path, Scripted(404))
            lines = [f"HTTP/1.1 {reply.status} X", "connection: close"]
            if reply.status != 304:
                lines.append(f"content-length: {len(reply.body)}")
            lines += [f"{name}: {value}" for name, value in reply.headers]
            writer.write("\r\n".join([*lines, "", ""]).encode() + reply.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            # The client left while we wrote, as it should when a reply is too long.
            pass
        finally:
            writer.close()
