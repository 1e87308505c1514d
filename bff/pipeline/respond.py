"""Errors as replies: AIP-193 bodies or the route's other form, in one place for every front.

What a stranger may read is decided here: a service's own words only for codes whose text is meant
for clients, our fixed sentences otherwise; never a stack, a host, a type name of ours.
"""

import math
import re
from collections.abc import Callable
from urllib.parse import quote

import msgspec

from bff.core.errors import ClientError, GatewayBug, GatewayError, UpstreamError
from bff.core.exchange import Json, Reply, Request
from bff.core.media import accept_of, accepts
from bff.core.status import HTTP_OF_CODE, MASKED_CODES, REASONS, Code
from bff.pipeline.route import Tools
from bff.transcoding import rpc_status
from bff.transcoding.route_trie import Found

__all__ = ["bug_reply", "error_reply", "error_text", "error_tree", "public_message"]

_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_MAX_MESSAGE_BYTES = 1024
# Controls, line and paragraph separators, and what turns the direction of the text that follows.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# A reason as AIP-193 has it; others of a service's making are no part of a URL.
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
# What is left when even the error cannot be written.
_LAST_WORDS = b'{"code":500,"message":"The gateway failed.","status":"INTERNAL","details":[]}'
_LAST_RESORT = b'{"error":' + _LAST_WORDS + b"}"
_UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)
_ERROR_INFO = "google.rpc.ErrorInfo"
_RETRY_INFO = "google.rpc.RetryInfo"
_REQUEST_INFO = "google.rpc.RequestInfo"
_BAD_REQUEST = "google.rpc.BadRequest"
# What may be read of a service whose words are hidden.
_ALWAYS_SHOWN = frozenset({_ERROR_INFO, _RETRY_INFO})
_WAITABLE = frozenset({429, 503})
# Types of the IANA registry of HTTP problem types; all others are our own.
_IANA_TYPES = {
    reason: f"https://iana.org/assignments/http-problem-types#{name}"
    for reason, name in {
        "RATE_LIMITED": "quota-exceeded",
        "QUOTA_EXCEEDED": "quota-exceeded",
        "LIMITER_UNAVAILABLE": "temporary-reduced-capacity",
        "OVERLOADED": "temporary-reduced-capacity",
        "TOO_MANY_FAILURES": "abnormal-usage-detected",
    }.items()
}
_INTERNAL = REASONS["INTERNAL"].status
# Of a 401 that a service gave; ours bring the challenge of their cause.
_UNAUTHENTICATED = HTTP_OF_CODE[Code.UNAUTHENTICATED]
_WWW = b"www-authenticate"
_PROBLEM = "application/problem+json"
# One step of a JSON path: a quoted key, an index, or a name.
_STEP = re.compile(r'\[("(?:[^"\\]|\\.)*")\]|\[(\d+)\]|([^.\[\]]+)')
_encode = msgspec.json.Encoder().encode


def public_message(error: GatewayError, *, hidden: bool = True) -> str:
    """The sentence that the client reads; `hidden` False shows the service's even for masked codes."""
    if isinstance(error, UpstreamError) and error.origin == "service":
        if hidden and error.code in MASKED_CODES:
            return MASKED_CODES[error.code]
        shown = _CONTROLS.sub("", error.message).encode()[:_MAX_MESSAGE_BYTES]
        return shown.decode(errors="ignore") or error.public
    return error.public


def error_tree(error: GatewayError, request: Request, tools: Tools) -> dict[str, Json]:
    """The `error` object of AIP-193: code (HTTP), message, status (gRPC name), details."""
    hidden = error.code.name not in tools.shown_errors.get(request.route_id, ())
    message = public_message(error, hidden=hidden)
    details = _details_of_service(error, tools, hidden=hidden)
    present = set(map(_kind, details))
    for made in _own_details(error, request, tools):
        if _kind(made) not in present:
            details.append(made)
        elif error.metadata and _kind(made) == _ERROR_INFO:
            _add_metadata(details, error.metadata)
    return {
        "code": error.status,
        "message": message,
        "status": error.told_code.name,
        "details": details,
    }


