"""Processes of the benchmark: started on a core, waited for, measured with all their descendants, ended by id."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

__all__ = ["Child", "ProcessFailed", "cpu_s", "free_port", "memory_mb", "tree_of"]

# Ten thousand routes take long where the machine is busy.
_START_S = 120.0
_END_S = 15.0
_POLL_S = 0.02
_SHOWN_BYTES = 2_000


class ProcessFailed(RuntimeError):
    """A process did not start, died, or changed while it was measured."""


class Child:
    """A process on one core. An async context manager: leaving it ends the process.

    What it writes to stderr goes to `log`; stdout is thrown away unless `read_stdout`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int,
        log: Path,
        env: Mapping[str, str] | None = None,
        read_stdout: bool = False,
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "benchmarks.pinned", str(core), *command]
        self._log = log
        self._env = env
        self._stdout = asyncio.subprocess.PIPE if read_stdout else asyncio.subprocess.DEVNULL
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        """Start it, in a session of its own: a terminal's Ctrl-C is for us, and we end it."""
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._stdout,
                stderr=log,
                env=None if self._env is None else dict(self._env),
                start_new_session=True,
            )
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Ask it to end; after 15 s make it."""
        if self.process.returncode is not None:
            return
        # What it started, in case it cannot end them itself.
        rest = tree_of(self.process.pid) - {self.process.pid}
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(_END_S):
                await self.process.wait()
        except TimeoutError:
            for pid in (self.process.pid, *rest):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            await self.process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def wait_for_port(self, port: int) -> None:
        """Return once it listens. Raises ProcessFailed if it ended or took more than 2 minutes."""
        await self._poll(lambda: _answers(port), f"port {port}")

    async def wait_for_file(self, path: Path) -> None:
        """Return once the file is there. Raises ProcessFailed as `wait_for_port`."""
        await self._poll(path.exists, path.name)

    async def _poll(self, is_there: object, what: str) -> None:
        assert callable(is_there)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                while self.process.returncode is None:
                    if is_there():
                        return
                    await asyncio.sleep(_POLL_S)
        raise ProcessFailed(f"{self.name} did not get ready ({what}): {self.said()}")

    def said(self) -> str:
        """The end of what it wrote to stderr."""
        return self._log.read_bytes()[-_SHOWN_BYTES:].decode("utf-8", "replace").strip()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree_of(pid: int) -> frozenset[int]:
    """The process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            parent = int(_stat(int(entry.name))[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for known in found:
        found.extend(children.get(known, ()))
    return frozenset(found)


def cpu_s(pids: frozenset[int]) -> float:
    """User and system time of these processes so far, all threads, in seconds, to the nanosecond.

    Raises ProcessFailed if one is gone: what it used would be missing.
    """
    total_s = 0.0
    for pid in pids:
        try:
            # The CPU clock of another process (clock_getcpuclockid(3)); /proc counts ticks of 10 ms.
            total_s += time.clock_gettime((~pid << 3) | 2)
        except OSError as error:
            raise ProcessFailed(f"process {pid} ended while it was measured") from error
    return total_s


def memory_mb(pids: frozenset[int]) -> float:
    """Memory of these processes, pages that they share counted once in all (PSS), in MB."""
    total_kb = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                total_kb += int(line.split()[1])
    return round(total_kb / 1000, 1)


def _stat(pid: int) -> list[bytes]:
    """Fields of the stat file from the third on; the name before them may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
