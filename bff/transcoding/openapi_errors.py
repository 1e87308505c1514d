"""Errors in the OpenAPI document: each form that a route can give, and the statuses of the stages in use."""

from copy import deepcopy
from typing import Final, Literal

from bff.core.exchange import Json
from bff.core.status import REASONS

__all__ = ["ErrorForm", "error_frame", "error_key", "error_response", "error_schemas"]

ErrorForm = Literal["aip193", "status", "problem"]

_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_PREFIX: Final = "#/components/schemas/"
_SCHEMA_OF: Final[dict[str, str]] = {
    "aip193": "bff-Error",
    "status": "bff-Status",
    "problem": "bff-Problem",
}

# Status -> what it says, and a reason that ends so.
_ROWS: Final[dict[str, tuple[str, str]]] = {
    "400": ("The request is not valid.", "INVALID_FIELD"),
    "401": ("The caller is not known.", "CREDENTIAL_MISSING"),
    "403": ("The caller may not do this.", "FORBIDDEN"),
    "404": ("There is nothing at this path or under this name.", "NOT_FOUND"),
    "406": ("The client accepts no form of the reply.", "NOT_ACCEPTABLE"),
    "413": ("The body is too large.", "BODY_TOO_LARGE"),
    "415": ("The body has a form that is not taken.", "UNSUPPORTED_MEDIA_TYPE"),
    "426": ("Messages both ways at once need HTTP/2.", "UPGRADE_REQUIRED"),
    "429": ("The caller has spent its tokens.", "RATE_LIMITED"),
    "4XX": ("The gateway or the service refused the request.", "ALREADY_EXISTS"),
    "5XX": ("The gateway or a service failed.", "UPSTREAM_UNAVAILABLE"),
}
_TEXT_HEADER: Final[Json] = {"schema": {"type": "string"}}
_WAIT: Final[Json] = {
    "description": "Seconds to wait.",
    "schema": {"type": "integer", "minimum": 1},
}
_HEADERS: Final[dict[str, Json]] = {
    "401": {"WWW-Authenticate": {"description": "How to say who calls.", **_TEXT_HEADER}},
    "429": {"Retry-After": _WAIT},
}

_DETAILS: Final[Json] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["@type"],
        "properties": {"@type": {"type": "string"}},
    },
}
_HTTP_CODE: Final[Json] = {"type": "integer", "description": "The HTTP status."}
_GRPC_NAME: Final[Json] = {"type": "string", "description": "The name of the gRPC code."}
_SCHEMAS: Final[dict[str, Json]] = {
    # AIP-193.
    "bff-Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "status"],
                "properties": {
                    "code": _HTTP_CODE,
                    "message": {"type": "string"},
                    "status": _GRPC_NAME,
                    "details": _DETAILS,
                },
            }
        },
    },
    # google.rpc.Status.
    "bff-Status": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "integer", "description": "The gRPC code."},
            "message": {"type": "string"},
            "details": _DETAILS,
        },
    },
    # RFC 9457.
    "bff-Problem": {
        "type": "object",
        "required": ["type", "title", "status", "detail", "reason"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": _HTTP_CODE,
            "detail": {"type": "string"},
            "instance": {"type": "string", "description": "The path that was asked for."},
            "code": _GRPC_NAME,
            "reason": {
                "type": "string",
                "description": "What went wrong, one word of a fixed list.",
            },
            "request_id": {"type": "string"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
                },
            },
        },
    },
}


def error_schemas(forms: set[ErrorForm]) -> dict[str, Json]:
    """The schemas of these forms, and of the one that any client may ask for."""
    wanted = {_SCHEMA_OF[form] for form in {*forms, "problem"}}
    return {name: deepcopy(schema) for name, schema in _SCHEMAS.items() if name in wanted}


def error_key(status: str, form: ErrorForm) -> str:
    """The name of the response component."""
    return f"bff-{status}" if form == "aip193" else f"bff-{form}-{status}"


def error_response(status: str, form: ErrorForm) -> Json:
    """A Response Object: the route's form, and the one that `Accept: application/problem+json` asks for."""
    text, reason = _ROWS[status]
    content: dict[str, Json] = {}
    if form != "problem":
        content[_JSON] = {"schema": _ref(form), "example": _example(form, reason)}
    content[_PROBLEM] = {"schema": _ref("problem"), "example": _example("problem", reason)}
    response: Json = {"description": text, "content": content}
    if status in _HEADERS:
        response["headers"] = deepcopy(_HEADERS[status])
    return response


def error_frame(form: ErrorForm) -> Json:
    """The schema of a stream's last frame where it ends in an error."""
    if form == "aip193":
        return _ref(form)
    return {"type": "object", "required": ["error"], "properties": {"error": _ref(form)}}


def _ref(form: str) -> Json:
    return {"$ref": f"{_PREFIX}{_SCHEMA_OF[form]}"}


def _example(form: str, reason: str) -> Json:
    row = REASONS[reason]
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "api.example.com",
    }
    if form == "problem":
        return {
            "type": f"https://api.example.com/problems/{reason.lower().replace('_', '-')}",
            "title": row.text,
            "status": row.status,
            "detail": row.text,
            "code": row.code.name,
            "reason": reason,
        }
    if form == "status":
        return {"code": int(row.code), "message": row.text, "details": [info]}
    error = {"code": row.status, "message": row.text, "status": row.code.name, "details": [info]}
    return {"error": error}
