"""Connect and gRPC-Web under a method's gRPC path: the octets that clients of each write and read."""

import gzip
import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from bff.core.errors import ConfigError, UpstreamError
from bff.core.status import Code
from bff.transcoding.grpc_web import text_octets
from bff.transcoding.status_bytes import status_octets
from tests.support.kitchen_gateway import Answer, KitchenGateway
from tests.support.rpc_frames import frame, frames

GET = "/kitchen.v1.Cook/Get"
LOOK = "/kitchen.v1.Cook/Look"
PROTO = {"content-type": "application/proto", "connect-protocol-version": "1"}
JSON = {"content-type": "application/json", "connect-protocol-version": "1"}
WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
BOTH = "transcoding: {protocols: [connect, grpc_web]}\nmetadata: {out: [tone, depth]}"
_ROUTES = """
  - {rpc: Get, get: "/k/{text}"}
  - {rpc: Look}
  - {rpc: Watch, get: "/w/{text}"}
  - {rpc: Send}
  - {rpc: Patch, patch: "/p/{id}", body: child, transcoding: {protocols: []}}
"""
# text = "a" (field 14), and a field that the type has not (field 2000).
KNOWN = b"\x72\x01a"
MESSAGE = KNOWN + b"\x80\x7d\x05"


@pytest.fixture
def kitchen(tmp_path: Path) -> KitchenGateway:
    return KitchenGateway(tmp_path, BOTH, routes=_ROUTES)


def trailers(payload: bytes) -> dict[str, str]:
    lines = payload.decode().split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


# Connect


@pytest.mark.rule("transcoding.166")
@pytest.mark.rule("transcoding.168")
async def test_connect_passes_octets_as_they_are(kitchen: KitchenGateway) -> None:
    answer = await kitchen.ask(f"POST {GET}", MESSAGE, PROTO)

    assert (answer.status, answer.headers["content-type"]) == (200, "application/proto")
    assert kitchen.echo.message == MESSAGE
    assert answer.body == MESSAGE


@pytest.mark.rule("transcoding.166")
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
async def test_connect_takes_json(kitchen: KitchenGateway, content_type: str) -> None:
    answer = await kitchen.ask(f"POST {GET}", '{"i64":"5"}', {**JSON, "content-type": content_type})

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert (answer.bound, answer.json) == ({"i64": "5"}, {"i64": "5"})


@pytest.mark.rule("transcoding.166")
async def test_an_empty_body_is_the_empty_message(kitchen: KitchenGateway) -> None:
    answer = await kitchen.ask(f"POST {GET}", b"", PROTO)

    assert (answer.status, answer.body, kitchen.echo.message) == (200, b"", b"")


def failure(code: Code, message: str = "no dish") -> UpstreamError:
    details = [("type.googleapis.com/kitchen.v1.Money", b"\x10\x05"), ("x/kitchen.v1.No", b"\x01")]
    return UpstreamError(
        code.name if code is not Code.INTERNAL else "UPSTREAM_UNAVAILABLE",
        code=code,
        message=message,
        details_bin=status_octets(code, message, details),
    )


CODES = [
    (Code.NOT_FOUND, 404, "not_found", "no dish"),
    (Code.CANCELLED, 499, "canceled", "no dish"),
    (Code.FAILED_PRECONDITION, 400, "failed_precondition", "no dish"),
    (Code.UNIMPLEMENTED, 501, "unimplemented", "The service does not offer this operation."),
    (Code.UNAVAILABLE, 503, "unavailable", "The service is not available now."),
]


@pytest.mark.rule("transcoding.166")
@pytest.mark.parametrize(("code", "status", "name", "message"), CODES)
async def test_connect_errors_are_json_with_binary_details(
    kitchen: KitchenGateway, code: Code, status: int, name: str, message: str
) -> None:
    kitchen.echo.failure = failure(code)

    answer = await kitchen.ask(f"POST {GET}", MESSAGE, PROTO)

    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert (answer.json["code"], answer.json["message"]) == (name, message)
    values = {each["type"]: each["value"] for each in answer.json["details"]}
    shown = {"kitchen.v1.Money": "EAU", "kitchen.v1.No": "AQ"}
    # Details of codes that could tell of a service's insides do not pass.
    masked = message != "no dish"
    assert shown.items() & values.items() == (set() if masked else shown.items())
    assert "google.rpc.ErrorInfo" in values
    assert b"kitchen.example" in b64decode(values["google.rpc.ErrorInfo"] + "==")


