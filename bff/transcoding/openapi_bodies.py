"""What a documented operation takes as its body and what it answers, with examples of both."""

from collections.abc import Callable
from copy import deepcopy
from typing import Final

import msgspec
from msgspec import Struct

from bff.core.exchange import Json
from bff.core.schema import Field, MessageType, Method
from bff.transcoding.forms import HTTP_BODY
from bff.transcoding.json_schemas import JsonSchemas
from bff.transcoding.openapi_errors import error_frame
from bff.transcoding.openapi_examples import NOTHING, example_of_field, example_of_message
from bff.transcoding.openapi_forms import form_contents, upload_contents
from bff.transcoding.openapi_parameters import Chain
from bff.transcoding.switches import STRICT, Switches

__all__ = ["OpenApiOperation", "reply_content", "request_body"]

_JSON: Final = "application/json"
_LINES: Final = "application/x-ndjson"
_EVENTS: Final = "text/event-stream"
_BINARY: Final[Json] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_PARTIAL: Final = "The fields that are here are those that change; null clears one."


class OpenApiOperation(Struct, frozen=True, kw_only=True):
    """One route as it is documented.

    `template` is the path template's text. `method` is None for aggregates, which give `reply`, a
    JSON Schema, and may give `parameters` (Parameter Objects of query and header) and `request`
    (a JSON Schema). `security` holds kinds of principal that are taken, any one of which is enough
    if it has all `scopes`; `anonymous` says that none is needed. `streaming` lists the media types
    of a stream's framings, the usual one first; `wrapped` messages stand under `result`, and a
    `resumable` stream takes the id of the last event. `socketed` ones can be had over WebSocket too.
    """

    id: str
    http_method: str
    template: str
    method: Method | None = None
    reply: Json = None
    request: Json = None
    parameters: tuple[Json, ...] = ()
    body: str = ""
    response_body: str = ""
    status: int = 200
    security: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    anonymous: bool = False
    limited: bool = True
    summary: str = ""
    description: str = ""
    streaming: tuple[str, ...] = ()
    wrapped: bool = False
    resumable: bool = False
    socketed: bool = False
    tags: tuple[str, ...] = ()
    switches: Switches = STRICT


class _Body(Struct, frozen=True):
    """The message that the body is, and the path's fields as they are counted from there."""

    message: MessageType
    bound: tuple[Chain, ...]

    @property
    def set_whole(self) -> set[str]:
        """Proto names of its fields that the path sets."""
        return {chain[0].name for chain in self.bound if len(chain) == 1}


def request_body(
    operation: OpenApiOperation, path: tuple[Chain, ...], schemas: JsonSchemas
) -> Json | None:
    """The Request Body Object, or None. `path` holds the fields of the path's variables."""
    method = operation.method
    if method is None:
        if operation.request is None:
            return None
        return {"content": {_JSON: {"schema": operation.request}}, "required": True}
    if not operation.body:
        return None
    field = method.input.by_name.get(operation.body)
    if field is not None and (field.message is None or field.repeated or field.is_map):
        return {"content": {_JSON: _field_media(operation, field, schemas)}}
    message = method.input if field is None or field.message is None else field.message
    if message.full_name == HTTP_BODY:
        form = upload_contents(
            method, operation.body, path=path, schemas=schemas, switches=operation.switches
        )
        return {"content": {**deepcopy(_BINARY), **form}}
    bound = path if field is None else tuple(c[1:] for c in path if c[0] is field and len(c) > 1)
    body = _Body(message, bound)
    partial = operation.http_method == "PATCH"
    required = [f.name for f in message.fields if f.required and not f.output_only]
    made: Json = {"content": _message_content(operation, method, body, schemas)}
    if partial:
        made["description"] = _PARTIAL
    if not partial and set(required) - body.set_whole:
        made["required"] = True
    return made


def _field_media(operation: OpenApiOperation, field: Field, schemas: JsonSchemas) -> Json:
    depth = operation.switches.json_depth
    example = example_of_field(field, "in", schemas.style, depth=depth)
    return _media(schemas.field(field, "in"), example)


def _message_content(
    operation: OpenApiOperation, method: Method, body: _Body, schemas: JsonSchemas
) -> Json:
    partial = operation.http_method == "PATCH"
    if partial or body.set_whole:
        schema = schemas.body(body.message, "in", without=body.set_whole, partial=partial)
    else:
        schema = schemas.ref(body.message, "in")
    forms = form_contents(
        body.message,
        bound=body.bound,
        schemas=schemas,
        switches=operation.switches,
        is_stream=method.client_streaming,
    )
    depth = operation.switches.json_depth
    example = example_of_message(body.message, "in", schemas.style, depth=depth, bound=body.bound)
    one = _media(schema, example)
    if method.client_streaming:
        many = _array(schema, example)
        framings = {
            "ndjson+array": {_LINES: one, _JSON: many},
            "array": {_JSON: many},
            # Objects in a row: one of them is a whole body too.
            "concatenated": {_JSON: one, _LINES: one},
        }[operation.switches.client_stream]
        return {**framings, **forms}
    return {_JSON: one, **forms}


def reply_content(operation: OpenApiOperation, schemas: JsonSchemas) -> Json | None:
    """The media types of a success, or None where there is no content to tell of."""
    method = operation.method
    if method is None:
        return None if operation.reply is None else {_JSON: {"schema": operation.reply}}
    message: MessageType | None = method.output
    field = method.output.by_name[operation.response_body] if operation.response_body else None
    if field is not None:
        message = None if field.repeated or field.is_map else field.message
    if message is not None and message.full_name == HTTP_BODY:
        return deepcopy(_BINARY)
    if field is None:
        schema = schemas.ref(method.output, "out")
        example = example_of_message(method.output, "out", schemas.style)
    else:
        schema = schemas.field(field, "out")
        example = example_of_field(field, "out", schemas.style)
    if not operation.streaming:
        return {_JSON: _media(schema, example)}
    return _stream_content(operation, schema, example)


def _stream_content(operation: OpenApiOperation, schema: Json, example: Json) -> Json:
    if operation.wrapped:
        schema = {
            "type": "object",
            "required": ["result"],
            "properties": {"result": schema},
            "additionalProperties": False,
        }
        example = NOTHING if example is NOTHING else {"result": example}
    # The status line is gone when a stream fails, so the error is its last message.
    frame = {"anyOf": [schema, error_frame(operation.switches.error_format)]}
    return {media: _FRAMINGS[media](frame, example) for media in operation.streaming}


def _array(frame: Json, example: Json) -> Json:
    return _media({"type": "array", "items": frame}, NOTHING if example is NOTHING else [example])


def _events(_frame: Json, example: Json) -> Json:
    # The text of an event stream is no JSON; each event's data is.
    text = "" if example is NOTHING else f"data: {msgspec.json.encode(example).decode()}\n\n"
    return _media({"type": "string"}, f"{text}event: end\ndata: {{}}\n\n")


def _media(schema: Json, example: Json) -> Json:
    return {"schema": schema} if example is NOTHING else {"schema": schema, "example": example}


_FRAMINGS: Final[dict[str, Callable[[Json, Json], Json]]] = {
    _JSON: _array,
    # The schema is that of one line.
    _LINES: _media,
    _EVENTS: _events,
}
