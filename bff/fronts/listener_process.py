"""The process of the public listener: forked from the node, gone with the node."""

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess

from bff.fronts.listener import serve_listener
from bff.fronts.listener_settings import ListenerSettings

__all__ = ["end_listener", "listener_process"]

_PR_SET_PDEATHSIG = 1
# What the listener gets beyond the time of its requests, before it is killed.
_END_S = 5


def listener_process(settings: ListenerSettings, load: Callable[[], object]) -> BaseProcess:
    """The process that will serve what `load` makes in each worker; not started yet.

    It forks, so start it before any loop, thread or channel exists.
    """
    return multiprocessing.get_context("fork").Process(
        target=_run, args=(settings, load), name="bff-listener"
    )


def end_listener(process: BaseProcess, finish_s: float) -> None:
    """End the process if it runs: asked first, killed if it takes longer than its requests may."""
    if process.is_alive():
        process.terminate()
        process.join(finish_s + _END_S)
    if process.is_alive():
        process.kill()
        process.join()


def _run(settings: ListenerSettings, load: Callable[[], object]) -> None:
    # Die with the node, whatever ended it: an orphaned listener would hold the port.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # A terminal's Ctrl-C goes to the whole group; the node alone decides when we stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(serve_listener(settings, load))
