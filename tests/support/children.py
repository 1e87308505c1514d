"""Commands whose process ends with ours, however ours ends: a test run that is killed leaves nothing behind.

The child itself asks for that and then becomes the command. Not by `preexec_fn`: Python forks for it,
and gRPC in our own process restarts its threads in such a child, which now and then aborts.
"""

import signal
import sys
from collections.abc import Mapping, Sequence

__all__ = ["ending_with_us"]

# PR_SET_PDEATHSIG is 1. Descriptors first: `from>to` for each.
_BECOME = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, int(sys.argv[1]));"
    "[os.dup2(*map(int, pair.split('>'))) for pair in sys.argv[2].split()];"
    "os.execvp(sys.argv[3], sys.argv[3:])"
)


def ending_with_us(
    command: Sequence[str], *, descriptors: Mapping[int, int] | None = None
) -> list[str]:
    """What to run in place of `command`. `descriptors` that it inherits get other numbers: ours to theirs."""
    pairs = " ".join(f"{ours}>{theirs}" for ours, theirs in (descriptors or {}).items())
    return [sys.executable, "-I", "-S", "-c", _BECOME, str(int(signal.SIGKILL)), pairs, *command]
