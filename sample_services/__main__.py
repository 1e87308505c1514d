"""`python -m sample_services`: starts users, catalog, orders and identity, and keeps them together.

Prints one line of JSON when all are ready. Ends all of them on SIGTERM or SIGINT, with the end of
stdin if asked, and when one of them ends by itself.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sample_services.lifetime import say_ready, stop_event

__all__: list[str] = []

_SERVICES = ("users", "catalog", "orders", "identity")
_WITH_FOLDER = frozenset({"users", "catalog", "orders"})
_READY_S = 30.0  # far above what it takes; a child that hangs must not hang us
_END_S = 5.0


class _Child:
    """One process of ours. It ends when we do: its stdin is a pipe that only we hold."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    async def ready(self) -> dict[str, str]:
        """The addresses of its ready line. Raises ChildEnded if it ends instead."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise ChildEnded(f"{self.name} ended before it was ready; it said why above")
        addresses: dict[str, str] = json.loads(line)
        return addresses

    async def wait(self) -> None:
        """Return never, but raise ChildEnded when the process ends."""
        status = await self._process.wait()
        raise ChildEnded(f"{self.name} ended by itself with status {status}")

    async def end(self) -> None:
        """End it: politely, then not."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class ChildEnded(Exception):
    """A service ended though nobody told it to."""


async def _start(name: str, port: int, folder: Path) -> _Child:
    arguments = ["-m", f"sample_services.{name}", f"--port={port}", "--stop-with-stdin"]
    if name in _WITH_FOLDER:
        arguments.append(f"--folder={folder}")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=pipe,
        stdout=pipe,
        # A Ctrl-C at the terminal is for us; we then end the children in our own way.
        start_new_session=True,
    )
    return _Child(name, process)


async def _run(arguments: argparse.Namespace) -> None:
    stop = stop_event(with_stdin=arguments.stop_with_stdin)
    async with contextlib.AsyncExitStack() as stack:
        folder = arguments.folder
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sample-")))
        folder.mkdir(parents=True, exist_ok=True)
        children: list[_Child] = []
        stack.push_async_callback(_end_all, children)
        for name in _SERVICES:
            # One by one, so that those started are ended even if the next cannot be.
            child = await _start(name, getattr(arguments, f"{name}_port"), folder)
            children.append(child)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(children))
            await stop.wait()
            watching.cancel()


async def _watch(children: list[_Child]) -> None:
    """Say where all of them are, then return never, but raise ChildEnded when one ends."""
    addresses: dict[str, str] = {}
    try:
        async with asyncio.timeout(_READY_S):
            for child in children:
                addresses |= await child.ready()
    except TimeoutError as error:
        raise ChildEnded(f"not all services were ready within {_READY_S:.0f} s") from error
    say_ready(addresses)
    async with asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(child.wait())


async def _end_all(children: list[_Child]) -> None:
    await asyncio.gather(*(child.end() for child in children))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sample_services")
    parser.add_argument("--folder", type=Path, help="for the SQLite files; default: for this run")
    for name in _SERVICES:
        parser.add_argument(f"--{name}-port", type=int, default=0, help="0 = a free one")
    parser.add_argument("--stop-with-stdin", action="store_true")
    try:
        asyncio.run(_run(parser.parse_args()))
    except* ChildEnded as ended:
        sys.exit("\n".join(f"sample_services: {error}" for error in _leaves(ended)))


def _leaves(group: BaseExceptionGroup[ChildEnded]) -> Iterator[ChildEnded]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    _main()
