"""Changes of files on disk, merged over a short while, for `serve --watch`."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

__all__ = ["Concerned", "watch_files"]

# An editor writes, renames and touches within this time; one save is one change.
_DEBOUNCE_MS = 200


class Concerned(DefaultFilter):
    """Whether a change is one of what is watched: a folder with all below it, or a file.

    A file is watched by its folder, since it is replaced and not written. What else lies there is
    passed over: were it the log of this very node, each line would compile the configuration once
    more. Links beside it count: where files are mounted, they are what changes.
    """

    def __init__(self, folders: Iterable[Path], files: Iterable[Path]) -> None:
        super().__init__()
        self._folders = {form for path in folders for form in (path, path.resolve())}
        # As they are written; a link's target lies elsewhere.
        self._files = {form for path in files for form in (path, path.parent.resolve() / path.name)}
        self._beside = {path.parent for path in self._files}

    def __call__(self, change: Change, path: str) -> bool:
        """As watchfiles asks."""
        return super().__call__(change, path) and self._concerns(Path(path))

    def _concerns(self, path: Path) -> bool:
        if path in self._files or path in self._folders:
            return True
        if path.parent in self._beside and (path.is_symlink() or path.name.startswith("..")):
            return True
        return not self._folders.isdisjoint(path.parents)


async def watch_files(paths: tuple[Path, ...]) -> AsyncIterator[set[str]]:
    """The names that changed, each time some did. Ends only by cancellation."""
    there = [path for path in paths if path.exists()]
    folders = [path for path in there if path.is_dir()]
    files = [path for path in there if not path.is_dir()]
    concerned = Concerned(folders, files)
    every = {*folders, *(path.parent for path in files)}
    async for changes in awatch(
        *every, watch_filter=concerned, debounce=_DEBOUNCE_MS, step=50, rust_timeout=500
    ):
        yield {name for _, name in changes}
