"""The machine's tables: what the peer may send in which state, and what we answer."""

import struct

import pytest

from bff.core.status import Code
from bff.wire.http2.frames import (
    ACK,
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
    SETTINGS_ACK,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    settings_frame,
)
from bff.wire.http2.reply import message_of
from tests.support.h2_machine import GREETING, Frame, Machine, frames_in
from tests.support.h2_server import GRPC, OK, block, data, grpc_message, headers, reply

U32 = struct.Struct(">I").pack
MAX = 2**31 - 1
pytestmark = pytest.mark.rule("upstreams.2")


def rst(stream_id: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream_id, U32(code))


def grown(stream_id: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, U32(size))


def goaway(last: int, code: int = 0, why: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, U32(last) + U32(code) + why)


def codes(frames: list[Frame], kind: int) -> list[tuple[int, int]]:
    """(stream id, error code) of the RST_STREAM or GOAWAY frames."""
    return [(one[2], int.from_bytes(one[3][-4:])) for one in frames if one[0] == kind]


@pytest.mark.rule("upstreams.1")
def test_it_announces_its_settings_and_a_window_for_the_connection() -> None:
    machine = Machine(reply_max_bytes=4 << 20, greeted=False)

    settings, window = machine.sent()

    assert dict(struct.iter_unpack(">HI", settings[3])) == {
        1: 0, 2: 0, 4: (4 << 20) + 65_536, 5: 1 << 20, 6: 32 * 1024,
    }  # fmt: skip
    assert window == (WINDOW_UPDATE, 0, 0, U32((16 << 20) - 65_535))


def test_calls_may_leave_once_the_peers_settings_came() -> None:
    machine = Machine(greeted=False)
    assert (machine.state, machine.it.limit) == ("connecting", 0)

    machine.receive(settings_frame((3, 7)))

    assert (machine.state, machine.it.limit) == ("ready", 7)
    assert SETTINGS_ACK in machine.it.take_output()


def test_a_connection_has_no_more_than_a_thousand_streams() -> None:
    assert Machine().it.limit == 1_000


