"""A unary route whose clients ask for a part of the reply: cut here, or asked of the service (AIP-157)."""

import msgspec
from msgspec import Struct, structs

from bff.core.errors import ClientError
from bff.core.exchange import Inputs, Json, Reply, Request, Ticket
from bff.pipeline.calls import Unary
from bff.pipeline.route import Match, Tools
from bff.transcoding.read_masks import Mask, ReadMask, prune
from bff.wire.channel import UnaryReply

__all__ = ["FIELD_MASK", "Masked"]

# The metadata by which Google's APIs take a read mask.
FIELD_MASK = "x-goog-fieldmask"
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class _Answer(Struct, frozen=True):
    reply: UnaryReply
    mask: Mask | None


class Masked(Struct, kw_only=True, eq=False):
    """A unary work behind a mask parameter. `forwards`: the service cuts, not we."""

    unary: Unary
    read_mask: ReadMask
    forwards: bool

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """As the work; a fault of the mask is told together with those of the query."""
        mask: Mask | None = None
        fault: ClientError | None = None
        try:
            mask = self.read_mask.of(request.query)
        except ClientError as error:
            fault = error
        try:
            inputs = await self.unary.validate(request, ticket, match)
        except ClientError as error:
            if fault is not None and error.violations:
                error.violations += fault.violations
            raise
        if fault is not None:
            raise fault
        return structs.replace(inputs, tree={"read_mask": mask})

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """The reply, and the mask that it is to be cut to."""
        mask: Mask | None = inputs.tree["read_mask"]
        if mask is None or not self.forwards:
            return _Answer(await self.unary.bound.call(request, inputs), mask)
        asked = ((FIELD_MASK, ",".join(mask.paths)),)
        return _Answer(await self.unary.bound.call(request, inputs, asked), None)

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """JSON of what the mask keeps of the reply."""
        reply = self.unary.shape(answers.reply, ticket, match)
        if answers.mask is not None:
            reply.body = _encode(prune(_decode(reply.body), answers.mask.root))
        return reply
