"""Requests whose bodies come in given parts, as the door reads them; no socket."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from bff.fronts.asgi import AsgiExchange

__all__ = ["exchange_of"]


async def exchange_of(*parts: bytes, ends: bool = True, step_s: float = 0.0) -> Any:
    """A request whose body comes in these parts, `step_s` apart, and then ends or hangs."""
    waiting = list(parts)
    now_s = 0.0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal now_s
        now_s += step_s
        if not waiting:
            await asyncio.get_running_loop().create_future()
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting) or not ends}

    async def send(_message: MutableMapping[str, Any]) -> None:
        raise AssertionError("nothing is sent here")

    scope: MutableMapping[str, Any] = {
        "client": None, "method": "POST", "raw_path": b"/", "query_string": b"", "headers": [],
        "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    return AsgiExchange(scope, receive, send, lambda: now_s)
