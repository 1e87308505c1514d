"""google.rpc.Status: a service's error details as ProtoJSON, and details of our own.

Nothing here decides what a client may read: `pipeline` does, by the code (status table in core).
"""

import math
from collections.abc import Sequence

from bff.core.errors import GatewayError, Violation
from bff.core.exchange import Json
from bff.core.status import Code
from bff.transcoding.json_codec import Codec

__all__ = ["bad_request", "decode_details", "error_info", "request_info", "retry_info"]

_TYPES = "type.googleapis.com/google.rpc."
# Stack traces and their like are for the log of the service, never for its callers.
_DROPPED = frozenset({"google.rpc.DebugInfo"})
# Details beyond these are dropped: the metadata of a reply may be large, an error body should not.
_MAX_DETAILS = 32


def decode_details(details_bin: bytes, code: Code, codec: Codec) -> tuple[str | None, list[Json]]:
    """Message and details of a `grpc-status-details-bin` (decoded from base64), as ProtoJSON Any.

    (None, []) where the octets are no Status or its code is not `code`: then `grpc-status` and
    `grpc-message` speak alone. A detail of a type that the codec has not, or that does not decode,
    is `{"@type": .., "value": <base64>}`; DebugInfo is dropped; each type stands once.
    """
    if not details_bin:
        return None, []
    try:
        status = codec.status(details_bin)
    except GatewayError:
        return None, []
    if status.code != code:
        return None, []
    details: dict[str, Json] = {}
    for url, octets in status.details[:_MAX_DETAILS]:
        kind = url.rpartition("/")[2]
        # Without a name there is nothing that a client could tell it by.
        if kind and kind not in _DROPPED and kind not in details:
            details[kind] = codec.any_tree(url, octets)
    return status.message, list(details.values())


def error_info(reason: str, domain: str, metadata: dict[str, str] | None = None) -> Json:
    """An ErrorInfo: UPPER_SNAKE_CASE reason, who says so, and what varies in the message (AIP-193)."""
    detail: dict[str, Json] = {"@type": f"{_TYPES}ErrorInfo", "reason": reason, "domain": domain}
    if metadata:
        detail["metadata"] = metadata
    return detail


def request_info(request_id: str) -> Json:
    """A RequestInfo with the id that `x-request-id` carries too."""
    return {"@type": f"{_TYPES}RequestInfo", "requestId": request_id}


def bad_request(violations: Sequence[Violation]) -> Json:
    """A BadRequest with one entry a violation."""
    return {
        "@type": f"{_TYPES}BadRequest",
        "fieldViolations": [
            {"field": each.field, "description": each.description} for each in violations
        ],
    }


def retry_info(seconds: float) -> Json:
    """A RetryInfo; the delay in whole seconds, rounded up, so that it agrees with Retry-After."""
    return {"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{max(0, math.ceil(seconds))}s"}
