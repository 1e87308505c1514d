"""Request bodies that come gzipped (RFC 9110 8.4.1.3, RFC 1952), inflated step by step under the caps of plain ones.

gzip is the one coding taken: every client library has it. Others get 415, which names it.
"""

import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from bff.core.errors import ClientError
from bff.core.exchange import BodyLimits
from bff.fronts.exchange import CLOSE, Exchange, too_large

__all__ = ["GzipBody"]

_GZIP = 31
_STEP_BYTES = 64 * 1024
# What a body may grow to, of the octets that came; and what any may, however few came.
_MOST_GROWTH = 100
_ALWAYS_BYTES = 64 * 1024
# Each member copies what stands behind it, so thousands of tiny ones would cost the square of their number.
_MOST_MEMBERS = 64


class GzipBody:
    """The body of an exchange as it was before it was coded; reads as the exchange's own does."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def read_body(self, cap_bytes: int) -> bytes:
        """The whole body. Raises as `read_parts`."""
        return b"".join([part async for part in self.read_parts(BodyLimits(cap_bytes=cap_bytes))])

    async def read_parts(self, limits: BodyLimits) -> AsyncGenerator[bytes, None]:
        """The body as it comes, in parts of 64 KiB at most.

        Raises as `Exchange.read_parts`; BODY_TOO_LARGE too where it grows beyond the cap or to more
        than 100 times what came; INVALID_CODING where it is no gzip, breaks off, or has more than
        64 members.
        """
        machine = zlib.decompressobj(_GZIP)
        came = grown = 0
        members = 1
        async with aclosing(self._exchange.read_parts(limits)) as parts:
            async for part in parts:
                came += len(part)
                most = min(limits.cap_bytes, max(_ALWAYS_BYTES, came * _MOST_GROWTH))
                left, plain = part, b""
                # A full step may have left more inside than what is still to be read.
                while left or len(plain) == _STEP_BYTES:
                    if machine.eof:
                        if not left:
                            break
                        # The next member of the same file (RFC 1952 2.2).
                        members += 1
                        if members > _MOST_MEMBERS:
                            raise _broken("too many members")
                        machine = zlib.decompressobj(_GZIP)
                    plain = _inflate(machine, left)
                    left = machine.unused_data if machine.eof else machine.unconsumed_tail
                    grown += len(plain)
                    if grown > most:
                        self._exchange.unread = True
                        raise too_large(most)
                    if plain:
                        yield plain
        if came and not machine.eof:
            raise _broken("it breaks off")


def _inflate(machine: "zlib._Decompress", octets: bytes) -> bytes:
    try:
        return machine.decompress(octets, _STEP_BYTES)
    except zlib.error as error:
        raise _broken(str(error)) from error


def _broken(why: str) -> ClientError:
    return ClientError("INVALID_CODING", detail=why, headers=CLOSE)
