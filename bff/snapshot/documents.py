"""The OpenAPI document of the compiled routes, never of the protos alone."""

from collections.abc import Sequence

from bff.core.exchange import Json
from bff.pipeline.read_masks import Masked
from bff.snapshot.routes import ServedBinding
from bff.transcoding.openapi import OpenApiOperation, render_openapi

__all__ = ["openapi_of"]

_STREAM_TYPES = ("application/json", "application/x-ndjson", "text/event-stream")


def openapi_of(
    title: str, served: Sequence[ServedBinding], screens: Sequence[OpenApiOperation], version: str
) -> Json:
    """OpenAPI 3.1 of every documented route and aggregate."""
    operations = [_operation(binding) for binding in served if binding.docs]
    return render_openapi([*operations, *screens], title=title, version=version)


def _operation(served: ServedBinding) -> OpenApiOperation:
    method, binding = served.method, served.binding
    return OpenApiOperation(
        id=served.route.id,
        http_method=binding.method,
        template=binding.template,
        method=method,
        parameters=_parameters(served),
        body=binding.body,
        response_body=binding.response_body,
        status=served.status,
        security=("jwt", "api_key") if served.secured else (),
        anonymous=not served.secured,
        limited=served.route.limits is not None,
        streaming=_STREAM_TYPES if method.server_streaming else (),
        tags=(method.service.rpartition(".")[2],),
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
