"""Types of running services on the node's disk, so that a restart does not need the services.

One file for each source, written aside, flushed and renamed; the one before it is kept. A checksum
stands in front: what a crash or a full disk has torn is passed over.
"""

import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bff.transcoding.sources import MAX_SET_BYTES, SourceSet

__all__ = ["StoredTypes"]

_FOLDER: Final = "descriptors"
_DIGEST_BYTES: Final = 32
# The files and what stands around them.
_MOST_BYTES: Final = 2 * MAX_SET_BYTES


class _Stored(Struct, frozen=True, kw_only=True):
    origin: str
    files: bytes
    digest: str
    places: dict[str, str]


class StoredTypes:
    """The folder below `state`. All of it blocks."""

    def __init__(self, state: Path) -> None:
        self.folder = state / _FOLDER

    def read(self, key: str) -> SourceSet | None:
        """The newest whole one; None if there is none."""
        for path in self._generations(key):
            with contextlib.suppress(OSError, ValueError, msgspec.DecodeError):
                if path.stat().st_size > _MOST_BYTES:
                    continue
                return _unpack(path.read_bytes())
        return None

    def write(self, key: str, source: SourceSet) -> None:
        """Make this the newest. Raises OSError."""
        newest, before = self._generations(key)
        content = msgspec.msgpack.encode(
            _Stored(
                origin=source.origin,
                files=source.files,
                digest=source.digest,
                places=dict(source.places),
            )
        )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Of its own: nodes may share the folder.
        partial = newest.with_suffix(f".{os.getpid()}")
        with partial.open("wb") as file:
            file.write(sha256(content).digest() + content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            newest.rename(before)
        partial.rename(newest)

    def _generations(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.types", self.folder / f"{key}.before"


def _unpack(data: bytes) -> SourceSet:
    """Raises ValueError for torn bytes."""
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if sha256(content).digest() != digest:
        raise ValueError("torn")
    stored = msgspec.msgpack.decode(content, type=_Stored)
    return SourceSet(
        origin=stored.origin, files=stored.files, digest=stored.digest, places=stored.places
    )
