"""Errors in the forms that routes choose: google.rpc.Status and RFC 9457."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.rpc import error_details_pb2, status_pb2

from bff.cli.offline import compile_offline
from bff.core.errors import ClientError, GatewayError, LimitedError, UpstreamError, Violation
from bff.core.exchange import Request
from bff.core.status import Code
from bff.pipeline.respond import bug_reply, error_reply, error_text, json_pointer
from bff.pipeline.route import Tools
from tests.support.config_files import write
from tests.support.plain_request import plain_request


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    protos = Path(__file__).parents[3] / "protos"
    text = f"gateway: {{name: shop, domain: api.example.com, protos: [{protos}]}}"
    return compile_offline(write(tmp_path_factory.mktemp("m"), {"gateway.yaml": text}))[1].tools


def a_request(form: str, accept: str = "", *, routed: bool = True) -> Request:
    request = plain_request(headers={"accept": accept} if accept else None)
    request.route_id = "shop.Get" if routed else ""
    request.error_form = form
    return request


def form_of(tree: dict[str, Any]) -> str:
    if "error" in tree:
        return "aip193"
    return (
        "graphql"
        if "errors" in tree and "type" not in tree
        else "problem"
        if "type" in tree
        else "status"
    )


PROBLEM = "application/problem+json"


@pytest.mark.rule("transcoding.150")
@pytest.mark.parametrize(
    ("form", "accept", "shown"),
    [
        ("aip193", "", "aip193"),
        ("aip193", "*/*", "aip193"),
        ("aip193", "application/json, application/problem+json", "problem"),
        ("aip193", "application/problem+json;q=0", "aip193"),
        ("status", PROBLEM, "problem"),
        ("status", "", "status"),
        ("problem", "application/json", "problem"),
        ("graphql", PROBLEM, "graphql"),
    ],
)
def test_route_and_accept_choose_the_form(tools: Tools, form: str, accept: str, shown: str) -> None:
    reply = error_reply(ClientError("NO_ROUTE"), a_request(form, accept), tools)

    assert form_of(json.loads(reply.body)) == shown
    media_type = PROBLEM if shown == "problem" else "application/json"
    assert (b"content-type", media_type.encode()) in reply.headers


@pytest.mark.rule("transcoding.150")
def test_every_line_of_accept_counts(tools: Tools) -> None:
    request = a_request("aip193", "application/json")
    request.headers.raw.append((b"accept", PROBLEM.encode()))

    assert (
        form_of(json.loads(error_reply(ClientError("NO_ROUTE"), request, tools).body)) == "problem"
    )


@pytest.mark.rule("transcoding.150")
def test_before_a_route_is_known_the_gateway_s_form_holds(tools: Tools) -> None:
    ours = msgspec.structs.replace(tools, error_form="status")

    reply = error_reply(ClientError("BAD_PATH"), a_request("aip193", routed=False), ours)

    assert form_of(json.loads(reply.body)) == "status"


@pytest.mark.rule("transcoding.150")
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LimitedError("RATE_LIMITED"), "https://iana.org/assignments/http-problem-types#quota-exceeded"),
        (ClientError("NO_ROUTE"), "https://api.example.com/problems/no-route"),
    ],
)  # fmt: skip
def test_type_of_a_problem(tools: Tools, error: GatewayError, kind: str) -> None:
    assert json.loads(error_reply(error, a_request("problem"), tools).body)["type"] == kind


@pytest.mark.rule("transcoding.150")
def test_a_problem_tells_what_the_service_tells(tools: Tools) -> None:
    """Its own reason, and its field violations as pointers."""
    status = status_pb2.Status(code=int(Code.INVALID_ARGUMENT))
    info = error_details_pb2.ErrorInfo(reason="OUT_OF_STOCK", domain="orders")
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="items[2].quantity", description="only 3 are left")
    for detail in (info, bad):
        status.details.add().Pack(detail)
    error = UpstreamError(
        "INVALID_ARGUMENT",
        code=Code.INVALID_ARGUMENT,
        message="no stock",
        details_bin=status.SerializeToString(),
    )

    shown = json.loads(error_reply(error, a_request("problem"), tools).body)

    assert shown["reason"] == "OUT_OF_STOCK"
    assert shown["type"] == "https://api.example.com/problems/out-of-stock"
    assert shown["errors"] == [{"pointer": "#/items/2/quantity", "detail": "only 3 are left"}]


@pytest.mark.rule("transcoding.150", "transcoding.153")
@pytest.mark.parametrize("reason", ["", "out of stock", "../x", "A" * 64])
def test_a_services_reason_that_is_none_is_not_put_into_a_url(tools: Tools, reason: str) -> None:
    status = status_pb2.Status(code=int(Code.INTERNAL))
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason))
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="secret", description="secret")
    status.details.add().Pack(bad)
    error = UpstreamError(
        "UNKNOWN", code=Code.INTERNAL, message="secret", details_bin=status.SerializeToString()
    )

    reply = error_reply(error, a_request("problem"), tools)

    assert json.loads(reply.body)["reason"] == "UNKNOWN"
    assert b"secret" not in reply.body


@pytest.mark.rule("transcoding.125")
@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ("aip193", {"code", "message", "status", "details"}),
        ("status", {"code", "message", "details"}),
        ("problem", {"type", "title", "status", "detail", "instance", "code", "reason", "request_id"}),
    ],
)  # fmt: skip
def test_last_frame_of_a_stream_has_the_route_s_form(
    tools: Tools, form: str, keys: set[str]
) -> None:
    assert set(json.loads(error_text(ClientError("NO_ROUTE"), a_request(form), tools))) == keys


@pytest.mark.rule("transcoding.159")
@pytest.mark.parametrize("form", ["aip193", "status", "problem"])
def test_bug_has_the_route_s_form_and_shows_nothing(tools: Tools, form: str) -> None:
    reply = bug_reply(a_request(form), tools)

    assert reply.status == 500
    assert form_of(json.loads(reply.body)) == form
    assert b"The gateway failed." in reply.body


@pytest.mark.rule("transcoding.159")
@pytest.mark.parametrize("form", ["aip193", "status", "problem"])
def test_error_that_cannot_be_written_is_a_constant(tools: Tools, form: str) -> None:
    error = ClientError("INVALID_FIELD", violations=(Violation("\ud800", "\ud800"),))

    reply = error_reply(error, a_request(form), tools)

    assert reply.status == 500
    assert json.loads(reply.body)["error"]["status"] == "INTERNAL"


@pytest.mark.rule("transcoding.125", "transcoding.159")
@pytest.mark.parametrize("form", ["aip193", "status", "problem"])
def test_last_frame_that_cannot_be_written_is_a_constant(tools: Tools, form: str) -> None:
    error = ClientError("INVALID_FIELD", violations=(Violation("\ud800", "\ud800"),))

    told = json.loads(error_text(error, a_request(form), tools))

    assert (told["code"], told["status"], told["message"]) == (
        500,
        "INTERNAL",
        "The gateway failed.",
    )


@pytest.mark.rule("transcoding.150")
@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("items[2].quantity", "#/items/2/quantity"),
        ("quantity", "#/quantity"),
        ("", "#"),
        ("[1]", "#/1"),
        ('labels["a.b/c~d"].x', "#/labels/a.b~1c~0d/x"),
        ('labels["\\"]["].x', "#/labels/%22%5D%5B/x"),
        ("größe", "#/gr%C3%B6%C3%9Fe"),
    ],
)
def test_json_path_as_a_pointer(path: str, pointer: str) -> None:
    assert json_pointer(path) == pointer
