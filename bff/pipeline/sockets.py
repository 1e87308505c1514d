"""A method's messages over WebSocket: what a route does behind an upgrade, and the session that follows.

Everything up to the ticket happens before the upgrade is granted, and a refusal is an ordinary reply.
After it, frames are those of `transcoding.envelopes`; the call begins with the client's first message
where the method takes one, else at once.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from msgspec import Struct

from bff.core.errors import ClientError, DeniedError, GatewayError
from bff.core.exchange import BodyLimits, Inputs, Json, Reply, Request, Ticket
from bff.pipeline.client_streams import ClientStreamed, Conversation
from bff.pipeline.feed import END, Feed
from bff.pipeline.frames import Frames, credential_left_s
from bff.pipeline.hearing import Hearing
from bff.pipeline.inbound import enter
from bff.pipeline.intake import at_element
from bff.pipeline.respond import error_text
from bff.pipeline.route import Match, Tools
from bff.pipeline.streams import Streamed
from bff.transcoding.binding import Binder
from bff.transcoding.envelopes import END_FRAME, error_frame, message_frame, read_envelope
from bff.transcoding.route_trie import Found

__all__ = ["CLOSED_WELL", "FrameError", "Session", "Socketed", "find_socket"]

CLOSED_WELL = 1000
# Codes of our own begin here (RFC 6455 7.4.2), each with the number of the gRPC status behind it.
_CLOSE_CODES = 4000
_FRAME_BYTES = 1024 * 1024
_VERSION = b"13"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class FrameError(ClientError):
    """A frame that WebSocket itself has a close code for; there is no error frame before it."""

    def __init__(self, reason: str, close_code: int) -> None:
        super().__init__(reason)
        self.close_code = close_code


class Socketed(Struct, kw_only=True, eq=False):
    """A stream's work behind an upgrade; `work` is that of plain HTTP, whose call it makes.

    `first` binds path, query and the first message, `later` each that follows; `write` makes JSON
    of a reply's wire octets. Times are seconds.
    """

    work: Streamed | ClientStreamed | Conversation
    first: Binder
    later: Binder
    write: Callable[[bytes], bytes]
    write_timeout_s: float
    max_duration_s: float
    idle_s: float

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """Path, query and what crosses to the service; messages come after the upgrade."""
        self.first.bind(match.captures, request.query, b"")
        self.work.bound.metadata(request, ticket.permit.principal)
        return Inputs(ticket=ticket)

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """The session, not begun; no service is asked before the client has the upgrade."""
        return Reply(101, [], stream=Session(self, request, inputs, match, tools))

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """The reply that grants the upgrade."""
        reply: Reply = answers
        return reply

    async def call(
        self, hearing: Hearing, request: Request, inputs: Inputs, match: Match, tools: Tools
    ) -> AsyncGenerator[bytes, None]:
        """What the service answers, as wire octets."""
        work, bound = self.work, self.work.bound
        if isinstance(work, ClientStreamed):
            inputs = Inputs(ticket=inputs.ticket, messages=hearing.messages())
            reply = await work.fetch(request, inputs, match, tools)
            yield reply.message
            return
        ends_s = tools.clock.now_s() + self.max_duration_s
        metadata = bound.metadata(request, inputs.ticket.permit.principal)
        if isinstance(work, Streamed):
            only = await hearing.take()
            if only is None:
                raise ClientError("VALIDATION_FAILED", "The first frame has to be the request.")
            answers = bound.stack.stream(bound.operation, only, metadata, ends_s, request.calls)
        else:
            said = hearing.messages()
            answers = bound.stack.bidi(bound.operation, said, metadata, ends_s, request.calls)
        async with aclosing(answers):
            async for answer in answers:
                yield answer


class Session(Frames):
    """One open WebSocket: its parts are text frames. `close_code` says how it ended, once it has."""

    def __init__(
        self, socketed: Socketed, request: Request, inputs: Inputs, match: Match, tools: Tools
    ) -> None:
        self.close_code = CLOSED_WELL
        self._socketed = socketed
        self._match = match
        self._heard_count = 0
        self._hearing = Hearing()
        feed = Feed(
            socketed.call(self._hearing, request, inputs, match, tools),
            upstream=socketed.work.bound.stack.name,
            idle_s=socketed.idle_s,
            max_duration_s=socketed.max_duration_s,
            expires_in_s=credential_left_s(request, tools),
        )
        self._listening: asyncio.Task[None] | None = None
        super().__init__(feed, request, tools, write_timeout_s=socketed.write_timeout_s)

    async def aclose(self) -> None:
        """Stop listening, too."""
        await self._stop_listening()
        await super().aclose()

    async def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.wait([listening])

    async def _make(self) -> AsyncGenerator[bytes, None]:
        """Frames for the client; an answer is taken from the service when the last was handed over."""
        self._listening = asyncio.get_running_loop().create_task(self._listen())
        self._listening.add_done_callback(self._listened)
        while isinstance(answer := await self._feed.take(), bytes):
            yield message_frame(self._socketed.write(answer))
        assert answer is END
        yield END_FRAME
        # Not every server can close a connection that somebody waits for.
        await self._stop_listening()

    async def _end(self, error: GatewayError) -> bytes:
        await self._stop_listening()
        return await super()._end(error)

    def _error(self, error: GatewayError) -> bytes:
        if isinstance(error, FrameError):
            self.close_code = error.close_code
            return b""
        self.close_code = _CLOSE_CODES + error.told_code
        return error_frame(error_text(error, self._request, self._tools))

    async def _listen(self) -> None:
        """Read frames until the connection ends; one message waits for the service at most."""
        read_parts = self._request.read_parts
        assert read_parts is not None
        limits = BodyLimits(cap_bytes=_FRAME_BYTES, paced=False)
        try:
            async with aclosing(read_parts(limits)) as frames:
                async for frame in frames:
                    self._feed.stir()
                    await self._hear(frame)
        except GatewayError as error:
            self._feed.fail(error)

    async def _hear(self, frame: bytes) -> None:
        message = read_envelope(frame)
        if message is None:
            if self._hearing.has_ended:
                raise _after_end()
            self._hearing.end()
            return
        if self._hearing.has_ended or (self._heard_count and self._takes_one):
            raise _after_end()
        index = self._heard_count
        try:
            if index:
                bound = self._socketed.later.bind((), b"", message)
            else:
                query = self._request.query
                bound = self._socketed.first.bind(self._match.captures, query, message)
        except ClientError as error:
            raise at_element(error, index, index) from error
        self._heard_count += 1
        await self._hearing.put(bound)

    @property
    def _takes_one(self) -> bool:
        """A method that takes no stream has heard all with its first message."""
        return isinstance(self._socketed.work, Streamed)

    def _listened(self, task: "asyncio.Task[None]") -> None:
        """A fault of ours must not leave a session that hears nothing."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._feed.fail(error)


