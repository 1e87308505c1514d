"""A server stream in an RPC protocol: the call, and what both protocols' framings share."""

from collections.abc import AsyncGenerator, Callable
from math import inf

from bff.core.exchange import Inputs, Reply, Request
from bff.pipeline.crossing import StreamFields
from bff.pipeline.framings import UNBUFFERED, Fields, Framing
from bff.pipeline.route import Tools
from bff.pipeline.rpc import RpcParts
from bff.pipeline.streams import StreamForm, begin

__all__ = ["RpcFraming", "begin_stream"]


class RpcFraming:
    """What `pipeline.framings.Framing` has beside the octets themselves."""

    needs_first = False
    quiet_s = inf
    heartbeat = b""
    fields: Fields = UNBUFFERED

    def start(self) -> bytes:
        """Nothing."""
        return b""


async def begin_stream(
    parts: RpcParts,
    timing: StreamForm,
    make_framing: Callable[[StreamFields | None], Framing],
    request: Request,
    inputs: Inputs,
    tools: Tools,
) -> Reply:
    """The reply, which waits as other streams do; the framing says trailing metadata in its last frame."""
    bound = parts.bound
    fields = None if bound.outward is None else StreamFields(bound.outward)
    messages: AsyncGenerator[bytes, None] = bound.stack.stream(
        bound.operation,
        inputs.message,
        bound.metadata(request, inputs.ticket.permit.principal),
        tools.clock.now_s() + timing.max_duration_s,
        request.calls,
        received=None if fields is None else fields.received,
    )
    # What ends the stream is told in AIP-193 to the framing's `error`, whatever REST has here.
    request.error_form = "aip193"
    framing = make_framing(fields)
    reply = await begin(timing, framing, messages, bound.stack.name, request, tools, fields)
    reply.trailers = None
    return reply
