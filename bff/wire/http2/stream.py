"""One call on a connection: what was asked, what has come back, and how it ended. Values only."""

from typing import Any

from msgspec import Struct

from bff.core.errors import Origin, Sent
from bff.core.status import Code
from bff.wire.http2.headers import Block

__all__ = ["Fault", "Stream"]


class Fault(Struct, frozen=True, kw_only=True):
    """Why a call ended without a status of the service; `reason` is one of `core.status.REASONS`."""

    reason: str
    code: Code
    detail: str
    sent: Sent = "maybe"
    origin: Origin = "wire"


class Stream(Struct, eq=False):
    """A call: made by the lane, opened and ended by a connection.

    `block` is the request's header block, `list_bytes` its size as a list at most, `message` its
    DATA: the prefix and the message (gRPC over HTTP/2, Length-Prefixed-Message).
    `owner` (who waits) and `via` (where it is open) are the lane's own.
    `rest` is what is left of the request's body from `rest_at` on. `window_delta` is how far the
    send window lies from the peer's INITIAL_WINDOW_SIZE. `body` is the reply's DATA without padding,
    `expected_bytes` its length by the message's prefix (0: not known yet). `reply` is the message of
    a plain OK reply that came in one piece; `body` stays empty then. `is_unheard`: given up by its
    caller, but not reset, so it keeps its slot until the peer ends it.

    A struct, because it is made for each call: its constructor costs a third of one in Python.
    """

    block: bytes
    message: bytes
    deadline_s: float = float("inf")
    list_bytes: int = 0
    owner: Any = None
    via: Any = None
    stream_id: int = 0
    rest: bytes | None = None
    rest_at: int = 0
    window_delta: int = 0
    headers: Block | None = None
    trailers: Block | None = None
    body: bytes | bytearray = b""
    reply: bytes | None = None
    expected_bytes: int = 0
    received_bytes: int = 0
    informational: int = 0
    fault: Fault | None = None
    is_ended: bool = False
    is_unheard: bool = False
