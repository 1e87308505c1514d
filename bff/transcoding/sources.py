"""Where types come from: folders of .proto files and descriptor sets -> bytes of descriptors.

Both readers block (a compiler process, files), so callers run them off the event loop. Nothing is
interpreted here but names and imports; `descriptors` reads the types.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError, Message
from msgspec import Struct

from bff.core.errors import ConfigError
from bff.core.files import read_regular
from bff.core.problems import Problem, Where
from bff.core.schema import HttpBinding

__all__ = [
    "MAX_FILES",
    "MAX_SET_BYTES",
    "SourceSet",
    "compile_protos",
    "make_source",
    "read_descriptor_set",
    "sort_files",
]

# The caps of one source, whatever its kind: more is a mistake in the path, not an API.
MAX_SET_BYTES: Final = 32 * 1024 * 1024
MAX_FILES: Final = 2000
# A compiler that works this long on 32 MiB hangs.
_COMPILE_TIMEOUT_S: Final = 120.0
# protoc stops at the first file with errors; so many times it is asked again for the others.
_MAX_ROUNDS: Final = 20
# Supplied when a source lacks them.
_SUPPLIED: Final = ("google/protobuf/", "google/api/", "google/rpc/", "google/type/")
_MOST_SUPPLIED: Final = 200
# What may be an argument of the compiler: no way out of the folders that hold them, no NUL.
_SUPPLIED_NAME: Final = re.compile(r"(?:[A-Za-z0-9_]+/)+[A-Za-z0-9_]+\.proto").fullmatch

_MESSAGE = re.compile(r"(?P<file>[^:]+\.proto):(?:(?P<line>\d+):(?P<column>\d+):)? (?P<text>.*)")
_BAD_IMPORT = re.compile(r'Import "(?P<name>[^"]+)" was not found or had errors\.')
_NOT_FOUND = "File not found."


class SourceSet(Struct, frozen=True, kw_only=True):
    """One source's types. `files` is a FileDescriptorSet with its imports, dependencies first.

    `origin` names the source for people. `rules` are bindings that beat the annotations, by full
    method name (`package.Service.Method`). `texts` and `places` hold, where known, each file's text
    and path by its proto name, so that a problem can point into it. `digest` is that of `files` and
    `rules`.
    """

    origin: str
    files: bytes
    digest: str
    texts: Mapping[str, str] = {}
    places: Mapping[str, str] = {}
    rules: Mapping[str, tuple[HttpBinding, ...]] = {}


def compile_protos(folders: Sequence[Path]) -> SourceSet:
    """Compile every .proto file below `folders`, which are the roots of their imports.

    google/protobuf, google/api, google/rpc and google/type are supplied if missing. Blocks.
    Raises ConfigError with every problem of every file.
    """
    origin = ", ".join(str(folder) for folder in folders)
    places, problems = _list_protos(folders)
    if not places and not problems:
        problems.append(Problem(Where(origin), "no .proto files here"))
    if problems:
        raise ConfigError(problems)
    texts, problems = _read_texts(places, origin)
    if problems:
        raise ConfigError(problems)
    data = _compile(sorted(places), folders, places)
    shown = {name: str(path) for name, path in places.items()}
    return _source_set(origin, _parse_set(data, origin), texts=texts, places=shown)


def read_descriptor_set(path: Path) -> SourceSet:
    """Read a serialized FileDescriptorSet that holds its own imports. Blocks.

    Raises ConfigError: unreadable, over a bound, not a set, or an import missing in it.
    """
    origin = str(path)
    try:
        data = read_regular(path, MAX_SET_BYTES)
        size_bytes = path.stat().st_size
    except OSError as error:
        raise ConfigError([Problem(Where(origin), f"cannot be read: {error.strerror}")]) from error
    if len(data) > MAX_SET_BYTES:
        raise ConfigError([Problem(Where(origin), _too_large(max(size_bytes, len(data))))])
    files = _parse_set(data, origin)
    if not files:
        raise ConfigError([Problem(Where(origin), "holds no files")])
    return make_source(origin, files)


def make_source(
    origin: str,
    files: list[FileDescriptorProto],
    *,
    places: Mapping[str, str] | None = None,
) -> SourceSet:
    """Parsed files as a source; Google's own are supplied where they lack. Blocks.

    Raises ConfigError if another import is missing.
    """
    problems = _not_text(files, origin)
    if problems:
        raise ConfigError(problems)
    files = _add_supplied(files)
    problems = _missing_imports(files, origin)
    if problems:
        raise ConfigError(problems)
    return _source_set(origin, files, places=places)


def sort_files(files: Iterable[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """The same files with every dependency before the file that imports it; ties by name.

    Imports that are not among the files are passed over, circles are left as they fall: the pool
    that loads the files refuses them.
    """
    by_name = {file.name: file for file in files}
    done: dict[str, FileDescriptorProto] = {}
    # An own stack: a chain of imports may be longer than Python's.
    stack = [(name, False) for name in sorted(by_name, reverse=True)]
    entered: set[str] = set()
    while stack:
        name, imports_done = stack.pop()
        if name in done or name not in by_name:
            continue
        if imports_done:
            done[name] = by_name[name]
        elif name not in entered:
            entered.add(name)
            stack.append((name, True))
            stack += [(wanted, False) for wanted in sorted(by_name[name].dependency, reverse=True)]
    return list(done.values())


def _list_protos(folders: Sequence[Path]) -> tuple[dict[str, Path], list[Problem]]:
    places: dict[str, Path] = {}
    problems: list[Problem] = []
    for folder in folders:
        if not folder.is_dir():
            problems.append(Problem(Where(str(folder)), "no such folder"))
            continue
        for path in sorted(folder.rglob("*.proto")):
            name = path.relative_to(folder).as_posix()
            if name in places:
                problems.append(Problem(Where(str(path)), f"the same file name as {places[name]}"))
            places.setdefault(name, path)
            if len(places) > MAX_FILES:
                too_many = Problem(Where(str(folder)), f"more than {MAX_FILES} .proto files")
                return {}, [*problems, too_many]
    return places, problems


def _read_texts(places: dict[str, Path], origin: str) -> tuple[dict[str, str], list[Problem]]:
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    total_bytes = 0
    for name, path in places.items():
        try:
            content = read_regular(path, MAX_SET_BYTES - total_bytes)
            total_bytes += len(content)
            if total_bytes > MAX_SET_BYTES:
                total_bytes += path.stat().st_size - len(content)
                return {}, [*problems, Problem(Where(origin), _too_large(total_bytes))]
            # protoc judges the encoding; here the text only serves to find positions in it.
            texts[name] = content.decode("utf-8", "replace").replace("\r\n", "\n")
        except OSError as error:
            problems.append(Problem(Where(str(path)), f"cannot be read: {error.strerror}"))
    return texts, problems


def _compile(names: list[str], folders: Sequence[Path], places: Mapping[str, Path]) -> bytes:
    """Run protoc over the files; on errors again without the faulty ones, to find all of them."""
    found: dict[Problem, None] = {}
    left = names
    for _ in range(_MAX_ROUNDS):
        data, stderr = _run_protoc(left, folders)
        if data is not None:
            break
        problems, faulty = _read_stderr(stderr, places)
        found |= dict.fromkeys(problems)
        remaining = [name for name in left if name not in faulty]
        if not remaining or len(remaining) == len(left):
            break
        left = remaining
    if data is None or found:
        raise ConfigError(
            list(found) or [Problem(Where(names[0]), stderr.strip() or "protoc failed")]
        )
    return data


def _run_protoc(names: Sequence[str], folders: Sequence[Path]) -> tuple[bytes | None, str]:
    """The descriptor set, or None and what protoc wrote to stderr."""
    with tempfile.TemporaryDirectory(prefix="bff-protoc-") as work:
        out = Path(work, "set.binpb")
        includes = [*(folder.resolve() for folder in folders), *_supplied_roots(Path(work))]
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter; file names are arguments, not a shell line
                [
                    sys.executable,
                    "-m",
                    "grpc_tools.protoc",
                    *(f"-I{include}" for include in includes),
                    f"--descriptor_set_out={out}",
                    "--include_imports",
                    "--include_source_info",
                    *names,
                ],
                # An empty folder: protoc would take files of the current one before the roots.
                cwd=work,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_COMPILE_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return None, f"protoc ran longer than {_COMPILE_TIMEOUT_S:.0f} s"
        return (out.read_bytes() if done.returncode == 0 else None), done.stderr


def _supplied_roots(work: Path) -> list[Path]:
    """Include roots with Google's own files, and nothing else of the packages that carry them."""
    root = work / "supplied" / "google"
    root.mkdir(parents=True)
    for package in ("api", "rpc", "type"):
        spec = find_spec(f"google.{package}")
        for location in (spec.submodule_search_locations or ()) if spec else ():
            (root / package).symlink_to(Path(location).resolve())
            break
    return [root.parent, Path(str(resources.files("grpc_tools") / "_proto"))]


