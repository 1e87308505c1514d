"""Compiling .proto folders and reading descriptor sets, with every problem placed."""

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from bff.core.errors import ConfigError
from bff.transcoding import sources
from bff.transcoding.sources import compile_protos, read_descriptor_set, sort_files

HEAD = 'syntax = "proto3";\npackage p;\n'


def _write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.proto").write_text(HEAD + text)
    return folder


def _problems(folder: Path, *more: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compile_protos([folder, *more])
    return [str(problem) for problem in caught.value.problems]


def _names(files: bytes) -> list[str]:
    return [file.name for file in FileDescriptorSet.FromString(files).file]


@pytest.mark.rule("transcoding.1")
def test_every_faulty_file_is_reported_with_its_place(tmp_path: Path) -> None:
    folder = _write(
        tmp_path / "protos",
        a="message A { strin x = 1; }",
        b="message B { strin x = 1;\n  Foo y = 2; }",
        good="message G {}",
        user='import "a.proto";\nmessage U { A a = 1; }',
    )

    assert _problems(folder) == [
        f'{folder}/a.proto:3:13: "strin" is not defined.',
        f'{folder}/b.proto:3:13: "strin" is not defined.',
        f'{folder}/b.proto:4:3: "Foo" is not defined.',
    ]


@pytest.mark.rule("transcoding.2")
def test_missing_import_names_itself_and_who_wants_it(tmp_path: Path) -> None:
    folder = _write(tmp_path, a='import "nope.proto";')

    assert _problems(folder) == [
        f'{folder}/a.proto:3:1: imports "nope.proto", which is in none of the folders'
    ]


def test_folders_see_each_other_and_the_supplied_files(tmp_path: Path) -> None:
    one = _write(
        tmp_path / "one",
        a='import "b.proto";\nimport "google/api/annotations.proto";\n'
        'import "google/rpc/status.proto";\nimport "google/protobuf/timestamp.proto";\n'
        "message A { B b = 1; google.rpc.Status s = 2; google.protobuf.Timestamp t = 3; }",
    )
    two = _write(tmp_path / "two", b="message B {}")

    source = compile_protos([one, two])

    names = _names(source.files)
    assert names[-1] == "a.proto"
    assert {"b.proto", "google/api/http.proto", "google/rpc/status.proto"} < set(names)
    assert source.places == {"a.proto": str(one / "a.proto"), "b.proto": str(two / "b.proto")}
    assert "message B {}" in source.texts["b.proto"]


def test_packages_of_the_interpreter_are_no_import_root(tmp_path: Path) -> None:
    folder = _write(tmp_path, a='import "grpc_tools/_proto/google/protobuf/any.proto";')

    assert "in none of the folders" in _problems(folder)[0]


def test_one_name_in_two_folders_is_a_problem(tmp_path: Path) -> None:
    one, two = _write(tmp_path / "one", a=""), _write(tmp_path / "two", a="")

    assert _problems(one, two) == [f"{two}/a.proto: the same file name as {one}/a.proto"]


def test_folder_without_protos_is_a_problem(tmp_path: Path) -> None:
    assert _problems(tmp_path) == [f"{tmp_path}: no .proto files here"]
    assert _problems(tmp_path / "gone") == [f"{tmp_path}/gone: no such folder"]


def test_equal_folders_have_equal_digests(tmp_path: Path) -> None:
    one, two = _write(tmp_path / "1", a="message A {}"), _write(tmp_path / "2", a="message A {}")
    other = _write(tmp_path / "3", a="message A { int32 x = 1; }")

    assert compile_protos([one]).digest == compile_protos([two]).digest
    assert compile_protos([one]).digest != compile_protos([other]).digest


def _set_file(path: Path, *files: FileDescriptorProto) -> Path:
    path.write_bytes(FileDescriptorSet(file=files).SerializeToString())
    return path


@pytest.mark.rule("transcoding.2")
def test_set_without_an_import_names_both_files(tmp_path: Path) -> None:
    path = _set_file(
        tmp_path / "x.binpb", FileDescriptorProto(name="a.proto", dependency=["gone.proto"])
    )

    with pytest.raises(ConfigError) as caught:
        read_descriptor_set(path)

    assert [str(problem) for problem in caught.value.problems] == [
        f'{path}: "a.proto" imports "gone.proto", which is not in the set'
    ]


def test_set_gets_googles_files_where_it_lacks_them(tmp_path: Path) -> None:
    wanted = ["google/protobuf/timestamp.proto", "google/api/annotations.proto"]
    path = _set_file(tmp_path / "x.binpb", FileDescriptorProto(name="a.proto", dependency=wanted))

    names = _names(read_descriptor_set(path).files)

    assert names[-1] == "a.proto"
    assert {*wanted, "google/api/http.proto", "google/protobuf/descriptor.proto"} < set(names)


def test_import_that_google_does_not_have_is_still_missing(tmp_path: Path) -> None:
    path = _set_file(
        tmp_path / "x.binpb",
        FileDescriptorProto(name="a.proto", dependency=["google/api/nothing.proto"]),
    )

    with pytest.raises(ConfigError, match="nothing"):
        read_descriptor_set(path)


@pytest.mark.parametrize(
    ("data", "word"), [(b"\xff\xff", "FileDescriptorSet"), (b"", "no files"), (None, "cannot be")]
)
def test_file_that_is_no_set_is_a_problem(tmp_path: Path, data: bytes | None, word: str) -> None:
    path = tmp_path / "x.binpb"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(ConfigError, match=word):
        read_descriptor_set(path)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["google/api/\0.proto"], id="nul"),
        pytest.param(["google/api/../../../../etc/x.proto"], id="out-of-the-folder"),
        pytest.param([f"google/api/{'x' * 100}{n}.proto" for n in range(30_000)], id="many"),
    ],
)
def test_an_import_that_only_looks_like_googles_is_missing(
    tmp_path: Path, names: list[str]
) -> None:
    """It is no argument of the compiler, whose command line once could not be made of such names."""
    path = _set_file(tmp_path / "x.binpb", FileDescriptorProto(name="a.proto", dependency=names))

    with pytest.raises(ConfigError, match="which is not in the set"):
        read_descriptor_set(path)


