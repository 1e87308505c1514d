"""A connection machine without sockets, and what it wrote, read back as frames."""

from typing import Any

from bff.core.errors import UpstreamError
from bff.wire.http2.connection import Connection
from bff.wire.http2.frames import PREFACE, SETTINGS, SETTINGS_ACK, frame
from bff.wire.http2.headers import BlockMemo, MemoDecoder
from bff.wire.http2.reply import failure_of, message_of, metadata_of
from bff.wire.http2.stream import Stream
from bff.wire.http2.vigil import Vigil
from tests.support.h2_server import grpc_message

__all__ = ["GREETING", "REPLY_MAX_BYTES", "Machine", "Watched", "frames_in"]

Frame = tuple[int, int, int, bytes]
# The server's SETTINGS, empty, and its ACK of ours.
GREETING = frame(SETTINGS, 0, 0) + SETTINGS_ACK
BLOCK = b"\x83\x86"
# Of the machines that are watched.
REPLY_MAX_BYTES = 4_096


def frames_in(octets: bytes) -> list[Frame]:
    """(type, flags, stream id, payload) of each frame; nothing may be left over."""
    found = []
    octets = octets.removeprefix(PREFACE)
    while octets:
        end = 9 + int.from_bytes(octets[:3])
        assert len(octets) >= end, "a frame cut off"
        found.append((octets[3], octets[4], int.from_bytes(octets[5:9]), octets[9:end]))
        octets = octets[end:]
    return found


class Machine:
    """A `Connection` with a clock that stands until it is moved, and what it sent so far."""

    def __init__(
        self,
        *,
        reply_max_bytes: int = 1 << 20,
        keepalive_s: float | None = None,
        greeted: bool = True,
        memo: BlockMemo | None = None,
    ) -> None:
        self.now_s = 1_000.0
        self.it = Connection(
            now_s=self.now_s,
            decoder=MemoDecoder(memo or BlockMemo()),
            table_bytes=0,
            reply_max_bytes=reply_max_bytes,
            vigil=Vigil(idle_s=1800.0, keepalive_s=keepalive_s),
        )
        if greeted:
            self.receive(GREETING)
            self.sent()

    @property
    def state(self) -> str:
        """As `Connection.state`, without its type being narrowed by a comparison before."""
        return self.it.state

    def receive(self, *parts: bytes) -> list[Stream]:
        """Octets of the peer."""
        return self.it.receive(b"".join(parts), self.now_s)

    def open(self, message: bytes = b"hi", block: bytes = BLOCK, *, flush: bool = True) -> Stream:
        """Open a call; `flush`: what it sends is taken and forgotten."""
        stream = Stream(block, grpc_message(message))
        self.it.open(stream, self.now_s)
        if flush:
            self.sent()
        return stream

    def sent(self) -> list[Frame]:
        """What was to be written since the last time."""
        return frames_in(self.it.take_output())

    def tick(self, after_s: float = 0.0) -> list[Stream]:
        """Let time pass."""
        self.now_s += after_s
        return self.it.tick(self.now_s)


class Watched:
    """A machine whose every step is looked at."""

    def __init__(self, memo: BlockMemo | None = None) -> None:
        self.machine = Machine(reply_max_bytes=REPLY_MAX_BYTES, greeted=False, memo=memo)
        self.calls: list[Stream] = []
        self.ended: list[Stream] = []
        self.out = b""

    def step(self, step: Any) -> None:
        machine = self.machine
        if isinstance(step, bytes):
            self.ended += machine.receive(step)
        elif step == "open":
            if len(machine.it.streams) < machine.it.limit:
                self.calls.append(machine.open(b"q" * 100, flush=False))
        elif step == "cancel":
            for call in tuple(machine.it.streams.values())[:1]:
                machine.it.cancel(call, machine.now_s)
        elif step == "tick":
            self.ended += machine.tick(0.6)
        else:
            self.out += machine.it.take_output()
        self.look()

    def look(self) -> None:
        it = self.machine.it
        open_ones = set(map(id, it.streams.values()))
        assert open_ones == {id(call) for call in self.calls if not call.is_ended}
        assert len(self.ended) == len(set(map(id, self.ended))), "a call ended twice"
        assert it.state != "closed" or not it.streams
        held = len(it._reader._rest) + sum(len(call.body) for call in it.streams.values())
        assert held <= (1 << 20) + 10 + len(it.streams) * (REPLY_MAX_BYTES + 65_536)

    def finish(self) -> None:
        """The transport is lost: nothing may stay open, every end has a meaning, all octets are frames."""
        self.out += self.machine.it.take_output()
        self.ended += self.machine.it.eof("gone")
        assert all(call.is_ended for call in self.calls)
        for call in self.calls:
            try:
                reply_ = message_of(call, max_bytes=REPLY_MAX_BYTES)
            except UpstreamError:
                continue
            metadata_of(call)
            assert reply_ is not None or failure_of(call, overdue=False).code
        frames_in(self.out)