@pytest.mark.rule("transcoding.166")
@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b'{"nope":1}', JSON, "invalid_argument"),
        (b"{", JSON, "invalid_argument"),
        (b"", {**PROTO, "connect-protocol-version": "2"}, "invalid_argument"),
    ],
)
async def test_connect_reads_our_own_refusals_too(
    kitchen: KitchenGateway, body: bytes, headers: dict[str, str], code: str
) -> None:
    answer = await kitchen.ask(f"POST {GET}", body, headers)

    assert (answer.status, answer.json["code"], answer.bound) == (400, code, None)


@pytest.mark.rule("transcoding.166")
async def test_trailing_metadata_are_fields_with_a_prefix(kitchen: KitchenGateway) -> None:
    kitchen.echo.leading = (("tone", "low"), ("secret", "x"))
    kitchen.echo.trailing = (("depth", "7"), ("grpc-status", "0"))

    answer = await kitchen.ask(f"POST {GET}", MESSAGE, PROTO)

    assert answer.headers["tone"] == "low"
    assert answer.headers["trailer-depth"] == "7"
    assert not {"secret", "depth", "trailer-grpc-status"} & set(answer.headers)


CALLS_BY_GET = [
    ("encoding=json&message=" + quote('{"text":"a b"}'), {"text": "a b"}),
    ("encoding=json&message=%7B%22text%22:%22a+b%22%7D", {"text": "a b"}),
    ("encoding=proto&base64=1&message=" + urlsafe_b64encode(KNOWN).decode(), {"text": "a"}),
    ("encoding=proto&base64=1&message=cgFh", {"text": "a"}),
    ("encoding=proto&message=r%01a", {"text": "a"}),
    ("encoding=proto&message=&compression=identity", {}),
    (
        "encoding=json&base64=1&compression=gzip&message="
        + urlsafe_b64encode(gzip.compress(b'{"text":"a"}')).decode(),
        {"text": "a"},
    ),
]


@pytest.mark.rule("transcoding.166")
@pytest.mark.parametrize(("query", "bound"), CALLS_BY_GET)
async def test_a_method_without_side_effects_is_called_by_get(
    kitchen: KitchenGateway, query: str, bound: dict[str, Any]
) -> None:
    answer = await kitchen.ask(f"GET {LOOK}?connect=v1&{query}")

    assert (answer.status, answer.bound) == (200, bound)
    assert answer.headers["content-type"] == "application/" + query[9:].partition("&")[0]


@pytest.mark.rule("transcoding.166")
@pytest.mark.parametrize(
    "query",
    [
        "encoding=json&message={}",
        "connect=v2&encoding=json&message={}",
        "connect=v1&message={}",
        "connect=v1&encoding=xml&message={}",
        "connect=v1&encoding=json",
        "connect=v1&encoding=proto&base64=1&message=A",
        "connect=v1&encoding=proto&base64=1&message=+/",
        "connect=v1&encoding=json&message={}&compression=br",
        "connect=v1&encoding=json&message={}&compression=gzip",
        "connect=v1&encoding=json&message={}&message={}",
        "connect=v1&encoding=json&message={}&text=a",
        "connect=v1&encoding=json&message={}" + "&a" * 20,
    ],
)
async def test_a_call_by_get_is_exact(kitchen: KitchenGateway, query: str) -> None:
    answer = await kitchen.ask(f"GET {LOOK}?{query}")

    assert (answer.status, answer.bound) == (400, None)
    assert answer.json["code"] == "invalid_argument"


