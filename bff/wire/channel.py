"""The one shape of a connection to a gRPC endpoint. grpcio and the unary lane both have it.

Bytes in and bytes out: encoding and decoding messages is the codec's, statuses above this border
are `UpstreamError`s.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from msgspec import Struct

__all__ = ["Channel", "Metadata", "UnaryReply"]

# Names in lower case; a value is text, or bytes where the name ends in `-bin`.
Metadata = Sequence[tuple[str, str | bytes]]


class UnaryReply(Struct, frozen=True):
    """The message of an OK reply, and the metadata around it if asked for: `initial`, then trailing."""

    message: bytes
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    # How many of them came before the message.
    initial: int = 0


class Channel(Protocol):
    """One endpoint. Any failure is an UpstreamError with code, origin and what the peer may have seen."""

    async def unary(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float,
        *,
        want_metadata: bool = False,
    ) -> UnaryReply:
        """Call `path` (`/package.Service/Method`), done by `deadline_s` (monotonic seconds).

        The reply's metadata is only read when `want_metadata` is set: few routes show any.
        Cancelling the caller cancels the call at the service.
        """
        ...

    def stream(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Messages of a server stream, one at a time; closing the iterator cancels the call.

        `received` holds the initial metadata of the reply from the first message on, and its
        trailing metadata behind them once the call has ended well.
        """
        ...

    def bidi(
        self,
        path: str,
        messages: AsyncGenerator[bytes, None],
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Both sides stream; a client's stream with one reply is the same, with one message back.

        The next of `messages` is taken when the last was handed to the connection. An error of
        theirs cancels the call and is raised here. `received` is as in `stream`.
        """
        ...

    async def close(self) -> None:
        """End the connection; calls still running end with UNAVAILABLE."""
        ...
