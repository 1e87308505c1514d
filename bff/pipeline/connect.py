"""Unary calls of the Connect protocol: bare messages, errors with an HTTP status, calls by GET."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from bff.core.errors import ClientError, GatewayError
from bff.core.exchange import Inputs, Json, Reply, Request
from bff.core.status import http_of_code
from bff.pipeline.respond import error_tree
from bff.pipeline.route import Tools
from bff.pipeline.rpc import RpcParts, SpokenError
from bff.transcoding.connect_protocol import (
    CONTENT_TYPES,
    Encoding,
    codec_of,
    connect_error,
    read_get,
)
from bff.transcoding.message_frames import inflate
from bff.transcoding.status_bytes import pack_details

__all__ = ["ConnectCall", "check_version", "open_connect"]

_NO_STORE: Final = (b"cache-control", b"no-store")
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_JSON: Final = (b"content-type", CONTENT_TYPES["json"])
_VERSION: Final = b"connect-protocol-version"


def check_version(request: Request) -> None:
    """Raises ClientError INVALID_HEADER for a version of the protocol that is not the one there is."""
    if request.headers.get(_VERSION) not in {None, b"1"}:
        raise ClientError(
            "INVALID_HEADER",
            "The header connect-protocol-version is not 1.",
            metadata={"header": "connect-protocol-version"},
        )


class ConnectCall(Struct, frozen=True):
    """One call; `encoding` None: it comes by GET, and its query says."""

    encoding: Encoding | None

    async def read(self, request: Request, parts: RpcParts) -> bytes:
        """The body, or the query's message."""
        check_version(request)
        if self.encoding is None:
            call = read_get(request.query)
            message = call.message
            if call.is_zipped:
                message = inflate(message, parts.bound.body_cap_bytes)
            return parts.message(message, is_json=call.encoding == "json")
        if request.query:
            raise ClientError("UNKNOWN_PARAMETER", "A call by POST has no query.")
        body = await request.read_body(parts.bound.body_cap_bytes)
        return parts.message(body, is_json=self.encoding == "json")

    async def fetch(self, request: Request, inputs: Inputs, parts: RpcParts, tools: Tools) -> Json:
        """The service's reply, beside how the client wants it written."""
        encoding = self.encoding or read_get(request.query).encoding
        return encoding, await parts.bound.call(request, inputs)

    def shape(self, answers: Json, parts: RpcParts) -> Reply:
        """The message alone; trailing metadata as header fields whose names begin with `Trailer-`."""
        encoding, answer = answers
        body = parts.written(answer.message, is_json=encoding == "json")
        reply = Reply(200, [(b"content-type", CONTENT_TYPES[encoding]), _NO_STORE, _NOSNIFF], body)
        outward = parts.bound.outward
        if outward is not None:
            reply.headers += outward.of(answer.metadata[: answer.initial])
            trailing = outward.of(answer.metadata[answer.initial :])
            reply.headers += [(b"trailer-" + name, value) for name, value in trailing]
        return reply

    def error(self, error: GatewayError, request: Request, tools: Tools) -> SpokenError:
        """Always JSON, under the status that Connect has for the code."""
        tree = error_tree(error, request, tools)
        packed = pack_details(tree["details"], tools.codec)
        details = [(url.rpartition("/")[2], octets) for url, octets in packed]
        code = error.told_code
        return http_of_code(code), _JSON, connect_error(code, tree["message"], details)


_BY_GET: Final = ConnectCall(None)
_CALLS: Final[dict[Encoding, ConnectCall]] = {
    "proto": ConnectCall("proto"),
    "json": ConnectCall("json"),
}


def open_connect(*, is_shared: bool) -> Callable[[Request], ConnectCall | None]:
    """Tells a Connect call; where REST shares the path, JSON is Connect only with its version field."""

    def open_call(request: Request) -> ConnectCall | None:
        if request.method == "GET":
            return _BY_GET
        encoding = codec_of(request.headers.get(b"content-type"))
        if encoding is None:
            return None
        if is_shared and encoding == "json" and request.headers.get(_VERSION) is None:
            return None
        return _CALLS[encoding]

    return open_call
