"""Request bodies that come coded (RFC 9110 8.4), inflated step by step under the caps of plain ones."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from bff.core.errors import ClientError
from bff.core.exchange import BodyLimits
from bff.fronts.codings import BrokenCodingError, Inflater
from bff.fronts.exchange import CLOSE, Exchange, too_large

__all__ = ["CodedBody"]

# What a body may grow to, of the octets that came; and what any may, however few came.
_MOST_GROWTH = 100
_ALWAYS_BYTES = 64 * 1024


class CodedBody:
    """The body of an exchange as it was before it was coded; reads as the exchange's own does."""

    def __init__(self, exchange: Exchange, coding: Callable[[], Inflater]) -> None:
        self._exchange = exchange
        self._coding = coding

    async def read_body(self, cap_bytes: int) -> bytes:
        """The whole body. Raises as `read_parts`."""
        return b"".join([part async for part in self.read_parts(BodyLimits(cap_bytes=cap_bytes))])

    async def read_parts(self, limits: BodyLimits) -> AsyncGenerator[bytes, None]:
        """The body as it comes, in parts of 64 KiB at most.

        Raises as `Exchange.read_parts`; BODY_TOO_LARGE too where it grows beyond the cap or to more
        than 100 times what came; INVALID_CODING where it is not what the coding allows, breaks off,
        or has more than 64 members.
        """
        inflater = self._coding()
        came = grown = 0
        async with aclosing(self._exchange.read_parts(limits)) as parts:
            async for part in parts:
                came += len(part)
                most = min(limits.cap_bytes, max(_ALWAYS_BYTES, came * _MOST_GROWTH))
                try:
                    for plain in inflater.take(part):
                        grown += len(plain)
                        if grown > most:
                            self._exchange.unread = True
                            raise too_large(most)
                        yield plain
                except BrokenCodingError as error:
                    raise _broken(str(error)) from error
        if came and not inflater.is_whole:
            raise _broken("it breaks off")


def _broken(why: str) -> ClientError:
    return ClientError("INVALID_CODING", detail=why, headers=CLOSE)
