"""Files to a `Document`: find, read, parse, tell kinds, merge, validate, check - every problem at once."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from pydantic import ValidationError

from bff.config.aggregates import AggregateFile
from bff.config.blocks import Block, KeyPath, Reading, keys_of
from bff.config.check import check
from bff.config.check_names import check_names
from bff.config.documents import Document, Placed
from bff.config.gateway import GatewayFile
from bff.config.places import KINDS
from bff.config.routes import ServiceFile
from bff.config.translate import problems_of
from bff.config.yaml_tree import Entry, Node, Source, lines_of, parse, plain
from bff.core.errors import ConfigError
from bff.core.files import NotRegularError, read_regular
from bff.core.problems import Problem, Where

__all__ = ["MAX_ROUTES", "MAX_SOURCE_BYTES", "Document", "Placed", "load"]

M = TypeVar("M", bound=Block)

# All files together, and all their routes: far above any real mapping.
MAX_SOURCE_BYTES = 8 << 20
MAX_ROUTES = 10_000
_SUFFIXES = (".yaml", ".yml", ".json")
# Problems of files and YAML have the codes up to this one.
_LAST_FILE_CODE = "BFF-C009"
# How often a document is pruned of its faults before its references are left unjudged.
_MOST_REPAIRS = 4
_OTHER_FOLDERS = ("tests", "environments")
_OTHER_FILES = ("lint-ignore.yaml", "graphql.lock.yaml")


def load(folder_or_file: Path) -> Document:
    """Read a folder of mapping files, or one file.

    Raises ConfigError with every problem found, in the order of files and lines.
    """
    loading = _Loading(folder_or_file)
    document = loading.run()
    if document is None or loading.problems:
        # References are judged even so: one typo must not hide what else is wrong.
        found = list(check_names(document)) if document and loading.knows_names else []
        raise ConfigError(_in_order([*loading.problems, *found]))
    found = check(document)
    if errors := [problem for problem in found if problem.severity == "error"]:
        raise ConfigError(_in_order(errors))
    return Document(
        gateway=document.gateway,
        services=document.services,
        aggregates=document.aggregates,
        files=document.files,
        warnings=tuple(_in_order(found)),
        digest=document.digest,
    )


def _in_order(problems: list[Problem]) -> list[Problem]:
    """By place, and what YAML itself got wrong once.

    Lines on which a secret stands in clear are not shown by any problem.
    """
    of_yaml = {p.where for p in problems if p.code <= _LAST_FILE_CODE and p.where.line}
    problems = [p for p in problems if p.code <= _LAST_FILE_CODE or p.where not in of_yaml]
    hidden = {(p.where.file, p.where.line) for p in problems if p.code == "BFF-C017"}
    ordered = sorted(
        problems, key=lambda p: (p.where.file, p.where.line, p.where.column, p.message)
    )
    return [
        msgspec.structs.replace(p, line_text="") if (p.where.file, p.where.line) in hidden else p
        for p in ordered
    ]


def _shown_name(path: Path) -> str:
    """The path from the current directory where it lies below it, else in full."""
    try:
        return str(Path(os.path.abspath(path)).relative_to(Path.cwd()))  # noqa: PTH100 - links stay as named
    except (ValueError, OSError):
        return str(path)


def _mapping_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _OTHER_FOLDERS)
        for name in sorted(files):
            if name.endswith(_SUFFIXES) and not name.startswith(".") and name not in _OTHER_FILES:
                yield Path(root, name)


class _Loading:
    """One run of `load`: what was found so far."""

    def __init__(self, start: Path) -> None:
        self.problems: list[Problem] = []
        self._start = start
        self._files: list[Path] = []
        self._gateway_parts: list[Node] = []
        self._others: dict[str, list[Node]] = {"service": [], "aggregate": []}
        self._contents: list[Any] = []

    def run(self) -> Document | None:
        """The document, or None if a part of it could not be read."""
        for node in self._read_documents():
            self._sort_in(node)
        if self.problems and not (self._gateway_parts or any(self._others.values())):
            return None
        gateway = self._validated(self._merged_gateway(), GatewayFile)
        services = [self._validated(node, ServiceFile) for node in self._others["service"]]
        aggregates = [self._validated(node, AggregateFile) for node in self._others["aggregate"]]
        self._report_doubles(services, "service", "upstream")
        self._report_doubles(aggregates, "aggregate")
        routes = sum(len(placed.value.routes) for placed in services if placed)
        if routes > MAX_ROUTES:
            self._report(self._start, f"{routes} routes; at most {MAX_ROUTES} are allowed")
        if gateway is None or None in services or None in aggregates:
            return None
        return Document(
            gateway=gateway,
            services=tuple(placed for placed in services if placed),
            aggregates=tuple(placed for placed in aggregates if placed),
            files=tuple(self._files),
            warnings=(),
            digest=self._digest(),
        )

    def _report(self, path: Path, message: str, hint: str = "") -> None:
        where = Where(_shown_name(path))
        self.problems.append(Problem(where, message, hint=hint, code="BFF-C006"))

    @property
    def knows_names(self) -> bool:
        """Whether every file could be read as YAML, so that a name not seen is a name not there."""
        return all(problem.code > _LAST_FILE_CODE for problem in self.problems)

    # Files

    def _read_documents(self) -> list[Node]:
        """The documents of all files but key files, which lie beside mappings and are none."""
        by_file: dict[Path, tuple[list[Node], list[Problem]]] = {}
        room_bytes = MAX_SOURCE_BYTES
        for path in self._paths():
            text = self._read(path, room_bytes)
            if text is None:
                continue
            room_bytes -= len(text)
            source = Source(name=_shown_name(path), path=str(path), lines=lines_of(text))
            by_file[path] = parse(source, text)
        key_files = {path for nodes, _ in by_file.values() for path in _key_files(nodes)}
        documents: list[Node] = []
        for path, (nodes, problems) in by_file.items():
            if path.resolve() in key_files:
                continue
            self._files.append(path)
            self.problems += problems
            documents += nodes
        return documents

    def _paths(self) -> list[Path]:
        if self._start.is_file():
            return [self._start]
        if not self._start.is_dir():
            there = self._start.exists()
            self._report(
                self._start,
                "this is no regular file" if there else "there is no such file or folder",
            )
            return []
        paths = list(_mapping_files(self._start))
        if not paths:
            self._report(self._start, "there is no mapping file here", "add a gateway.yaml")
        return paths

    def _read(self, path: Path, room_bytes: int) -> str | None:
        try:
            content = read_regular(path, room_bytes)
        except NotRegularError:
            self._report(path, "this is no regular file")
            return None
        except OSError as error:
            self._report(path, f"this file cannot be read: {error.strerror}")
            return None
        if len(content) > room_bytes:
            most = MAX_SOURCE_BYTES >> 20
            self._report(path, f"all files together are larger than {most} MiB")
            return None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            *_, before = lines = lines_of(content[: error.start].decode("utf-8", "replace"))
            where = Where(_shown_name(path), len(lines), len(before) + 1)
            hint = "save it as UTF-8"
            problem = Problem(where, "this file is not UTF-8", hint=hint, code="BFF-C006")
            self.problems.append(problem)
            return None

    # Documents

    def _sort_in(self, node: Node) -> None:
        if not isinstance(node.value, dict):
            line_text = node.source.line(node.line)
            message = "a document is a block of keys"
            self.problems.append(Problem(node.where, message, code="BFF-C008", line_text=line_text))
            return
        kind = _kind_of(set(node.value))
        if kind == "gateway":
            self._gateway_parts.append(node)
        else:
            self._others[kind].append(node)

    def _merged_gateway(self) -> Node:
        """All blocks of gateway documents in one tree; each node still knows its own file."""
        if not self._gateway_parts:
            source = Source(name=_shown_name(self._start), path=str(self._start / "_"), lines=())
            return Node(source=source, line=0, column=0, value={}, flow=False)
        if len(self._gateway_parts) == 1:
            return self._gateway_parts[0]
        first = self._gateway_parts[0]
        blocks: dict[str, Entry] = {}
        for part in self._gateway_parts:
            for key, entry in part.value.items():
                if key not in blocks:
                    blocks[key] = entry
                elif not key.startswith("x-"):
                    self._report_twice(f"the block `{key}`", _place(entry), _place(blocks[key]))
        return Node(
            source=first.source, line=first.line, column=first.column, value=blocks, flow=False
        )

    def _report_twice(
        self, what: str, second: tuple[Source, Where], first: tuple[Source, Where]
    ) -> None:
        source, where = second
        self.problems.append(
            Problem(
                where,
                f"{what} is defined twice",
                hint=f"the other one is at {first[1]}",
                code="BFF-C009",
                line_text=source.line(where.line),
            )
        )

    def _report_doubles(self, found: list[Any], *keys: str) -> None:
        first_of: dict[tuple[str, ...], Placed[Block]] = {}
        for placed in found:
            if placed is None:
                continue
            name = tuple(str(getattr(placed.value, key)) for key in keys)
            first = first_of.setdefault(name, placed)
            if first is not placed:
                place, other = placed.root.value[keys[0]], first.root.value[keys[0]]
                self._report_twice(f"`{keys[0]}: {name[0]}`", _place(place), _place(other))

    def _validated(self, root: Node, model: type[M]) -> Placed[M] | None:
        content, paths, too_much = plain(root)
        if too_much:
            self.problems.append(too_much)
            return None
        reading = Reading(paths)
        error = None
        try:
            value: M | None = model.model_validate(content, context=reading)
        except ValidationError as failure:
            error, value = failure, _without_faults(root, model, failure)
        # The place of a model that is not there: problems need the tree alone.
        placed: Placed[M] = Placed(value, root)  # type: ignore[arg-type]  # see above
        self.problems += problems_of(placed, reading, error)  # type: ignore[arg-type]  # Placed is read only
        self._contents.append(content)
        return placed if value is not None else None

    def _digest(self) -> str:
        """The same for the same content, whatever the files, their order and their comments."""
        parts = sorted(msgspec.json.encode(content, order="sorted") for content in self._contents)
        return hashlib.sha256(b"\n".join(parts)).hexdigest()


def _without_faults(root: Node, model: type[M], error: ValidationError) -> M | None:
    """What is left of a document without its faulty values, so that its references can be judged."""
    content, paths, _ = plain(root)
    for _ in range(_MOST_REPAIRS):
        for detail in error.errors(include_url=False, include_context=False):
            if not _cut(content, tuple(detail["loc"]), missing=detail["type"] == "missing"):
                return None
        try:
            return model.model_validate(content, context=Reading(paths))
        except ValidationError as next_error:
            error = next_error
    return None


def _cut(content: Any, path: KeyPath, *, missing: bool) -> bool:
    """Take the value at `path` out, or the list it stands in: a shorter list would move its places."""
    known = list(itertools.takewhile(lambda part: isinstance(part, str), path))
    if missing and len(known) == len(path):
        known.pop()
    trail = [content]
    for part in known:
        if not isinstance(trail[-1], dict):
            break
        if part not in trail[-1]:
            # An earlier error has taken the block around it.
            return len(trail) > 1 or missing
        trail.append(trail[-1][part])
    if len(trail) == 1:
        return False
    del trail[-2][known[len(trail) - 2]]
    return True


def _place(entry: Entry) -> tuple[Source, Where]:
    return entry.node.source, Where(entry.node.source.name, entry.line, entry.column)


def _key_files(nodes: list[Node]) -> Iterator[Path]:
    """Files that `auth.api_keys.file` names, resolved."""
    for node in nodes:
        value = node
        for key in ("auth", "api_keys", "file"):
            if not isinstance(value.value, dict) or key not in value.value:
                break
            value = value.value[key].node
        else:
            if isinstance(value.value, str) and "\0" not in value.value:
                yield (Path(node.source.path).parent / value.value).resolve()


def _kind_of(keys: set[str]) -> str:
    """By the keys that tell; if none does, by most keys known, so that a typo is judged where it is."""
    if "service" in keys or {"upstream", "routes"} <= keys:
        return "service"
    if "aggregate" in keys:
        return "aggregate"
    known = {kind: len(keys & set(keys_of(model))) for kind, model in KINDS.items()}
    return max(known, key=lambda kind: known[kind])
