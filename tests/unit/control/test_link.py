"""Frames between a node and its workers, over memory."""

import msgspec
import pytest

from bff.control.link import Drain, Hello, LinkClosed, Loaded, Message, Reload, WorkerState
from tests.support.memory_link import Written, framed, link

MESSAGES: list[Message] = [
    Hello(7),
    WorkerState(ready=True, version="abc", routes=12),
    WorkerState(ready=False, version="", routes=0, detail="starting"),
    Reload(3),
    Loaded(3, ok=True, version="abc"),
    Loaded(4, ok=False, version="abc", problems=("a.yaml:1:1: no", "é" * 1_000)),
    Drain(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
async def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    assert await link(await framed(message)).receive() == message


async def test_messages_come_in_their_order() -> None:
    receiving = link(await framed(*MESSAGES))

    assert [await receiving.receive() for _ in MESSAGES] == MESSAGES
    with pytest.raises(LinkClosed):
        await receiving.receive()


STRANGE = msgspec.msgpack.encode({"type": "Stop"})
BROKEN = {
    "nothing": b"",
    "half a length": b"\0\0",
    "less than announced": b"\0\0\0\x09abc",
    "longer than any message": b"\xff\xff\xff\xff",
    "no MessagePack": b"\0\0\0\1\xc1",
    "no message of ours": b"\0\0\0\1\x07",
    "unknown kind": len(STRANGE).to_bytes(4) + STRANGE,
}


@pytest.mark.parametrize("octets", BROKEN.values(), ids=BROKEN)
async def test_a_broken_frame_is_the_end(octets: bytes) -> None:
    with pytest.raises(LinkClosed):
        await link(octets).receive()


async def test_a_peer_that_is_gone_is_the_end() -> None:
    with pytest.raises(LinkClosed):
        await link(written=Written(BrokenPipeError())).send(Drain())
