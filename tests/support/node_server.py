"""The contract's server on @grpc/grpc-js, where node and npm are on PATH; its packages come once, locked."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["UnobtainableError", "node_server", "obtain"]

_HERE = Path(__file__).with_name("node_echo")
_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "node_echo"
_FETCH_S, _START_S = 120.0, 20.0


class UnobtainableError(Exception):
    """Why there is no such server here; its text says it to people."""


def obtain() -> Path:
    """The folder with the packages of the lock; fetched if it is not there. Raises UnobtainableError."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise UnobtainableError("node and npm are not installed")
    lock = (_HERE / "package-lock.json").read_bytes()
    mark = _CACHE / "installed.json"
    if mark.is_file() and mark.read_bytes() == lock:
        return _CACHE
    _CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_HERE / name, _CACHE / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0"]
    try:
        subprocess.run(command, cwd=_CACHE, capture_output=True, timeout=_FETCH_S, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        raise UnobtainableError(f"npm cannot install @grpc/grpc-js: {error}") from error
    mark.write_bytes(lock)
    return _CACHE


@asynccontextmanager
async def node_server(packages: Path, *, gzip: bool) -> AsyncIterator[str]:
    """Its address while it runs."""
    child = await asyncio.create_subprocess_exec(
        "node", str(_HERE / "server.js"), str(packages), "2" if gzip else "0",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        async with asyncio.timeout(_START_S):
            port = await child.stdout.readline()
        yield f"127.0.0.1:{int(port)}"
    finally:
        assert child.stdin is not None
        child.stdin.close()
        await child.wait()
