"""The admin server's connections: a silent one does not stay."""

from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from bff.fronts.admin_server import PromptProtocol


class Loop:
    """A loop whose timers are rung by hand."""

    def __init__(self) -> None:
        self.timers: list[Any] = []

    def call_later(self, _delay_s: float, call: Any) -> Any:
        self.timers.append(call)
        return self

    def cancel(self) -> None:
        """What is asked of a timer whose connection has gone."""
        self.timers.clear()


class Transport:
    """A transport that notes its end."""

    closed = False

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, _name: str) -> None:
        return None


def _connected(loop: Loop) -> tuple[PromptProtocol, Transport]:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        """Nothing is asked."""

    config = uvicorn.Config(app, log_config=None, lifespan="off")
    protocol = PromptProtocol(config, ServerState(), {}, cast("Any", loop))
    transport = Transport()
    protocol.connection_made(cast("Any", transport))
    return protocol, transport


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HTTP/1.1\r\nHost:"], ids=["silent", "half-a-head"]
)
def test_a_connection_without_a_request_is_closed_in_time(sent: bytes) -> None:
    loop = Loop()
    protocol, transport = _connected(loop)

    if sent:
        protocol.data_received(sent)
    before = transport.closed
    (ring,) = loop.timers
    ring()

    assert (before, transport.closed) == (False, True)


def test_a_connection_that_has_gone_leaves_no_timer() -> None:
    loop = Loop()
    protocol, _ = _connected(loop)

    protocol.connection_lost(None)

    assert loop.timers == []
