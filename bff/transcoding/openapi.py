"""OpenAPI 3.1 from compiled routes: plain values in, a JSON tree out.

Never from the .proto files alone: what is written here is what the gateway answers.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Final

from msgspec import Struct

from bff.core.exchange import Json
from bff.core.schema import MessageType, Method
from bff.transcoding.http_rules import find_field_path
from bff.transcoding.json_schemas import JsonSchemas
from bff.transcoding.openapi_parameters import (
    UnrolledPath,
    list_query_parameters,
    rename_parameters,
    unroll_path,
)
from bff.transcoding.path_template import parse_template

__all__ = ["OpenApiOperation", "render_openapi"]

_PATH_ITEM_METHODS: Final = frozenset(
    {"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"}
)
_HTTP_BODY: Final = "google.api.HttpBody"
_JSON: Final = "application/json"
_ERROR: Final = "bff-Error"

# Ways to say who calls, by the kinds of principal.
_SECURITY_SCHEMES: Final[dict[str, Json]] = {
    "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "opaque": {"type": "http", "scheme": "bearer"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
    "cert": {"type": "mutualTLS"},
}

_BINARY: Final[Json] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}

# AIP-193: the one form of errors.
_ERROR_SCHEMA: Final[Json] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "message": {"type": "string"},
                "status": {"type": "string", "description": "The name of the gRPC code."},
                "details": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["@type"],
                        "properties": {"@type": {"type": "string"}},
                    },
                },
            },
        }
    },
}
_ERROR_TEXTS: Final[dict[str, str]] = {
    "400": "The request is not valid.",
    "401": "The caller is not known.",
    "403": "The caller may not do this.",
    "404": "There is nothing at this path or under this name.",
    "429": "The caller has spent its tokens.",
    "5XX": "The gateway or a service failed.",
}


class OpenApiOperation(Struct, frozen=True, kw_only=True):
    """One route as it is documented.

    `template` is the path template's text. `method` is None for aggregates, which give `reply`, a
    JSON Schema, and may give `parameters` (Parameter Objects of query and header) and `request`
    (a JSON Schema). `security` holds kinds of principal that are taken, any one of which is enough;
    `anonymous` says that none is needed. `streaming` lists the media types of a stream's framings.
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
    anonymous: bool = False
    limited: bool = True
    summary: str = ""
    description: str = ""
    streaming: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def render_openapi(
    operations: Sequence[OpenApiOperation],
    *,
    title: str,
    version: str,
    description: str = "",
    server: str = "",
    closed_objects: bool = True,
) -> dict[str, Json]:
    """An OpenAPI 3.1 document of the operations, in their order.

    `server` is the public base URL, left out if empty. `closed_objects` says that unknown JSON
    fields are refused. Raises TemplateError or BindingFault for operations that were not compiled.
    """
    schemas = JsonSchemas(closed=closed_objects)
    paths: dict[str, dict[str, Json]] = {}
    # Paths that differ in names alone are one path (OpenAPI 3.1, 4.8.8).
    known: dict[str, str] = {}
    for operation in operations:
        path = unroll_path(parse_template(operation.template, tail=True), operation.method)
        shape = re.sub(r"\{[^}]*\}", "{}", path.text)
        text = known.setdefault(shape, path.text)
        path = rename_parameters(path, text)
        _add_operation(paths.setdefault(text, {}), operation, path, schemas)
    info: Json = {"title": title, "version": version}
    if description:
        info["description"] = description
    kinds = {kind for operation in operations for kind in operation.security}
    document: dict[str, Json] = {"openapi": "3.1.0", "info": info}
    if server:
        document["servers"] = [{"url": server}]
    document["paths"] = paths
    document["components"] = {
        "schemas": {_ERROR: deepcopy(_ERROR_SCHEMA), **dict(sorted(schemas.components.items()))},
        "responses": {f"bff-{status}": _error_response(status) for status in _ERROR_TEXTS},
        "securitySchemes": {kind: deepcopy(_SECURITY_SCHEMES[kind]) for kind in sorted(kinds)},
    }
    return document


def _add_operation(
    item: dict[str, Json], operation: OpenApiOperation, path: UnrolledPath, schemas: JsonSchemas
) -> None:
    if operation.http_method not in _PATH_ITEM_METHODS:
        # OpenAPI 3.1 has no place for other methods; "*" is any of them.
        item.setdefault("x-bff-other-methods", []).append(
            {"method": operation.http_method, "operationId": operation.id}
        )
        return
    key = operation.http_method.lower()
    rendered = _render(operation, path, schemas)
    if key in item:
        _merge_alternative(item[key], rendered)
        return
    item[key] = rendered


