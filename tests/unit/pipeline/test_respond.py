"""Errors as replies: what a stranger reads of them, and what not."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from msgspec import structs

from bff.cli.offline import compile_offline
from bff.core.errors import (
    ClientError,
    DeniedError,
    GatewayError,
    LimitedError,
    UpstreamError,
    Violation,
)
from bff.core.exchange import Reply
from bff.core.status import HTTP_OF_CODE, MASKED_CODES, REASONS, Code
from bff.pipeline.connect import ConnectCall
from bff.pipeline.respond import bug_reply, error_reply, error_tree
from bff.pipeline.route import Tools
from tests.support.config_files import write
from tests.support.plain_request import plain_request

SECRET = "10.1.2.3:5432 password=hunter2"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    protos = Path(__file__).parents[3] / "protos"
    text = f"gateway: {{name: shop, domain: api.example.com, protos: [{protos}]}}"
    return compile_offline(write(tmp_path_factory.mktemp("m"), {"gateway.yaml": text}))[1].tools


def packed(*details: Message, code: Code, message: str = "hidden") -> bytes:
    """`grpc-status-details-bin`, as a service makes it."""
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        made = AnyMessage()
        made.Pack(detail)
        status.details.append(made)
    octets: bytes = status.SerializeToString()
    return octets


def body(reply: Reply) -> Any:
    return msgspec.json.decode(reply.body)["error"]


def kinds(error: Any) -> list[str]:
    return [detail["@type"].rpartition(".")[2] for detail in error["details"]]


@pytest.mark.rule("transcoding.149")
@pytest.mark.parametrize("reason", [r for r, row in REASONS.items() if row.status >= 400])
def test_every_reason_has_the_one_form(tools: Tools, reason: str) -> None:
    """code is the HTTP number, status the gRPC name; reason, domain and request id are always there."""
    reply = error_reply(GatewayError(reason), plain_request(), tools)

    error = body(reply)
    row = REASONS[reason]
    assert (reply.status, error["code"], error["status"]) == (row.status, row.status, row.code.name)
    assert error["message"] == row.text
    assert error["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "api.example.com",
    }
    assert error["details"][-1]["requestId"] == "request-1"
    assert dict(reply.headers).get(b"retry-after") == (
        None if row.retry_after_s is None else str(row.retry_after_s).encode()
    )


@pytest.mark.rule("transcoding.153")
@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_a_services_words_are_shown_for_client_codes_alone(tools: Tools, code: Code) -> None:
    info = error_details_pb2.ErrorInfo(reason="OWN_REASON", domain="orders")
    debug = error_details_pb2.DebugInfo(detail=SECRET, stack_entries=[SECRET])
    help_ = error_details_pb2.LocalizedMessage(locale="en", message=SECRET)
    error = UpstreamError(
        code.name,
        code=code,
        message=SECRET,
        details_bin=packed(info, debug, help_, code=code, message=SECRET),
    )

    reply = error_reply(error, plain_request(), tools)

    shown = body(reply)
    assert reply.status == HTTP_OF_CODE[code]
    assert shown["details"][0]["reason"] == "OWN_REASON"
    assert "DebugInfo" not in kinds(shown)
    if code in MASKED_CODES:
        assert shown["message"] == MASKED_CODES[code]
        assert SECRET.encode() not in reply.body
        assert kinds(shown) == ["ErrorInfo", "RequestInfo"]
    else:
        assert shown["message"] == SECRET
        assert "LocalizedMessage" in kinds(shown)


@pytest.mark.rule("transcoding.153")
def test_a_faulty_wire_shows_nothing_of_itself(tools: Tools) -> None:
    error = UpstreamError(
        "UPSTREAM_UNAVAILABLE", code=Code.NOT_FOUND, origin="wire", message=SECRET, detail=SECRET
    )

    reply = error_reply(error, plain_request(), tools)

    assert SECRET.encode() not in reply.body


@pytest.mark.rule("transcoding.153")
def test_words_of_a_service_are_cleaned_and_cut(tools: Tools) -> None:
    error = UpstreamError(
        "NOT_FOUND", code=Code.NOT_FOUND, message="no\x00 such\r\n\x1b[31m thing" + "x" * 5_000
    )

    shown = error_tree(error, plain_request(), tools)["message"]

    assert shown.startswith("no such[31m thingxxx")
    assert len(shown) == 1024


@pytest.mark.rule("transcoding.153")
def test_words_in_any_script_stay_whole(tools: Tools) -> None:
    """What only looks empty is no control; what turns the text around is cut. 1 KiB is octets."""
    words = "pas\u00a0de plat\u3000\u0644\u200c\u0627 \U0001f468\u200d\U0001f373"

    spaced = UpstreamError("NOT_FOUND", code=Code.NOT_FOUND, message=words + "\u202e\u2028\x85")
    long = UpstreamError("NOT_FOUND", code=Code.NOT_FOUND, message="a" + "\u00e9" * 1024)

    assert error_tree(spaced, plain_request(), tools)["message"] == words
    assert error_tree(long, plain_request(), tools)["message"] == "a" + "\u00e9" * 511


@pytest.mark.rule("transcoding.151")
@pytest.mark.parametrize(
    "details",
    [b"\xff\xff", packed(error_details_pb2.ErrorInfo(reason="OTHER"), code=Code.ABORTED)],
    ids=["no status", "another code"],
)
def test_details_that_do_not_agree_are_left_out(tools: Tools, details: bytes) -> None:
    error = UpstreamError("NOT_FOUND", code=Code.NOT_FOUND, message="gone", details_bin=details)

    shown = error_tree(error, plain_request(), tools)

    assert shown["message"] == "gone"
    assert shown["details"][0]["reason"] == "NOT_FOUND"


@pytest.mark.rule("transcoding.152")
def test_a_detail_of_an_unknown_type_stays_as_octets(tools: Tools) -> None:
    status = status_pb2.Status(code=int(Code.NOT_FOUND))
    status.details.append(AnyMessage(type_url="type.googleapis.com/own.Thing", value=b"\x01\x02"))
    error = UpstreamError("NOT_FOUND", code=Code.NOT_FOUND, details_bin=status.SerializeToString())

    details = error_tree(error, plain_request(), tools)["details"]

    assert {"@type": "type.googleapis.com/own.Thing", "value": "AQI="} in details


@pytest.mark.rule("transcoding.152")
def test_a_detail_without_a_type_is_nothing(tools: Tools) -> None:
    status = status_pb2.Status(code=int(Code.NOT_FOUND))
    status.details.extend([AnyMessage(), AnyMessage(type_url="x/", value=b"\1")])
    error = UpstreamError("NOT_FOUND", code=Code.NOT_FOUND, details_bin=status.SerializeToString())

    assert kinds(error_tree(error, plain_request(), tools)) == ["ErrorInfo", "RequestInfo"]


@pytest.mark.rule("transcoding.149", "transcoding.159")
def test_the_id_of_the_request_is_the_gateways(tools: Tools) -> None:
    """The one that x-request-id has; a service's own stands in the service's log."""
    theirs = error_details_pb2.RequestInfo(request_id="theirs", serving_data=SECRET)
    error = UpstreamError(
        "NOT_FOUND", code=Code.NOT_FOUND, details_bin=packed(theirs, code=Code.NOT_FOUND)
    )

    reply = error_reply(error, plain_request(), tools)

    shown = [d for d in body(reply)["details"] if d["@type"].endswith(".RequestInfo")]
    assert [detail["requestId"] for detail in shown] == ["request-1"]
    assert SECRET.encode() not in reply.body


@pytest.mark.rule("transcoding.149")
def test_each_type_of_detail_stands_once_whatever_host_names_it(tools: Tools) -> None:
    status = status_pb2.Status(code=int(Code.NOT_FOUND))
    for host, reason in (("type.googleapis.com", "FIRST"), ("types.example", "SECOND")):
        info = error_details_pb2.ErrorInfo(reason=reason).SerializeToString()
        status.details.append(AnyMessage(type_url=f"{host}/google.rpc.ErrorInfo", value=info))
    error = UpstreamError("NOT_FOUND", code=Code.NOT_FOUND, details_bin=status.SerializeToString())

    shown = error_tree(error, plain_request(), tools)

    assert kinds(shown) == ["ErrorInfo", "RequestInfo"]
    assert shown["details"][0]["reason"] == "FIRST"


@pytest.mark.rule("transcoding.154")
@pytest.mark.parametrize(
    ("code", "seconds", "shown"),
    [
        (Code.UNAVAILABLE, 1.5, b"2"),
        (Code.RESOURCE_EXHAUSTED, 30.0, b"30"),
        (Code.RESOURCE_EXHAUSTED, 0.0, b"1"),
        (Code.ABORTED, 5.0, None),
    ],
)
def test_a_wait_that_a_service_asks_for_is_retry_after(
    tools: Tools, code: Code, seconds: float, shown: bytes | None
) -> None:
    """Rounded up; only where HTTP has a status that bears it."""
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(int(seconds * 1e9))
    error = UpstreamError(code.name, code=code, details_bin=packed(retry, code=code))

    reply = error_reply(error, plain_request(), tools)

    assert dict(reply.headers).get(b"retry-after") == shown
    assert kinds(body(reply)).count("RetryInfo") == 1


@pytest.mark.rule("transcoding.154")
def test_a_services_401_has_a_challenge_of_the_gateway(tools: Tools) -> None:
    """From the realm alone: nothing of the service's text gets into the field (RFC 9110 11.6.1)."""
    error = UpstreamError(
        "UNAUTHENTICATED", code=Code.UNAUTHENTICATED, message='Basic realm="x"\r\nx-evil: 1'
    )

    reply = error_reply(error, plain_request(), tools)

    assert reply.status == 401
    challenges = [value for name, value in reply.headers if name == b"www-authenticate"]
    assert challenges == [b'Bearer realm="shop"']


