"""A mapped call keeps to its route's caps, on the way in and on the way out."""

from typing import Any, cast

import pytest

from bff.core.errors import GatewayError
from bff.core.exchange import ANONYMOUS, Inputs, Permit, Request, Ticket
from bff.pipeline.calls import Bound
from bff.pipeline.crossing import Inward
from bff.wire.channel import UnaryReply
from tests.support.plain_request import plain_request

CAP_BYTES = 1_000


class Stack:
    """A service that answers with a message of this size, and notes the metadata it got."""

    name = "orders"

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self.metadata: Any = None

    async def unary(self, _operation: Any, _message: Any, metadata: Any, *_: Any, **__: Any) -> Any:
        self.metadata = metadata
        return UnaryReply(b"x" * self._size_bytes)


def a_call(stack: Stack) -> Bound:
    nothing = cast("Any", None)
    return Bound(
        binder=nothing,
        operation=nothing,
        stack=cast("Any", stack),
        identity=lambda _principal: (),
        body_cap_bytes=CAP_BYTES,
        metadata_cap_bytes=CAP_BYTES,
        reply_cap_bytes=CAP_BYTES,
        inward=Inward(listed={b"x-note": "x-note"}, skip=lambda _cause: None),
    )


def a_request(note: bytes = b"") -> Request:
    request = plain_request(headers={"x-note": note.decode()} if note else None)
    request.headers_bytes = len(note)
    return request


INPUTS = Inputs(ticket=Ticket(Permit(ANONYMOUS)))


@pytest.mark.rule("transcoding.119")
@pytest.mark.parametrize(("size_bytes", "refused"), [(CAP_BYTES, False), (CAP_BYTES + 1, True)])
async def test_a_reply_beyond_its_cap_is_refused_and_never_cut(
    size_bytes: int, refused: bool
) -> None:
    call = a_call(Stack(size_bytes))

    if not refused:
        assert len((await call.call(a_request(), INPUTS)).message) == size_bytes
        return
    with pytest.raises(GatewayError) as error:
        await call.call(a_request(), INPUTS)
    assert (error.value.reason, error.value.status) == ("REPLY_TOO_LARGE", 502)


@pytest.mark.rule("edge.2")
async def test_metadata_beyond_its_cap_is_refused_before_the_call() -> None:
    stack = Stack(1)

    with pytest.raises(GatewayError) as error:
        await a_call(stack).call(a_request(note=b"n" * CAP_BYTES), INPUTS)

    assert (error.value.reason, error.value.status) == ("METADATA_TOO_LARGE", 431)
    assert stack.metadata is None


@pytest.mark.rule("transcoding.142")
@pytest.mark.parametrize(
    ("connection", "passes"),
    [
        pytest.param([], True, id="none"),
        pytest.param([b"keep-alive"], True, id="plain"),
        pytest.param([b"keep-alive, Upgrade"], True, id="names-another"),
        pytest.param([b"X-Note"], False, id="named"),
        pytest.param([b"close, x-note"], False, id="named-after-an-option"),
        pytest.param([b"keep-alive", b"x-note"], False, id="named-on-a-second-line"),
    ],
)
def test_a_field_that_connection_names_ends_here(connection: list[bytes], passes: bool) -> None:
    request = a_request(note=b"a")
    request.headers.raw.extend((b"connection", value) for value in connection)

    metadata = a_call(Stack(1)).metadata(request, ANONYMOUS)

    assert (("x-note", "a") in metadata) is passes
