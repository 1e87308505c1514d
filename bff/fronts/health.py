"""Liveness, readiness with reasons, start-up, and metrics: what balancers, kubelets and scrapers ask.

Served by the node's own small process, so they answer while every worker is busy. None of these
needs a credential; none tells more than state and numbers.
"""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from bff.fronts.node_view import NodeView

__all__ = ["health_router"]


def health_router(
    *, view: Callable[[], NodeView], metrics: Callable[[], Awaitable[tuple[bytes, str]]]
) -> APIRouter:
    """Routes `/livez`, `/readyz`, `/startupz`, `/metrics`. `metrics` gives text and content type."""
    router = APIRouter()

    @router.get("/livez")
    async def livez() -> JSONResponse:
        """The node's loop turns; nothing else is asked."""
        return JSONResponse({"status": "ok"})

    @router.get("/readyz")
    async def readyz(request: Request) -> JSONResponse:
        """Ready for traffic, or why not. `?verbose` adds workers and details."""
        seen = view()
        body: dict[str, object] = {"status": "unready" if seen.reasons else "ok"}
        if seen.reasons:
            body["reasons"] = list(seen.reasons)
        if "verbose" in request.query_params:
            body |= {
                "version": seen.version,
                "workers": list(seen.workers),
                "details": list(seen.details),
            }
        return JSONResponse(body, status_code=503 if seen.reasons else 200)

    @router.get("/startupz")
    async def startupz() -> JSONResponse:
        """Has the first snapshot been served by every worker?"""
        started = view().started
        return JSONResponse({"status": "ok" if started else "starting"}, 200 if started else 503)

    @router.get("/metrics")
    async def metrics_text() -> Response:
        """Prometheus text over all workers of the node."""
        text, content_type = await metrics()
        return Response(text, media_type=content_type)

    return router
