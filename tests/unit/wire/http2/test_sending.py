"""What a connection sends: flow control to the peer, turns, blocks longer than a frame."""

import struct

import pytest

from bff.wire.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    WINDOW_UPDATE,
    frame,
    settings_frame,
)
from tests.support.h2_machine import BLOCK, Frame, Machine
from tests.support.h2_server import grpc_message

pytestmark = pytest.mark.rule("upstreams.1")


def grown(stream_id: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", size))


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    """(stream id, octets) of DATA."""
    return [(one[2], len(one[3])) for one in frames if one[0] == DATA]


def test_a_small_call_is_two_frames_and_only_the_first_block_updates_the_table() -> None:
    machine = Machine()

    machine.open(b"hi", flush=False)
    machine.open(b"", flush=False)

    assert machine.sent() == [
        (HEADERS, END_HEADERS, 1, b"\x20" + BLOCK),
        (DATA, END_STREAM, 1, grpc_message(b"hi")),
        (HEADERS, END_HEADERS, 3, BLOCK),
        (DATA, END_STREAM, 3, grpc_message(b"")),
    ]


def test_a_long_block_goes_on_in_continuation() -> None:
    machine = Machine()

    machine.open(b"", b"b" * 40_000, flush=False)

    sent = machine.sent()
    assert [(one[0], one[1], len(one[3])) for one in sent] == [
        (HEADERS, 0, 16_384), (CONTINUATION, 0, 16_384), (CONTINUATION, END_HEADERS, 7_233),
        (DATA, END_STREAM, 5),
    ]  # fmt: skip
    assert b"".join(one[3] for one in sent[:3]) == b"\x20" + b"b" * 40_000


def test_bodies_take_turns_by_frame_within_the_connections_window() -> None:
    machine = Machine()

    machine.open(b"a" * 50_000, flush=False)
    machine.open(b"b" * 50_000, flush=False)
    first = sizes(machine.sent())
    machine.receive(grown(0, 100_000))
    rest = sizes(machine.sent())

    assert first == [(1, 16_384), (3, 16_384), (1, 16_384), (3, 16_383)]
    assert sum(size for stream, size in first + rest if stream == 1) == 50_005
    assert sum(size for stream, size in first + rest if stream == 3) == 50_005


def test_a_streams_window_holds_it_alone() -> None:
    machine = Machine()
    machine.receive(settings_frame((4, 10)), grown(0, 1_000_000))
    machine.sent()

    machine.open(b"a" * 20, flush=False)
    machine.open(b"b" * 5, flush=False)
    assert sizes(machine.sent()) == [(1, 10), (3, 10)]
    machine.receive(grown(1, 4))
    assert sizes(machine.sent()) == [(1, 4)]
    machine.receive(grown(1, 100))

    last = machine.sent()
    assert sizes(last) == [(1, 11)]
    assert last[-1][1] == END_STREAM


def test_a_new_initial_window_moves_open_streams_below_zero_too() -> None:
    machine = Machine()
    machine.receive(settings_frame((4, 100)), grown(0, 1_000_000))
    machine.sent()
    machine.open(b"a" * 300, flush=False)
    assert sizes(machine.sent()) == [(1, 100)]

    machine.receive(settings_frame((4, 50)), grown(1, 40))
    assert sizes(machine.sent()) == []
    machine.receive(grown(1, 30))
    assert sizes(machine.sent()) == [(1, 20)]
    machine.receive(settings_frame((4, 1_000)))

    assert sizes(machine.sent()) == [(1, 185)]


def test_a_larger_frame_of_the_peers_wish_is_used() -> None:
    machine = Machine()
    machine.receive(settings_frame((4, 1 << 20), (5, 1 << 20)), grown(0, 1 << 20))
    machine.sent()

    machine.open(b"a" * 200_000, flush=False)

    assert sizes(machine.sent()) == [(1, 200_005)]


def test_while_the_transport_is_full_bodies_and_new_calls_wait() -> None:
    machine = Machine()
    machine.receive(settings_frame((4, 1 << 20)), grown(0, 1 << 20))
    sender = machine.it.sender
    machine.sent()
    machine.open(b"a" * 100_000, flush=False)

    sender.is_writable = False

    assert [one[0] for one in machine.sent()] == [HEADERS]
    assert (sender.is_full, sender.has_output) == (True, False)
    sender.is_writable = True
    assert (sender.is_full, sender.has_output) == (False, True)
    assert sum(size for _, size in sizes(machine.sent())) == 100_005


def test_no_more_than_four_mebibytes_wait_to_be_written() -> None:
    machine = Machine()
    machine.receive(settings_frame((4, 64 << 20), (5, 1 << 20)), grown(0, 64 << 20))
    machine.sent()

    for _ in range(3):
        machine.open(bytes(3 << 20), flush=False)

    assert 4 << 20 <= len(machine.it.take_output()) < 6 << 20
    assert machine.it.sender.has_output


def test_a_cancelled_body_is_dropped() -> None:
    machine = Machine()
    call = machine.open(b"a" * 100_000)

    machine.it.cancel(call, machine.now_s)
    machine.sent()
    machine.receive(grown(0, 1 << 20))

    assert machine.sent() == []