def _add_metadata(details: list[Json], metadata: dict[str, str]) -> None:
    """What we know beside the service's own ErrorInfo, such as which source of a screen failed."""
    for index, detail in enumerate(details):
        if _kind(detail) == _ERROR_INFO:
            details[index] = {**detail, "metadata": {**metadata, **detail.get("metadata", {})}}


def _kind(detail: Json) -> str:
    """The full name of a detail's type, whatever host its URL names."""
    name: str = detail["@type"].rpartition("/")[2]
    return name


def _details_of_service(error: GatewayError, tools: Tools, *, hidden: bool) -> list[Json]:
    """What a client may read of a service's details; its RequestInfo gives way to ours."""
    if not isinstance(error, UpstreamError) or not error.details_bin:
        return []
    # The message of the details says the same as grpc-message, and that one is always there.
    _, decoded = rpc_status.decode_details(error.details_bin, error.code, tools.codec)
    masked = hidden and error.code in MASKED_CODES
    return [
        detail
        for detail in decoded
        if (kind := _kind(detail)) != _REQUEST_INFO and (not masked or kind in _ALWAYS_SHOWN)
    ]


def _own_details(error: GatewayError, request: Request, tools: Tools) -> list[dict[str, Json]]:
    """What helps most comes first; the id for the support desk last."""
    made = [rpc_status.error_info(error.reason, tools.domain, error.metadata)]
    if error.violations:
        made.append(rpc_status.bad_request(error.violations))
    if error.retry_after_s is not None:
        made.append(rpc_status.retry_info(error.retry_after_s))
    made.append(rpc_status.request_info(request.request_id))
    return made


def _status_tree(error: GatewayError, request: Request, tools: Tools) -> dict[str, Json]:
    """google.rpc.Status: the gRPC number for the HTTP one."""
    tree = error_tree(error, request, tools)
    return {"code": int(error.told_code), "message": tree["message"], "details": tree["details"]}


def _problem_tree(error: GatewayError, request: Request, tools: Tools) -> dict[str, Json]:
    """An RFC 9457 problem; its type is the reason, its title the sentence that goes with it."""
    hidden = error.code.name not in tools.shown_errors.get(request.route_id, ())
    details = {_kind(each): each for each in _details_of_service(error, tools, hidden=hidden)}
    reason = details.get(_ERROR_INFO, {}).get("reason") or error.reason
    if not _REASON.fullmatch(reason):
        reason = error.reason
    kebab = reason.lower().replace("_", "-")
    tree: dict[str, Json] = {
        "type": _IANA_TYPES.get(reason, f"https://{tools.domain}/problems/{kebab}"),
        "title": error.row.text,
        "status": error.status,
        "detail": public_message(error, hidden=hidden),
        "instance": request.path,
        "code": error.told_code.name,
        "reason": reason,
        "request_id": request.request_id,
    }
    faults = [(each.field, each.description) for each in error.violations] or [
        (each.get("field", ""), each.get("description", ""))
        for each in details.get(_BAD_REQUEST, {}).get("fieldViolations", ())
    ]
    if faults:
        tree["errors"] = [
            {"pointer": json_pointer(field), "detail": text} for field, text in faults
        ]
    return tree


