"""How long a process of ours lives: until a signal, or until its standard input ends.

The second is what leaves no orphans: the input is a pipe held by the parent alone, and the kernel
closes it however the parent ends, SIGKILL included.
"""

import asyncio
import json
import os
import signal
import sys

__all__ = ["say_ready", "stop_event"]

_CHUNK_BYTES = 4096


def stop_event(*, with_stdin: bool) -> asyncio.Event:
    """An event that is set by SIGTERM or SIGINT, and by the end of stdin if `with_stdin`.

    To be called once, inside the running loop of the main thread.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_stdin:
        descriptor = sys.stdin.fileno()
        loop.add_reader(descriptor, _read, loop, descriptor, stop)
    return stop


def _read(loop: asyncio.AbstractEventLoop, descriptor: int, stop: asyncio.Event) -> None:
    # What is written to us has no meaning; only the end has.
    if not os.read(descriptor, _CHUNK_BYTES):
        loop.remove_reader(descriptor)
        stop.set()


def say_ready(addresses: dict[str, str]) -> None:
    """Print the one line that tells the parent where we listen."""
    print(json.dumps(addresses), flush=True)