def _read_stderr(stderr: str, places: Mapping[str, Path]) -> tuple[list[Problem], set[str]]:
    """Protoc's complaints as problems, and the names of our files that they are about."""
    # protoc names a file by its place on disk, folders resolved.
    names = {str(path.parent.resolve() / path.name): name for name, path in places.items()}
    parsed = [found for line in stderr.splitlines() if (found := _MESSAGE.fullmatch(line))]
    faulty: set[str] = set()
    misled: set[str] = set()
    found_in: list[tuple[str, Problem]] = []
    for found in parsed:
        name, text = names.get(found["file"], found["file"]), found["text"]
        if text == _NOT_FOUND or text.startswith("warning:"):
            continue
        faulty.add(name)
        bad_import = _BAD_IMPORT.fullmatch(text)
        if bad_import and bad_import["name"] in places:
            # The import's own errors are listed; what follows from them in this file is noise.
            misled.add(name)
        elif bad_import:
            text = f'imports "{bad_import["name"]}", which is in none of the folders'
        where = Where(
            str(places.get(name, name)), int(found["line"] or 0), int(found["column"] or 0)
        )
        found_in.append((name, Problem(where, text)))
    return [problem for name, problem in found_in if name not in misled], faulty


def _parse_set(data: bytes, origin: str) -> list[FileDescriptorProto]:
    if len(data) > MAX_SET_BYTES:
        raise ConfigError([Problem(Where(origin), _too_large(len(data)))])
    try:
        files = list(FileDescriptorSet.FromString(data).file)
    except DecodeError as error:
        raise ConfigError([Problem(Where(origin), f"is no FileDescriptorSet: {error}")]) from error
    if len(files) > MAX_FILES:
        raise ConfigError([Problem(Where(origin), f"more than {MAX_FILES} files")])
    return files