def _render(operation: OpenApiOperation, path: UnrolledPath, schemas: JsonSchemas) -> Json:
    method = operation.method
    described = operation.description or (method.comment if method else "")
    rendered: Json = {"operationId": operation.id}
    if operation.tags:
        rendered["tags"] = list(operation.tags)
    if operation.summary:
        rendered["summary"] = operation.summary
    if described:
        rendered["description"] = described
    if method is not None and method.deprecated:
        rendered["deprecated"] = True
    query, cut = (
        list_query_parameters(
            method.input, parse_template(operation.template, tail=True), operation.body, schemas
        )
        if method is not None
        else ([], [])
    )
    parameters = [*path.parameters, *query, *operation.parameters]
    if parameters:
        rendered["parameters"] = parameters
    content = _request_content(operation, schemas)
    if content is not None:
        rendered["requestBody"] = {"content": content, "required": True}
    rendered["responses"] = _responses(operation, schemas)
    if operation.security:
        anonymous: list[Json] = [{}] if operation.anonymous else []
        rendered["security"] = [*({kind: []} for kind in operation.security), *anonymous]
    if cut:
        rendered["x-bff-query-cut"] = cut
    rendered["x-bff-template"] = operation.template
    return rendered


def _merge_alternative(first: Json, other: Json) -> None:
    """Two routes on one path and method (they differ by condition or template): replies as oneOf."""
    first.setdefault("x-bff-alternatives", []).append(
        {"operationId": other["operationId"], "template": other["x-bff-template"]}
    )
    for status, response in other["responses"].items():
        present = first["responses"].setdefault(status, response)
        for media, content in response.get("content", {}).items():
            mine = present.setdefault("content", {}).setdefault(media, content)
            if mine["schema"] != content["schema"]:
                schemas = mine["schema"].get("oneOf", [mine["schema"]])
                mine["schema"] = {"oneOf": [*schemas, content["schema"]]}


def _request_content(operation: OpenApiOperation, schemas: JsonSchemas) -> Json | None:
    method = operation.method
    if method is None:
        return None if operation.request is None else {_JSON: {"schema": operation.request}}
    if not operation.body:
        return None
    message = method.input
    inside: tuple[str, ...] = ()
    if operation.body != "*":
        field = message.by_name[operation.body]
        if field.message is None or field.repeated or field.is_map:
            return {_JSON: {"schema": schemas.field(field, "in")}}
        message, inside = field.message, (field.name,)
    if message.full_name == _HTTP_BODY:
        return deepcopy(_BINARY)
    schema = _request_schema(operation, message, inside, schemas)
    if not method.client_streaming:
        return {_JSON: {"schema": schema}}
    return {
        "application/x-ndjson": {"schema": schema},
        _JSON: {"schema": {"type": "array", "items": schema}},
    }


def _request_schema(
    operation: OpenApiOperation, message: MessageType, inside: tuple[str, ...], schemas: JsonSchemas
) -> Json:
    """The body's schema: fields that the path sets need not be said again, a PATCH says some."""
    assert operation.method is not None
    set_by_path = set()
    for variable in parse_template(operation.template, tail=True).variables:
        names = tuple(
            field.name for field in find_field_path(operation.method.input, variable.path)
        )
        if names[:-1] == inside:
            set_by_path.add(names[-1])
    partial = operation.http_method == "PATCH"
    if partial or set_by_path:
        return schemas.body(message, "in", without=set_by_path, partial=partial)
    return schemas.ref(message, "in")


def _responses(operation: OpenApiOperation, schemas: JsonSchemas) -> Json:
    responses: Json = {str(operation.status): {"description": "Success."}}
    content = _reply_content(operation, schemas)
    if content is not None:
        responses[str(operation.status)]["content"] = content
    left_out = set() if operation.security else {"401", "403"}
    left_out |= set() if operation.limited else {"429"}
    for status in _ERROR_TEXTS:
        if status not in left_out:
            responses[status] = {"$ref": f"#/components/responses/bff-{status}"}
    return responses


def _reply_content(operation: OpenApiOperation, schemas: JsonSchemas) -> Json | None:
    method = operation.method
    if method is None:
        return None if operation.reply is None else {_JSON: {"schema": operation.reply}}
    message: MessageType | None = method.output
    field = method.output.by_name[operation.response_body] if operation.response_body else None
    if field is not None:
        message = None if field.repeated or field.is_map else field.message
    if message is not None and message.full_name == _HTTP_BODY:
        return deepcopy(_BINARY)
    schema = schemas.ref(method.output, "out") if field is None else schemas.field(field, "out")
    if not operation.streaming:
        return {_JSON: {"schema": schema}}
    whole = {"type": "array", "items": schema}
    return {
        media: {"schema": whole if media == _JSON else _frame(media, schema)}
        for media in operation.streaming
    }


def _frame(media: str, schema: Json) -> Json:
    # The text of an event stream is no JSON; each event's data is.
    return {"type": "string"} if media == "text/event-stream" else schema


def _error_response(status: str) -> Json:
    return {
        "description": _ERROR_TEXTS[status],
        "content": {_JSON: {"schema": {"$ref": f"#/components/schemas/{_ERROR}"}}},
    }
