"""A request as the door hands it on, for tests of what stands behind the door."""

from collections.abc import Mapping

from bff.core.exchange import Request
from bff.core.headers import Headers

__all__ = ["plain_request"]


def plain_request(
    method: str = "GET",
    path: str = "/a",
    *,
    query: bytes = b"",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    host: str = "gateway",
    now_s: float = 0.0,
) -> Request:
    """From 127.0.0.1 over plain HTTP/1.1, begun at `now_s`, with five seconds to live."""

    async def read_body(_cap_bytes: int) -> bytes:
        return body

    return Request(
        method=method,
        path=path,
        query=query,
        headers=Headers((name.encode(), text.encode()) for name, text in (headers or {}).items()),
        address="127.0.0.1",
        host=host,
        scheme="http",
        protocol="1.1",
        request_id="request-1",
        trace_id="0" * 31 + "1",
        span_id="0" * 15 + "1",
        started_s=now_s,
        deadline_s=now_s + 5.0,
        read_body=read_body,
    )
