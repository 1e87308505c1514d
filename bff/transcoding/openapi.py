"""OpenAPI 3.1 from compiled routes: plain values in, a JSON tree out.

Never from the .proto files alone: what is written here is what the gateway answers.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Final

from bff.core.exchange import Json
from bff.transcoding.http_rules import find_field_path
from bff.transcoding.json_schemas import JsonSchemas, Style
from bff.transcoding.masks import find_mask_field
from bff.transcoding.openapi_bodies import OpenApiOperation, reply_content, request_body
from bff.transcoding.openapi_errors import ErrorForm, error_key, error_response, error_schemas
from bff.transcoding.openapi_parameters import (
    Chain,
    Query,
    UnrolledPath,
    list_query,
    rename_parameters,
    unroll_path,
)
from bff.transcoding.openapi_sockets import UPGRADED, socket_extension
from bff.transcoding.path_template import Template, parse_template

__all__ = ["OpenApiOperation", "colliding_operations", "render_openapi"]

_PATH_ITEM_METHODS: Final = frozenset(
    {"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"}
)

# Ways to say who calls, by the kinds of principal.
_SECURITY_SCHEMES: Final[dict[str, Json]] = {
    "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "opaque": {"type": "http", "scheme": "bearer"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
    "cert": {"type": "mutualTLS"},
}
_LAST_EVENT: Final[Json] = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event that was read: the stream goes on after it.",
    "schema": {"type": "string"},
}


class _Document:
    """What the operations of one document share: paths by their shape, schemas, responses."""

    def __init__(self) -> None:
        self.paths: dict[str, dict[str, Json]] = {}
        self.schemas: dict[str, Json] = {}
        self.responses: dict[str, Json] = {}
        self.forms: set[ErrorForm] = set()
        # Paths that differ in names alone are one path (OpenAPI 3.1, 4.8.8).
        self._known: dict[str, str] = {}
        self._styles: dict[Style, JsonSchemas] = {}

    def path(self, path: UnrolledPath) -> UnrolledPath:
        """The path under the names that its shape had first."""
        shape = re.sub(r"\{[^}]*\}", "{}", path.text)
        return rename_parameters(path, self._known.setdefault(shape, path.text))

    def schemas_of(self, operation: OpenApiOperation) -> JsonSchemas:
        """The schemas as this operation writes messages."""
        style = Style.of(operation.switches)
        return self._styles.setdefault(style, JsonSchemas(style, self.schemas))

    def error(self, status: str, form: ErrorForm) -> Json:
        """A reference to the response of this status."""
        self.forms.add(form)
        key = error_key(status, form)
        if key not in self.responses:
            self.responses[key] = error_response(status, form)
        return {"$ref": f"#/components/responses/{key}"}


def render_openapi(
    operations: Sequence[OpenApiOperation],
    *,
    title: str,
    version: str,
    description: str = "",
    server: str = "",
    tags: Mapping[str, str] | None = None,
) -> dict[str, Json]:
    """An OpenAPI 3.1 document of the operations, in their order.

    `server` is the public base URL, left out if empty; `tags` tells what tags mean. Raises
    TemplateError or BindingFault for operations that were not compiled.
    """
    made = _Document()
    for operation in operations:
        _add_operation(made, operation)
    info: Json = {"title": title, "version": version}
    if description:
        info["description"] = description
    kinds = {kind for operation in operations for kind in operation.security}
    document: dict[str, Json] = {"openapi": "3.1.0", "info": info}
    if server:
        document["servers"] = [{"url": server}]
    told = [{"name": name, "description": text} for name, text in (tags or {}).items() if text]
    if told:
        document["tags"] = told
    document["paths"] = made.paths
    document["components"] = {
        "schemas": {**error_schemas(made.forms), **dict(sorted(made.schemas.items()))},
        "responses": dict(sorted(made.responses.items())),
        "securitySchemes": {kind: deepcopy(_SECURITY_SCHEMES[kind]) for kind in sorted(kinds)},
    }
    return document


def colliding_operations(document: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    """Path, first and other operation of each pair that OpenAPI has but one place for."""
    for path, item in document["paths"].items():
        for operation in item.values():
            if isinstance(operation, dict):
                for other in operation.get("x-bff-alternatives", ()):
                    yield path, operation["operationId"], other["operationId"]


def _add_operation(made: _Document, operation: OpenApiOperation) -> None:
    schemas = made.schemas_of(operation)
    template = parse_template(operation.template, tail=True)
    path = made.path(unroll_path(template, operation.method, schemas))
    item = made.paths.setdefault(path.text, {})
    if operation.http_method not in _PATH_ITEM_METHODS:
        # OpenAPI 3.1 has no place for other methods; "*" is any of them.
        item.setdefault("x-bff-other-methods", []).append(
            {"method": operation.http_method, "operationId": operation.id}
        )
        return
    key = operation.http_method.lower()
    rendered = _render(made, operation, template, path)
    if key in item:
        _merge_alternative(item[key], rendered)
        return
    item[key] = rendered


def _render(
    made: _Document, operation: OpenApiOperation, template: Template, path: UnrolledPath
) -> Json:
    method, schemas = operation.method, made.schemas_of(operation)
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
    chains = _chains(operation, template)
    query = _query(operation, chains, schemas)
    resume = (_LAST_EVENT,) if operation.resumable else ()
    parameters = [*path.parameters, *query.parameters, *operation.parameters, *resume]
    if parameters:
        rendered["parameters"] = parameters
    body = request_body(operation, chains, schemas)
    if body is not None:
        rendered["requestBody"] = body
    rendered["responses"] = _responses(made, operation, body, schemas)
    if operation.security:
        anonymous: list[Json] = [{}] if operation.anonymous else []
        needed = [{kind: list(operation.scopes)} for kind in operation.security]
        rendered["security"] = [*needed, *anonymous]
    if query.cut:
        rendered["x-bff-query-cut"] = list(query.cut)
    if operation.socketed:
        rendered["x-bff-websocket"] = socket_extension(operation, schemas)
    rendered["x-bff-template"] = operation.template
    return rendered


def _chains(operation: OpenApiOperation, template: Template) -> tuple[Chain, ...]:
    """The fields of the path's variables."""
    if operation.method is None:
        return ()
    message = operation.method.input
    return tuple(tuple(find_field_path(message, each.path)) for each in template.variables)


