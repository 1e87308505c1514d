"""gRPC-Web: framed messages, the status in a last frame, HTTP 200 whatever it is."""

from collections.abc import AsyncGenerator, Callable
from math import inf
from typing import Final

import msgspec
from msgspec import Struct

from bff.core.errors import ClientError, GatewayError
from bff.core.exchange import Inputs, Json, Reply, Request
from bff.core.status import Code
from bff.pipeline.crossing import StreamFields
from bff.pipeline.framings import UNBUFFERED
from bff.pipeline.respond import error_tree
from bff.pipeline.route import Tools
from bff.pipeline.rpc import RpcCall, RpcParts, SpokenError
from bff.pipeline.streams import StreamForm, begin
from bff.transcoding.grpc_web import (
    WebForm,
    data_frame,
    read_message,
    text_octets,
    trailer_frame,
    web_form,
)
from bff.transcoding.json_codec import Codec
from bff.transcoding.status_bytes import pack_details, status_octets

__all__ = ["WebStreamCall", "WebUnaryCall", "open_grpc_web"]

_NO_STORE: Final = (b"cache-control", b"no-store")
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
# What begins the Accept of a client that reads texts only.
_TEXT: Final = b"application/grpc-web-text"


def _error_frame(tree: Json, code: int, codec: Codec) -> bytes:
    """The last frame of an error that is `tree` in AIP-193."""
    packed = pack_details(tree["details"], codec)
    details = status_octets(code, tree["message"], packed) if packed else b""
    return trailer_frame(code, tree["message"], details=details)


class _WebCall(Struct, frozen=True, kw_only=True):
    """What both kinds share; `form` is that of the request, `reply` that of the answer.

    `takes_stream`: the method wants a stream, which gRPC-Web has no way to send.
    """

    form: WebForm
    reply: WebForm
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
        message = read_message(text_octets(body) if self.form.is_text else body)
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
        octets = data_frame(message) + trailer_frame(Code.OK, fields=trailing)
        return Reply(200, headers, self.reply.written(octets))


class _Framing:
    """The frames of a stream, as `pipeline.framings.Framing`."""

    needs_first = False
    quiet_s = inf
    heartbeat = b""
    fields = UNBUFFERED

    def __init__(
        self, form: WebForm, parts: RpcParts, fields: StreamFields | None, codec: Codec
    ) -> None:
        self._form = form
        self._parts = parts
        self._fields = fields
        self._codec = codec

    def content_type(self, _first: bytes | None) -> bytes:
        """That of the form."""
        return self._form.content_type

    def start(self) -> bytes:
        """Nothing."""
        return b""

    def message(self, wire: bytes) -> bytes:
        """A frame."""
        message = self._parts.written(wire, is_json=self._form.is_json)
        return self._form.written(data_frame(message))

    def end(self) -> bytes:
        """The last frame, with trailing metadata."""
        trailing = self._fields.rest() if self._fields is not None else ()
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
        bound = parts.bound
        fields = None if bound.outward is None else StreamFields(bound.outward)
        messages: AsyncGenerator[bytes, None] = bound.stack.stream(
            bound.operation,
            inputs.message,
            bound.metadata(request, inputs.ticket.permit.principal),
            tools.clock.now_s() + self.timing.max_duration_s,
            request.calls,
            received=None if fields is None else fields.received,
        )
        # What ends the stream is told in AIP-193 to `_Framing.error`, whatever REST has here.
        request.error_form = "aip193"
        framing = _Framing(self.reply, parts, fields, tools.codec)
        reply = await begin(
            self.timing, framing, messages, bound.stack.name, request, tools, fields
        )
        # They stand in the last frame.
        reply.trailers = None
        return reply

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
        if timing is None or takes_stream:
            return WebUnaryCall(form=form, reply=reply, takes_stream=takes_stream)
        return WebStreamCall(form=form, reply=reply, timing=timing)

    return open_call
