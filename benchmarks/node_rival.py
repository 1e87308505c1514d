"""The rivals on Node: Fastify with grpc-js by hand (`node/`), and Hive Gateway in front of gRPC (`hive/`).

Their packages come by npm into `.cache/`, exactly as their lock files pin them, and no script of a package
runs. Such a rival may be missing: without node or npm, or without their registry, a report says so in a line.
`python -m benchmarks.node_rival` installs both.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["RIVALS", "hive_command", "installed", "main", "node_command"]

RIVALS = ("node", "hive")
_HERE = Path(__file__).resolve().parent
_CACHE = _HERE.parent / ".cache" / "bench"
_STAMP = ".installed"
_INSTALL_S = 480.0
_COMPOSE_S = 60.0


async def node_command() -> list[str]:
    """How `server.mjs` is started; arguments follow. Raises RuntimeError where it cannot be installed."""
    folder = await installed("node")
    return [_program("node"), str(folder / "server.mjs")]


async def hive_command(folder: Path, port: int, env: Mapping[str, str]) -> list[str]:
    """Compose the schema of the service that `env` names into `folder`; returns how Hive Gateway serves it.

    Raises RuntimeError where it cannot be installed or composed.
    """
    programs = await installed("hive")
    schema = folder / "supergraph.graphql"
    compose = [_program("node"), str(programs / "node_modules/.bin/mesh-compose")]
    compose += ["--config-path", "mesh.config.mjs", "--output", str(schema)]
    await _run(compose, programs, _COMPOSE_S, env)
    command = [_program("node"), str(programs / "node_modules/.bin/hive-gateway"), "supergraph"]
    return [
        *command,
        str(schema),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--fork",
        "1",
        "--jit",
    ]


async def installed(name: str, *, source: Path = _HERE, cache: Path = _CACHE) -> Path:
    """The folder of a rival's program with its packages beside it; npm is asked only if the lock changed."""
    npm = _program("npm")
    folder = cache / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in (source / name).iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    lock = (source / name / "package-lock.json").read_text()
    stamp = folder / _STAMP
    if not stamp.exists() or stamp.read_text() != lock:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
        await _run([*command, "--loglevel=error"], folder, _INSTALL_S, None)
        stamp.write_text(lock)
    return folder


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed")
    return found


async def _run(
    command: list[str], folder: Path, limit_s: float, env: Mapping[str, str] | None
) -> None:
    """Raises RuntimeError with the last line of what it said if it fails or takes longer than `limit_s`."""
    what = "npm" if Path(command[0]).name == "npm" else Path(command[1]).name
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=None if env is None else dict(env),
    )
    try:
        async with asyncio.timeout(limit_s):
            said, _ = await process.communicate()
    except TimeoutError:
        raise RuntimeError(f"{what} did not end within {limit_s:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{what} failed: {''.join(last)}")


def main() -> int:
    """Install both; a rival that cannot be had is told of, and is no failure."""
    for name in RIVALS:
        try:
            folder = asyncio.run(installed(name))
        except (RuntimeError, OSError) as error:
            print(f"{name} cannot be installed here: {error}", file=sys.stderr)
            continue
        print(f"{name}: {os.path.relpath(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
