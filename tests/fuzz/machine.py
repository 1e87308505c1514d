"""The connection machine under any octets: nothing is raised, calls end, how reads are cut changes nothing."""

from typing import Any

from bff.core.errors import UpstreamError
from bff.wire.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY_FLAG,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    settings_frame,
)
from bff.wire.http2.headers import BlockMemo, MemoDecoder
from bff.wire.http2.reply import failure_of, message_of, metadata_of
from bff.wire.http2.stream import Stream
from tests.fuzz.choices import Choices
from tests.support.h2_machine import GREETING, REPLY_MAX_BYTES, Watched
from tests.support.h2_server import GRPC, OK, block, data, grpc_message, headers, reply

__all__ = ["FRAMES_SEEDS", "OCTETS_SEEDS", "frames", "octets"]

_KINDS = (DATA, HEADERS, 2, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
          CONTINUATION, 10, 255)  # fmt: skip
_FLAGS = (0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS, PADDED, PADDED | END_HEADERS,
          PRIORITY_FLAG | END_HEADERS, 255)  # fmt: skip
_IDS = (1, 3, 5, 0, 7, 2, 2**31 - 1)
_BLOCKS = (
    block(*GRPC), block(*OK), block(*GRPC, *OK), block((b"grpc-status", b"5")), block((b":status", b"103")),
    block((b":status", b"503")), block(*GRPC, (b"content-length", b"7")),
)  # fmt: skip
_PAYLOADS = (
    b"", bytes(4), bytes(8), b"\0\0\0\1", b"\x7f\xff\xff\xff", grpc_message(b"hi"), grpc_message(b""),
    grpc_message(b"x" * 5_000), bytes(5_000), b"\0\4\0\0\0\1", b"\0\4\x7f\xff\xff\xff", b"\0\3\0\0\0\1",
)  # fmt: skip

OCTETS_SEEDS = (
    b"\0" + reply(1, b"hi") + reply(3, b"ho"),
    b"\7" + headers(1, *GRPC) + frame(PING, 0, 0, bytes(8)) + data(1, grpc_message(b"hi"), end=True),
    b"\1" + settings_frame((4, 100)) + frame(GOAWAY, 0, 0, bytes(8)) + frame(RST_STREAM, 0, 1, bytes(4)),
)  # fmt: skip
FRAMES_SEEDS = (bytes(range(60)), bytes(60), b"\2\1\3\4" * 20)


def _known_blocks() -> BlockMemo:
    """A memo that has seen the usual blocks, so that replies of them are taken at one look."""
    memo = BlockMemo()
    decode = MemoDecoder(memo).decode
    for raw in (*_BLOCKS, *_BLOCKS):
        decode(raw)
    return memo


_KNOWN = _known_blocks()


def _end(call: Stream) -> Any:
    if not call.is_ended:
        return None
    try:
        found = message_of(call, max_bytes=REPLY_MAX_BYTES)
        return found if found is not None else str(failure_of(call, overdue=False))
    except UpstreamError as error:
        return str(error)


def _run(steps: list[Any], memo: BlockMemo) -> Any:
    watched = Watched(memo)
    watched.step(GREETING)
    for step in ["open", "open", "open", *steps]:
        watched.step(step)
    watched.out += watched.machine.it.take_output()
    ends = [(_end(call), metadata_of(call)) for call in watched.calls]
    seen = ends, watched.machine.state, watched.machine.it.why_closed, watched.out
    watched.finish()
    return seen


def octets(raw: bytes) -> None:
    """The first octet says where reads are cut."""
    step = raw[0] % 32 + 1 if raw else 1
    rest = raw[1:]

    whole = _run([rest], _KNOWN)

    assert whole == _run([rest[at : at + step] for at in range(0, len(rest), step)], BlockMemo())


def frames(raw: bytes) -> None:
    """Frames of the usual parts in any order, with calls opened, cancelled and time passing between."""
    choices = Choices(raw)
    steps: list[Any] = []
    while choices.has_more and len(steps) < 60:
        match choices.below(8):
            case 0:
                steps.append("open")
            case 1:
                steps.append(choices.one_of(("cancel", "tick", "take")))
            case 2:
                steps.append(reply(choices.one_of(_IDS), b"hi"))
            case _:
                steps.append(_frame(choices))

    _run(steps, _KNOWN)
    _run(_joined(steps), BlockMemo())


def _frame(choices: Choices) -> bytes:
    kind = choices.one_of(_KINDS)
    flags = choices.one_of(_FLAGS)
    stream_id = choices.one_of(_IDS)
    if kind == HEADERS and choices.below(4):
        payload = choices.one_of(_BLOCKS)
    elif choices.below(8):
        payload = choices.one_of(_PAYLOADS)
    else:
        payload = choices.octets(24)
    return frame(kind, flags, stream_id, payload)


def _joined(steps: list[Any]) -> list[Any]:
    """The same with frames that follow each other in one read."""
    joined: list[Any] = []
    for step in steps:
        if isinstance(step, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += step
        else:
            joined.append(step)
    return joined
