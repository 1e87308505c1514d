"""Requests as an ASGI server gives them: scope, receive and send behind the door's `Exchange`."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bff.core.exchange import NO_FIELDS, FixedFields
from bff.core.headers import Headers
from bff.fronts.exchange import Exchange, Pairs

__all__ = ["AsgiExchange", "CutError", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class CutError(Exception):
    """The reply was broken off on purpose."""


class AsgiExchange(Exchange):
    """One ASGI request. ASGI tells of a client that left only to who waits for a message: see `watch`."""

    __slots__ = ("_early", "_reading", "_receive", "_send", "_watcher")

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, now_s: Callable[[], float]
    ) -> None:
        super().__init__(now_s)
        client = scope["client"]
        self.method = scope["method"]
        self.raw_path = scope["raw_path"]
        self.query = scope["query_string"]
        self.headers = Headers(scope["headers"])
        self.peer = client[0] if client else ""
        self.scheme = scope["scheme"]
        self.protocol = scope["http_version"]
        self._receive = receive
        self._send = send
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        # False while a body is being read: only one may wait for messages.
        self.watchable = True
        self._watcher: asyncio.Task[None] | None = None
        # A part of the body that came while we watched, kept for who reads it; who waits for one.
        self._early: list[MutableMapping[str, Any]] = []
        self._reading = False

    async def next_part(self) -> tuple[bytes, bool]:
        """As `Exchange.next_part`."""
        self.watchable = False
        message = await self._next_message()
        if message["type"] == "http.disconnect":
            self.leave()
            # The cancellation of the request's task ends this wait, here or by way of who reads.
            await asyncio.get_running_loop().create_future()
        self.watchable = True
        return message.get("body", b""), bool(message.get("more_body"))

    async def _next_message(self) -> MutableMapping[str, Any]:
        watcher = self._watcher
        if watcher is not None:
            # It waits for the next message already; to give that up could lose what it brings.
            self._reading = True
            await asyncio.wait([watcher])
            self._reading = False
            self._watcher = None
            self.watched = False
        if self._early:
            return self._early.pop(0)
        return await self._receive()

    async def send_whole(
        self, status: int, headers: Pairs, body: bytes, fixed: FixedFields = NO_FIELDS
    ) -> None:
        """As `Exchange.send_whole`."""
        await self.start(status, [*fixed.pairs, *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, status: int, headers: Pairs) -> None:
        """As `Exchange.start`."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send_part(self, part: bytes, *, more: bool) -> None:
        """As `Exchange.send_part`."""
        await self._send({"type": "http.response.body", "body": part, "more_body": more})

    def abort(self) -> None:
        """End the connection: the server does so for an app that fails, and no part passes for the whole."""
        raise CutError("the reply cannot be ended")

    def watch(self) -> None:
        """Wait for the message that says so, beside the request."""
        self.watched = True
        self._watcher = asyncio.get_running_loop().create_task(self._wait_for_leave())

    async def _wait_for_leave(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.leave()
                if self._reading:
                    self._early.append(message)
                return
            self._early.append(message)
            if self._reading or message.get("more_body"):
                return

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
