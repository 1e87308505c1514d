"""Changes of files on disk, merged over a short while, for `serve --watch`."""

from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import awatch

__all__ = ["watch_files"]

# An editor writes, renames and touches within this time; one save is one change.
_DEBOUNCE_MS = 200


async def watch_files(paths: tuple[Path, ...]) -> AsyncIterator[set[str]]:
    """The names that changed, each time some did. Ends only by cancellation."""
    folders = {path if path.is_dir() else path.parent for path in paths if path.exists()}
    async for changes in awatch(*folders, debounce=_DEBOUNCE_MS, step=50, rust_timeout=500):
        yield {name for _, name in changes}