def _add_supplied(files: list[FileDescriptorProto]) -> list[FileDescriptorProto]:
    present = {file.name for file in files}
    wanted = {
        name
        for file in files
        for name in file.dependency
        if name not in present and name.startswith(_SUPPLIED) and _SUPPLIED_NAME(name)
    }
    # More than Google has are names of somebody's own; the check of imports names them.
    if not wanted or len(wanted) > _MOST_SUPPLIED:
        return files
    data, _ = _run_protoc(sorted(wanted), ())
    if data is None:
        # One of the names does not exist; the check of imports names it and who wants it.
        return files
    supplied = FileDescriptorSet.FromString(data).file
    return [*files, *(file for file in supplied if file.name not in present)]


def _not_text(files: Iterable[FileDescriptorProto], origin: str) -> list[Problem]:
    """Names and comments that are no UTF-8: the library gives them as octets, which nothing expects."""
    return [
        Problem(Where(origin), f"the file {file.name!r} of this set holds a text that is not UTF-8")
        for file in files
        if _holds_octets(file)
    ]


def _holds_octets(message: Message) -> bool:
    waiting = [message]
    while waiting:
        for field, value in waiting.pop().ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                waiting.extend(value if field.is_repeated else (value,))
            elif field.type == FieldDescriptor.TYPE_STRING:
                texts = value if field.is_repeated else (value,)
                if not all(isinstance(text, str) for text in texts):
                    return True
    return False


def _missing_imports(files: list[FileDescriptorProto], origin: str) -> list[Problem]:
    present = {file.name for file in files}
    return [
        Problem(Where(origin), f'"{file.name}" imports "{name}", which is not in the set')
        for file in files
        for name in file.dependency
        if name not in present
    ]


def _source_set(
    origin: str,
    files: Iterable[FileDescriptorProto],
    *,
    texts: Mapping[str, str] | None = None,
    places: Mapping[str, str] | None = None,
) -> SourceSet:
    data = FileDescriptorSet(file=sort_files(files)).SerializeToString(deterministic=True)
    return SourceSet(
        origin=origin,
        files=data,
        digest=sha256(data).hexdigest(),
        texts=texts or {},
        places=places or {},
    )


def _too_large(size_bytes: int) -> str:
    return f"holds {size_bytes} bytes; at most {MAX_SET_BYTES} are read"