def _query(operation: OpenApiOperation, chains: tuple[Chain, ...], schemas: JsonSchemas) -> Query:
    if operation.method is None:
        return Query()
    message, switches = operation.method.input, operation.switches
    infers = switches.patch_mask and operation.http_method == "PATCH"
    return list_query(
        message,
        path=chains,
        body=operation.body,
        schemas=schemas,
        switches=switches,
        mask=find_mask_field(message, operation.body) if infers else None,
    )


def _responses(
    made: _Document, operation: OpenApiOperation, body: Json | None, schemas: JsonSchemas
) -> Json:
    success: Json = {"description": "Success."}
    content = reply_content(operation, schemas)
    if content is not None:
        success["content"] = content
    responses: Json = {str(operation.status): success}
    if operation.resumable:
        responses["204"] = {"description": "The stream has ended; there is nothing more to come."}
    if operation.socketed and operation.http_method == "GET":
        responses["101"] = {"description": UPGRADED}
    for status in _error_statuses(operation, body):
        responses[status] = made.error(status, operation.switches.error_format)
    return responses


def _error_statuses(operation: OpenApiOperation, body: Json | None) -> Iterator[str]:
    """The statuses that the stages in use can give; the ranges are for what services say."""
    yield "400"
    if operation.security:
        yield from ("401", "403")
    yield "404"
    if operation.switches.not_acceptable == 406 and not operation.streaming:
        yield "406"
    if body is not None:
        yield "413"
        if "*/*" not in body["content"]:
            yield "415"
    method = operation.method
    is_both_ways = method is not None and method.client_streaming and method.server_streaming
    # Of a conversation over HTTP/1.1, and of an upgrade to another version of WebSocket.
    needs_upgrade = is_both_ways and operation.switches.bidi_http1 == 426
    if needs_upgrade or (operation.socketed and operation.http_method == "GET"):
        yield "426"
    if operation.limited:
        yield "429"
    yield from ("4XX", "5XX")


def _merge_alternative(first: Json, other: Json) -> None:
    """Two routes on one path and method, which differ by what a variable takes.

    What is sent and what comes back is of either (`anyOf`: one value may well be of both).
    """
    first.setdefault("x-bff-alternatives", []).append(
        {"operationId": other["operationId"], "template": other["x-bff-template"]}
    )
    _merge_parameters(first, other)
    _merge_security(first, other)
    mine, theirs = first.get("requestBody"), other.get("requestBody")
    if theirs is not None:
        body = first.setdefault("requestBody", theirs)
        if body is not theirs:
            _merge_content(body["content"], theirs["content"])
    if "requestBody" in first and not (mine and theirs and theirs.get("required")):
        first["requestBody"].pop("required", None)
    for status, response in other["responses"].items():
        present = first["responses"].setdefault(status, response)
        if "content" in response and present is not response:
            _merge_content(present.setdefault("content", {}), response["content"])


def _merge_parameters(first: Json, other: Json) -> None:
    """All parameters of both; one that only one of them has is not required."""
    mine = {(each["in"], each["name"]): each for each in first.get("parameters", ())}
    theirs = {(each["in"], each["name"]): each for each in other.get("parameters", ())}
    for key, parameter in {**theirs, **mine}.items():
        if key[0] != "path" and not (key in mine and key in theirs):
            parameter.pop("required", None)
    for key in mine.keys() & theirs.keys():
        one, another = mine[key], theirs[key]
        # What is JSON in a parameter has `content` in place of a schema.
        if "schema" in one and "schema" in another:
            one["schema"] = _either(one["schema"], another["schema"])
    merged = [*mine.values(), *(each for key, each in theirs.items() if key not in mine)]
    if merged:
        first["parameters"] = merged


def _merge_content(mine: dict[str, Json], theirs: dict[str, Json]) -> None:
    for media, content in theirs.items():
        present: Json = mine.setdefault(media, content)
        mine[media] = {**present, "schema": _either(present["schema"], content["schema"])}


def _merge_security(first: Json, other: Json) -> None:
    """Who may call one of them may call the operation; `{}` is everybody."""
    mine, theirs = first.get("security", [{}]), other.get("security", [{}])
    either = [*mine, *(each for each in theirs if each not in mine)]
    if either != [{}]:
        first["security"] = either


def _either(one: Json, other: Json) -> Json:
    """The schema of what is of this or of that; each stands once."""
    schemas: list[Json] = []
    for each in (*one.get("anyOf", [one]), *other.get("anyOf", [other])):
        if each not in schemas:
            schemas.append(each)
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
