"""Streams of a service over HTTP: from the first message to the last octet, in the client's framing.

The first message (or the end, or the error) decides status and headers, so an error before it is an
ordinary error reply; after it, an error is the stream's last frame.
"""

from collections.abc import AsyncGenerator, Callable

from msgspec import Struct

from bff.core.errors import ClientError, GatewayError, UpstreamError
from bff.core.exchange import (
    Inputs,
    Json,
    Reply,
    Request,
    Ticket,
)
from bff.core.media import accept_of
from bff.core.status import Code
from bff.pipeline.calls import Bound
from bff.pipeline.crossing import StreamFields
from bff.pipeline.feed import END, QUIET, Feed
from bff.pipeline.frames import Frames, credential_left_s
from bff.pipeline.framings import EventFields, EventFraming, Framing, JsonFraming, RawFraming
from bff.pipeline.respond import error_text
from bff.pipeline.route import Match, Tools
from bff.transcoding.scalars import Unfit
from bff.transcoding.streaming import choose_framing, framer_for

__all__ = ["FrameStream", "StreamForm", "Streamed", "begin"]

_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_RESUME = b"last-event-id"


class StreamForm(Struct, kw_only=True, eq=False):
    """How messages of a stream look and how long all may take (seconds).

    `write` makes JSON of wire octets. `raw` is set for a stream of google.api.HttpBody, and gives
    media type and content instead.
    """

    write: Callable[[bytes], bytes]
    raw: Callable[[bytes], tuple[str, bytes]] | None = None
    status: int = 200
    default_framing: str = "array"
    events: EventFields
    first_wait_s: float = 5.0
    write_timeout_s: float = 30.0
    max_duration_s: float = 3600.0
    idle_s: float = 300.0

    def open(self, request: Request) -> Framing:
        """The framing that this client asks for."""
        if self.raw is not None:
            return RawFraming(self.raw)
        accept = accept_of(request.headers)
        framing = choose_framing(accept, self.default_framing)
        if framing == "sse":
            return EventFraming(self.write, self.events)
        return JsonFraming(framer_for(framing), self.write)


class Streamed(Struct, kw_only=True, eq=False):
    """A server stream. The request's deadline only bounds the wait for its header fields."""

    bound: Bound
    form: StreamForm

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """As `Bound`; then `Last-Event-ID`, which wins over path and query: browsers resend the old URL."""
        inputs = await self.bound.validate(request, ticket, match)
        resume = self.form.events.resume
        if resume is None:
            return inputs
        last = request.headers.get(_RESUME)
        if last is None:
            return inputs
        try:
            message = inputs.message + resume(last.decode())
        except (Unfit, UnicodeDecodeError) as error:
            raise ClientError(
                "INVALID_HEADER",
                "The header last-event-id is not an id of this stream.",
                metadata={"header": "last-event-id"},
            ) from error
        return Inputs(ticket=ticket, message=message)

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """The reply, which waits for the first message, the end, or the first wait."""
        framing = self.form.open(request)
        bound = self.bound
        fields = None if bound.outward is None else StreamFields(bound.outward)
        messages = bound.stack.stream(
            bound.operation,
            inputs.message,
            bound.metadata(request, inputs.ticket.permit.principal),
            tools.clock.now_s() + self.form.max_duration_s,
            request.calls,
            received=None if fields is None else fields.received,
        )
        try:
            return await begin(
                self.form, framing, messages, bound.stack.name, request, tools, fields
            )
        except UpstreamError as error:
            if error.code is Code.OUT_OF_RANGE and self._is_resumed(framing, request):
                # WHATWG HTML 9.2.3: 204 keeps EventSource from coming back; there is nothing more.
                return Reply(204, [_NO_STORE, _NOSNIFF])
            raise

    def _is_resumed(self, framing: Framing, request: Request) -> bool:
        return (
            isinstance(framing, EventFraming)
            and self.form.events.resume is not None
            and request.headers.get(_RESUME) is not None
        )

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """The reply that `fetch` began."""
        reply: Reply = answers
        return reply


async def begin(
    form: StreamForm,
    framing: Framing,
    messages: AsyncGenerator[bytes, None],
    upstream: str,
    request: Request,
    tools: Tools,
    fields: StreamFields | None = None,
    opened: Callable[[Feed], None] | None = None,
) -> Reply:
    """Wait until the reply's header fields are known; closes `messages` if there is no reply.

    `opened` gets the feed, for what it has to hear of.
    """
    feed = Feed(
        messages,
        upstream=upstream,
        idle_s=form.idle_s,
        max_duration_s=form.max_duration_s,
        expires_in_s=credential_left_s(request, tools),
    )
    if opened is not None:
        opened(feed)
    try:
        first = await _first(form, framing, feed, upstream, request, tools)
        content_type = framing.content_type(first if isinstance(first, bytes) else None)
    except BaseException:
        await feed.close()
        raise
    stream = FrameStream(
        framing, first, feed, request, tools, fields, write_timeout_s=form.write_timeout_s
    )
    headers = [(b"content-type", content_type), _NO_STORE, _NOSNIFF, *framing.fields]
    reply = Reply(form.status, headers, stream=stream)
    if fields is not None:
        reply.headers += fields.head()
        reply.trailers = fields.trailers
    return reply


async def _first(
    form: StreamForm,
    framing: Framing,
    feed: Feed,
    upstream: str,
    request: Request,
    tools: Tools,
) -> object:
    ends_s = request.deadline_s
    # A file's media type comes with its first message, so nothing can be sent before that.
    waits = not framing.needs_first
    until_s = min(ends_s, request.started_s + form.first_wait_s) if waits else ends_s
    first = await feed.take(max(0.0, until_s - tools.clock.now_s()))
    if first is QUIET and (not waits or ends_s < request.started_s + form.first_wait_s):
        raise UpstreamError(
            "TIMEOUT",
            code=Code.DEADLINE_EXCEEDED,
            origin="wire",
            upstream=upstream,
            detail="no first message came in time",
        )
    return first


class FrameStream(Frames):
    """A service's stream in one framing; `first` is what `begin` has taken of it."""

    def __init__(
        self,
        framing: Framing,
        first: object,
        feed: Feed,
        request: Request,
        tools: Tools,
        fields: StreamFields | None,
        *,
        write_timeout_s: float,
    ) -> None:
        super().__init__(feed, request, tools, write_timeout_s=write_timeout_s)
        self._framing = framing
        self._first = first
        self._fields = fields
        # What goes before the next frame.
        self._ahead = framing.start()

    async def _make(self) -> AsyncGenerator[bytes, None]:
        """Frames, one per message; a message is taken from the service only when the last was written."""
        framing, feed, message = self._framing, self._feed, self._first
        self._first = None
        if message is QUIET:
            # The client is to see the header fields, though there is nothing to read yet.
            yield self._headed(b"")
            message = await feed.take(framing.quiet_s)
        while message is not END:
            if isinstance(message, bytes):
                yield self._headed(framing.message(message))
            else:
                yield framing.heartbeat
            message = await feed.take(framing.quiet_s)
        if self._fields is not None:
            self._fields.end()
        yield self._headed(framing.end())

    def _error(self, error: GatewayError) -> bytes:
        return self._headed(self._framing.error(error_text(error, self._request, self._tools)))

    def _headed(self, frame: bytes) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead + frame