@pytest.mark.parametrize("octets", [b"a.proto", b"shop.v1", b"Order", b"card_no"])
def test_a_name_that_is_no_text_is_a_problem(tmp_path: Path, octets: bytes) -> None:
    """The library hands such a name on as octets, which nobody behind it expects."""
    order = DescriptorProto(name="Order", field=[FieldDescriptorProto(name="card_no", number=1)])
    file = FileDescriptorProto(name="a.proto", package="shop.v1", message_type=[order])
    path = _set_file(tmp_path / "x.binpb", file)
    path.write_bytes(path.read_bytes().replace(octets, octets[:-1] + b"\xff"))

    with pytest.raises(ConfigError, match=r"a.pro.* of this set holds a text that is not UTF-8"):
        read_descriptor_set(path)


def test_sizes_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x.binpb"
    with path.open("wb") as out:
        out.truncate(sources.MAX_SET_BYTES + 1)

    with pytest.raises(ConfigError, match="at most"):
        read_descriptor_set(path)


def test_too_many_files_are_a_problem(tmp_path: Path) -> None:
    files = [FileDescriptorProto(name=f"{n}.proto") for n in range(sources.MAX_FILES + 1)]

    with pytest.raises(ConfigError, match="more than 2000 files"):
        read_descriptor_set(_set_file(tmp_path / "x.binpb", *files))


def test_dependencies_come_before_their_users() -> None:
    chain = [
        FileDescriptorProto(name=f"{n}.proto", dependency=[f"{n + 1}.proto"]) for n in range(1999)
    ]

    ordered = sort_files([*chain, FileDescriptorProto(name="1999.proto")])

    assert [file.name for file in ordered] == [f"{n}.proto" for n in range(1999, -1, -1)]
