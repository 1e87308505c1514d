"""Errors as replies: AIP-193 bodies, in one table-driven place for every front.

What a stranger may read is decided here: a service's own words only for codes whose text is meant
for clients, our fixed sentences otherwise; never a stack, a host, a type name of ours.
"""

import math

import msgspec

from bff.core.errors import GatewayError, UpstreamError
from bff.core.exchange import Json, Reply, Request
from bff.core.status import MASKED_CODES, Code
from bff.pipeline.route import Tools
from bff.transcoding import rpc_status

__all__ = ["bug_reply", "error_body", "error_reply", "error_text", "error_tree", "public_message"]

_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_MAX_MESSAGE_CHARS = 1024
# What is left when even the error cannot be written.
_LAST_RESORT = (
    b'{"error":{"code":500,"message":"The gateway failed.","status":"INTERNAL","details":[]}}'
)
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_WAITABLE = frozenset({429, 503})
_encode = msgspec.json.Encoder().encode


def public_message(error: GatewayError) -> str:
    """The sentence that the client reads."""
    if isinstance(error, UpstreamError) and error.origin == "service":
        if error.code in MASKED_CODES:
            return MASKED_CODES[error.code]
        shown = "".join(c for c in error.message if c.isprintable())[:_MAX_MESSAGE_CHARS]
        return shown or error.public
    return error.public


def error_tree(error: GatewayError, request: Request, tools: Tools) -> dict[str, Json]:
    """The `error` object of AIP-193: code (HTTP), message, status (gRPC name), details."""
    details: list[Json] = []
    message = public_message(error)
    if isinstance(error, UpstreamError) and error.details_bin:
        # The message of the details says the same as grpc-message, and that one is always there.
        _, decoded = rpc_status.decode_details(error.details_bin, error.code, tools.codec)
        details = _shown_details(decoded, masked=error.code in MASKED_CODES)
    present = {detail.get("@type") for detail in details if isinstance(detail, dict)}
    for made in _own_details(error, request, tools):
        if made["@type"] not in present:
            details.append(made)
    return {
        "code": error.status,
        "message": message,
        "status": error.code.name,
        "details": details,
    }


_ALWAYS_SHOWN = frozenset(
    f"type.googleapis.com/google.rpc.{name}" for name in ("ErrorInfo", "RetryInfo", "RequestInfo")
)


def _shown_details(details: list[Json], *, masked: bool) -> list[Json]:
    if not masked:
        return list(details)
    return [d for d in details if isinstance(d, dict) and d.get("@type") in _ALWAYS_SHOWN]


def _own_details(error: GatewayError, request: Request, tools: Tools) -> list[dict[str, Json]]:
    """What helps most comes first; the id for the support desk last."""
    made = [rpc_status.error_info(error.reason, tools.domain, error.metadata)]
    if error.violations:
        made.append(rpc_status.bad_request(error.violations))
    if error.retry_after_s is not None:
        made.append(rpc_status.retry_info(error.retry_after_s))
    made.append(rpc_status.request_info(request.request_id))
    return made


def error_text(error: GatewayError, request: Request, tools: Tools) -> bytes:
    """The `error` object as JSON, for the last frame of a stream."""
    return _encode(error_tree(error, request, tools))


def error_body(error: GatewayError, request: Request, tools: Tools) -> bytes:
    """The whole body; a constant one if the error itself cannot be written."""
    try:
        if request.error_form == "graphql":
            return _encode(_graphql_tree(error, request))
        return _encode({"error": error_tree(error, request, tools)})
    except (msgspec.ValidationError, TypeError, ValueError, UnicodeError):
        return _LAST_RESORT


def _graphql_tree(error: GatewayError, request: Request) -> dict[str, Json]:
    """A refusal by the line as GraphQL clients read it: errors without data (spec October 2021, 7.1)."""
    extensions: dict[str, Json] = {"code": error.code.name, "reason": error.reason}
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
        if isinstance(detail, dict) and detail.get("@type") == _RETRY_INFO:
            # ProtoJSON of a Duration: seconds and "s"; one that is not set is absent.
            return float(str(detail.get("retryDelay", "0s")).removesuffix("s"))
    return None


def error_reply(error: GatewayError, request: Request, tools: Tools) -> Reply:
    """The reply that an error becomes: status from the one table, Retry-After where waiting helps."""
    request.reason = error.reason
    request.detail = error.detail
    if error.retry_after_s is None and isinstance(error, UpstreamError) and error.details_bin:
        error.retry_after_s = _asked_wait_s(error, tools)
    headers = [_JSON, _NO_STORE, _NOSNIFF, *error.headers]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after_s))).encode()))
    if request.ticket_headers and not any(name == b"ratelimit" for name, _ in error.headers):
        headers.extend(request.ticket_headers)
    return Reply(error.status, headers, error_body(error, request, tools), reason=error.reason)


def bug_reply(request: Request, tools: Tools) -> Reply:
    """500 for what cannot happen; nothing of the exception is shown."""
    request.reason = "INTERNAL"
    details = [
        rpc_status.error_info("INTERNAL", tools.domain, {}),
        rpc_status.request_info(request.request_id),
    ]
    tree = {"code": 500, "message": "The gateway failed.", "status": Code.INTERNAL.name}
    return Reply(
        500,
        [_JSON, _NO_STORE, _NOSNIFF],
        _encode({"error": {**tree, "details": details}}),
        reason="INTERNAL",
    )
