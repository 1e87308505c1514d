"""What an ended call means: the message of an OK reply, or the UpstreamError (gRPC over HTTP/2). Pure."""

import binascii
import zlib
from base64 import b64decode
from urllib.parse import unquote_to_bytes

from bff.core.errors import Sent, UpstreamError
from bff.core.status import Code
from bff.wire.http2.headers import ABSENT, BROKEN, Block
from bff.wire.http2.stream import Fault, Stream

__all__ = ["error_of", "failure_of", "message_of", "metadata_of"]

_DETAILS_MAX_BYTES = 16 * 1024
_MESSAGE_MAX_CHARS = 1024
_INFLATE_STEP_BYTES = 64 * 1024
# What a reply without grpc-status means (http-grpc-status-mapping); any other status is UNKNOWN.
_CODE_OF_HTTP = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    431: Code.INTERNAL,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
# Fields of the protocol, which are no metadata.
_RESERVED = frozenset(
    {b"content-type", b"grpc-accept-encoding", b"grpc-encoding", b"grpc-message", b"grpc-status", b"te"}
)  # fmt: skip


def message_of(stream: Stream, *, max_bytes: int) -> bytes | None:
    """The message of a call that ended with OK, or None if it ended otherwise.

    Raises UpstreamError if the message is not as it must be.
    """
    if stream.reply is not None:
        return stream.reply
    trailers = stream.trailers
    if trailers is None or trailers.grpc_code != 0 or stream.fault is not None:
        return None
    body = stream.body
    # Flag 0 and one message, which came in more than one read.
    if len(body) >= 5 and body[0] == 0 and int.from_bytes(body[1:5]) == len(body) - 5:
        return bytes(body[5:])
    return _message(stream, max_bytes)


def failure_of(stream: Stream, *, overdue: bool) -> UpstreamError:
    """How a call failed that `message_of` has no message of.

    `overdue`: the deadline has passed; a CANCELLED that comes then is the service's echo of it.
    """
    error = _status_error(stream)
    if overdue and error.code in (Code.DEADLINE_EXCEEDED, Code.CANCELLED):
        sent = "maybe" if stream.fault is None else stream.fault.sent
        return _wire("TIMEOUT", Code.DEADLINE_EXCEEDED, error.detail, sent=sent)
    return error


def error_of(fault: Fault) -> UpstreamError:
    """The error of a call that a fault ended."""
    return UpstreamError(
        fault.reason, code=fault.code, origin=fault.origin, sent=fault.sent, detail=fault.detail
    )


def metadata_of(stream: Stream) -> tuple[tuple[tuple[str, str | bytes], ...], int]:
    """Initial and trailing metadata of the service's own, in order; and how many are initial."""
    found: list[tuple[str, str | bytes]] = []
    initial = 0
    # A reply of trailers alone has one block for both.
    blocks = (
        [stream.headers] if stream.headers is stream.trailers else [stream.headers, stream.trailers]
    )
    for block in blocks:
        if block is stream.trailers:
            initial = len(found)
        if block is None:
            continue
        for name, value in block.pairs:
            if name[:1] == b":" or name in _RESERVED:
                continue
            if not name.endswith(b"-bin"):
                found.append((name.decode("ascii"), value.decode("utf-8", "replace")))
                continue
            raw = _from_base64(value)
            if raw is not None:
                found.append((name.decode("ascii"), raw))
    return tuple(found), initial


def _message(stream: Stream, max_bytes: int) -> bytes:
    """The message of an OK reply that is not a plain one."""
    body = bytes(stream.body)
    if not body:
        raise _protocol("OK without a message")
    if len(body) < 5 or len(body) < 5 + int.from_bytes(body[1:5]):
        raise _protocol("a message that runs past the end")
    if len(body) > 5 + int.from_bytes(body[1:5]):
        raise _protocol("OK with more than a message")
    if body[0] > 1:
        raise _protocol("a message with an unknown flag")
    if body[0] == 0:
        return body[5:]
    encoding = stream.headers.encoding if stream.headers is not None else b""
    if encoding != b"gzip":
        raise _protocol("a compressed message in no known encoding")
    return _inflated(body[5:], max_bytes)


def _inflated(packed: bytes, max_bytes: int) -> bytes:
    """Gunzip in steps, never past the limit."""
    machine = zlib.decompressobj(wbits=31)
    out = bytearray()
    try:
        while packed and not machine.eof:
            out += machine.decompress(packed, _INFLATE_STEP_BYTES)
            packed = machine.unconsumed_tail
            if len(out) > max_bytes:
                raise _wire("REPLY_TOO_LARGE", Code.RESOURCE_EXHAUSTED, "a message over its limit")
        out += machine.flush()
    except zlib.error as error:
        raise _protocol("corrupt gzip") from error
    if not machine.eof or machine.unused_data:
        raise _protocol("corrupt gzip")
    if len(out) > max_bytes:
        raise _wire("REPLY_TOO_LARGE", Code.RESOURCE_EXHAUSTED, "a message over its limit")
    return bytes(out)


def _status_error(stream: Stream) -> UpstreamError:
    if stream.fault is not None:
        return error_of(stream.fault)
    trailers, headers = stream.trailers, stream.headers
    number = ABSENT if trailers is None else trailers.grpc_code
    if trailers is not None and number >= 0:
        return _of_service(trailers, Code(number) if number <= 16 else Code.UNKNOWN)
    if number == BROKEN:
        return _protocol("grpc-status is no status")
    if headers is None or (headers.status == 200 and headers.is_grpc):
        return _wire("UPSTREAM_PROTOCOL", Code.UNKNOWN, "no grpc-status")
    code = _CODE_OF_HTTP.get(headers.status, Code.UNKNOWN)
    reason = "UPSTREAM_UNAVAILABLE" if code is Code.UNAVAILABLE else "UPSTREAM_PROTOCOL"
    return _wire(reason, code, f"HTTP status {headers.status} without grpc-status")


def _of_service(trailers: Block, code: Code) -> UpstreamError:
    message, details_bin, pushback_ms = "", b"", None
    for name, value in trailers.pairs:
        if name == b"grpc-message":
            message = unquote_to_bytes(value).decode("utf-8", "replace")[:_MESSAGE_MAX_CHARS]
        elif name == b"grpc-status-details-bin":
            raw = _from_base64(value) or b""
            details_bin = raw if len(raw) <= _DETAILS_MAX_BYTES else b""
        elif name == b"grpc-retry-pushback-ms":
            # What is no number says: do not retry (gRFC A6).
            pushback_ms = int(value) if value.isdigit() and len(value) <= 9 else -1
    return UpstreamError(
        code.name, code=code, message=message, details_bin=details_bin, pushback_ms=pushback_ms
    )


def _from_base64(value: bytes) -> bytes | None:
    """Padded or not; None if it is no base64."""
    try:
        return b64decode(value.rstrip(b"=") + b"=" * (-len(value.rstrip(b"=")) % 4), validate=True)
    except binascii.Error:
        return None


def _protocol(why: str) -> UpstreamError:
    return _wire("UPSTREAM_PROTOCOL", Code.INTERNAL, why)


def _wire(reason: str, code: Code, why: str, *, sent: Sent = "maybe") -> UpstreamError:
    return UpstreamError(reason, code=code, origin="wire", sent=sent, detail=why)
