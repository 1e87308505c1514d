"""Any octets into the connection machine: events or a connection error, bounded memory, never an exception."""

import random
import struct
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    PRIORITY,
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
from tests.support.h2_machine import GREETING, REPLY_MAX_BYTES, Machine, Watched
from tests.support.h2_server import GRPC, OK, block, data, grpc_message, headers, reply

pytestmark = pytest.mark.rule("upstreams.2")
KINDS = (DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY,
         WINDOW_UPDATE, CONTINUATION, 10, 255)  # fmt: skip
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", bytes(4), bytes(8), b"\0\0\0\1", b"\x7f\xff\xff\xff", block(*GRPC), block(*OK),
         block(*GRPC, *OK), grpc_message(b"hi"), bytes(5_000), b"\0\4\0\0\0\1", b"\0\4\x7f\xff\xff\xff"]
    ),
)  # fmt: skip
FRAMES = st.builds(
    frame,
    st.sampled_from(KINDS),
    st.sampled_from([0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS, PADDED, PADDED | END_HEADERS,
                     PRIORITY_FLAG | END_HEADERS, 255]),
    st.sampled_from([0, 1, 3, 5, 7, 2, 2**31 - 1]),
    PAYLOADS,
)  # fmt: skip
ANY = st.one_of(
    st.binary(max_size=60),
    FRAMES,
    st.sampled_from(
        [reply(1, b"a"), reply(3, b"b"), headers(5, *GRPC), data(5, grpc_message(b"c"))]
    ),
)
STEPS = st.lists(st.one_of(ANY, st.sampled_from(["open", "cancel", "tick", "take"])), max_size=40)


@settings(max_examples=300, deadline=None)
@given(greeted=st.booleans(), steps=STEPS)
def test_any_octets_lead_to_ends_or_an_error_of_the_connection(
    greeted: bool, steps: list[Any]
) -> None:
    watched = Watched()
    if greeted:
        watched.step(GREETING)

    for step in ["open", "open", "open", *steps]:
        watched.step(step)

    watched.finish()


WHOLE = b"".join(
    (
        GREETING,
        headers(1, (b":status", b"103"), (b"link", b"x")),
        frame(HEADERS, PADDED | PRIORITY_FLAG, 1, b"\3" + bytes(5) + block(*GRPC)[:9] + bytes(3)),
        frame(CONTINUATION, END_HEADERS, 1, block(*GRPC)[9:]),
        headers(3, *GRPC),
        frame(PING, 0, 0, b"8 octets"),
        frame(DATA, PADDED, 1, b"\5" + grpc_message(b"x" * 50)[:20] + bytes(5)),
        settings_frame((4, 100_000)),
        data(3, grpc_message(b"second")),
        data(1, grpc_message(b"x" * 50)[20:]),
        frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 70_000)),
        frame(99, 255, 7, b"unknown"),
        headers(3, (b"grpc-status", b"5"), (b"grpc-message", b"gone"), end=True),
        headers(1, *OK, (b"x-t", b"1"), end=True),
        frame(RST_STREAM, 0, 5, bytes(3) + b"\7"),
        frame(GOAWAY, 0, 0, bytes(3) + b"\5" + bytes(4)),
    )
)


def run(*parts: bytes) -> Any:
    machine = Machine(greeted=False)
    calls: list[Stream] = []
    for part in parts:
        machine.receive(part)
        if not calls and machine.state == "ready":
            calls = [machine.open(b"q", flush=False) for _ in range(3)]
    ends = [(call.is_ended, bytes(call.body), call.trailers, call.fault) for call in calls]
    return machine.state, ends, machine.it.take_output()


def test_a_reply_cut_at_every_octet_is_the_same_reply() -> None:
    greeting = len(frame(SETTINGS, 0, 0))
    state, ends, out = run(WHOLE[:greeting], WHOLE[greeting:])
    assert [end[0] for end in ends] == [True] * 3
    assert (state, ends[0][1]) == ("closed", grpc_message(b"x" * 50))

    for cut in range(greeting, len(WHOLE)):
        assert run(WHOLE[:greeting], WHOLE[greeting:cut], WHOLE[cut:]) == (state, ends, out), cut
    octets = [WHOLE[at : at + 1] for at in range(len(WHOLE))]
    assert run(*octets) == (state, ends, out)


# What a reply may look like around the form that is taken at one look, frame by frame.
STARTS = [
    (*GRPC,), (*GRPC, (b"x-a", b"1")), (*GRPC, (b"content-length", b"7")), (*GRPC, (b"grpc-encoding", b"gzip")),
    ((b":status", b"503"), (b"content-type", b"text/html")), ((b":status", b"103"),),
    (*GRPC, (b"Upper", b"1")), (*GRPC, (b"x-a", b"v" * 2_000)),
]  # fmt: skip
BODIES = [
    grpc_message(b"hi"), grpc_message(b""), grpc_message(b"hi", flag=1), grpc_message(b"hi")[:6], b"",
    grpc_message(b"hi") * 2, grpc_message(b"x" * (REPLY_MAX_BYTES + 1)), b"\0\0", grpc_message(b"hi") + b"!",
]  # fmt: skip
ENDS = [
    (*OK,), (*OK, (b"x-t", b"1")), ((b"grpc-status", b"5"),), ((b"x-t", b"1"),), (*OK, (b"connection", b"x")),
    ((b":status", b"200"), *OK),
]  # fmt: skip


