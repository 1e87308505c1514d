"""The server of the admin address: what `health` answers, by uvicorn inside the node's own loop."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from fastapi import FastAPI

from bff.fronts.health import NodeView, health_router

__all__ = ["AdminServer", "admin_app"]


def admin_app(
    *, view: Callable[[], NodeView], metrics: Callable[[], Awaitable[tuple[bytes, str]]]
) -> FastAPI:
    """The admin address as an app; it has no documents of its own."""
    app = FastAPI(title="bff admin", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(health_router(view=view, metrics=metrics))
    return app


class AdminServer(uvicorn.Server):
    """uvicorn inside the node's own loop; signals are the node's."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_keep_alive=10,
                limit_concurrency=64,
                server_header=False,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the node."""
        yield
