"""Several sources of types -> one set of files that fit together.

In one pool one file name means one file; sources that do not fit stand beside each other (`type_sets`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from msgspec import Struct

from bff.core.errors import ConfigError
from bff.core.problems import Problem, Where
from bff.transcoding.sources import MAX_FILES, SourceSet, sort_files

__all__ = [
    "SHARED_BY_ALL",
    "SourceFile",
    "bare_file",
    "claim_services",
    "join_name",
    "load_pool",
    "merge_sources",
]

# Everybody carries copies of these, of different ages; they never clash, the first one counts.
SHARED_BY_ALL: Final = "google/"


class SourceFile(Struct, frozen=True):
    """A parsed file, with the source that it came from."""

    proto: FileDescriptorProto
    source: SourceSet


def merge_sources(sets: Sequence[SourceSet]) -> tuple[list[SourceFile], list[Problem]]:
    """One file of each name, dependencies first. Equal copies are one; unequal ones are a problem."""
    kept: dict[str, SourceFile] = {}
    services: dict[str, SourceSet] = {}
    problems: list[Problem] = []
    for source in sets:
        for proto in FileDescriptorSet.FromString(source.files).file:
            if not proto.name.startswith(SHARED_BY_ALL):
                problems += claim_services(proto, source, services)
            present = kept.setdefault(proto.name, SourceFile(proto, source))
            if present.source is source or proto.name.startswith(SHARED_BY_ALL):
                continue
            if bare_file(present.proto) != bare_file(proto):
                problems.append(
                    Problem(
                        Where(source.places.get(proto.name, source.origin)),
                        f'"{proto.name}" differs from the file of that name'
                        f" in {present.source.origin}",
                    )
                )
    if len(kept) > MAX_FILES:
        origins = ", ".join(source.origin for source in sets)
        problems.append(Problem(Where(origins), f"more than {MAX_FILES} files together"))
    ordered = sort_files(file.proto for file in kept.values())
    return [kept[proto.name] for proto in ordered], problems


def claim_services(
    proto: FileDescriptorProto, source: SourceSet, services: dict[str, SourceSet]
) -> list[Problem]:
    """Note the services of a file as this source's; a problem for each that is another's."""
    problems = []
    for service in proto.service:
        full_name = join_name(proto.package, service.name)
        owner = services.setdefault(full_name, source)
        if owner is not source:
            message = (
                f"service {full_name} comes from two sources: {owner.origin} and {source.origin}"
            )
            problems.append(Problem(Where(source.places.get(proto.name, source.origin)), message))
    return problems


def bare_file(proto: FileDescriptorProto) -> bytes:
    """A file without what does not change its types: positions, comments, JSON names that are usual.

    A compiler writes every JSON name into a set; what a running service shows has only the unusual.
    """
    bare = FileDescriptorProto()
    bare.CopyFrom(proto)
    bare.ClearField("source_code_info")
    messages = list(bare.message_type)
    while messages:
        message = messages.pop()
        messages += message.nested_type
        for field in (*message.field, *message.extension):
            if field.json_name == _usual_json_name(field.name):
                field.ClearField("json_name")
    for field in bare.extension:
        field.ClearField("json_name")
    return bare.SerializeToString(deterministic=True)


def _usual_json_name(name: str) -> str:
    """As protoc makes it: underscores go, and the letter behind each is upper case."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def load_pool(files: Iterable[SourceFile]) -> DescriptorPool:
    """A pool of our own with all files. Raises ConfigError for those that the pool refuses."""
    pool = DescriptorPool()
    problems = []
    for file in files:
        try:
            # Built with the next lookup in the pure-Python pool, so it is looked up here.
            pool.AddSerializedFile(file.proto.SerializeToString())
            pool.FindFileByName(file.proto.name)
        except (TypeError, KeyError) as error:
            where = Where(file.source.places.get(file.proto.name, file.source.origin))
            problems.append(Problem(where, f'"{file.proto.name}" does not load: {error}'))
    if problems:
        raise ConfigError(problems)
    return pool


def join_name(scope: str, name: str) -> str:
    """A full name: `name` inside `scope`, which may be empty."""
    return f"{scope}.{name}" if scope else name
