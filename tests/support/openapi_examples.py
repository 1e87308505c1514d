"""The example requests that an OpenAPI document gives, as a client that follows it would send them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

__all__ = ["ExampleRequest", "example_requests"]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_BOUNDARY = "example-boundary"


class ExampleRequest(Struct, frozen=True, kw_only=True):
    """One example: everything that the document shows for an operation and one form of its body."""

    operation: str
    method: str
    path: str
    query: str = ""
    content_type: str = ""
    body: bytes = b""

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def headers(self) -> dict[str, str]:
        """The media type of the body, if there is one."""
        return {"content-type": self.content_type} if self.content_type else {}


def example_requests(document: Mapping[str, Any]) -> Iterator[ExampleRequest]:
    """One request without a body, or one for each form of it, of every operation."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield from _requests(path, method, item[method])


def _requests(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[ExampleRequest]:
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        if parameter["in"] == "path":
            # RFC 6570 3.2.2, as OpenAPI expands it.
            value = quote(_text(parameter["example"]), safe="")
            path = path.replace("{" + parameter["name"] + "}", value)
    pairs = [pair for p in parameters if p["in"] == "query" for pair in _pairs(p)]
    query = urlencode(pairs, quote_via=quote)
    make = {"operation": operation["operationId"], "method": method.upper(), "path": path}
    bodies = operation.get("requestBody", {}).get("content", {})
    if not bodies:
        yield ExampleRequest(**make, query=query)
    for media_type, media in bodies.items():
        content_type, body = _body(media_type, media)
        yield ExampleRequest(**make, query=query, content_type=content_type, body=body)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _pairs(parameter: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name = parameter["name"]
    place = parameter["content"]["application/json"] if "content" in parameter else parameter
    if "example" not in place:
        return
    value = place["example"]
    if "content" in parameter:
        yield name, json.dumps(value)
    elif isinstance(value, dict):
        yield from ((f"{name}[{key}]", _text(each)) for key, each in value.items())
    elif isinstance(value, list):
        yield from ((name, _text(each)) for each in value)
    else:
        yield name, _text(value)


def _body(media_type: str, media: Mapping[str, Any]) -> tuple[str, bytes]:
    if media_type == "*/*":
        return "image/png", b"\x89PNG"
    example = media["example"]
    if media_type == "application/x-www-form-urlencoded":
        pairs = [(name, each) for name, value in example.items() for each in _many(value)]
        return media_type, urlencode(pairs, quote_via=quote).encode()
    if media_type == "multipart/form-data":
        return f"{media_type}; boundary={_BOUNDARY}", _multipart(media)
    line_end = b"\n" if media_type == "application/x-ndjson" else b""
    return media_type, json.dumps(example).encode() + line_end


def _many(value: Any) -> list[str]:
    return [_text(each) for each in value] if isinstance(value, list) else [_text(value)]


def _multipart(media: Mapping[str, Any]) -> bytes:
    properties = media["schema"]["properties"]
    parts = [
        (name, '; filename="a.png"' if _is_file(properties[name]) else "", each)
        for name, value in media["example"].items()
        for each in _many(value)
    ]
    lines = "".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{text}\r\n'
        for name, file, text in parts
    )
    return f"{lines}--{_BOUNDARY}--\r\n".encode()


def _is_file(schema: Mapping[str, Any]) -> bool:
    one = schema.get("items", schema)
    return bool(one.get("contentMediaType") == "application/octet-stream")
