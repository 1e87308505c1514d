"""The blocks `metadata` of a route: judged, then made into what its requests carry out.

A listed name is a promise to pass a client's field on, or a service's metadata out. What only the
gateway may say is refused at load, not skipped at request (`pipeline.field_rules` has the names).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from bff.config.switches import Metadata
from bff.core.events import Emit, FieldSkipped
from bff.pipeline.crossing import (
    GATEWAY_PREFIX,
    Inward,
    Outward,
    Skip,
    metadata_size,
    octets_of_base64,
)
from bff.pipeline.field_rules import Fault, inward_fault, name_fault, outward_fault
from bff.snapshot.findings import Findings
from bff.snapshot.levels import MetadataLevel

__all__ = ["compile_inward", "compile_outward", "judge_metadata"]

_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_PREFIX: Final = re.compile(r"[a-z][a-z0-9-]*-")
_BINARY: Final = "-bin"

Faults = Iterator[tuple[str | int | None, str, str]]


# What the requests of a route carry out


def compile_inward(metadata: Metadata, prefix: str, *, operation: str, emit: Emit) -> Inward | None:
    """What goes to the service, or None where nothing does."""
    fixed = [
        (name.lower(), _fixed_value(name.lower(), value))
        for block in (metadata.set, metadata.add)
        for name, value in block.items()
    ]
    removed = {name.lower() for name in metadata.remove}
    # A value that is set stands alone.
    replaced = removed | {name.lower() for name in metadata.set}
    renamed = _lower(metadata.rename)
    listed = {
        name.encode(): renamed.get(name, name)
        for name in map(str.lower, metadata.in_)
        if name not in removed and renamed.get(name, name) not in replaced
    }
    fixed = [pair for pair in fixed if pair[0] not in removed]
    if not listed and not prefix and not fixed:
        return None
    return Inward(
        listed=listed,
        prefix=prefix.encode(),
        removed=frozenset(replaced),
        fixed=tuple(fixed),
        skip=_skip(operation, "in", emit),
    )


def compile_outward(
    metadata: Metadata, prefix: str, *, trails: bool, operation: str, emit: Emit
) -> Outward | None:
    """What comes back to the client, or None where nothing does."""
    removed = {name.lower() for name in metadata.remove}
    renamed = _lower(metadata.rename)
    names = {
        name: renamed.get(name, prefix + name)
        for name in map(str.lower, metadata.out)
        if name not in removed
    }
    if not names:
        return None
    return Outward(names=names, skip=_skip(operation, "out", emit), trails=trails)


def _skip(operation: str, direction: Literal["in", "out"], emit: Emit) -> Skip:
    by_name = FieldSkipped(operation, direction, "name")
    by_value = FieldSkipped(operation, direction, "value")
    return lambda cause: emit(by_name if cause == "name" else by_value)


def _fixed_value(name: str, value: str) -> str | bytes:
    if name.endswith(_BINARY):
        # None was noted as a problem; the version does not go live.
        return octets_of_base64(value.encode()) or b""
    return value


def _lower(names: dict[str, str]) -> dict[str, str]:
    return {before.lower(): after.lower() for before, after in names.items()}


# What is wrong with the blocks


class _Around(Struct, frozen=True):
    """What a block is judged beside: those of all levels, and the prefix in force.

    `is_last`: the block is a route's own. Those of gateway and service are for many routes, so a
    name that one route has no use for is no fault there.
    """

    written: tuple[Metadata, ...]
    prefix: str
    is_last: bool = False


def judge_metadata(
    levels: Sequence[MetadataLevel], prefix: str, cap_bytes: int, find: Findings
) -> None:
    """Note what may not stand in the keys in force, each where the nearest level writes it.

    `levels` go from far to near, as `Levels.metadata_levels` gives them; `prefix` and `cap_bytes`
    are what holds.
    """
    written = tuple(block for block, _, _ in levels if block is not None)
    for attribute, key, faults_of in _KEYS:
        for block, placed, path in reversed(levels):
            if block is None or attribute not in block.model_fields_set:
                continue
            for step, message, hint in faults_of(
                block, _Around(written, prefix, path[:1] == ("routes",))
            ):
                steps = (key,) if step is None else (key, step)
                find.add(placed, message, *path, *steps, hint=hint)
            break
    _judge_size(levels, cap_bytes, find)


def _judge_size(levels: Sequence[MetadataLevel], cap_bytes: int, find: Findings) -> None:
    """What every call of the route carries has to fit, or all of them would be refused."""
    size = 0
    places = []
    for attribute in ("set", "add"):
        for block, placed, path in reversed(levels):
            if block is None or attribute not in block.model_fields_set:
                continue
            size += metadata_size(
                [
                    (name, _fixed_value(name, text))
                    for name, text in getattr(block, attribute).items()
                ]
            )
            places.append((placed, (*path, attribute)))
            break
    if size > cap_bytes:
        placed, path = places[-1]
        find.add(
            placed,
            f"`set` and `add` come to {size} octets, and a call carries {cap_bytes}",
            *path,
            hint="shorten them, or raise `caps.metadata`",
        )


def _faults_in(block: Metadata, _around: _Around) -> Faults:
    for index, name in enumerate(block.in_):
        if fault := inward_fault(name):
            yield index, *fault


def _faults_out(block: Metadata, _around: _Around) -> Faults:
    for index, name in enumerate(block.out):
        if fault := outward_fault(name):
            yield index, *fault


def _faults_set(block: Metadata, _around: _Around) -> Faults:
    yield from _faults_fixed(block.set)


def _faults_add(block: Metadata, _around: _Around) -> Faults:
    yield from _faults_fixed(block.add)


def _faults_fixed(values: dict[str, str]) -> Faults:
    for name, value in values.items():
        if fault := inward_fault(name):
            yield name, *fault
        elif not _VALUE.fullmatch(value):
            yield name, f"the value of `{name}` is not printable ASCII", "use U+0020 to U+007E"
        elif name.lower().endswith(_BINARY) and octets_of_base64(value.encode()) is None:
            yield (
                name,
                f"the value of `{name}` is not base64",
                "names that end in -bin carry octets",
            )


def _faults_rename(block: Metadata, around: _Around) -> Faults:
    inside = _names(name for each in around.written for name in each.in_)
    outside = _names(name for each in around.written for name in each.out)
    for before, after in block.rename.items():
        name = before.lower()
        if around.is_last and name not in inside and name not in outside:
            yield before, f"`{before}` stands in no list, so there is nothing to rename", _LIST_IT
        elif before.lower().endswith(_BINARY) != after.lower().endswith(_BINARY):
            yield (
                before,
                f"`{before}` and `{after}` carry different kinds of value",
                "names that end in -bin carry octets, others text: let both or neither end so",
            )
        elif fault := _renamed_fault(name, after, inside, outside):
            yield before, *fault


def _renamed_fault(name: str, after: str, inside: set[str], outside: set[str]) -> Fault | None:
    inward = inward_fault(after) if name in inside else None
    return inward or (outward_fault(after) if name in outside else None)


def _faults_remove(block: Metadata, around: _Around) -> Faults:
    known = _names(
        name
        for each in around.written
        for names in (each.in_, each.out, each.set, each.add)
        for name in names
    )
    for index, name in enumerate(block.remove):
        if fault := name_fault(name):
            yield index, *fault
        # Behind a prefix a client may send any name.
        elif around.is_last and name.lower() not in known and not around.prefix:
            yield index, f"`{name}` does not cross, so there is nothing to remove", "take it out"


def _faults_prefix(block: Metadata, _around: _Around) -> Faults:
    prefix = (block.prefix or "").lower()
    if not prefix or prefix.encode() == GATEWAY_PREFIX:
        return
    if not _PREFIX.fullmatch(prefix):
        yield (
            None,
            f"`{block.prefix}` is no beginning of a field name that ends in a dash",
            "write a prefix such as Grpc-Metadata-",
        )
    elif fault := inward_fault(f"{prefix}x"):
        yield None, f"fields that begin with `{block.prefix}` may not cross: {fault[0]}", fault[1]


def _names(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}


_LIST_IT: Final = "list it under `in` or `out`"
# Attribute of the block, its key in the file, what is wrong with its value.
_KEYS: Final = (
    ("in_", "in", _faults_in),
    ("out", "out", _faults_out),
    ("rename", "rename", _faults_rename),
    ("set", "set", _faults_set),
    ("add", "add", _faults_add),
    ("remove", "remove", _faults_remove),
    ("prefix", "prefix", _faults_prefix),
)