@pytest.mark.rule("transcoding.154")
def test_a_401_of_ours_keeps_the_one_challenge_of_its_cause(tools: Tools) -> None:
    own = (b"www-authenticate", b'Bearer realm="shop", error="invalid_token"')

    reply = error_reply(DeniedError("TOKEN_INVALID", headers=(own,)), plain_request(), tools)

    assert [pair for pair in reply.headers if pair[0] == b"www-authenticate"] == [own]


@pytest.mark.rule("edge.16")
def test_an_answer_that_is_too_large_is_internal(tools: Tools) -> None:
    error = UpstreamError("REPLY_TOO_LARGE", code=Code.RESOURCE_EXHAUSTED, origin="wire")

    shown = error_tree(error, plain_request(), tools)

    assert (shown["code"], shown["status"]) == (502, "INTERNAL")


def test_violations_and_waits_become_details(tools: Tools) -> None:
    wrong = ClientError("INVALID_FIELD", violations=(Violation("a.b", "is no number"),))
    limited = LimitedError("RATE_LIMITED", retry_after_s=2.1)

    shown = error_tree(wrong, plain_request(), tools)["details"]
    reply = error_reply(limited, plain_request(), tools)

    assert shown[1]["fieldViolations"] == [{"field": "a.b", "description": "is no number"}]
    assert dict(reply.headers)[b"retry-after"] == b"3"
    assert body(reply)["details"][1]["retryDelay"] == "3s"


