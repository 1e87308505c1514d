"""The body of a request as messages for a method that takes a stream: JSON elements, or pieces of a file.

Nothing is held whole: a message goes to the service before the next is read.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from msgspec import Struct

from bff.core.errors import ClientError, Violation
from bff.core.exchange import BodyLimits, Request
from bff.pipeline.route import Match
from bff.transcoding.binding import Binder
from bff.transcoding.elements import Splitter

__all__ = ["PIECE_BYTES", "Elements", "Intake", "Pieces", "at_element"]

# What one message holds of a file at most.
PIECE_BYTES = 1024 * 1024


class Intake(Protocol):
    """How a route reads a client's stream."""

    def judge(self, request: Request, match: Match) -> None:
        """Refuse what can be refused before the body is read. Raises ClientError."""
        ...

    def open(
        self, request: Request, match: Match, limits: BodyLimits, *, held: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """The messages on the wire. Raises ClientError with the index of the element at fault.

        `held`: none of them goes to the service before the last is there.
        """
        ...


class Elements(Struct, kw_only=True, eq=False):
    """JSON messages. Path and query go into the first (`first`), the others are the body alone (`later`).

    `splitter` gives one for a content type, None for types that are not taken; `accept` names those
    that are.
    """

    first: Binder
    later: Binder
    splitter: Callable[[bytes | None], Callable[[int], Splitter] | None]
    accept: bytes
    element_cap_bytes: int

    def judge(self, request: Request, match: Match) -> None:
        """The content type, path and query."""
        self._splitter(request)
        self.first.bind(match.captures, request.query, b"")

    async def open(
        self, request: Request, match: Match, limits: BodyLimits, *, held: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Each element as it is whole."""
        splitter = self._splitter(request)(self.element_cap_bytes)
        cut = _Cut(self, request, match, held=held)
        assert request.read_parts is not None
        async with aclosing(request.read_parts(limits)) as parts:
            async for part in parts:
                splitter.feed(part)
                while (message := cut.next(splitter.take)) is not None:
                    yield message
        last = cut.next(splitter.finish)
        if last is not None:
            yield last

    def _splitter(self, request: Request) -> Callable[[int], Splitter]:
        found = self.splitter(request.headers.get(b"content-type"))
        if found is None:
            raise ClientError("UNSUPPORTED_MEDIA_TYPE", headers=((b"accept", self.accept),))
        return found


class _Cut:
    """Where one stream stands: the elements read, which is what their faults tell."""

    def __init__(self, intake: Elements, request: Request, match: Match, *, held: bool) -> None:
        self._held = held
        self._intake = intake
        self._request = request
        self._match = match
        self._index = 0

    def next(self, take: Callable[[], bytes | None]) -> bytes | None:
        """The next message, if one is whole."""
        try:
            element = take()
            if element is None:
                return None
            if self._index:
                message = self._intake.later.bind((), b"", element)
            else:
                captures, query = self._match.captures, self._request.query
                message = self._intake.first.bind(captures, query, element)
        except ClientError as error:
            raise at_element(error, self._index, 0 if self._held else self._index) from error
        self._index += 1
        return message


class Pieces(Struct, kw_only=True, eq=False):
    """A file in messages of at most 1 MiB; its type, path and query go into the first.

    `wrap` makes octets of the field that takes the file, from media type and content.
    """

    first: Binder
    wrap: Callable[[bytes, bytes], bytes]

    def judge(self, request: Request, match: Match) -> None:
        """Path and query; any content type is taken."""
        self.first.bind(match.captures, request.query, b"")

    async def open(
        self,
        request: Request,
        match: Match,
        limits: BodyLimits,
        *,
        held: bool = False,
    ) -> AsyncGenerator[bytes, None]:
        """Each part as it comes; one message without content where there is none."""
        head = self.first.bind(match.captures, request.query, b"")
        content_type = request.headers.get(b"content-type") or b""
        is_first = True
        assert request.read_parts is not None
        async with aclosing(request.read_parts(limits)) as parts:
            async for part in parts:
                for start in range(0, len(part), PIECE_BYTES):
                    piece = part[start : start + PIECE_BYTES]
                    yield head + self.wrap(content_type, piece)
                    head, content_type, is_first = b"", b"", False
        if is_first:
            yield head + self.wrap(content_type, b"")


def at_element(error: ClientError, index: int, sent_count: int) -> ClientError:
    """The error with its place in the stream, and how many messages the service has got already."""
    place = f"[{index}]"
    field = error.metadata.get("field")
    metadata = {
        **error.metadata,
        "field": _join(place, field or ""),
        "messages_sent": str(sent_count),
    }
    violations = tuple(
        Violation(_join(place, each.field), each.description) for each in error.violations
    )
    sent = (
        "no message was"
        if not sent_count
        else "1 message was"
        if sent_count == 1
        else f"{sent_count} messages were"
    )
    return ClientError(
        error.reason,
        f"{error.public} Before it, {sent} passed on.",
        detail=error.detail,
        metadata=metadata,
        violations=violations or (Violation(place, error.public),),
        headers=error.headers,
    )


def _join(place: str, field: str) -> str:
    return place + field if field[:1] in {"", "["} else f"{place}.{field}"
