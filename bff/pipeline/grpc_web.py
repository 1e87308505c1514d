"""gRPC-Web: framed messages, the status in a last frame, HTTP 200 whatever it is."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from bff.core.errors import ClientError, GatewayError
from bff.core.exchange import Inputs, Json, Reply, Request
from bff.core.status import Code
from bff.pipeline.crossing import StreamFields
from bff.pipeline.framings import UNBUFFERED, Fields
from bff.pipeline.respond import error_tree
from bff.pipeline.route import Tools
from bff.pipeline.rpc import RpcCall, RpcParts, SpokenError
from bff.pipeline.rpc_streams import RpcFraming, begin_stream
from bff.pipeline.streams import StreamForm
from bff.transcoding.grpc_web import (
    WebForm,
    text_octets,
    trailer_frame,
    web_form,
)
from bff.transcoding.json_codec import Codec
from bff.transcoding.message_frames import GZIP, is_gzip_taken, message_frame, read_frame
from bff.transcoding.status_bytes import pack_details, status_octets

__all__ = ["WebStreamCall", "WebUnaryCall", "open_grpc_web"]

_NO_STORE: Final = (b"cache-control", b"no-store")
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
# What begins the Accept of a client that reads texts only.
_TEXT: Final = b"application/grpc-web-text"
_CODING: Final = b"grpc-encoding"
_ACCEPT: Final = b"grpc-accept-encoding"
_ZIPPED: Final[Fields] = ((_CODING, GZIP),)


def _error_frame(tree: Json, code: int, codec: Codec) -> bytes:
    """The last frame of an error that is `tree` in AIP-193."""
    packed = pack_details(tree["details"], codec)
    details = status_octets(code, tree["message"], packed) if packed else b""
    return trailer_frame(code, tree["message"], details=details)


class _WebCall(Struct, frozen=True, kw_only=True):
    """What both kinds share; `form` is that of the request, `reply` that of the answer.

    `takes_stream`: the method wants a stream, which gRPC-Web has no way to send. `coding` is that of
    a compressed message, `zips` says that the client reads gzip.
    """

    form: WebForm
    reply: WebForm
    coding: bytes = b""
    zips: bool = False
    takes_stream: bool = False

    async def read(self, request: Request, parts: RpcParts) -> bytes:
        """The one message of the body."""
        if self.takes_stream:
            raise ClientError("UNIMPLEMENTED", "Streams of a client have no form in gRPC-Web.")
        if request.query:
            raise ClientError("UNKNOWN_PARAMETER", "A call of gRPC-Web has no query.")
        cap_bytes = parts.bound.body_cap_bytes
        # Four letters of base64 are three octets.
        body = await request.read_body(cap_bytes * 4 // 3 + 4 if self.form.is_text else cap_bytes)
        octets = text_octets(body) if self.form.is_text else body
        message = read_frame(octets, coding=self.coding, accept=_ACCEPT, cap_bytes=cap_bytes)
        return parts.message(message, is_json=self.form.is_json)

    def error(self, error: GatewayError, request: Request, tools: Tools) -> SpokenError:
        """A body that is the last frame alone."""
        tree = error_tree(error, request, tools)
        frame = _error_frame(tree, error.told_code, tools.codec)
        return 200, (b"content-type", self.reply.content_type), self.reply.written(frame)


class WebUnaryCall(_WebCall, frozen=True, kw_only=True):
    """A call with one message each way."""

    async def fetch(self, request: Request, inputs: Inputs, parts: RpcParts, tools: Tools) -> Json:
        """The service's reply."""
        return await parts.bound.call(request, inputs)

    def shape(self, answers: Json, parts: RpcParts) -> Reply:
        """The message's frame and the last one."""
        message = parts.written(answers.message, is_json=self.reply.is_json)
        headers = [(b"content-type", self.reply.content_type), _NO_STORE, _NOSNIFF]
        outward, trailing = parts.bound.outward, []
        if outward is not None:
            headers += outward.of(answers.metadata[: answers.initial])
            trailing = outward.of(answers.metadata[answers.initial :])
        if self.zips:
            headers += _ZIPPED
        octets = message_frame(message, is_zipped=self.zips)
        octets += trailer_frame(Code.OK, fields=trailing)
        return Reply(200, headers, self.reply.written(octets))


class _Framing(RpcFraming):
    """The frames of a stream."""

    def __init__(
        self, call: _WebCall, parts: RpcParts, fields: StreamFields | None, codec: Codec
    ) -> None:
        self._form = call.reply
        self._zips = call.zips
        self._parts = parts
        self._trailing = fields
        self._codec = codec
        if call.zips:
            self.fields = UNBUFFERED + _ZIPPED

    def content_type(self, _first: bytes | None) -> bytes:
        """That of the form."""
        return self._form.content_type

    def message(self, wire: bytes) -> bytes:
        """A frame."""
        message = self._parts.written(wire, is_json=self._form.is_json)
        return self._form.written(message_frame(message, is_zipped=self._zips))

    def end(self) -> bytes:
        """The last frame, with trailing metadata."""
        trailing = self._trailing.rest() if self._trailing is not None else ()
        return self._form.written(trailer_frame(Code.OK, fields=trailing))

    def error(self, json: bytes) -> bytes:
        """The last frame of an error, which comes as AIP-193 has it."""
        tree = msgspec.json.decode(json)
        return self._form.written(_error_frame(tree, Code[tree["status"]], self._codec))


class WebStreamCall(_WebCall, frozen=True, kw_only=True):
    """A call whose reply is a stream; `timing` holds its times."""

    timing: StreamForm

    async def fetch(self, request: Request, inputs: Inputs, parts: RpcParts, tools: Tools) -> Json:
        """The reply, which waits as other streams do."""

        def frame(fields: StreamFields | None) -> _Framing:
            return _Framing(self, parts, fields, tools.codec)

        return await begin_stream(parts, self.timing, frame, request, inputs, tools)

    def shape(self, answers: Json, parts: RpcParts) -> Reply:
        """The reply that `fetch` began."""
        reply: Reply = answers
        return reply


def open_grpc_web(
    *, takes_stream: bool, timing: StreamForm | None
) -> Callable[[Request], RpcCall | None]:
    """Tells a call of gRPC-Web by its media type; `timing` is set for methods that answer by a stream."""

    def open_call(request: Request) -> RpcCall | None:
        form = web_form(request.headers.get(b"content-type"))
        if form is None:
            return None
        accept = request.headers.get(b"accept") or b""
        reply = WebForm(form.is_json, form.is_text or accept.lower().startswith(_TEXT))
        coding = request.headers.get(_CODING) or b""
        zips = is_gzip_taken(request.headers.get(_ACCEPT))
        if timing is None or takes_stream:
            return WebUnaryCall(
                form=form, reply=reply, coding=coding, zips=zips, takes_stream=takes_stream
            )
        return WebStreamCall(form=form, reply=reply, coding=coding, zips=zips, timing=timing)

    return open_call
