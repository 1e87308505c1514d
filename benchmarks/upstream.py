"""The stage of a measurement: which core is whose, and the canned upstream behind every gateway."""

import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.canned import Canned
from benchmarks.processes import Child, free_port

__all__ = ["cores", "messages_of", "start_upstream", "write_replies"]


def cores() -> dict[str, int]:
    """The gateway has a core of its own; upstream and generator share another."""
    free = sorted(os.sched_getaffinity(0))
    return {"gateway": free[-1], "load": free[0]}


def messages_of(replies: Sequence[Canned]) -> dict[str, bytes]:
    """Every message that the upstream sends, by gRPC path."""
    messages: dict[str, bytes] = {}
    for canned in replies:
        messages |= {canned.grpc_path: canned.message, **canned.beside}
    return messages


def write_replies(folder: Path, replies: Sequence[Canned]) -> None:
    """The files that `benchmarks.h2_server` reads."""
    for path, message in messages_of(replies).items():
        name = path.rpartition("/")[2]
        (folder / f"{name}.path").write_text(path)
        (folder / f"{name}.message").write_bytes(message)


async def start_upstream(
    stack: AsyncExitStack, folder: Path, replies: Sequence[Canned], core: int
) -> int:
    """The canned upstream, running until the stack unwinds; its port."""
    replies_folder = folder / "replies"
    replies_folder.mkdir()
    write_replies(replies_folder, replies)
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.h2_server", str(replies_folder)]
    command += ["--port", str(port)]
    child = Child("canned upstream", command, core=core, log=folder / "upstream.log")
    await stack.enter_async_context(child)
    await child.wait_for_port(port)
    return port
