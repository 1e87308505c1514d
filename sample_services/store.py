"""One SQLite file and the one thread that works on it, so that no query blocks the event loop."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

__all__ = ["Database", "Seed"]

Result = TypeVar("Result")
Seed = Callable[[sqlite3.Connection], None]


class Database:
    """A file of tables. All work runs in one thread, in the order it came.

    One thread is enough: SQLite has one writer anyway, and each query here takes microseconds.
    """

    def __init__(self, *, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread

    @classmethod
    async def open(cls, path: Path, seed: Seed) -> Self:
        """Open the file; a new one is filled by `seed`, in one transaction."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=path.stem)
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(thread, _connect, path, seed)
        return cls(connection=connection, thread=thread)

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `work` in the thread, as one transaction: its changes hold all or not at all."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._within, work)

    def _within(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._connection:
            return work(self._connection)

    async def close(self) -> None:
        """Let waiting work end, then close the file."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()


def _connect(path: Path, seed: Seed) -> sqlite3.Connection:
    is_new = not path.exists()
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    # The data are made up and made anew at will: a power cut may take them, waiting may not.
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("PRAGMA synchronous = OFF")
    if is_new:
        with connection:
            seed(connection)
    return connection
