"""Trace context."""

import pytest

from bff.telemetry.traces import parse_traceparent, traceparent

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = b"00f067aa0ba902b7"


@pytest.mark.rule("control.OB6")
@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        pytest.param(b"00-%s-%s-01" % (TRACE, SPAN), True, id="sampled"),
        pytest.param(b"00-%s-%s-00" % (TRACE, SPAN), False, id="not-sampled"),
        pytest.param(b"00-%s-%s-03" % (TRACE, SPAN), True, id="more-flags"),
        pytest.param(b"cc-%s-%s-01" % (TRACE, SPAN), True, id="later-version"),
        pytest.param(b"cc-%s-%s-01-what-else" % (TRACE, SPAN), True, id="later-version-longer"),
    ],
)
def test_a_valid_traceparent_is_read(value: bytes, sampled: bool) -> None:
    assert parse_traceparent(value) == (TRACE.decode(), SPAN.decode(), sampled)


@pytest.mark.rule("control.OB6")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"00-%s-%s" % (TRACE, SPAN), id="no-flags"),
        pytest.param(b"00-%s-%s-01-x" % (TRACE, SPAN), id="version-00-longer"),
        pytest.param(b"cc-%s-%s-01x" % (TRACE, SPAN), id="later-version-without-dash"),
        pytest.param(b"ff-%s-%s-01" % (TRACE, SPAN), id="version-ff"),
        pytest.param(b"00-%s-%s-01" % (b"0" * 32, SPAN), id="zero-trace"),
        pytest.param(b"00-%s-%s-01" % (TRACE, b"0" * 16), id="zero-span"),
        pytest.param(b"00-%s-%s-01" % (TRACE.upper(), SPAN), id="upper-case"),
        pytest.param(b"00-%s-%s-0g" % (TRACE, SPAN), id="flags-no-hex"),
        pytest.param(b" 00-%s-%s-01" % (TRACE, SPAN), id="space"),
        pytest.param(b"00-%s-%s-01\n" % (TRACE, SPAN), id="newline"),
    ],
)
def test_anything_else_is_ignored(value: bytes) -> None:
    assert parse_traceparent(value) is None


def test_what_is_sent_on_reads_back() -> None:
    trace_id, span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

    text = traceparent(trace_id, span_id, sampled=True)

    assert parse_traceparent(text.encode()) == (trace_id, span_id, True)
