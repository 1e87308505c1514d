"""What is told of a bug of ours: an event with its trace, and nothing of it to the client."""

import traceback

from bff.core.events import Noted
from bff.core.exchange import Request
from bff.pipeline.route import Tools

__all__ = ["report_bug"]

_TRACE_LINES = 12


def report_bug(error: Exception, request: Request, tools: Tools) -> None:
    """Tell of an exception that nothing foresaw, and of the request that it costs."""
    tools.emit(
        Noted(
            "bug",
            {
                "request_id": request.request_id,
                "route_id": request.route_id,
                "stage": request.stage,
                "trace": "".join(traceback.format_exception(error)[-_TRACE_LINES:]),
            },
        )
    )