@pytest.mark.rule("transcoding.166")
async def test_a_method_with_effects_is_never_called_by_get(kitchen: KitchenGateway) -> None:
    answer = await kitchen.ask(f"GET {GET}?connect=v1&encoding=json&message=%7B%7D")

    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert answer.bound is None


@pytest.mark.rule("transcoding.166")
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/connect+proto", "application/grpc", ""]
)
async def test_other_media_types_are_refused_with_those_that_are_taken(
    kitchen: KitchenGateway, content_type: str
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = await kitchen.ask(f"POST {GET}", MESSAGE, headers)

    assert (answer.status, answer.reason) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "application/proto" in answer.headers["accept-post"]


# gRPC-Web


@pytest.mark.rule("transcoding.167")
@pytest.mark.rule("transcoding.168")
@pytest.mark.parametrize("name", ["application/grpc-web", "application/grpc-web+proto"])
async def test_grpc_web_frames_the_message_and_the_status(
    kitchen: KitchenGateway, name: str
) -> None:
    kitchen.echo.leading, kitchen.echo.trailing = (("tone", "low"),), (("depth", "7"),)

    answer = await kitchen.ask(f"POST {GET}", frame(MESSAGE), {"content-type": name})

    assert (answer.status, answer.headers["content-type"]) == (200, "application/grpc-web+proto")
    (flags, message), (last_flags, last) = frames(answer.body)
    assert (flags, message, kitchen.echo.message) == (0, MESSAGE, MESSAGE)
    assert (last_flags, trailers(last)) == (0x80, {"grpc-status": "0", "depth": "7"})
    assert answer.headers["tone"] == "low"


@pytest.mark.rule("transcoding.167")
async def test_grpc_web_takes_json(kitchen: KitchenGateway) -> None:
    headers = {"content-type": "application/grpc-web+json"}
    answer = await kitchen.ask(f"POST {GET}", frame(b'{"i64":"5"}'), headers)

    assert (frames(answer.body)[0], answer.bound) == ((0, b'{"i64":"5"}'), {"i64": "5"})


@pytest.mark.rule("transcoding.167")
async def test_text_is_base64_both_ways(kitchen: KitchenGateway) -> None:
    octets = frame(MESSAGE)
    # In two parts, each padded by itself.
    body = b64encode(octets[:4]) + b64encode(octets[4:])
    answer = await kitchen.ask(f"POST {GET}", body, {"content-type": "application/grpc-web-text"})

    assert answer.headers["content-type"] == "application/grpc-web-text+proto"
    assert frames(b64decode(answer.body))[0] == (0, MESSAGE)


@pytest.mark.rule("transcoding.167")
async def test_a_client_may_ask_for_text(kitchen: KitchenGateway) -> None:
    headers = {**WEB, "accept": "application/grpc-web-text"}
    answer = await kitchen.ask(f"POST {GET}", frame(MESSAGE), headers)

    assert frames(b64decode(answer.body))[0] == (0, MESSAGE)


@pytest.mark.rule("transcoding.167")
async def test_every_status_is_http_200(kitchen: KitchenGateway) -> None:
    kitchen.echo.failure = failure(Code.NOT_FOUND, "no \u00fcber dish, 100%")

    answer = await kitchen.ask(f"POST {GET}", frame(MESSAGE), WEB)

    assert (answer.status, answer.headers["content-type"]) == (200, "application/grpc-web+proto")
    ((flags, last),) = frames(answer.body)
    told = trailers(last)
    assert (flags, told["grpc-status"]) == (0x80, "5")
    assert told["grpc-message"] == "no %C3%BCber dish, 100%25"
    details = kitchen.compiled.tools.codec.status(b64decode(told["grpc-status-details-bin"] + "=="))
    assert details.code == 5
    assert ("type.googleapis.com/kitchen.v1.Money", b"\x10\x05") in details.details


STREAM = f"POST {GET.replace('Get', 'Watch')}"


@pytest.mark.rule("transcoding.167")
async def test_a_server_stream_is_frames_to_the_last(kitchen: KitchenGateway) -> None:
    kitchen.echo.leading, kitchen.echo.trailing = (("tone", "low"),), (("depth", "7"),)

    answer = await kitchen.ask(STREAM, frame(MESSAGE), WEB)

    message, (flags, last) = frames(answer.body)
    assert (answer.status, message, flags) == (200, (0, MESSAGE), 0x80)
    assert trailers(last) == {"grpc-status": "0", "depth": "7"}
    assert answer.headers["tone"] == "low"


@pytest.mark.rule("transcoding.167")
async def test_an_error_in_a_stream_is_its_last_frame(kitchen: KitchenGateway) -> None:
    kitchen.echo.failure = failure(Code.ABORTED)

    answer = await kitchen.ask(
        STREAM, b64encode(frame(MESSAGE)), {"content-type": "application/grpc-web-text"}
    )

    # Each part is padded by itself.
    message, (flags, last) = frames(text_octets(answer.body))
    assert (message, flags) == ((0, MESSAGE), 0x80)
    told = trailers(last)
    assert (told["grpc-status"], told["grpc-message"]) == ("10", "no dish")
    assert "grpc-status-details-bin" in told


def status_of(answer: Answer) -> str:
    ((flags, last),) = frames(answer.body)
    assert (answer.status, flags) == (200, 0x80)
    return trailers(last)["grpc-status"]


@pytest.mark.rule("transcoding.167")
async def test_a_clients_stream_is_unimplemented(kitchen: KitchenGateway) -> None:
    answer = await kitchen.ask(f"POST {GET.replace('Get', 'Send')}", frame(MESSAGE), WEB)

    assert status_of(answer) == str(int(Code.UNIMPLEMENTED))


@pytest.mark.rule("transcoding.167")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.INVALID_ARGUMENT),
        (b"\x00\x00\x00\x00\x05a", Code.INVALID_ARGUMENT),
        (frame(MESSAGE) * 2, Code.INVALID_ARGUMENT),
        (frame(MESSAGE) + b"x", Code.INVALID_ARGUMENT),
        (frame(b"", 0x80), Code.INVALID_ARGUMENT),
        # Nothing says how it is compressed.
        (frame(MESSAGE, 1), Code.INVALID_ARGUMENT),
        (frame(MESSAGE, 2), Code.INVALID_ARGUMENT),
    ],
)
async def test_a_body_that_is_not_one_message_is_refused(
    kitchen: KitchenGateway, body: bytes, code: Code
) -> None:
    answer = await kitchen.ask(f"POST {GET}", body, WEB)

    assert (status_of(answer), answer.bound) == (str(int(code)), None)


