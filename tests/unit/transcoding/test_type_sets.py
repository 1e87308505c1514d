"""Sources whose files do not fit each other: each service keeps the types of its own source."""

from pathlib import Path

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bff.core.errors import ConfigError
from bff.core.schema import MessageType
from bff.transcoding.sources import SourceSet, read_descriptor_set
from bff.transcoding.type_sets import TypeSets, group_sources
from tests.support.proto_sets import compile_set, renamed
from tests.support.two_ages import LATER, NEW, OLD, service


def sources(folder: Path, **sets: bytes) -> list[SourceSet]:
    found = []
    for name, data in sets.items():
        (folder / f"{name}.binpb").write_bytes(data)
        found.append(read_descriptor_set(folder / f"{name}.binpb"))
    return found


@pytest.mark.parametrize(
    ("second", "third", "groups"),
    [(OLD, OLD, 1), (NEW, OLD, 2), (NEW, NEW, 2), (NEW, LATER, 3)],
    ids=["all fit", "the second", "one against two", "all differ"],
)
def test_sources_that_fit_share_a_pool(
    tmp_path: Path, second: str, third: str, groups: int
) -> None:
    sets = sources(
        tmp_path, a=service("book", OLD), b=service("lamp", second), c=service("seat", third)
    )

    assert len(group_sources(sets)) == groups
    types = TypeSets.build(sets)
    assert set(types.descriptors.services) == {"book.v1.Books", "lamp.v1.Lamps", "seat.v1.Seats"}


def test_one_name_in_files_of_two_names_does_not_fit(tmp_path: Path) -> None:
    """Each source is fine by itself, and both are served."""
    one = 'syntax = "proto3"; package a; message C { int32 x = 1; } service %s { rpc G(C) returns (C); }'
    other = renamed(compile_set(one % "T"), "other.proto")
    sets = sources(tmp_path, a=compile_set(one % "S"), b=other)

    assert len(group_sources(sets)) == 2
    services = TypeSets.build(sets).descriptors.services
    assert set(services) == {"a.S", "a.T"}


@pytest.mark.rule("transcoding.3")
def test_a_service_of_two_sources_is_wrong_in_any_group(tmp_path: Path) -> None:
    sets = sources(tmp_path, a=service("book", OLD), b=service("book", NEW))

    with pytest.raises(ConfigError, match=r"book\.v1\.Books comes from two sources"):
        TypeSets.build(sets)


def test_types_of_one_name_are_told_apart_where_they_differ(tmp_path: Path) -> None:
    """All the way up to what holds them; equal ones are one."""
    sets = sources(
        tmp_path, a=service("book", OLD), b=service("lamp", NEW), c=service("seat", LATER)
    )
    services = TypeSets.build(sets).descriptors.services

    def money(name: str) -> MessageType:
        found = services[name].methods["Get"].input.by_name["price"].message
        assert found is not None
        return found

    assert [money(n).variant for n in ("book.v1.Books", "lamp.v1.Lamps", "seat.v1.Seats")] == [
        1,
        2,
        3,
    ]
    units = [
        money(n).by_name["unit"].enum for n in ("book.v1.Books", "lamp.v1.Lamps", "seat.v1.Seats")
    ]
    assert [unit.variant for unit in units if unit] == [1, 1, 2]
    assert services["lamp.v1.Lamps"].methods["Get"].input.variant == 1


def test_details_of_any_source_are_decoded(tmp_path: Path) -> None:
    """Of a type that only the second source has."""
    types = TypeSets.build(sources(tmp_path, a=service("book", OLD), b=service("lamp", NEW)))
    packed = AnyMessage(type_url="type.googleapis.com/lamp.v1.Lamp", value=b"\x0a\x017")

    found = types.codec.any_tree(packed.type_url, packed.value)

    assert found == {"@type": "type.googleapis.com/lamp.v1.Lamp", "id": "7"}


def test_what_the_codec_cannot_read_is_a_problem_of_its_file(tmp_path: Path) -> None:
    """google's pool takes a default value of no digits for a number; no compiler writes one."""
    text = 'syntax = "proto2"; message A { optional int64 n = 1 [default = 5]; }'
    damaged = FileDescriptorSet.FromString(compile_set(text))
    damaged.file[0].message_type[0].field[0].default_value = ""

    with pytest.raises(
        ConfigError, match=r'"test.proto" cannot be read: invalid literal'
    ) as caught:
        TypeSets.build(sources(tmp_path, a=damaged.SerializeToString()))

    assert caught.value.problems[0].where.file.endswith("a.binpb")
