"""A method under its gRPC path, for clients that speak Connect or gRPC-Web: the same line, other octets.

Binding, calls and streams are those of the REST routes. Octets of a message pass as they are, in and
out; only where a rule of authorization reads the request are they looked into.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct, structs

from bff.auth.access import Access
from bff.core.errors import ClientError, GatewayError, UpstreamError
from bff.core.exchange import Inputs, Json, Reply, Request, Ticket
from bff.pipeline.calls import Bound
from bff.pipeline.route import Match, Tools, Work, scope_of

__all__ = ["Guard", "Rpc", "RpcCall", "RpcParts", "SpokenError", "first_of"]

# HTTP status, Content-Type and body.
SpokenError = tuple[int, tuple[bytes, bytes], bytes]

_ACCEPT_POST: Final = b"accept-post"


class RpcParts(Struct, kw_only=True, eq=False):
    """What every protocol needs of a method: the call, and JSON both ways where a client writes JSON."""

    bound: Bound
    write: Callable[[bytes], bytes]

    def message(self, body: bytes, *, is_json: bool) -> bytes:
        """The request's octets on the wire. Raises ClientError for JSON that does not fit."""
        return self.bound.binder.bind((), b"", body) if is_json else body

    def written(self, message: bytes, *, is_json: bool) -> bytes:
        """The reply's octets as the client reads them."""
        return self.write(message) if is_json else message


class RpcCall(Protocol):
    """One request in one protocol."""

    async def read(self, request: Request, parts: RpcParts) -> bytes:
        """The request message on the wire. Raises ClientError."""
        ...

    async def fetch(self, request: Request, inputs: Inputs, parts: RpcParts, tools: Tools) -> Json:
        """What `shape` makes the reply of."""
        ...

    def shape(self, answers: Json, parts: RpcParts) -> Reply:
        """The reply."""
        ...

    def error(self, error: GatewayError, request: Request, tools: Tools) -> SpokenError:
        """The error as this client reads it."""
        ...


class Guard(Struct, kw_only=True, eq=False):
    """Rules that read the request, which is the message here: `names` say where it has what they name."""

    access: Access
    names: tuple[tuple[str, tuple[str, ...]], ...]
    decode: Callable[[bytes], Json]

    def check(self, request: Request, ticket: Ticket, message: bytes) -> None:
        """Pass, or raise why not; ClientError INVALID_MESSAGE where the message does not decode."""
        request.stage = "authorize"
        try:
            tree = self.decode(message)
        except UpstreamError as error:
            # The same reader serves replies of services; here the client wrote the octets.
            raise ClientError("INVALID_MESSAGE", detail=error.detail) from error
        principal = ticket.permit.principal
        named = {name: _at(tree, path) for name, path in self.names}
        self.access.check(principal, lambda: scope_of(request, principal, named, named))
        request.stage = "validate"


def _at(tree: Json, path: tuple[str, ...]) -> Json:
    for name in path:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(name)
    return tree


class Rpc(Struct, kw_only=True, eq=False):
    """The work of such a path. `open` tells what a request speaks; what speaks nothing is for `rest`.

    `taken` lists the media types for those that are refused.
    """

    parts: RpcParts
    open: Callable[[Request], RpcCall | None]
    taken: bytes
    guard: Guard | None = None
    rest: Work | None = None

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """The message. Raises UNSUPPORTED_MEDIA_TYPE for what no protocol here takes."""
        call = self.open(request)
        if call is not None:
            message = await call.read(request, self.parts)
            inputs = Inputs(ticket=ticket, message=message, tree={"rpc": call})
        elif self.rest is not None:
            inputs = await self.rest.validate(request, ticket, match)
        else:
            raise ClientError("UNSUPPORTED_MEDIA_TYPE", headers=((_ACCEPT_POST, self.taken),))
        if self.guard is not None:
            self.guard.check(request, ticket, inputs.message)
        return inputs

    async def fetch(self, request: Request, inputs: Inputs, match: Match, tools: Tools) -> Json:
        """The answers, beside what shapes them."""
        call: RpcCall | None = inputs.tree.get("rpc")
        if call is None:
            assert self.rest is not None  # `validate` has refused the request otherwise
            return None, await self.rest.fetch(request, inputs, match, tools)
        plain = structs.replace(inputs, tree={})
        return call, await call.fetch(request, plain, self.parts, tools)

    def shape(self, answers: Json, ticket: Ticket, match: Match) -> Reply:
        """The reply of the protocol that was spoken."""
        call, found = answers
        if call is None:
            assert self.rest is not None  # as above
            return self.rest.shape(found, ticket, match)
        reply: Reply = call.shape(found, self.parts)
        return reply

    def speak(self, error: GatewayError, request: Request, tools: Tools) -> SpokenError | None:
        """An error of any stage in the protocol of the request; None for plain REST."""
        call = self.open(request)
        return None if call is None else call.error(error, request, tools)


def first_of(
    openers: Sequence[Callable[[Request], RpcCall | None]],
) -> Callable[[Request], RpcCall | None]:
    """Tells which of several protocols a request speaks."""

    def open_call(request: Request) -> RpcCall | None:
        for one in openers:
            call = one(request)
            if call is not None:
                return call
        return None

    return open_call
