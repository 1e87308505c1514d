"""A serialized FileDescriptorSet as types of protobuf-py.

protobuf-py 0.7 makes message classes from descriptors by a function it does not promise; what leans
on that, and what mends its enums and JSON names, stands here.
"""

from typing import Any

from google.protobuf import (
    any_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.rpc import error_details_pb2, status_pb2
from protobuf import DescEnum, Registry
from protobuf._file_registry import add_file  # the one door to dynamic types; not in its API
from protobuf.wkt import FileDescriptorProto, FileDescriptorSet

__all__ = ["registry_of"]

# Present in every set of types, so that Any and google.rpc details resolve (dependencies first).
_SUPPLIED = (
    any_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
    error_details_pb2,
    status_pb2,
)


def registry_of(file_set: bytes) -> Registry:
    """All types of the set and those that every set has; costs milliseconds a file.

    Raises ValueError if the set does not hold together.
    """
    registry = Registry()
    files = {file.name: file for file in FileDescriptorSet.from_binary(file_set).file}
    for module in _SUPPLIED:
        octets = module.DESCRIPTOR.serialized_pb
        files.setdefault(module.DESCRIPTOR.name, FileDescriptorProto.from_binary(octets))
    for file in _dependencies_first(files):
        try:
            _prepare(file)
            add_file(registry, file, None)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # The library takes a file for sound, as a compiler makes them; sets come from elsewhere too.
            raise ValueError(f'"{file.name}" cannot be read: {error}') from error
    for desc in registry:
        if isinstance(desc, DescEnum):
            _bound_enum(desc)
    return registry


def _dependencies_first(files: dict[str, FileDescriptorProto]) -> list[FileDescriptorProto]:
    """Our supplied files may need some of the set's and the other way round, so order them all.

    Raises ValueError naming an import that is in neither.
    """
    ordered: dict[str, FileDescriptorProto] = {}
    todo = list(files)
    while todo:
        name = todo[-1]
        missing = [each for each in files[name].dependency if each not in ordered]
        for each in missing:
            if each not in files:
                raise ValueError(f"{name} imports {each}, which is not in the set")
            if len(todo) > len(files) ** 2 + 1:
                raise ValueError(f"{name} imports itself by way of {each}")
        todo.extend(missing)
        if not missing:
            ordered[todo.pop()] = files[name]
    return list(ordered.values())


def _prepare(file: Any) -> None:
    """Give fields their JSON names and let the first alias of an enum number be the one printed."""
    todo = [*file.message_type]
    enums = [*file.enum_type]
    while todo:
        message = todo.pop()
        todo.extend(message.nested_type)
        enums.extend(message.enum_type)
        for field in message.field:
            # Generated Python code, and with it many a reflection server, leaves them out.
            field.json_name = field.json_name or _json_name(field.name)
    for enum in enums:
        by_number: dict[int, list[Any]] = {}
        for value in enum.value:
            by_number.setdefault(value.number, []).append(value)
        if len(by_number) < len(enum.value):
            # The codec prints the last name. Numbers keep their places, so the default stays.
            enum.value = [by_number[value.number].pop() for value in enum.value]


def _bound_enum(desc: DescEnum) -> None:
    """Refuse numbers beyond 32 bits, which an open enum takes and then writes cut or not at all."""
    enum_class: Any = desc.type
    take_unknown = enum_class._missing_  # the hook of Python's enum, which open enums use

    def missing(_class: type, value: object) -> object:
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            raise ValueError("beyond 32 bits")
        return take_unknown(value)

    enum_class._missing_ = classmethod(missing)


def _json_name(name: str) -> str:
    """LowerCamelCase as protoc makes it: each underscore goes, the letter after it is capital."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
