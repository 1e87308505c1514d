"""The types of a version: sources that fit together share a pool, others stand beside them.

Two teams may own different files of one name, and two services that give their own types may be of
different ages. Each service keeps the types of its own source; only a service of two sources is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from msgspec import Struct

from bff.core.errors import ConfigError
from bff.core.problems import Problem, Where
from bff.core.schema import Method
from bff.transcoding.descriptors import Descriptors
from bff.transcoding.json_codec import Codec
from bff.transcoding.source_merge import SHARED_BY_ALL, bare_file, claim_services, join_name
from bff.transcoding.sources import MAX_SET_BYTES, SourceSet
from bff.transcoding.type_shapes import TypeShapes

__all__ = ["CodecOf", "KnownTypes", "TypeSets", "group_sources"]

# The codec of a method's messages.
CodecOf = Callable[[Method], Codec]

# Pools are not cheap; so many that do not fit are a mistake.
_MOST_GROUPS: Final = 64


class TypeSets(Struct, frozen=True, kw_only=True, eq=False):
    """`descriptors` has the services of all sources, and the types of the first of each name.

    `codec` is that of the first group, and knows the others for error details of their types;
    `others` are theirs, by service.
    """

    descriptors: Descriptors
    codec: Codec
    others: Mapping[str, Codec]

    @staticmethod
    def build(sets: Sequence[SourceSet]) -> "TypeSets":
        """Raises ConfigError: what `Descriptors.build` finds, or a service of two sources."""
        groups = group_sources(sets)
        read: list[Descriptors] = []
        for group in groups or [[]]:
            read.append(Descriptors.build(group, before=read))
        _number(read)
        _check_size(read, sets)
        first, *more = read
        origin = ", ".join(source.origin for source in sets)
        codecs = [_codec_of(each, origin) for each in more]
        others = {
            name: codec for each, codec in zip(more, codecs, strict=True) for name in each.services
        }
        return TypeSets(
            descriptors=first if not more else Descriptors.join(read),
            codec=_codec_of(first, origin, others=tuple(codecs)),
            others=others,
        )

    def codec_of(self, method: Method) -> Codec:
        """The codec of the types that this method's messages are of."""
        return self.others.get(method.service, self.codec)


def _codec_of(types: Descriptors, origin: str, *, others: tuple[Codec, ...] = ()) -> Codec:
    """Raises ConfigError for what google's pool takes and the codec's library does not."""
    try:
        return Codec(types.file_set, others=others)
    except ValueError as error:
        raise ConfigError([Problem(Where(origin), str(error))]) from error


class KnownTypes:
    """The types that were built last: equal sources give them again, since building is the dear part.

    A node hands its own to the workers that it forks: until the types change they share the memory.
    protobuf-py 0.7 never frees a message class that was used, so types built twice would stay twice.
    """

    def __init__(self) -> None:
        self._known: tuple[str, TypeSets] | None = None

    def of(self, sources: Sequence[SourceSet]) -> TypeSets:
        """The types of these sources; raises as `TypeSets.build`."""
        key = ",".join(source.digest for source in sources)
        if self._known is None or self._known[0] != key:
            self._known = (key, TypeSets.build(sources))
        return self._known[1]


class _Group:
    """Sources whose files fit together: files by name, and which file defines a name."""

    def __init__(self) -> None:
        self.sets: list[SourceSet] = []
        self.files: dict[str, bytes] = {}
        self.symbols: dict[str, str] = {}

    def takes(self, files: Mapping[str, tuple[bytes, tuple[str, ...]]]) -> bool:
        for name, (content, symbols) in files.items():
            if self.files.get(name, content) != content:
                return False
            if any(self.symbols.get(symbol, name) != name for symbol in symbols):
                return False
        return True

    def add(self, source: SourceSet, files: Mapping[str, tuple[bytes, tuple[str, ...]]]) -> None:
        self.sets.append(source)
        for name, (content, symbols) in files.items():
            self.files[name] = content
            self.symbols.update(dict.fromkeys(symbols, name))


def group_sources(sets: Sequence[SourceSet]) -> list[list[SourceSet]]:
    """The sources in as few groups as their order allows. Raises ConfigError: a service of two sources."""
    if len(sets) < 2:
        return [list(sets)] if sets else []
    groups: list[_Group] = []
    services: dict[str, SourceSet] = {}
    problems: list[Problem] = []
    for source in sets:
        protos = [
            file
            for file in FileDescriptorSet.FromString(source.files).file
            if not file.name.startswith(SHARED_BY_ALL)
        ]
        for proto in protos:
            problems += claim_services(proto, source, services)
        files = {proto.name: (bare_file(proto), _symbols(proto)) for proto in protos}
        group = next((group for group in groups if group.takes(files)), None)
        if group is None:
            group = _Group()
            groups.append(group)
        group.add(source, files)
    if len(groups) > _MOST_GROUPS:
        message = f"more than {_MOST_GROUPS} sources whose files do not fit each other"
        problems.append(Problem(Where("descriptors"), message))
    if problems:
        raise ConfigError(problems)
    return [group.sets for group in groups]


def _symbols(proto: FileDescriptorProto) -> tuple[str, ...]:
    """What a file defines at its top; what is inside comes with it."""
    names = [part.name for part in proto.message_type]
    names += [part.name for part in proto.enum_type]
    names += [part.name for part in proto.service]
    names += [part.name for part in proto.extension]
    return tuple(join_name(proto.package, name) for name in names)


def _number(read: Sequence[Descriptors]) -> None:
    """Tell apart messages of one name that are not the same: `variant` 2, 3 and so on."""
    if len(read) < 2:
        return
    known: dict[str, list[str]] = {}
    for each in read:
        # Of its own, since a type is looked up by its name and its number, which is not set yet.
        shapes = TypeShapes()
        digests = {name: shapes.digest(message) for name, message in each.messages.items()}
        for name, message in each.messages.items():
            variants = known.setdefault(name, [])
            if digests[name] not in variants:
                variants.append(digests[name])
            message.variant = variants.index(digests[name]) + 1


def _check_size(read: Sequence[Descriptors], sets: Sequence[SourceSet]) -> None:
    size_bytes = sum(len(each.file_set) for each in read)
    if size_bytes > MAX_SET_BYTES:
        origins = ", ".join(source.origin for source in sets)
        message = f"all sources together hold {size_bytes} bytes; at most {MAX_SET_BYTES} are read"
        raise ConfigError([Problem(Where(origins), message)])