def json_pointer(path: str) -> str:
    """`items[2].unitPrice` or `labels["a.b"]` as a JSON pointer in a URI fragment (RFC 6901 6)."""
    pointer = "#"
    for quoted, index, name in _STEP.findall(path):
        step = msgspec.json.decode(quoted) if quoted else index or name
        pointer += "/" + quote(step.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@")
    return pointer


def _inner_tree(form: str, error: GatewayError, request: Request, tools: Tools) -> Json:
    make = _TREES.get(form, error_tree)
    return make(error, request, tools)


_TREES: dict[str, Callable[[GatewayError, Request, Tools], dict[str, Json]]] = {
    "aip193": error_tree,
    "status": _status_tree,
    "problem": _problem_tree,
}


def _form_of(request: Request, tools: Tools) -> str:
    """The form of this request's errors: what its Accept names, its route's, else the gateway's."""
    form = request.error_form if request.route_id else tools.error_form
    if form in _TREES:
        accept = accept_of(request.headers)
        if accept and b"problem+json" in accept and accepts(accept, _PROBLEM, by_name=True):
            return "problem"
    return form


def error_text(error: GatewayError, request: Request, tools: Tools) -> bytes:
    """What stands under `error` in the last frame of a stream, in the route's form, as JSON."""
    try:
        return _encode(_inner_tree(request.error_form, error, request, tools))
    except _UNWRITABLE:
        return _LAST_WORDS


def _rendered(
    error: GatewayError, request: Request, tools: Tools
) -> tuple[tuple[bytes, bytes], bytes]:
    """Content type and body."""
    try:
        form = _form_of(request, tools)
        if form == "graphql":
            return _JSON, _encode(_graphql_tree(error, request))
        tree = _inner_tree(form, error, request, tools)
        if form == "problem":
            return (b"content-type", _PROBLEM.encode()), _encode(tree)
        return _JSON, _encode({"error": tree} if form == "aip193" else tree)
    except _UNWRITABLE:
        return _JSON, _LAST_RESORT


def _graphql_tree(error: GatewayError, request: Request) -> dict[str, Json]:
    """A refusal by the line as GraphQL clients read it: errors without data (spec October 2021, 7.1)."""
    extensions: dict[str, Json] = {"code": error.told_code.name, "reason": error.reason}
    if error.retry_after_s is not None:
        extensions["retry_after_ms"] = round(error.retry_after_s * 1000)
    entry = {"message": public_message(error), "extensions": extensions}
    return {"errors": [entry], "extensions": {"request_id": request.request_id}}


def _asked_wait_s(error: UpstreamError, tools: Tools) -> float | None:
    """The wait that a service asks for by RetryInfo, where HTTP has a field for it (429, 503)."""
    if error.status not in _WAITABLE:
        return None
    _, details = rpc_status.decode_details(error.details_bin, error.code, tools.codec)
    for detail in details:
        if _kind(detail) == _RETRY_INFO:
            # ProtoJSON of a Duration: seconds and "s"; one that is not set is absent.
            return float(str(detail.get("retryDelay", "0s")).removesuffix("s"))
    return None


def error_reply(error: GatewayError, request: Request, tools: Tools) -> Reply:
    """The reply that an error becomes: status from the one table, Retry-After where waiting helps."""
    request.reason = error.reason
    request.detail = error.detail
    if error.retry_after_s is None and isinstance(error, UpstreamError) and error.details_bin:
        error.retry_after_s = _asked_wait_s(error, tools)
    status, content_type, body = _told(error, request, tools)
    if body is _LAST_RESORT:
        request.reason = "INTERNAL"
        return Reply(_INTERNAL, [content_type, _NO_STORE, _NOSNIFF], body, reason="INTERNAL")
    headers = [content_type, _NO_STORE, _NOSNIFF, *error.headers]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after_s))).encode()))
    if error.status == _UNAUTHENTICATED and not any(n == _WWW for n, _ in error.headers):
        headers += tools.challenge
    if request.ticket_headers and not any(name == b"ratelimit" for name, _ in error.headers):
        headers.extend(request.ticket_headers)
    return Reply(status, headers, body, reason=error.reason)


def _told(
    error: GatewayError, request: Request, tools: Tools
) -> tuple[int, tuple[bytes, bytes], bytes]:
    """Status, content type and body: in the protocol that the client speaks, or as REST."""
    speak = tools.speakers.get(request.route_id or _route_ahead(request, tools))
    try:
        told = None if speak is None else speak(error, request, tools)
    except _UNWRITABLE:
        return _INTERNAL, _JSON, _LAST_RESORT
    return told or (error.status, *_rendered(error, request, tools))


def _route_ahead(request: Request, tools: Tools) -> str:
    """The route that a request refused at the door would have taken: its client reads that protocol."""
    if request.stage != "door" or not (tools.speakers and request.path):
        return ""
    try:
        found = tools.trie.find(request.method, request.path)
    except ClientError:
        return ""
    return found.value.id if isinstance(found, Found) else ""


def bug_reply(request: Request, tools: Tools) -> Reply:
    """500 for what cannot happen; nothing of the exception is shown."""
    request.reason = "INTERNAL"
    status, content_type, body = _told(GatewayBug(""), request, tools)
    return Reply(status, [content_type, _NO_STORE, _NOSNIFF], body, reason="INTERNAL")
