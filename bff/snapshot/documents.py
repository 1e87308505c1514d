"""The OpenAPI document of the compiled routes, never of the protos alone."""

from collections.abc import Mapping, Sequence
from typing import Final

from bff.core.exchange import Json
from bff.pipeline.read_masks import Masked
from bff.snapshot.routes import ServedBinding
from bff.transcoding.openapi import OpenApiOperation, render_openapi

__all__ = ["openapi_of"]

_FRAMINGS: Final = {
    "array": "application/json",
    "ndjson": "application/x-ndjson",
    "sse": "text/event-stream",
}


def openapi_of(
    title: str,
    served: Sequence[ServedBinding],
    screens: Sequence[OpenApiOperation],
    version: str,
    services: Mapping[str, str] | None = None,
) -> Json:
    """OpenAPI 3.1 of every documented route and aggregate; `services` are comments by full name."""
    shown = [binding for binding in served if binding.docs]
    comments = services or {}
    tags = {_tag(b.method.service): comments.get(b.method.service, "") for b in shown}
    operations = [_operation(binding) for binding in shown]
    return render_openapi([*operations, *screens], title=title, version=version, tags=tags)


def _tag(service: str) -> str:
    return service.rpartition(".")[2]


def _operation(served: ServedBinding) -> OpenApiOperation:
    method, binding, stream = served.method, served.binding, served.stream
    # The usual framing first.
    framings = sorted(_FRAMINGS, key=lambda name: name != stream.default)
    return OpenApiOperation(
        id=served.route.id,
        http_method=binding.method,
        template=binding.template,
        method=method,
        parameters=_parameters(served),
        body=binding.body,
        response_body=binding.response_body,
        status=served.status,
        security=served.kinds,
        scopes=served.scopes,
        anonymous=not served.secured,
        limited=served.route.limits is not None,
        streaming=tuple(_FRAMINGS[name] for name in framings) if method.server_streaming else (),
        wrapped=stream.wrap,
        resumable=method.server_streaming and stream.sse.resume is not None,
        socketed=served.socketed,
        tags=(_tag(method.service),),
        switches=served.switches.values,
    )


def _parameters(served: ServedBinding) -> tuple[Json, ...]:
    """What a client may send beside the fields of the request."""
    work = served.route.work
    if not isinstance(work, Masked):
        return ()
    return (
        {
            "name": work.read_mask.parameter,
            "in": "query",
            "description": "Fields of the reply that are wanted, with commas between; none or * = all.",
            "schema": {"type": "string"},
        },
    )
