"""The streams of the orders service that have a streaming caller, and files kept with orders."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.api import httpbody_pb2

from sample_services.generated.sample.orders.v1 import orders_pb2
from sample_services.refusal import Refused, invalid, not_found
from sample_services.serving import Caller
from sample_services.store import Database

__all__ = ["Attachments", "import_orders", "inspect_file", "track_orders"]

_MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_NAME_CHARS = 200
_MAX_TRACKED = 100
_PIECE_BYTES = 256 * 1024
_TABLE = """
CREATE TABLE IF NOT EXISTS attachments (
    order_id TEXT NOT NULL, name TEXT NOT NULL, content_type TEXT NOT NULL,
    description TEXT NOT NULL, pieces INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (order_id, name)
) WITHOUT ROWID
"""

Reach = Callable[[str, Caller], Awaitable[Any]]
Place = Callable[[Any, Caller], Awaitable[Any]]
Watch = Callable[[Any, Caller], AsyncIterator[Any]]


async def import_orders(place: Place, requests: AsyncIterator[Any], caller: Caller) -> Any:
    """Place each order as it comes."""
    order_ids = [(await place(request, caller)).id async for request in requests]
    return orders_pb2.ImportOrdersResponse(placed=len(order_ids), order_ids=order_ids)


async def track_orders(
    watch: Watch, requests: AsyncIterator[Any], caller: Caller
) -> AsyncIterator[Any]:
    """Events of every order asked for, as they come. Bounded: one event waits for the reader."""
    events: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    tasks: set[asyncio.Task[None]] = set()

    async def follow(request: Any) -> None:
        async with aclosing(watch(request, caller)) as found:  # type: ignore[type-var]  # a generator
            async for event in found:
                await events.put(event)

    async def listen() -> None:
        try:
            async with asyncio.TaskGroup() as followers:
                async for request in requests:
                    if len(tasks) >= _MAX_TRACKED:
                        raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many orders")
                    task = followers.create_task(follow(request))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        finally:
            await events.put(None)

    listening = asyncio.ensure_future(listen())
    try:
        while (event := await events.get()) is not None:
            yield event
        await asyncio.wait([listening])
        _raise_refusal(listening)
    finally:
        listening.cancel()
        # A listener that waits to tell its end would wait for ever.
        while not listening.done():
            if not events.empty():
                events.get_nowait()
            await asyncio.wait([listening], timeout=0.01)


def _raise_refusal(listening: "asyncio.Future[None]") -> None:
    error = listening.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error


async def inspect_file(request: Any, _caller: Caller) -> Any:
    """What a file is."""
    return _described("", request.content_type, "", 1, request.data)


class Attachments:
    """Files in the service's database, in pieces both ways."""

    def __init__(self, database: Database, reach: Reach) -> None:
        self._database = database
        self._reach = reach

    async def upload(self, requests: AsyncIterator[Any], caller: Caller) -> Any:
        """Keep the file when its last piece is here."""
        first: Any = None
        content = bytearray()
        pieces = 0
        async for request in requests:
            if first is None:
                first = request
                if not request.name or len(request.name) > _MAX_NAME_CHARS:
                    raise invalid("name", "is required, in at most 200 characters")
                await self._reach(request.order_id, caller)
            pieces += 1
            content += request.file.data
            if len(content) > _MAX_FILE_BYTES:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "the file is too large")
        if first is None:
            raise invalid("file", "is required")
        row = (first.order_id, first.name, first.file.content_type, first.description, pieces)
        await self._database.run(lambda db: _keep(db, (*row, bytes(content))))
        return _described(*row[1:], bytes(content))

    async def download(self, request: Any, caller: Caller) -> AsyncIterator[Any]:
        """The file in pieces; the first has its media type."""
        await self._reach(request.order_id, caller)
        found = await self._database.run(lambda db: _find(db, request.order_id, request.name))
        if found is None:
            raise not_found("attachment", request.name)
        content_type, content = found
        for start in range(0, len(content) or 1, _PIECE_BYTES):
            yield httpbody_pb2.HttpBody(
                content_type=content_type if start == 0 else "",
                data=content[start : start + _PIECE_BYTES],
            )


def _described(name: str, content_type: str, description: str, pieces: int, content: bytes) -> Any:
    return orders_pb2.Attachment(
        name=name,
        content_type=content_type,
        description=description,
        pieces=pieces,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _keep(db: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    db.execute(_TABLE)
    db.execute("REPLACE INTO attachments VALUES (?, ?, ?, ?, ?, ?)", row)


def _find(db: sqlite3.Connection, order_id: str, name: str) -> tuple[str, bytes] | None:
    db.execute(_TABLE)
    row = db.execute(
        "SELECT content_type, content FROM attachments WHERE order_id = ? AND name = ?",
        (order_id, name),
    ).fetchone()
    return None if row is None else (row["content_type"], row["content"])
