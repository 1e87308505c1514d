"""Lines to a file descriptor without ever waiting for it: bounded, batched, written by a thread of its own.

A full queue, a blocked pipe or a full disk costs lines, never requests; what is lost is counted.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from select import PIPE_BUF
from threading import Thread

__all__ = ["LineWriter"]

# The thread is woken once per interval and not once per line: a switch of threads costs more than
# making the line did.
FLUSH_INTERVAL_S = 0.1
CHUNK_BYTES = 65_536
CLOSE_TIMEOUT_S = 2.0


class LineWriter:
    """Holds at most `capacity` lines that are not written yet; more are dropped and counted.

    `count_dropped(reason, lines)` is called on the event loop; reasons are `queue_full` and
    `write_failed`. The descriptor stays open: who opened it closes it.
    """

    def __init__(
        self,
        *,
        fd: int,
        count_dropped: Callable[[str, int], None],
        capacity: int = 16_384,
    ) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._fd = fd
        self._count_dropped = count_dropped
        self._capacity = capacity
        # Several workers write to one pipe: only up to PIPE_BUF bytes stay in one piece (POSIX write()).
        self._chunk_bytes = PIPE_BUF if stat.S_ISFIFO(os.fstat(fd).st_mode) else CHUNK_BYTES
        self._lines: list[bytes] = []
        self._batches: SimpleQueue[Sequence[bytes] | None] = SimpleQueue()
        # Each has one writer, so they need no lock: the loop the first, the thread the others.
        self._accepted = 0
        self._finished = 0
        self._failed = 0
        self._failed_counted = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        # A daemon: a pipe that nobody reads must not keep the process from ending.
        self._thread = Thread(target=self._write_batches, name="line-writer", daemon=True)

    def start(self) -> None:
        """Begin; must run on the event loop that will call `write`."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take one line, its newline included. Never waits, never raises."""
        if self._accepted - self._finished >= self._capacity:
            self._count_dropped("queue_full", 1)
            return
        self._accepted += 1
        self._lines.append(line)
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(FLUSH_INTERVAL_S, self.flush)

    def flush(self) -> None:
        """Hand what is there to the thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        failed = self._failed - self._failed_counted
        if failed:
            self._failed_counted += failed
            self._count_dropped("write_failed", failed)
        if self._lines:
            self._batches.put(self._lines)
            self._lines = []

    async def close(self) -> None:
        """Write what is left, for two seconds at most."""
        self.flush()
        self._batches.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, CLOSE_TIMEOUT_S)
        self.flush()

    def _write_batches(self) -> None:
        while (lines := self._batches.get()) is not None:
            for chunk in _chunks(lines, self._chunk_bytes):
                try:
                    _write_all(self._fd, b"".join(chunk))
                except OSError:
                    self._failed += len(chunk)
                self._finished += len(chunk)


def _chunks(lines: Sequence[bytes], most_bytes: int) -> list[list[bytes]]:
    """Whole lines, in order, in pieces of at most `most_bytes` (a longer line stands alone)."""
    chunks: list[list[bytes]] = []
    room_bytes = 0
    for line in lines:
        if len(line) > room_bytes:
            chunks.append([])
            room_bytes = most_bytes
        chunks[-1].append(line)
        room_bytes -= len(line)
    return chunks


def _write_all(fd: int, text: bytes) -> None:
    view = memoryview(text)
    while view:
        view = view[os.write(fd, view) :]