def test_details_for_the_log_never_reach_the_client(tools: Tools) -> None:
    reply = error_reply(GatewayError("INTERNAL", detail=SECRET), plain_request(), tools)

    assert SECRET.encode() not in reply.body


@pytest.mark.rule("transcoding.159")
def test_an_error_that_cannot_be_written_is_a_constant_one(tools: Tools) -> None:
    request = plain_request()
    fields = ((b"allow", b"GET"),)

    reply = error_reply(ClientError("NO_ROUTE", "\ud800", headers=fields), request, tools)

    assert (body(reply)["code"], body(reply)["status"]) == (500, "INTERNAL")
    assert (reply.status, reply.reason, request.reason) == (500, "INTERNAL", "INTERNAL")
    assert b"allow" not in dict(reply.headers)


@pytest.mark.rule("transcoding.159", "transcoding.166")
def test_an_error_that_connect_cannot_write_is_a_constant_one(tools: Tools) -> None:
    request = plain_request()
    request.route_id = "rpc"
    tools = structs.replace(tools, speakers={"rpc": ConnectCall("proto").error})

    reply = error_reply(ClientError("NO_ROUTE", "\ud800"), request, tools)

    assert (reply.status, reply.reason, request.reason) == (500, "INTERNAL", "INTERNAL")
    assert (body(reply)["code"], body(reply)["status"]) == (500, "INTERNAL")


def test_a_bug_shows_nothing_but_itself(tools: Tools) -> None:
    request = plain_request()

    reply = bug_reply(request, tools)

    assert (reply.status, request.reason) == (500, "INTERNAL")
    assert body(reply)["message"] == "The gateway failed."


def test_rate_limit_fields_stand_on_errors_of_later_stages_once(tools: Tools) -> None:
    """A refusal by the limiter brings its own; they must not stand twice."""
    request = plain_request()
    request.ticket_headers = ((b"ratelimit", b'"p";r=1'),)
    own = ((b"ratelimit", b'"p";r=0'),)

    later = error_reply(ClientError("NO_ROUTE"), request, tools)
    refused = error_reply(LimitedError("RATE_LIMITED", headers=own), request, tools)

    assert [v for n, v in later.headers if n == b"ratelimit"] == [b'"p";r=1']
    assert [v for n, v in refused.headers if n == b"ratelimit"] == [b'"p";r=0']
