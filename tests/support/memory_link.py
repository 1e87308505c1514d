"""A link between node and worker without a socket."""

import asyncio

from bff.control.link import Link, Message

__all__ = ["Written", "framed", "link"]


class Written:
    """A StreamWriter that keeps what it is given."""

    def __init__(self, error: OSError | None = None) -> None:
        self.octets = b""
        self.given = asyncio.Event()
        self._error = error

    def write(self, octets: bytes) -> None:
        self.octets += octets
        self.given.set()

    async def drain(self) -> None:
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        return

    async def wait_closed(self) -> None:
        return


def link(octets: bytes = b"", *, written: Written | None = None) -> Link:
    """One end, which receives these octets and then the end of the other side."""
    reader = asyncio.StreamReader()
    reader.feed_data(octets)
    reader.feed_eof()
    return Link(reader, written or Written())  # type: ignore[arg-type] # a link uses no more of it


async def framed(*messages: Message) -> bytes:
    """The octets of these messages."""
    written = Written()
    for message in messages:
        await link(written=written).send(message)
    return written.octets
