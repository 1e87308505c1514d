"""Types by server reflection: the conversation, its bounds, and what is said when it fails."""

from collections.abc import AsyncGenerator, Sequence

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2 as wire

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.transcoding.reflection import ReflectionError, fetch_files
from bff.transcoding.reflection_wire import (
    LIST_SERVICES,
    AnswerError,
    ask_file,
    ask_symbol,
    read_answer,
)
from tests.support.proto_sets import compile_set
from tests.support.reflecting import ReflectingServer

SHELF = """
syntax = "proto3";
package shelf.v1;
import "book.proto";
service Shelf { rpc Get(book.v1.Book) returns (book.v1.Book); }
"""
BOOK = 'syntax = "proto3"; package book.v1; message Book { string id = 1; }'


class Scripted:
    """A channel on which a ReflectingServer, or a fixed answer, sits."""

    def __init__(
        self, server: ReflectingServer, *, fixed: bytes | None = None, ends: bool = False
    ) -> None:
        self.server = server
        self.fixed = fixed
        self.ends = ends
        self.paths: list[str] = []

    async def bidi(
        self,
        path: str,
        messages: AsyncGenerator[bytes, None],
        metadata: Sequence[tuple[str, str | bytes]],
        deadline_s: float | None,
    ) -> AsyncGenerator[bytes, None]:
        self.paths.append(path)
        if path.split(".")[2] not in self.server.packages:
            raise UpstreamError("UNIMPLEMENTED", code=Code.UNIMPLEMENTED)
        if self.ends:
            return
        async for message in messages:
            asked = wire.ServerReflectionRequest.FromString(message)
            yield self.fixed or self.server.answer(asked).SerializeToString()


def server(**more: object) -> ReflectingServer:
    return ReflectingServer(compile_set(SHELF, book=BOOK), **more)  # type: ignore[arg-type]  # passed on


def names(files: list[FileDescriptorProto]) -> list[str]:
    return sorted(file.name for file in files)


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("services", [(), ("shelf.v1.Shelf",)])
async def test_services_come_with_all_their_imports(
    one_by_one: bool, services: tuple[str, ...]
) -> None:
    """Whether the server gives imports unasked or one file at a time."""
    files = await fetch_files(Scripted(server(one_by_one=one_by_one)), services, deadline_s=1)

    assert names(files) == ["book.proto", "test.proto"]


async def test_a_server_without_v1_is_asked_in_v1alpha() -> None:
    channel = Scripted(server(packages=("v1alpha",)))

    files = await fetch_files(channel, (), deadline_s=1)

    assert names(files) == ["book.proto", "test.proto"]
    assert [path.split(".")[2] for path in channel.paths] == ["v1", "v1alpha"]


async def test_a_server_without_reflection_is_told_so() -> None:
    with pytest.raises(ReflectionError, match="does not offer server reflection"):
        await fetch_files(Scripted(server(packages=())), (), deadline_s=1)


async def test_a_service_that_is_not_there_is_named() -> None:
    with pytest.raises(ReflectionError, match=r"shelf\.v1\.Shelv: the server has no such service"):
        await fetch_files(Scripted(server()), ("shelf.v1.Shelv",), deadline_s=1)


async def test_a_listed_service_without_descriptor_asks_for_a_list() -> None:
    """The server lists what it does not have: the hint is to name services."""
    found = wire.ServerReflectionResponse(
        list_services_response=wire.ListServiceResponse(service=[wire.ServiceResponse(name="a.B")])
    )

    class Lying(Scripted):
        async def bidi(self, *_: object) -> AsyncGenerator[bytes, None]:
            yield found.SerializeToString()
            yield wire.ServerReflectionResponse(
                error_response=wire.ErrorResponse(error_code=5, error_message="no")
            ).SerializeToString()

    with pytest.raises(ReflectionError, match=r"lists it but has no descriptor .* `services`"):
        await fetch_files(Lying(server()), (), deadline_s=1)


@pytest.mark.parametrize(
    ("fixed", "text"),
    [
        (b"\xff\xff", "does not parse"),
        (wire.ServerReflectionResponse(
            error_response=wire.ErrorResponse(error_code=7, error_message="not for you")
        ).SerializeToString(), "not for you"),
        (wire.ServerReflectionResponse(
            file_descriptor_response=wire.FileDescriptorResponse(file_descriptor_proto=[b"\xff"])
        ).SerializeToString(), "a file that does not parse"),
        (wire.ServerReflectionResponse(
            file_descriptor_response=wire.FileDescriptorResponse()
        ).SerializeToString(), "no file came"),
    ],
    ids=["junk", "refused", "junk file", "empty"],
)  # fmt: skip
async def test_answers_that_help_nobody_are_told(fixed: bytes, text: str) -> None:
    with pytest.raises(ReflectionError, match=text):
        await fetch_files(Scripted(server(), fixed=fixed), ("shelf.v1.Shelf",), deadline_s=1)


async def test_a_stream_that_ends_early_is_told() -> None:
    with pytest.raises(ReflectionError, match="ended the stream"):
        await fetch_files(Scripted(server(), ends=True), (), deadline_s=1)


@pytest.mark.rule("transcoding.6")
@pytest.mark.parametrize(("files", "fits"), [(2_000, True), (2_001, False)])
async def test_two_thousand_files_are_the_most(files: int, fits: bool) -> None:
    protos = [FileDescriptorProto(name=f"f{n}.proto", package=f"p{n}") for n in range(files - 1)]
    top = FileDescriptorProto(name="top.proto", package="top")
    top.dependency.extend(file.name for file in protos)
    top.service.add(name="Top")
    many = ReflectingServer(FileDescriptorSet(file=[*protos, top]).SerializeToString())

    if fits:
        assert len(await fetch_files(Scripted(many), (), deadline_s=1)) == files
    else:
        with pytest.raises(ReflectionError, match="more than 2000 files"):
            await fetch_files(Scripted(many), (), deadline_s=1)


@pytest.mark.rule("transcoding.6")
async def test_thirty_two_mebibytes_are_the_most() -> None:
    mebibyte = "x" * (1 << 20)
    protos = []
    for number in range(32):
        file = FileDescriptorProto(name=f"f{number}.proto", package=f"p{number}")
        file.options.java_package = mebibyte
        protos.append(file)
    protos[0].service.add(name="Top")
    protos[0].dependency.extend(file.name for file in protos[1:])
    large = ReflectingServer(FileDescriptorSet(file=protos).SerializeToString())

    with pytest.raises(ReflectionError, match="hold more than 33554432 bytes"):
        await fetch_files(Scripted(large), (), deadline_s=1)


def test_questions_are_those_of_the_protocol() -> None:
    """Read by the messages that grpcio-reflection generates from the .proto file."""
    read = wire.ServerReflectionRequest.FromString

    long = "a." + "b" * 300
    assert read(ask_symbol(long)).file_containing_symbol == long
    assert read(ask_file("a/b.proto")).file_by_filename == "a/b.proto"
    assert read(LIST_SERVICES).WhichOneof("message_request") == "list_services"


def test_an_answer_that_is_cut_does_not_parse() -> None:
    whole = wire.ServerReflectionResponse(
        error_response=wire.ErrorResponse(error_code=5, error_message="not here")
    ).SerializeToString()

    assert read_answer(whole).is_not_found
    for end in range(1, len(whole)):
        with pytest.raises(AnswerError):
            read_answer(whole[:end])
