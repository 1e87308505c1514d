"""Answers of server reflection, read as the generated code reads them; no octets break the reader."""

import contextlib

from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2 as wire
from hypothesis import given
from hypothesis import strategies as st

from bff.transcoding.reflection_wire import Answer, AnswerError, read_answer

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=5))
def test_files_are_those_of_the_answer(files: list[bytes]) -> None:
    sent = wire.ServerReflectionResponse(
        valid_host="here",
        original_request=wire.ServerReflectionRequest(file_by_filename="a.proto"),
        file_descriptor_response=wire.FileDescriptorResponse(file_descriptor_proto=files),
    )

    assert read_answer(sent.SerializeToString()) == Answer(files=tuple(files))


@given(st.lists(NAMES, max_size=5))
def test_services_are_those_of_the_answer(names: list[str]) -> None:
    listed = [wire.ServiceResponse(name=name) for name in names]
    sent = wire.ServerReflectionResponse(
        list_services_response=wire.ListServiceResponse(service=listed)
    )

    assert read_answer(sent.SerializeToString()) == Answer(services=tuple(names))


@given(st.integers(1, 16), NAMES)
def test_errors_are_those_of_the_answer(code: int, text: str) -> None:
    sent = wire.ServerReflectionResponse(
        error_response=wire.ErrorResponse(error_code=code, error_message=text)
    )

    assert read_answer(sent.SerializeToString()) == Answer(code=code, text=text)


@given(st.binary(max_size=200))
def test_any_octets_are_an_answer_or_refused(octets: bytes) -> None:
    """What the generated code reads, ours reads to the same services and files."""
    read = None
    with contextlib.suppress(AnswerError):
        read = read_answer(octets)
    with contextlib.suppress(DecodeError):
        known = wire.ServerReflectionResponse.FromString(octets)
        kind = known.WhichOneof("message_response")
        if read is not None and kind == "file_descriptor_response":
            assert set(known.file_descriptor_response.file_descriptor_proto) <= set(read.files)