@pytest.mark.rule("transcoding.167")
@pytest.mark.parametrize("body", [b"A", b"AAAA=AAA", b"=AAA", b"\xff\xfe", b"AAA-"])
async def test_a_text_that_is_no_base64_is_refused(kitchen: KitchenGateway, body: bytes) -> None:
    answer = await kitchen.ask(f"POST {GET}", body, {"content-type": "application/grpc-web-text"})

    ((_, last),) = frames(b64decode(answer.body))
    assert trailers(last)["grpc-status"] == "3"


# Compressed messages of both

LARGE = b"\x72\x90\x4e" + b"a" * 10_000
ZIPPED_WEB = {**WEB, "grpc-encoding": "gzip"}


@pytest.mark.rule("transcoding.167")
@pytest.mark.parametrize("name", ["application/grpc-web+proto", "application/grpc-web-text"])
async def test_a_compressed_message_is_inflated(kitchen: KitchenGateway, name: str) -> None:
    body = frame(gzip.compress(MESSAGE), 1)
    sent = b64encode(body) if name.endswith("text") else body
    answer = await kitchen.ask(f"POST {GET}", sent, {**ZIPPED_WEB, "content-type": name})

    assert (answer.status, kitchen.echo.message) == (200, MESSAGE)
    # Nobody asked for a compressed reply.
    octets = b64decode(answer.body) if name.endswith("text") else answer.body
    assert frames(octets)[0] == (0, MESSAGE)
    assert "grpc-encoding" not in answer.headers


