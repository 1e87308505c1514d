"""The body of a stream's reply as the door writes it: frames as they are made, and the last one whatever happens.

What makes the frames knows the framing (`streams`) or the session (`sockets`); here is how it ends.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from math import inf
from typing import Self

from bff.core.errors import GatewayBug, GatewayError
from bff.core.exchange import Request
from bff.pipeline.bugs import report_bug
from bff.pipeline.feed import Feed
from bff.pipeline.route import Tools

__all__ = ["Frames", "credential_left_s"]


class Frames(ABC):
    """One stream of octets, made as it is read; a write may take `write_timeout_s`.

    The status line is gone, so an error is the last frame, and the log has its reason.
    """

    def __init__(
        self, feed: Feed, request: Request, tools: Tools, *, write_timeout_s: float
    ) -> None:
        self.write_timeout_s = write_timeout_s
        self._feed = feed
        self._request = request
        self._tools = tools
        self._frames = self._make()

    @abstractmethod
    def _make(self) -> AsyncGenerator[bytes, None]:
        """The frames of a stream that ends well; raises what it ends with otherwise."""

    @abstractmethod
    def _error(self, error: GatewayError) -> bytes:
        """The last frame of one that does not. Raises StreamCutError where there is no word for it."""

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> bytes:
        """The next frame."""
        try:
            return await anext(self._frames)
        except StopAsyncIteration:
            raise
        except GatewayError as error:
            return await self._end(error)
        except Exception as error:
            # As in `run.handle`, whose work is done: a bug costs its own stream.
            report_bug(error, self._request, self._tools)
            return await self._end(GatewayBug(""))

    async def _end(self, error: GatewayError) -> bytes:
        self._request.reason = error.reason
        self._request.detail = error.detail
        # The call ends before the client can know of it, not when the client has read.
        await self._feed.close()
        return self._error(error)

    def finish(self) -> None:
        """End with UNAVAILABLE as the last frame."""
        self._feed.finish()

    async def aclose(self) -> None:
        """Cancel the call, if it still runs. Also where no frame was ever taken."""
        await self._frames.aclose()
        await self._feed.close()


def credential_left_s(request: Request, tools: Tools) -> float:
    """How long the caller's credential still holds, from now."""
    expires_unix_s = request.principal.expires_unix_s
    return expires_unix_s - tools.clock.unix_s() if expires_unix_s else inf
