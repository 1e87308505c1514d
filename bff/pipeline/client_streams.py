"""Methods that take a stream: its messages go up while the body is read; one reply, or a stream, comes back."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from msgspec import Struct

from bff.core.errors import ClientError, UpstreamError
from bff.core.exchange import BodyLimits, Inputs, Json, Reply, Request, Ticket
from bff.core.status import Code
from bff.pipeline.calls import Bound, Download, PickyUnary, Unary
from bff.pipeline.crossing import StreamFields
from bff.pipeline.feed import Feed
from bff.pipeline.intake import Intake
from bff.pipeline.route import Match, Tools
from bff.pipeline.streams import StreamForm, begin

__all__ = ["ClientStreamed", "Conversation"]

# What a 426 asks for (RFC 9110 15.5.22), by whether the route is there over WebSocket.
_UPGRADES = {
    offered: ((b"upgrade", protocol), (b"connection", b"upgrade"))
    for offered, protocol in ((True, b"websocket"), (False, b"HTTP/2.0"))
}


class ClientStreamed(Struct, kw_only=True, eq=False):
    """A client's stream, answered by one message (or one file).

    The route's deadline is for the service: it begins when the last message was handed over.
    `max_duration_s` is that of the whole.
    """

    bound: Bound
    intake: Intake
    limits: BodyLimits
    reply: Unary | Download
    max_duration_s: float

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """What can be judged before the body; it is read while the call runs."""
        if isinstance(self.reply, PickyUnary):
            self.reply.judge_accept(request)
        self.intake.judge(request, match)
        return Inputs(ticket=ticket, messages=self.intake.open(request, match, self.limits))

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """The one reply."""
        assert inputs.messages is not None
        loop = asyncio.get_running_loop()
        bound = self.bound
        try:
            async with asyncio.timeout(self.max_duration_s) as patience:

                def sent() -> None:
                    ends_s = loop.time() + match.route.deadline_s
                    if not patience.expired() and ends_s < (patience.when() or ends_s + 1):
                        patience.reschedule(ends_s)

                reply = await bound.stack.client_stream(
                    bound.operation,
                    _with_end(inputs.messages, sent),
                    bound.metadata(request, inputs.ticket.permit.principal),
                    tools.clock.now_s() + self.max_duration_s,
                    request.calls,
                    want_metadata=bound.outward is not None,
                )
        except TimeoutError as error:
            raise UpstreamError(
                "TIMEOUT",
                code=Code.DEADLINE_EXCEEDED,
                origin="wire",
                upstream=bound.stack.name,
                detail="no reply came in time",
            ) from error
        if len(reply.message) > bound.reply_cap_bytes:
            raise bound.too_large(reply)
        return reply

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """The reply as of a unary call."""
        return self.reply.shape(answers, ticket, match)


class Conversation(Struct, kw_only=True, eq=False):
    """Messages both ways, over HTTP/2. HTTP/1.1 has one direction at a time, and gets 426.

    `whole` lets HTTP/1.1 in: all of the request is read first, within these limits. `socketed`: the
    route is there over WebSocket too.
    """

    bound: Bound
    intake: Intake
    form: StreamForm
    limits: BodyLimits
    whole: BodyLimits | None = None
    socketed: bool = False

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """What can be judged before the body."""
        one_way = request.protocol.startswith("1")
        if one_way and self.whole is None:
            raise ClientError("UPGRADE_REQUIRED", headers=_UPGRADES[self.socketed])
        self.intake.judge(request, match)
        if not one_way or self.whole is None:
            messages = self.intake.open(request, match, self.limits)
        else:
            held = self.intake.open(request, match, self.whole, held=True)
            async with aclosing(held):
                messages = _replayed([message async for message in held])
        return Inputs(ticket=ticket, messages=messages)

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """The reply, begun as that of any stream."""
        assert inputs.messages is not None
        bound = self.bound
        fields = None if bound.outward is None else StreamFields(bound.outward)
        feeds: list[Feed] = []
        messages = bound.stack.bidi(
            bound.operation,
            _stirring(inputs.messages, feeds),
            bound.metadata(request, inputs.ticket.permit.principal),
            tools.clock.now_s() + self.form.max_duration_s,
            request.calls,
            received=None if fields is None else fields.received,
        )
        framing = self.form.open(request)
        return await begin(
            self.form, framing, messages, bound.stack.name, request, tools, fields, feeds.append
        )

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """The reply that `fetch` began."""
        reply: Reply = answers
        return reply


async def _with_end(
    messages: AsyncGenerator[bytes, None], ended: Callable[[], None]
) -> AsyncGenerator[bytes, None]:
    try:
        async for message in messages:
            yield message
        ended()
    finally:
        await messages.aclose()


async def _stirring(
    messages: AsyncGenerator[bytes, None], feeds: list[Feed]
) -> AsyncGenerator[bytes, None]:
    """A conversation is not silent while the client talks; `feeds` has the one that waits for answers."""
    async with aclosing(messages):
        async for message in messages:
            feeds[0].stir()
            yield message


async def _replayed(messages: list[bytes]) -> AsyncGenerator[bytes, None]:
    for message in messages:
        yield message
