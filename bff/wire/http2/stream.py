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


class Stream:
    """A call: made by the lane, opened and ended by a connection.

    `owner` (who waits) and `via` (where it is open) are the lane's own.
    `rest` is what is left of the request's body from `rest_at` on. `window_delta` is how far the
    send window lies from the peer's INITIAL_WINDOW_SIZE. `body` is the reply's DATA without padding,
    `expected_bytes` its length by the message's prefix (0: not known yet).
    """

    __slots__ = (
        "block",
        "body",
        "deadline_s",
        "expected_bytes",
        "fault",
        "headers",
        "informational",
        "is_ended",
        "is_unheard",
        "list_bytes",
        "message",
        "owner",
        "received_bytes",
        "rest",
        "rest_at",
        "stream_id",
        "trailers",
        "via",
        "window_delta",
    )

    def __init__(
        self,
        block: bytes,
        message: bytes,
        *,
        deadline_s: float = float("inf"),
        list_bytes: int = 0,
        owner: Any = None,
    ) -> None:
        self.block = block
        self.list_bytes = list_bytes
        # The request's DATA: the prefix and the message (gRPC over HTTP/2, Length-Prefixed-Message).
        self.message = message
        self.deadline_s = deadline_s
        self.owner = owner
        self.via: Any = None
        self.stream_id = 0
        self.rest: bytes | None = None
        self.rest_at = 0
        self.window_delta = 0
        self.headers: Block | None = None
        self.trailers: Block | None = None
        self.body: bytes | bytearray = b""
        self.expected_bytes = 0
        self.received_bytes = 0
        self.informational = 0
        self.fault: Fault | None = None
        self.is_ended = False
        # Given up by its caller, but not reset: it keeps its slot until the peer ends it.
        self.is_unheard = False
