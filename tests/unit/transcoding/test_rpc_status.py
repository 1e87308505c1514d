"""Details of a service's error, and details of our own."""

import json
from typing import Any

import pytest
from google.protobuf import any_pb2, duration_pb2, json_format
from google.rpc import error_details_pb2, status_pb2

from bff.core.errors import Violation
from bff.core.status import Code
from bff.transcoding.json_codec import Codec
from bff.transcoding.rpc_status import (
    bad_request,
    decode_details,
    error_info,
    request_info,
    retry_info,
)
from tests.support.proto_sets import compile_set

TYPES = "type.googleapis.com/google.rpc."


@pytest.fixture(scope="module")
def codec() -> Codec:
    # No file here imports google.rpc: the codec brings its types.
    return Codec(
        compile_set('syntax = "proto3"; package own.v1; message Fault { string why = 1; }')
    )


def packed(*messages: Any) -> list[any_pb2.Any]:
    details = []
    for message in messages:
        detail = any_pb2.Any()
        detail.Pack(message)
        details.append(detail)
    return details


def status(*details: any_pb2.Any, code: int = 5, message: str = "gone") -> bytes:
    made = status_pb2.Status(code=code, message=message, details=details)
    octets: bytes = made.SerializeToString()
    return octets


@pytest.mark.rule("transcoding.149")
def test_standard_details_are_proto_json(codec: Codec) -> None:
    messages = [
        error_details_pb2.ErrorInfo(reason="OUT", domain="x.example", metadata={"a": "b"}),
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field="f", description="d")
            ]
        ),
        error_details_pb2.RetryInfo(
            retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000)
        ),
        error_details_pb2.QuotaFailure(
            violations=[error_details_pb2.QuotaFailure.Violation(subject="s", description="d")]
        ),
        error_details_pb2.PreconditionFailure(
            violations=[error_details_pb2.PreconditionFailure.Violation(type="T", subject="s")]
        ),
        error_details_pb2.ResourceInfo(resource_type="t", resource_name="n"),
        error_details_pb2.Help(links=[error_details_pb2.Help.Link(url="https://x.example")]),
        error_details_pb2.LocalizedMessage(locale="de", message="weg"),
    ]

    message, details = decode_details(status(*packed(*messages)), Code.NOT_FOUND, codec)

    assert message == "gone"
    assert details == [
        {
            "@type": f"type.googleapis.com/{each.DESCRIPTOR.full_name}",
            **json_format.MessageToDict(each),
        }
        for each in messages
    ]


@pytest.mark.rule("transcoding.152")
def test_unknown_detail_survives_as_base64_and_debug_info_goes(codec: Codec) -> None:
    unknown = any_pb2.Any(type_url="type.googleapis.com/other.v1.X", value=b"\x08\x01")
    debug = packed(error_details_pb2.DebugInfo(detail="stack"))

    message, details = decode_details(status(unknown, *debug), Code.NOT_FOUND, codec)

    assert message == "gone"
    assert details == [{"@type": "type.googleapis.com/other.v1.X", "value": "CAE="}]


@pytest.mark.rule("transcoding.152")
def test_broken_detail_survives_as_base64(codec: Codec) -> None:
    broken = any_pb2.Any(type_url=f"{TYPES}ErrorInfo", value=b"\xff")

    assert decode_details(status(broken), Code.NOT_FOUND, codec)[1] == [
        {"@type": f"{TYPES}ErrorInfo", "value": "/w=="}
    ]


@pytest.mark.rule("transcoding.152")
def test_own_types_of_the_service_are_rendered(codec: Codec) -> None:
    own = any_pb2.Any(type_url="type.googleapis.com/own.v1.Fault", value=b"\x0a\x01w")

    assert decode_details(status(own), Code.NOT_FOUND, codec)[1] == [
        {"@type": "type.googleapis.com/own.v1.Fault", "why": "w"}
    ]


@pytest.mark.rule("transcoding.149")
def test_each_type_stands_once(codec: Codec) -> None:
    twice = packed(error_details_pb2.ErrorInfo(reason="A"), error_details_pb2.ErrorInfo(reason="B"))

    assert [
        each["reason"] for each in decode_details(status(*twice), Code.NOT_FOUND, codec)[1]
    ] == ["A"]


@pytest.mark.rule("transcoding.151")
@pytest.mark.parametrize(
    "octets", [b"", b"\xff\xff", status(code=7)], ids=["absent", "undecodable", "other code"]
)
def test_details_that_do_not_agree_are_not_used(codec: Codec, octets: bytes) -> None:
    assert decode_details(octets, Code.NOT_FOUND, codec) == (None, [])


@pytest.mark.rule("transcoding.157")
def test_own_details_are_those_messages() -> None:
    """google's own parser takes each of ours as the Any that it says it is."""
    ours = [
        error_info("INVALID_FIELD", "gw.example", {"field": "a.b"}),
        request_info("r-1"),
        bad_request([Violation("items[2].units", "must be a whole number")]),
        retry_info(1.2),
    ]

    for each in ours:
        parsed = json_format.Parse(json.dumps(each), any_pb2.Any())
        assert json.loads(json_format.MessageToJson(parsed)) == each
    assert ours[3]["retryDelay"] == "2s"
    assert "metadata" not in error_info("A", "b")