def _one_end(parts: list[bytes], memo: BlockMemo) -> Any:
    machine = Machine(reply_max_bytes=REPLY_MAX_BYTES, memo=memo)
    calls = [machine.open(b"q") for _ in range(2)]
    # The first block of a connection is judged by itself; the others are those that may be known.
    machine.receive(reply(1, b"first"))
    ended = [call.stream_id for part in parts for call in machine.receive(part)]
    call = calls[1]
    try:
        end: Any = message_of(call, max_bytes=REPLY_MAX_BYTES) if call.is_ended else None
        if end is None and call.is_ended:
            end = str(failure_of(call, overdue=False))
    except UpstreamError as error:
        end = str(error)
    return ended, end, metadata_of(call), machine.state, machine.it.take_output()


@pytest.mark.parametrize("between", [b"", frame(PING, 0, 0, bytes(8)), data(3, b"")])
@pytest.mark.parametrize("padded", [0, PADDED])
def test_a_reply_taken_at_one_look_is_the_reply_taken_frame_by_frame(
    between: bytes, padded: int
) -> None:
    memo = BlockMemo()
    decode = MemoDecoder(memo).decode
    for pairs in (*STARTS, *ENDS, *STARTS, *ENDS):
        decode(block(*pairs))
    looked = 0
    for start, body, end in product(STARTS, BODIES, ENDS):
        payload = b"\3" + body + bytes(3) if padded else body
        middle = headers(3, *start) + frame(DATA, padded, 3, payload) + between
        whole = middle + headers(3, *end, end=True)

        at_one_look = _one_end([whole], memo)

        step = 1 if len(whole) < 200 else 97
        cut = [whole[at : at + step] for at in range(0, len(whole), step)]
        assert at_one_look == _one_end(cut, BlockMemo())
        looked += at_one_look[1] == b"hi"
    assert looked > 3


SHUFFLED = [
    headers(1, *GRPC), data(1, grpc_message(b"a")), headers(1, *OK, end=True), headers(3, *GRPC),
    data(3, grpc_message(b"b"), end=True), frame(PING, 0, 0, bytes(8)), frame(RST_STREAM, 0, 3, bytes(4)),
    settings_frame((3, 2)), frame(GOAWAY, 0, 0, bytes(8)), frame(SETTINGS, 0, 0),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.permutations(SHUFFLED))
def test_frames_in_any_order_end_every_call(frames: list[bytes]) -> None:
    watched = Watched()
    watched.step(GREETING)
    watched.step("open")
    watched.step("open")

    for one in frames:
        watched.step(one)

    watched.finish()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 80_000), min_size=1, max_size=6),
    window=st.integers(1, 70_000),
)
def test_bodies_arrive_whole_and_never_beyond_the_windows(
    seed: int, sizes: list[int], window: int
) -> None:
    """A model of the peer grants windows at random, some of them taken back by SETTINGS."""
    chance = random.Random(seed)
    machine = Machine(greeted=False)
    machine.receive(settings_frame((4, window)))
    machine.sent()
    whole, granted = 65_535, dict.fromkeys(range(1, 2 * len(sizes), 2), window)
    bodies = dict.fromkeys(granted, b"")
    done: set[int] = set()

    def take() -> None:
        nonlocal whole
        for kind, flags, stream_id, payload in machine.sent():
            if kind == DATA:
                whole -= len(payload)
                granted[stream_id] -= len(payload)
                assert whole >= 0
                assert granted[stream_id] >= 0 or not payload
                bodies[stream_id] += payload
                if flags & END_STREAM:
                    done.add(stream_id)

    messages = [chance.randbytes(size) for size in sizes]
    for message in messages:
        machine.open(message, flush=False)
    for _ in range(20_000):
        take()
        if len(done) == len(sizes):
            break
        stream_id = chance.choice([0, *(one for one in granted if one not in done)])
        step = chance.randrange(1, 30_000)
        if chance.random() < 0.1:
            new = chance.randrange(0, 70_000)
            granted = {key: value + new - window for key, value in granted.items()}
            window = new
            machine.receive(settings_frame((4, new)))
        elif stream_id:
            granted[stream_id] += step
            machine.receive(frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", step)))
        else:
            whole += step
            machine.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", step)))
        machine.it._noise = 0
    assert machine.state == "ready"
    assert [bodies[key] for key in sorted(bodies)] == [grpc_message(one) for one in messages]