FAULTS = {
    "first-frame-data": (False, [data(1, b"")], ErrorCode.PROTOCOL_ERROR),
    "first-frame-ack": (False, [SETTINGS_ACK], ErrorCode.PROTOCOL_ERROR),
    "http1": (False, [b"HTTP/1.1 400 Bad Request\r\n\r\n"], ErrorCode.FRAME_SIZE_ERROR),
    "push": (True, [frame(PUSH_PROMISE, 4, 1, U32(2))], ErrorCode.PROTOCOL_ERROR),
    "even-stream": (True, [headers(2, *GRPC)], ErrorCode.PROTOCOL_ERROR),
    "unused-stream": (True, [headers(3, *GRPC)], ErrorCode.PROTOCOL_ERROR),
    "unused-data": (True, [data(3, b"x")], ErrorCode.PROTOCOL_ERROR),
    "unused-rst": (True, [rst(3, 8)], ErrorCode.PROTOCOL_ERROR),
    "unused-window": (True, [grown(3, 8)], ErrorCode.PROTOCOL_ERROR),
    "headers-on-0": (True, [headers(0, *GRPC)], ErrorCode.PROTOCOL_ERROR),
    "data-on-0": (True, [data(0, b"x")], ErrorCode.PROTOCOL_ERROR),
    "rst-on-0": (True, [rst(0, 8)], ErrorCode.PROTOCOL_ERROR),
    "settings-on-1": (True, [frame(SETTINGS, 0, 1)], ErrorCode.PROTOCOL_ERROR),
    "ping-on-1": (True, [frame(PING, 0, 1, bytes(8))], ErrorCode.PROTOCOL_ERROR),
    "goaway-on-1": (True, [frame(GOAWAY, 0, 1, bytes(8))], ErrorCode.PROTOCOL_ERROR),
    "priority-on-0": (True, [frame(PRIORITY, 0, 0, bytes(5))], ErrorCode.PROTOCOL_ERROR),
    "inside-block": (
        True, [frame(HEADERS, 0, 1, block(*GRPC)), frame(PING, 0, 0, bytes(8))],
        ErrorCode.PROTOCOL_ERROR,
    ),
    "other-continuation": (
        True, [frame(HEADERS, 0, 1, block(*GRPC)), frame(CONTINUATION, 4, 3)],
        ErrorCode.PROTOCOL_ERROR,
    ),
    "stray-continuation": (True, [frame(CONTINUATION, 4, 1)], ErrorCode.PROTOCOL_ERROR),
    "endless-block": (
        True, [frame(HEADERS, 0, 1), *[frame(CONTINUATION, 0, 1)] * 17],
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "padding": (True, [frame(DATA, PADDED, 1, b"\x03ab")], ErrorCode.PROTOCOL_ERROR),
    "padding-all": (True, [frame(HEADERS, PADDED | END_HEADERS, 1, b"\1")], ErrorCode.PROTOCOL_ERROR),
    "padding-without-length": (True, [frame(DATA, PADDED, 1)], ErrorCode.FRAME_SIZE_ERROR),
    "priority-cut": (
        True, [frame(HEADERS, PRIORITY_FLAG | END_HEADERS, 1, b"abc")], ErrorCode.PROTOCOL_ERROR
    ),
    "window-0": (True, [grown(0, 0)], ErrorCode.PROTOCOL_ERROR),
    "window-over": (True, [grown(0, MAX)], ErrorCode.FLOW_CONTROL_ERROR),
    "push-on": (True, [settings_frame((2, 1))], ErrorCode.PROTOCOL_ERROR),
    "initial-window": (True, [settings_frame((4, MAX + 1))], ErrorCode.FLOW_CONTROL_ERROR),
    "initial-window-masked": (
        True, [settings_frame((4, MAX + 1), (4, 5))], ErrorCode.FLOW_CONTROL_ERROR
    ),
    "frame-size-low": (True, [settings_frame((5, 16_383))], ErrorCode.PROTOCOL_ERROR),
    "frame-size-high": (True, [settings_frame((5, 2**24))], ErrorCode.PROTOCOL_ERROR),
    "settings-length": (True, [frame(SETTINGS, 0, 0, b"12345")], ErrorCode.FRAME_SIZE_ERROR),
    "settings-ack-length": (True, [frame(SETTINGS, ACK, 0, b"x")], ErrorCode.FRAME_SIZE_ERROR),
    "ping-length": (True, [frame(PING, 0, 0, b"7 octet")], ErrorCode.FRAME_SIZE_ERROR),
    "rst-length": (True, [frame(RST_STREAM, 0, 1, b"abc")], ErrorCode.FRAME_SIZE_ERROR),
    "window-length": (True, [frame(WINDOW_UPDATE, 0, 0, b"abc")], ErrorCode.FRAME_SIZE_ERROR),
    "priority-length": (True, [frame(PRIORITY, 0, 1, b"abc")], ErrorCode.FRAME_SIZE_ERROR),
    "goaway-length": (True, [frame(GOAWAY, 0, 0, b"abc")], ErrorCode.FRAME_SIZE_ERROR),
    "frame-too-long": (True, [b"\x10\0\1\0\0\0\0\0\1"], ErrorCode.FRAME_SIZE_ERROR),
    "table-missing-update": (
        True, [frame(HEADERS, END_HEADERS, 1, b"\x88\x40\x01a\x01b")],
        ErrorCode.COMPRESSION_ERROR,
    ),
    "table-grown": (
        True, [frame(HEADERS, END_HEADERS, 1, b"\x20\x3f\x01\x88")], ErrorCode.COMPRESSION_ERROR
    ),
    "dynamic-index": (
        True, [frame(HEADERS, END_HEADERS, 1, b"\x20\x88\xbe")], ErrorCode.COMPRESSION_ERROR
    ),
    "cut-block": (
        True, [frame(HEADERS, END_HEADERS, 1, b"\x20\x00\x05ab")], ErrorCode.COMPRESSION_ERROR
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_rule_of_the_connection_ends_it_with_its_code(name: str) -> None:
    greeted, parts, code = FAULTS[name]
    machine = Machine(greeted=greeted)
    machine.sent()
    call = machine.open() if greeted else None

    ended = machine.receive(*parts)

    assert machine.state == "closed"
    assert codes(machine.sent(), GOAWAY) == [(0, code)]
    if call is not None:
        assert ended == [call]
        assert call.fault is not None
        assert (call.fault.code, call.fault.sent) == (Code.UNAVAILABLE, "maybe")
    assert machine.receive(reply(1, b"late")) == []


STREAM_FAULTS = {
    "data-first": [data(1, b"x")],
    "upper-case": [headers(1, *GRPC, (b"X-A", b"1"))],
    "connection-field": [headers(1, *GRPC, (b"connection", b"close"))],
    "value": [headers(1, *GRPC, (b"x-a", b"1\n2"))],
    "no-status": [headers(1, (b"content-type", b"application/grpc"))],
    "two-statuses": [headers(1, (b":status", b"200"), *GRPC)],
    "bad-status": [headers(1, (b":status", b"2x0"))],
    "late-pseudo": [headers(1, (b"x-a", b"1"), (b":status", b"200"))],
    "request-pseudo": [headers(1, *GRPC[:1], (b":path", b"/"), *GRPC[1:])],
    "pseudo-in-trailers": [headers(1, *GRPC), headers(1, (b":status", b"200"), *OK, end=True)],
    "headers-twice": [headers(1, *GRPC), headers(1, *OK)],
    "interim-end": [headers(1, (b":status", b"103"), end=True)],
    "switching": [headers(1, (b":status", b"101"))],
    "five-interims": [headers(1, (b":status", b"103"))] * 5,
    "window-0": [grown(1, 0)],
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_a_malformed_reply_ends_its_stream_alone(name: str) -> None:
    machine = Machine()
    bad, good = machine.open(), machine.open()

    ended = machine.receive(*STREAM_FAULTS[name])

    assert ended == [bad]
    assert bad.fault is not None
    assert (bad.fault.reason, bad.fault.code) == ("UPSTREAM_PROTOCOL", Code.INTERNAL)
    assert codes(machine.sent(), RST_STREAM) == [(1, ErrorCode.PROTOCOL_ERROR)]
    # Its late frames are ignored, and the other call goes on.
    first = b"" if name in ("data-first", "window-0") else headers(1, *OK, end=True)
    assert machine.receive(first, data(1, b"more"), reply(3, b"hi")) == [good]
    assert good.body == grpc_message(b"hi")


@pytest.mark.parametrize(
    "parts",
    [
        [grown(1, MAX)],
        # A prefix that promises 128 KiB, and more than that and what may be spare.
        [headers(1, *GRPC), data(1, b"\0\0\2\0\0"), data(1, bytes(131_072 + 65_532))],
    ],
    ids=["window-over", "data-over"],
)
def test_flow_control_of_one_stream_is_its_own_error(parts: list[bytes]) -> None:
    machine = Machine(reply_max_bytes=1 << 17)
    call = machine.open()

    assert machine.receive(*parts) == [call]

    assert call.fault is not None
    assert call.fault.code is Code.INTERNAL
    assert codes(machine.sent(), RST_STREAM) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]


def test_a_content_length_that_does_not_add_up_is_internal() -> None:
    for length, good in ((b"7", True), (b"8", False), (b"x", False)):
        machine = Machine()
        call = machine.open()

        machine.receive(headers(1, *GRPC, (b"content-length", length)), data(1, grpc_message(b"hi")),
                        headers(1, *OK, end=True))  # fmt: skip

        assert (call.fault is None) is good
        assert call.is_ended


@pytest.mark.parametrize(
    ("code", "reason", "grpc", "sent"),
    [
        (7, "UPSTREAM_UNAVAILABLE", Code.UNAVAILABLE, "refused"),
        (8, "CANCELLED", Code.CANCELLED, "maybe"),
        (11, "RESOURCE_EXHAUSTED", Code.RESOURCE_EXHAUSTED, "maybe"),
        (12, "PERMISSION_DENIED", Code.PERMISSION_DENIED, "maybe"),
        *((code, "UPSTREAM_PROTOCOL", Code.INTERNAL, "maybe") for code in (0, 1, 2, 3, 5, 9, 13, 99)),
    ],
)  # fmt: skip
def test_a_reset_of_the_peer_means(code: int, reason: str, grpc: Code, sent: str) -> None:
    machine = Machine()
    call = machine.open()

    assert machine.receive(rst(1, code)) == [call]

    assert call.fault is not None
    assert (call.fault.reason, call.fault.code, call.fault.sent) == (reason, grpc, sent)
    assert machine.sent() == []


def test_interim_replies_are_skipped() -> None:
    machine = Machine()
    call = machine.open()

    ended = machine.receive(
        *[headers(1, (b":status", b"103"), (b"link", b"x"))] * 4, reply(1, b"hi")
    )

    assert ended == [call]
    assert call.headers is not None
    assert call.headers.status == 200


def test_a_message_over_the_limit_ends_as_its_prefix_says_so() -> None:
    machine = Machine(reply_max_bytes=100)
    call = machine.open()

    machine.receive(headers(1, *GRPC), data(1, b"\0\0\0"))
    assert not call.is_ended
    ended = machine.receive(data(1, b"\0\x65"))

    assert ended == [call]
    assert call.fault is not None
    assert (call.fault.reason, call.fault.code) == ("REPLY_TOO_LARGE", Code.RESOURCE_EXHAUSTED)
    assert codes(machine.sent(), RST_STREAM) == [(1, ErrorCode.CANCEL)]


@pytest.mark.parametrize(
    "parts",
    [
        [headers(1, *GRPC, *[(b"x-%d" % n, b"v") for n in range(99)])],
        [headers(1, *GRPC, (b"x-a", b"v" * 32_768))],
        [frame(HEADERS, 0, 1, block(*GRPC)),
         *[frame(CONTINUATION, 0, 1, bytes(16_000))] * 6, frame(CONTINUATION, END_HEADERS, 1)],
    ],
    ids=["fields", "list", "encoded"],
)  # fmt: skip
def test_a_header_list_over_its_bounds_ends_the_call_alone(parts: list[bytes]) -> None:
    machine = Machine()
    call = machine.open()

    assert machine.receive(*parts) == [call]

    assert call.fault is not None
    assert call.fault.code is Code.RESOURCE_EXHAUSTED
    assert codes(machine.sent(), RST_STREAM) == [(1, ErrorCode.CANCEL)]
    assert machine.state == "ready"


def test_goaway_ends_the_streams_above_it_and_lets_the_others_go_on() -> None:
    machine = Machine()
    calls = [machine.open() for _ in range(4)]

    assert machine.receive(goaway(5)) == [calls[3]]
    assert calls[3].fault is not None
    assert (calls[3].fault.code, calls[3].fault.sent) == (Code.UNAVAILABLE, "refused")
    assert (machine.state, machine.it.limit) == ("draining", 0)
    # Lowered, then raised again, which does not count.
    assert machine.receive(goaway(3)) == [calls[2]]
    assert machine.receive(goaway(7)) == []
    assert machine.receive(reply(1, b"a"), reply(3, b"b")) == calls[:2]

    assert machine.state == "closed"
    assert calls[1].fault is None


def test_too_many_pings_is_heard() -> None:
    machine = Machine(keepalive_s=10.0)

    machine.receive(goaway(0, 11, b"too_many_pings"))

    assert machine.it.too_many_pings


def test_a_lost_connection_knows_what_was_never_written() -> None:
    machine = Machine()
    written, unwritten = machine.open(), machine.open(flush=False)

    assert machine.it.eof("reset") == [written, unwritten]

    assert written.fault is not None
    assert unwritten.fault is not None
    assert (written.fault.sent, unwritten.fault.sent) == ("maybe", "never")


def test_pings_and_settings_are_answered_before_calls() -> None:
    machine = Machine()
    machine.open(flush=False)

    machine.receive(
        frame(PING, 0, 0, b"8 octets"), settings_frame((6, 9)), frame(PING, ACK, 0, bytes(8))
    )

    kinds = [(one[0], one[1]) for one in machine.sent()]
    assert kinds == [(PING, ACK), (SETTINGS, ACK), (HEADERS, END_HEADERS), (DATA, END_STREAM)]


@pytest.mark.parametrize(
    "noise",
    [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, 0, 0), rst(1, 8), data(1, b""), grown(1, 1),
     frame(PRIORITY, 0, 1, bytes(5)), frame(77, 0, 0), headers(1, *GRPC)],
    ids=["ping", "settings", "rst", "empty-data", "late-window", "priority", "unknown", "late-headers"],
)  # fmt: skip
def test_a_flood_of_frames_that_move_nothing_ends_the_connection(noise: bytes) -> None:
    machine = Machine()
    call = machine.open()
    machine.it.cancel(call, machine.now_s)
    machine.sent()

    for _ in range(998):
        machine.receive(noise)
    assert machine.state == "ready"
    machine.receive(noise * 3)

    assert codes(machine.sent(), GOAWAY) == [(0, ErrorCode.ENHANCE_YOUR_CALM)]


def test_noise_is_forgotten_after_ten_seconds_or_a_finished_call() -> None:
    ping = frame(PING, 0, 0, bytes(8))
    machine = Machine()
    for _ in range(3):
        machine.open()
        machine.receive(ping * 900, reply(2 * machine.it.finished_calls + 1, b"x"))
        machine.receive(ping * 900)
        machine.now_s += 10.0
        machine.receive(ping * 150)

    assert machine.state == "ready"


def test_late_frames_of_old_or_finished_streams_are_errors_only_when_old() -> None:
    machine = Machine()
    first = machine.open()
    machine.it.cancel(first, machine.now_s)
    for _ in range(1_000):
        call = machine.open()
        machine.receive(reply(call.stream_id, b""))
    machine.sent()
    machine.receive(headers(1, *GRPC), data(1, b"x"))
    assert machine.state == "ready"

    machine.now_s += 2.1
    machine.receive(grown(1, 1))
    assert machine.state == "ready"
    machine.receive(data(1, b"x"))

    assert codes(machine.sent(), GOAWAY) == [(0, ErrorCode.STREAM_CLOSED)]


def test_cancels_beyond_two_hundred_a_second_keep_their_slot_unheard() -> None:
    machine = Machine()
    calls = [machine.open() for _ in range(203)]

    for call in calls[:202]:
        machine.it.cancel(call, machine.now_s)

    assert len(codes(machine.sent(), RST_STREAM)) == 200
    assert len(machine.it.streams) == 3
    machine.now_s += 1.0
    machine.it.cancel(calls[202], machine.now_s)
    # A deadline is always told.
    machine.it.cancel(calls[201], machine.now_s, overdue=True)
    assert len(codes(machine.sent(), RST_STREAM)) == 2
    assert machine.receive(reply(calls[200].stream_id, b"")) == [calls[200]]
    assert machine.it.streams == {}


def test_a_cancel_before_its_headers_left_stays_behind_them() -> None:
    machine = Machine()
    call = machine.open(flush=False)

    machine.it.cancel(call, machine.now_s)

    assert [one[0] for one in machine.sent()] == [HEADERS, DATA, RST_STREAM]


def test_a_reply_before_the_end_of_the_request_drops_the_rest() -> None:
    machine = Machine()
    call = machine.open(b"x" * 100_000)

    assert machine.receive(headers(1, *GRPC, (b"grpc-status", b"8"), end=True)) == [call]

    assert codes(machine.sent(), RST_STREAM) == [(1, ErrorCode.NO_ERROR)]
    machine.receive(grown(0, 100_000), grown(1, 100_000))
    assert machine.sent() == []


def test_the_connections_window_is_refilled_once_half_is_used_and_padding_counts() -> None:
    machine = Machine(reply_max_bytes=12 << 20)
    machine.open()
    part = b"\xff" + bytes(999_744) + bytes(255)
    machine.receive(headers(1, *GRPC, (b"x", b"y")))

    for _ in range(8):
        machine.receive(frame(DATA, PADDED, 1, part))
    assert machine.sent() == []
    machine.receive(frame(DATA, PADDED, 1, part))

    assert machine.sent() == [(WINDOW_UPDATE, 0, 0, U32(9 * 1_000_000))]


def test_data_beyond_the_connections_window_ends_it() -> None:
    machine = Machine()
    call = machine.open()
    machine.it.cancel(call, machine.now_s)
    machine.sent()

    machine.receive(data(1, bytes(1 << 20)) * 17)

    assert codes(machine.sent(), GOAWAY) == [(0, ErrorCode.FLOW_CONTROL_ERROR)]


def test_draining_closes_with_the_last_stream_or_after_thirty_seconds() -> None:
    for replies in (True, False):
        machine = Machine()
        call = machine.open()
        machine.it.drain(machine.now_s)
        if replies:
            machine.receive(reply(1, b""))
            assert call.fault is None
        else:
            machine.tick(29.0)
            machine.receive(frame(PING, 0, 0, bytes(8)))
            assert machine.state == "draining"
            assert machine.tick(1.0) == [call]
        assert machine.state == "closed"
        assert codes(machine.sent(), GOAWAY) == [(0, ErrorCode.NO_ERROR)]


def test_unacknowledged_settings_end_the_connection_after_five_seconds() -> None:
    machine = Machine(greeted=False)
    machine.receive(frame(SETTINGS, 0, 0))
    machine.sent()

    machine.tick(4.9)
    assert machine.state == "ready"
    machine.tick(0.1)

    assert codes(machine.sent(), GOAWAY) == [(0, ErrorCode.SETTINGS_TIMEOUT)]


def test_greeting_is_what_a_server_sends_first() -> None:
    assert [one[0] for one in frames_in(GREETING)] == [SETTINGS, SETTINGS]


def test_a_plain_reply_whose_blocks_were_seen_twice_is_taken_at_one_look() -> None:
    machine = Machine()
    calls = [machine.open() for _ in range(4)]

    ended = machine.receive(b"".join(reply(one.stream_id, b"hi") for one in calls))

    assert ended == calls
    # The first two teach; `body` is what frame by frame collects.
    assert [one.reply for one in calls] == [None, None, b"hi", b"hi"]
    assert [message_of(one, max_bytes=10) for one in calls] == [b"hi"] * 4


def test_a_frame_above_our_size_is_refused_though_its_reply_be_plain() -> None:
    machine = Machine(reply_max_bytes=4 << 20)
    for _ in range(3):
        call = machine.open()
        machine.receive(reply(call.stream_id, b"hi"))
    call = machine.open()

    assert machine.receive(reply(call.stream_id, bytes(1 << 20))) == [call]

    assert machine.state == "closed"
    assert "FRAME_SIZE_ERROR" in machine.it.why_closed


def test_nothing_is_read_behind_the_reply_that_ends_a_drain() -> None:
    machine = Machine()
    for _ in range(3):
        call = machine.open()
        machine.receive(reply(call.stream_id, b"hi"))
    call = machine.open()
    machine.receive(goaway(call.stream_id))

    machine.receive(reply(call.stream_id, b"hi"), rst(2, 0))

    assert (machine.state, machine.it.why_closed) == ("closed", "drained")


def test_what_is_not_known_or_not_asked_is_ignored() -> None:
    machine = Machine()
    call = machine.open()

    ended = machine.receive(
        frame(77, 255, 1, b"unknown"), frame(PRIORITY, 0, 1, bytes(5)), frame(PRIORITY, 0, 9, bytes(5)),
        frame(PING, ACK, 0, b"unasked!"), settings_frame((99, 7), (0x1234, 1)),
        frame(HEADERS, END_HEADERS | 0x40 | 0x80, 1, block(*GRPC)), frame(DATA, 0x72, 1, grpc_message(b"hi")),
        headers(1, *OK, end=True),
    )  # fmt: skip

    assert ended == [call]
    assert call.fault is None
    assert machine.state == "ready"


def test_a_connection_whose_stream_numbers_run_out_wants_a_successor_then_drains() -> None:
    machine = Machine()
    machine.it._next_id = 2**30 - 1
    machine.open()
    assert not machine.it.is_worn

    machine.open()
    assert (machine.it.is_worn, machine.state) == (True, "ready")

    machine.it._next_id = 2**31 - 3
    last = machine.open()
    assert (machine.state, machine.it.limit) == ("draining", 0)
    assert last.stream_id == 2**31 - 3