@pytest.mark.rule("transcoding.167")
async def test_a_plain_message_is_taken_beside_the_coding(kitchen: KitchenGateway) -> None:
    for coding in ("gzip", "br", "identity"):
        answer = await kitchen.ask(f"POST {GET}", frame(MESSAGE), {**WEB, "grpc-encoding": coding})
        assert (answer.status, kitchen.echo.message) == (200, MESSAGE)


@pytest.mark.rule("transcoding.167")
@pytest.mark.parametrize(
    ("payload", "coding", "code", "says"),
    [
        (gzip.compress(b"a" * 2_000_000), "gzip", Code.RESOURCE_EXHAUSTED, "too large"),
        (gzip.compress(b"a" * 200_000), "gzip", Code.RESOURCE_EXHAUSTED, "too large"),
        (gzip.compress(MESSAGE)[:-1], "gzip", Code.INVALID_ARGUMENT, ""),
        (gzip.compress(MESSAGE) + b"x", "gzip", Code.INVALID_ARGUMENT, ""),
        (gzip.compress(MESSAGE) * 2, "gzip", Code.INVALID_ARGUMENT, ""),
        (MESSAGE, "gzip", Code.INVALID_ARGUMENT, ""),
        (gzip.compress(MESSAGE), "identity", Code.INVALID_ARGUMENT, ""),
        (MESSAGE, "br", Code.UNIMPLEMENTED, "plain or as gzip"),
    ],
    ids=["cap", "growth", "cut", "rest", "two members", "plain", "no coding", "other coding"],
)
async def test_a_message_that_does_not_inflate_is_refused(
    kitchen: KitchenGateway, payload: bytes, coding: str, code: Code, says: str
) -> None:
    headers = {**WEB, "grpc-encoding": coding}
    answer = await kitchen.ask(f"POST {GET}", frame(payload, 1), headers)

    assert (status_of(answer), answer.bound) == (str(int(code)), None)
    assert says in trailers(frames(answer.body)[0][1])["grpc-message"]
    if code is Code.UNIMPLEMENTED:
        assert answer.headers["grpc-accept-encoding"] == "gzip"


@pytest.mark.rule("transcoding.167")
@pytest.mark.parametrize("path", ["Get", "Watch"])
async def test_a_client_that_reads_gzip_gets_large_messages_so(
    kitchen: KitchenGateway, path: str
) -> None:
    headers = {**WEB, "grpc-accept-encoding": "identity, GZIP"}
    answer = await kitchen.ask(f"POST {GET.replace('Get', path)}", frame(LARGE), headers)
    small = await kitchen.ask(f"POST {GET.replace('Get', path)}", frame(MESSAGE), headers)

    assert answer.headers["grpc-encoding"] == "gzip"
    (flags, payload), (end, _) = frames(answer.body)
    assert (flags, gzip.decompress(payload), end) == (1, LARGE, 0x80)
    assert len(payload) < len(LARGE) // 10
    assert frames(small.body)[0] == (0, MESSAGE)


# Streams of Connect

CONNECT_STREAM = {"content-type": "application/connect+proto", "connect-protocol-version": "1"}


def end_of(answer: Answer) -> Any:
    flags, payload = frames(answer.body)[-1]
    assert (answer.status, flags) == (200, 2)
    return json.loads(payload)


@pytest.mark.rule("transcoding.166", "transcoding.168")
async def test_a_stream_of_connect_is_envelopes_to_the_last(kitchen: KitchenGateway) -> None:
    kitchen.echo.leading, kitchen.echo.trailing = (("tone", "low"),), (("depth", "7"),)

    answer = await kitchen.ask(STREAM, frame(MESSAGE), CONNECT_STREAM)

    assert answer.headers["content-type"] == "application/connect+proto"
    assert answer.headers["tone"] == "low"
    assert frames(answer.body)[:-1] == [(0, MESSAGE)]
    assert end_of(answer) == {"metadata": {"depth": ["7"]}}


