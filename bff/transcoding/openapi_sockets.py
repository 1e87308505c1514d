"""The same stream over WebSocket as OpenAPI tells it: an extension, since OpenAPI 3.1 has no word for frames."""

from typing import Final

from bff.core.exchange import Json
from bff.core.schema import MessageType, Method
from bff.transcoding.envelopes import SUBPROTOCOL
from bff.transcoding.json_schemas import JsonSchemas, Side
from bff.transcoding.openapi_bodies import OpenApiOperation
from bff.transcoding.openapi_errors import error_frame

__all__ = ["UPGRADED", "socket_extension"]

UPGRADED: Final = "Upgraded to WebSocket, where the request asks for it."
_EVERY_WAY: Final = (
    "The same over WebSocket: an upgrade by GET at this path, whatever the method here. Each frame is "
    "a text of at most 1 MiB, one JSON object with one member."
)


def socket_extension(operation: OpenApiOperation, schemas: JsonSchemas) -> Json:
    """What a client sends and reads after the upgrade; path and query are those of the operation."""
    method = operation.method
    assert method is not None  # aggregates have no socket
    body = operation.body if operation.body != "*" else ""
    said = {
        "message": _part(method.input, body, "in", schemas),
        "end": {"const": True},
    }
    heard = {
        "message": _part(method.output, operation.response_body, "out", schemas),
        "end": {"type": "object"},
    }
    return {
        "method": "GET",
        "description": f"{_EVERY_WAY} {_turns(method)}",
        "subprotocol": SUBPROTOCOL,
        "send": {"oneOf": [_member(name, schema) for name, schema in said.items()]},
        "receive": {
            "oneOf": [
                *(_member(name, schema) for name, schema in heard.items()),
                error_frame(operation.switches.error_format),
            ]
        },
    }


def _turns(method: Method) -> str:
    if not method.client_streaming:
        return "The first frame is the request."
    if not method.server_streaming:
        return "The one message comes after the client's `end`."
    return "Both sides speak when they like."


def _part(message: MessageType, name: str, side: Side, schemas: JsonSchemas) -> Json:
    return schemas.field(message.by_name[name], side) if name else schemas.ref(message, side)


def _member(name: str, schema: Json) -> Json:
    return {
        "type": "object",
        "required": [name],
        "properties": {name: schema},
        "additionalProperties": False,
    }
