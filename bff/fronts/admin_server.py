"""The server of the admin address: what `health` answers, by uvicorn inside the node's own loop."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from bff.fronts.health import health_router
from bff.fronts.node_view import NodeView

__all__ = ["AdminServer", "PromptProtocol", "admin_app"]

# uvicorn counts connections here, silent ones too, and answers 503 to all above: probes must not be
# refused because a scanner or a pool holds some open.
_MAX_CONNECTIONS = 1024
_KEEP_ALIVE_S = 10
# uvicorn's own limit begins with the end of a first request.
_FIRST_REQUEST_S = 10.0


def admin_app(
    *, view: Callable[[], NodeView], metrics: Callable[[], Awaitable[tuple[bytes, str]]]
) -> FastAPI:
    """The admin address as an app; it has no documents of its own."""
    app = FastAPI(title="bff admin", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(health_router(view=view, metrics=metrics))
    return app


class PromptProtocol(H11Protocol):
    """A connection that is closed if its first request is not there within ten seconds."""

    _first: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start the time for the first request."""
        super().connection_made(transport)
        self._first = self.loop.call_later(_FIRST_REQUEST_S, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """End that time."""
        self._first.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        # There is a cycle as soon as the head of a request is complete.
        if not self.cycle:  # type: ignore[truthy-bool]  # uvicorn declares it without its None
            self.transport.close()


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
                http=PromptProtocol,
                timeout_keep_alive=_KEEP_ALIVE_S,
                limit_concurrency=_MAX_CONNECTIONS,
                server_header=False,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the node."""
        yield