@pytest.mark.rule("transcoding.166")
async def test_a_stream_of_connect_takes_json(kitchen: KitchenGateway) -> None:
    headers = {"content-type": "application/connect+json"}
    answer = await kitchen.ask(STREAM, frame(b'{"i64":"5"}'), headers)

    assert answer.headers["content-type"] == "application/connect+json"
    assert (frames(answer.body)[0], answer.bound) == ((0, b'{"i64":"5"}'), {"i64": "5"})
    assert end_of(answer) == {}


@pytest.mark.rule("transcoding.166")
async def test_an_error_in_a_stream_of_connect_is_its_end(kitchen: KitchenGateway) -> None:
    kitchen.echo.failure = failure(Code.ABORTED)

    answer = await kitchen.ask(STREAM, frame(MESSAGE), CONNECT_STREAM)

    assert frames(answer.body)[:-1] == [(0, MESSAGE)]
    error = end_of(answer)["error"]
    assert (error["code"], error["message"]) == ("aborted", "no dish")
    assert {"type": "kitchen.v1.Money", "value": "EAU"} in error["details"]


@pytest.mark.rule("transcoding.166")
@pytest.mark.parametrize(
    ("body", "more", "code"),
    [
        (b"", {}, "invalid_argument"),
        (frame(MESSAGE) * 2, {}, "invalid_argument"),
        (frame(b"", 2), {}, "invalid_argument"),
        (frame(MESSAGE, 1), {}, "invalid_argument"),
        (frame(MESSAGE, 1), {"connect-content-encoding": "br"}, "unimplemented"),
        (
            frame(gzip.compress(b"a" * 200_000), 1),
            {"connect-content-encoding": "gzip"},
            "resource_exhausted",
        ),
        (frame(MESSAGE), {"connect-protocol-version": "2"}, "invalid_argument"),
    ],
)
async def test_a_stream_of_connect_is_refused_by_its_end_alone(
    kitchen: KitchenGateway, body: bytes, more: dict[str, str], code: str
) -> None:
    answer = await kitchen.ask(STREAM, body, {**CONNECT_STREAM, **more})

    assert len(frames(answer.body)) == 1
    assert (end_of(answer)["error"]["code"], answer.bound) == (code, None)


@pytest.mark.rule("transcoding.166")
async def test_a_stream_of_connect_is_compressed_both_ways(kitchen: KitchenGateway) -> None:
    headers = {"connect-content-encoding": "gzip", "connect-accept-encoding": "gzip, br"}
    body = frame(gzip.compress(LARGE), 1)
    answer = await kitchen.ask(STREAM, body, {**CONNECT_STREAM, **headers})

    assert (answer.headers["connect-content-encoding"], kitchen.echo.message) == ("gzip", LARGE)
    flags, payload = frames(answer.body)[0]
    assert (flags, gzip.decompress(payload)) == (1, LARGE)


@pytest.mark.rule("transcoding.166")
@pytest.mark.parametrize(("path", "status"), [("Get", 415), ("Send", 415), ("Watch", 200)])
async def test_each_kind_of_method_has_its_own_media_types(
    kitchen: KitchenGateway, path: str, status: int
) -> None:
    target = f"POST {GET.replace('Get', path)}"
    answer = await kitchen.ask(target, frame(MESSAGE), CONNECT_STREAM)
    unary = await kitchen.ask(target, MESSAGE, PROTO)

    assert (answer.status, unary.status) == (status, 200 if path == "Get" else 415)
    if path == "Watch":
        assert "application/connect+json" in unary.headers["accept-post"]


# Who may, and where it is on


@pytest.mark.rule("transcoding.166")
@pytest.mark.rule("transcoding.167")
@pytest.mark.parametrize("protocols", ["[]", "[connect]", "[grpc_web]"])
async def test_a_protocol_is_off_until_listed(tmp_path: Path, protocols: str) -> None:
    switches = f"transcoding: {{protocols: {protocols}}}"
    kitchen = KitchenGateway(tmp_path, switches, routes='  - {rpc: Get, get: "/k/{text}"}')

    connect = await kitchen.ask(f"POST {GET}", MESSAGE, PROTO)
    web = await kitchen.ask(f"POST {GET}", frame(MESSAGE), WEB)

    wanted = {"[]": (404, 404), "[connect]": (200, 415), "[grpc_web]": (415, 200)}
    assert (connect.status, web.status) == wanted[protocols]


