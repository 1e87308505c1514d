"""What a failed grpcio call means: who made the status, what the peer may have seen, which reason.

Pure. The core hands over a peer's status and its own failures in the same shape, so its own are
known by their texts; tests/integration/test_upstream_calls.py holds these texts to the installed
release. A service may relay such a text from a call of its own. Therefore what makes a repeat
safe (`never`, `refused`) is only believed if the state of our own connection agrees.
"""

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from bff.core.errors import Sent, UpstreamError
from bff.core.status import Code

__all__ = ["RawStatus", "fault_of", "no_message"]

_DETAILS_MAX_BYTES = 16 * 1024
_MESSAGE_MAX_CHARS = 1024
_NOT_CONNECTED = (
    "failed to connect to all addresses",
    "errors resolving ",
    "DNS resolution failed",
)
# RFC 9113 and grpc-status faults that the core words itself; `Stream removed` wraps most of them.
_WIRE_TEXT = re.compile(
    r"Stream removed \(|Received http2 header with status: |No status received"
    r"|Decompression failed|Compression bit set but no|Failed parsing HTTP/2"
    r"|Socket closed|Endpoint closing|GOAWAY received|keepalive watchdog|Received RST_STREAM"
    r"|Deadline Exceeded|(?:CLIENT: )?(?:Received|Sent) message larger than max"
)
_HTTP_STATUS = re.compile(r"Received http2 header with status: ([0-9]{3})")
_TLS_TEXT = re.compile(r"handshake|SSL|TLS|certificate|verification|ALPN", re.IGNORECASE)
# HTTP statuses with which a proxy says that the service is not there for now.
_HTTP_UNAVAILABLE = frozenset({"429", "502", "503", "504"})


class RawStatus(Struct, frozen=True, kw_only=True):
    """How the core says that a call ended.

    `overdue`: our deadline has passed; `ready`: the connection is up now.
    """

    code: int
    text: str
    trailing: Sequence[tuple[str, str | bytes]] = ()
    overdue: bool = False
    ready: bool = True


def fault_of(status: RawStatus, *, own_mark: str) -> UpstreamError:
    """The error of a call that ended with a status other than OK.

    `own_mark` stands in the core's texts about our own connection: the address, or `:port` of a name.
    """
    code, text = Code(status.code), status.text
    if text.startswith(_NOT_CONNECTED) and own_mark in text and not status.ready:
        reason = "UPSTREAM_TLS" if _TLS_TEXT.search(text) else "UPSTREAM_UNAVAILABLE"
        return _wire(reason, code, text, sent="never")
    # A CANCELLED that comes after the deadline is the service's echo of it.
    if status.overdue and code in (Code.DEADLINE_EXCEEDED, Code.CANCELLED):
        return _wire("TIMEOUT", Code.DEADLINE_EXCEEDED, text)
    if _WIRE_TEXT.match(text) is None:
        return _of_service(code, status)
    return _wire_fault(code, status)


def no_message() -> UpstreamError:
    """OK without a message, which a unary call must not have."""
    return _wire("UPSTREAM_PROTOCOL", Code.INTERNAL, "OK without a message")


def _wire_fault(code: Code, status: RawStatus) -> UpstreamError:
    text = status.text
    if code is Code.DEADLINE_EXCEEDED:
        return _wire("TIMEOUT", code, text)
    if "Received message larger than max" in text:
        return _wire("REPLY_TOO_LARGE", code, text)
    if "Sent message larger than max" in text:
        return UpstreamError("BODY_TOO_LARGE", code=code, origin="local", sent="never", detail=text)
    answered = _HTTP_STATUS.match(text)
    if answered is not None:
        if answered[1] in _HTTP_UNAVAILABLE:
            return _wire("UPSTREAM_UNAVAILABLE", Code.UNAVAILABLE, text)
        return _wire("UPSTREAM_PROTOCOL", code, text)
    if code is Code.UNAVAILABLE:
        # Streams above the GOAWAY's last id were not looked at (RFC 9113 6.8).
        sent: Sent = "refused" if "GOAWAY received" in text and not status.ready else "maybe"
        return _wire("UPSTREAM_UNAVAILABLE", code, text, sent=sent)
    if "RST_STREAM" in text and code is not Code.INTERNAL:
        # CANCELLED, RESOURCE_EXHAUSTED, PERMISSION_DENIED by the error code of the reset.
        return _wire(code.name, code, text)
    return _wire("UPSTREAM_PROTOCOL", code, text)


def _of_service(code: Code, status: RawStatus) -> UpstreamError:
    details_bin, pushback_ms = b"", None
    for name, value in status.trailing:
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            details_bin = value if len(value) <= _DETAILS_MAX_BYTES else b""
        elif name == "grpc-retry-pushback-ms":
            pushback_ms = _pushback(value)
    return UpstreamError(
        code.name,
        code=code,
        message=status.text[:_MESSAGE_MAX_CHARS],
        details_bin=details_bin,
        pushback_ms=pushback_ms,
    )


def _pushback(value: Any) -> int:
    """Milliseconds; -1 (do not retry) for what is no number (gRFC A6)."""
    text = value if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else -1


def _wire(reason: str, code: Code, text: str, *, sent: Sent = "maybe") -> UpstreamError:
    return UpstreamError(
        reason, code=code, origin="wire", sent=sent, detail=text[:_MESSAGE_MAX_CHARS]
    )
