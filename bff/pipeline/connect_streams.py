"""Server streams of the Connect protocol: messages in envelopes, the end in one that is JSON."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from bff.core.errors import ClientError, GatewayError
from bff.core.exchange import Inputs, Json, Reply, Request
from bff.core.status import Code
from bff.pipeline.connect import check_version
from bff.pipeline.crossing import StreamFields
from bff.pipeline.framings import UNBUFFERED
from bff.pipeline.respond import error_tree
from bff.pipeline.route import Tools
from bff.pipeline.rpc import RpcParts, SpokenError
from bff.pipeline.rpc_streams import RpcFraming, begin_stream
from bff.pipeline.streams import StreamForm
from bff.transcoding.connect_protocol import (
    STREAM_TYPES,
    Encoding,
    connect_error,
    end_envelope,
    stream_codec_of,
)
from bff.transcoding.json_codec import Codec
from bff.transcoding.message_frames import GZIP, is_gzip_taken, message_frame, read_frame
from bff.transcoding.status_bytes import pack_details

__all__ = ["ConnectStreamCall", "open_connect_stream"]

_CODING: Final = b"connect-content-encoding"
_ACCEPT: Final = b"connect-accept-encoding"


def _error_of(tree: Json, code: Code, codec: Codec) -> bytes:
    """The error that is `tree` in AIP-193, as Connect has it."""
    packed = pack_details(tree["details"], codec)
    details = [(url.rpartition("/")[2], octets) for url, octets in packed]
    return connect_error(code, tree["message"], details)


class ConnectStreamCall(Struct, frozen=True, kw_only=True):
    """One call; `coding` is that of its envelope, `zips` says that the client reads gzip."""

    encoding: Encoding
    coding: bytes
    zips: bool
    timing: StreamForm

    async def read(self, request: Request, parts: RpcParts) -> bytes:
        """The message of the one envelope."""
        check_version(request)
        if request.query:
            raise ClientError("UNKNOWN_PARAMETER", "A call by POST has no query.")
        cap_bytes = parts.bound.body_cap_bytes
        body = await request.read_body(cap_bytes)
        message = read_frame(body, coding=self.coding, accept=_ACCEPT, cap_bytes=cap_bytes)
        return parts.message(message, is_json=self.encoding == "json")

    async def fetch(self, request: Request, inputs: Inputs, parts: RpcParts, tools: Tools) -> Json:
        """The reply, which waits as other streams do."""

        def frame(fields: StreamFields | None) -> "_Framing":
            return _Framing(self, parts, fields, tools.codec)

        return await begin_stream(parts, self.timing, frame, request, inputs, tools)

    def shape(self, answers: Json, parts: RpcParts) -> Reply:
        """The reply that `fetch` began."""
        reply: Reply = answers
        return reply

    def error(self, error: GatewayError, request: Request, tools: Tools) -> SpokenError:
        """The end alone, under HTTP 200: the protocol has the status of a stream in its last envelope."""
        told = _error_of(error_tree(error, request, tools), error.told_code, tools.codec)
        return 200, (b"content-type", STREAM_TYPES[self.encoding]), end_envelope(told)


class _Framing(RpcFraming):
    """The envelopes of a stream."""

    def __init__(
        self, call: ConnectStreamCall, parts: RpcParts, fields: StreamFields | None, codec: Codec
    ) -> None:
        self._call = call
        self._parts = parts
        self._trailing = fields
        self._codec = codec
        if call.zips:
            self.fields = (*UNBUFFERED, (_CODING, GZIP))

    def content_type(self, _first: bytes | None) -> bytes:
        """That of the request."""
        return STREAM_TYPES[self._call.encoding]

    def message(self, wire: bytes) -> bytes:
        """An envelope."""
        message = self._parts.written(wire, is_json=self._call.encoding == "json")
        return message_frame(message, is_zipped=self._call.zips)

    def end(self) -> bytes:
        """The last envelope, with trailing metadata."""
        return end_envelope(fields=() if self._trailing is None else self._trailing.rest())

    def error(self, json: bytes) -> bytes:
        """The last envelope of an error, which comes as AIP-193 has it."""
        tree = msgspec.json.decode(json)
        return end_envelope(_error_of(tree, Code[tree["status"]], self._codec))


def open_connect_stream(timing: StreamForm) -> Callable[[Request], ConnectStreamCall | None]:
    """Tells a call of a method that answers by a stream, by its media type."""

    def open_call(request: Request) -> ConnectStreamCall | None:
        encoding = stream_codec_of(request.headers.get(b"content-type"))
        if encoding is None:
            return None
        return ConnectStreamCall(
            encoding=encoding,
            coding=request.headers.get(_CODING) or b"",
            zips=is_gzip_taken(request.headers.get(_ACCEPT)),
            timing=timing,
        )

    return open_call