def find_socket(request: Request, tools: Tools) -> Match:
    """The route of an upgrade. Raises 404 NO_ROUTE, 400 and 426 for a handshake that is none, 403 CORS_DENIED."""
    request.stage = "match"
    found = tools.sockets.find("GET", request.path)
    if not isinstance(found, Found):
        raise ClientError("NO_ROUTE")
    match = enter(request, found)
    if request.headers.get(b"sec-websocket-version") != _VERSION:
        headers = ((b"upgrade", b"websocket"), (b"sec-websocket-version", _VERSION))
        raise ClientError("UPGRADE_REQUIRED", headers=headers)
    _judge_origin(request)
    return match


def _judge_origin(request: Request) -> None:
    """Pages of this host alone may open a WebSocket: browsers ask nobody else first, and send cookies.

    `https` passes too where we see `http`: TLS may end in front of the gateway.
    """
    origin = request.headers.text(b"origin")
    if origin is None:
        return
    scheme, separator, host = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    is_same = host.removesuffix(port or "") == request.host.removesuffix(port or "")
    if not separator or port is None or not is_same or scheme not in {request.scheme, "https"}:
        raise DeniedError("CORS_DENIED")


def _after_end() -> ClientError:
    return ClientError("VALIDATION_FAILED", "There was a frame after the end of the request.")
