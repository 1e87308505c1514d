"""Start a command on one core, as a child that dies with its parent: `python -m benchmarks.pinned CORE CMD..`.

A program of its own, because between fork and exec of a threaded parent nothing may run.
"""

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Pin this process, then become the command."""
    core, *command = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    # Kept across exec (prctl(2)): a benchmark that is killed must leave nothing running.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execvp(command[0], command)  # noqa: S606 - the command is ours, and no shell is wanted


if __name__ == "__main__":
    main()
