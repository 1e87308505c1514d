"""Files that people name, read with a bound: a pipe waits for a writer, a device has no end."""

import errno
import stat
from pathlib import Path

__all__ = ["NotRegularError", "read_regular"]


class NotRegularError(OSError):
    """The name is a folder, a pipe, a socket or a device."""


def read_regular(path: Path, most_bytes: int) -> bytes:
    """The file's octets, at most one more than `most_bytes`, so that the caller sees what is too large.

    Blocks. Raises NotRegularError, and OSError, also for a name that no file can have.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "its name holds a NUL")
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotRegularError(errno.EINVAL, "it is no regular file")
    with path.open("rb") as file:
        return file.read(most_bytes + 1)