@pytest.mark.rule("transcoding.166")
async def test_the_nearest_word_lists_the_protocols(kitchen: KitchenGateway) -> None:
    answer = await kitchen.ask("POST /kitchen.v1.Cook/Patch", b"", PROTO)

    assert (answer.status, answer.reason) == (404, "NO_ROUTE")


@pytest.mark.rule("transcoding.166")
async def test_rest_stays_what_it_was(kitchen: KitchenGateway) -> None:
    assert (await kitchen.ask("GET /k/1")).bound == {"text": "1"}
    refused = await kitchen.ask("GET /k/1?nope=1", headers=PROTO)
    assert (refused.status, refused.reason) == (400, "UNKNOWN_PARAMETER")
    native = await kitchen.ask("POST /k/1", b"", {"content-type": "application/grpc-web"})
    assert native.status == 405


_GUARDED = """
  - rpc: Get
    get: "/k/{text}"
    auth: {when: "path.text == 'ok'"}
    also: [{get: "/n/{child.text}"}]
"""


@pytest.mark.rule("transcoding.166")
@pytest.mark.rule("transcoding.167")
@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x72\x02ok", ""),
        (b"\x72\x02no", "unauthenticated"),
        (b"", "unauthenticated"),
        (b"\x72\x05x", "invalid_argument"),
    ],
)
async def test_rules_about_the_path_hold_for_the_message(
    tmp_path: Path, message: bytes, code: str
) -> None:
    """What a URL would have said, the message says here: no protocol is a way around a rule."""
    kitchen = KitchenGateway(tmp_path, BOTH, routes=_GUARDED)

    connect = await kitchen.ask(f"POST {GET}", message, PROTO)
    web = await kitchen.ask(f"POST {GET}", frame(message), WEB)

    numbers = {"": "0", "unauthenticated": "16", "invalid_argument": "3"}
    assert (connect.json["code"] if connect.status >= 400 else "") == code
    assert trailers(frames(web.body)[-1][1])["grpc-status"] == numbers[code]
    assert (web.bound is None) == bool(code)


@pytest.mark.rule("transcoding.14")
@pytest.mark.rule("transcoding.166")
async def test_an_unbound_method_keeps_its_json(tmp_path: Path) -> None:
    routes = "  - {rpc: Get, unbound: true, status: 201, transcoding: {error_format: status}}"
    kitchen = KitchenGateway(tmp_path, BOTH, routes=routes)

    rest = await kitchen.ask(f"POST {GET}", '{"text":"a"}', {"content-type": "application/json"})
    connect = await kitchen.ask(f"POST {GET}", '{"text":"a"}', JSON)
    octets = await kitchen.ask(f"POST {GET}", MESSAGE, PROTO)
    wrong = await kitchen.ask(f"POST {GET}", "{", {"content-type": "application/json"})

    assert (rest.status, connect.status, octets.status) == (201, 200, 200)
    assert octets.body == MESSAGE
    assert (wrong.json["code"], wrong.reason) == (3, "INVALID_JSON")


@pytest.mark.rule("transcoding.32")
def test_the_path_of_a_method_is_taken(tmp_path: Path) -> None:
    routes = '  - {rpc: Get, get: "/k/{text}"}\n  - {rpc: Look, post: "/kitchen.v1.Cook/Get"}'

    with pytest.raises(ConfigError) as caught:
        KitchenGateway(tmp_path, BOTH, routes=routes)

    assert any(
        "is the path of cook.Get in the protocols" in p.message for p in caught.value.problems
    )


def test_protocols_are_no_part_of_the_openapi_document(kitchen: KitchenGateway) -> None:
    document = json.loads(kitchen.compiled.openapi)

    assert GET not in document["paths"]
    assert [r.method for r in kitchen.compiled.routes if r.template == LOOK] == ["POST", "GET"]
