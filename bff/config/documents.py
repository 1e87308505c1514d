"""What loading gives: models that remember where each value is written."""

from pathlib import Path
from typing import Generic, TypeVar

from msgspec import Struct

from bff.config.aggregates import AggregateFile
from bff.config.blocks import Block
from bff.config.gateway import GatewayFile
from bff.config.routes import ServiceFile
from bff.config.yaml_tree import Node, Source, entry_at
from bff.core.problems import Problem, Where

__all__ = ["Document", "Placed", "path_text"]

M = TypeVar("M", bound=Block)


def path_text(path: tuple[str | int, ...]) -> str:
    """A path as people read it: `routes[2].cache.ttl`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class Placed(Struct, Generic[M], frozen=True, eq=False):
    """A model and its tree. Paths are config keys and list indexes, from the top of the document."""

    value: M
    root: Node

    def where(self, *path: str | int, at_key: bool = False) -> Where:
        """The nearest known place on `path`: where the value starts; for a block, its key.

        Keys of the gateway file may come from several files; the place names the right one.
        """
        return self._place(path, at_key=at_key)[1]

    def where_text(self, *path: str | int) -> Where:
        """Where the first character of a text stands, behind its quote if it has one."""
        source, where = self._place(path, at_key=False)
        is_quoted = source.line(where.line)[where.column - 1 : where.column] in {'"', "'"}
        return Where(where.file, where.line, where.column + 1) if is_quoted else where

    def problem(
        self,
        message: str,
        *path: str | int,
        hint: str = "",
        code: str = "",
        severity: str = "error",
        at_key: bool = False,
        column: int = 1,
    ) -> Problem:
        """A problem at `path`, with its place, the path as text and the line.

        `column` counts within the value, and moves the place where the text stands as it is written.
        """
        source, where = self._place(path, at_key=at_key)
        if column > 1:
            where = self._within(column, where, *path)
        return Problem(
            where,
            message,
            hint=hint,
            path=path_text(path),
            code=code,
            severity=severity,
            line_text=source.line(where.line),
        )

    def _within(self, column: int, where: Where, *path: str | int) -> Where:
        """The place of a character of a text; that of the whole where escapes or line breaks move it."""
        _, node, _ = entry_at(self.root, path)
        start = self.where_text(*path)
        written = node.source.line(start.line)[start.column - 1 :]
        if not isinstance(node.value, str) or not written.startswith(node.value[: column - 1]):
            return where
        return Where(start.file, start.line, start.column + column - 1)

    def resolve(self, text: str, *path: str | int) -> Path:
        """The file or folder `text`, relative to the file that writes the value at `path`."""
        source, _ = self._place(path, at_key=False)
        return Path(source.path).parent / text

    def _place(self, path: tuple[str | int, ...], *, at_key: bool) -> tuple[Source, Where]:
        known, node, entry = entry_at(self.root, path)
        block = isinstance(node.value, dict | list) and not node.flow
        if entry is not None and (at_key or block or len(known) < len(path)):
            return node.source, Where(node.source.name, entry.line, entry.column)
        return node.source, node.where


class Document(Struct, frozen=True, kw_only=True, eq=False):
    """A whole configuration. `files` are those read, for watching; `digest` is a SHA-256 of the content."""

    gateway: Placed[GatewayFile]
    services: tuple[Placed[ServiceFile], ...]
    aggregates: tuple[Placed[AggregateFile], ...]
    files: tuple[Path, ...]
    warnings: tuple[Problem, ...]
    digest: str
