"""A client as an ASGI server shows it to the door: no socket, so that a test says when it reads and leaves.

client = AsgiClient("/down", holds_at=3)
serving = client.begin(gateway.door)
await client.held()            # the third part is being written, and the write does not return
client.leave()
"""

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any, Self

from bff.fronts.door import Door

__all__ = ["AsgiClient"]


class AsgiClient:
    """One request; `parts` are what it sends, with more to come if it `talks`.

    With `socket` they are text frames.
    """

    def __init__(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Sequence[tuple[bytes, bytes]] = (),
        parts: Sequence[bytes] = (),
        talks: bool = False,
        socket: bool = False,
        holds_at: int = 0,
    ) -> None:
        self._scope: dict[str, Any] = {
            "type": "websocket" if socket else "http",
            "method": method,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"g"), *headers],
            "client": ("127.0.0.1", 1),
            "scheme": "ws" if socket else "http",
            "http_version": "2",
            "subprotocols": [],
        }
        self._socket = socket
        self._said: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        for part in parts:
            self._said.put_nowait(
                {"type": "websocket.receive", "text": part.decode()}
                if socket
                else {"type": "http.request", "body": part, "more_body": True}
            )
        if not talks and not socket:
            self._said.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self._holds_at = holds_at
        self._held = asyncio.Event()
        # Parts of the reply's body that it was given, the one that is held among them.
        self.given = 0

    @classmethod
    def of_socket(cls, path: str, *frames: bytes, holds_at: int = 0) -> Self:
        """An upgrade to WebSocket, and its first frames."""
        headers = [(b"sec-websocket-version", b"13")]
        return cls(path, headers=headers, parts=frames, socket=True, holds_at=holds_at)

    def begin(self, door: Door) -> "asyncio.Task[None]":
        """Send the request."""
        serve = door.upgrade if self._socket else door
        return asyncio.get_running_loop().create_task(
            serve(self._scope, self._said.get, self._take)
        )

    @property
    def left(self) -> int:
        """Parts that it has sent and nobody has taken."""
        return self._said.qsize()

    def leave(self) -> None:
        """Close the connection."""
        kind = "websocket.disconnect" if self._socket else "http.disconnect"
        self._said.put_nowait({"type": kind})

    async def held(self) -> None:
        """Wait for the part that it does not read."""
        async with asyncio.timeout(30):
            await self._held.wait()

    async def _take(self, message: MutableMapping[str, Any]) -> None:
        if not message.get("body") and not message.get("text"):
            return
        self.given += 1
        if self.given == self._holds_at:
            self._held.set()
            await asyncio.get_running_loop().create_future()
