"""Octets around the messages of a server stream, and which framing Accept asks for."""

import json

import pytest

from bff.transcoding.streaming import EventFramer, choose_framing, framer_for

ERROR = b'{"code":400,"status":"INVALID_ARGUMENT"}'


def framed(framing: str, *messages: bytes, error: bytes | None = None) -> bytes:
    framer = framer_for(framing)
    parts = [framer.start(), *map(framer.message, messages)]
    parts.append(framer.end() if error is None else framer.error(error))
    return b"".join(parts)


@pytest.mark.rule("transcoding.123")
@pytest.mark.parametrize(
    ("framing", "octets"),
    [("array", b"[]"), ("ndjson", b""), ("sse", b"event: end\ndata: {}\n\n")],
)
def test_empty_stream(framing: str, octets: bytes) -> None:
    assert framed(framing) == octets


@pytest.mark.rule("transcoding.125")
@pytest.mark.parametrize(
    ("framing", "octets"),
    [
        ("array", b'[{"a":1},{"b":2}]'),
        ("ndjson", b'{"a":1}\n{"b":2}\n'),
        ("sse", b'data: {"a":1}\n\ndata: {"b":2}\n\nevent: end\ndata: {}\n\n'),
    ],
)
def test_two_messages(framing: str, octets: bytes) -> None:
    assert framed(framing, b'{"a":1}', b'{"b":2}') == octets


@pytest.mark.rule("transcoding.125")
def test_array_with_an_error_is_valid_json() -> None:
    octets = framed("array", b"1", b"2", error=ERROR)

    assert json.loads(octets) == [1, 2, {"error": json.loads(ERROR)}]


@pytest.mark.rule("transcoding.124")
def test_array_with_an_error_after_an_empty_wait() -> None:
    assert framed("array", error=ERROR) == b'[{"error":' + ERROR + b"}]"


@pytest.mark.rule("transcoding.125")
def test_error_of_the_line_framings() -> None:
    assert framed("ndjson", error=ERROR) == b'{"error":' + ERROR + b"}\n"
    assert framed("sse", error=ERROR) == b'event: error\ndata: {"error":' + ERROR + b"}\n\n"


@pytest.mark.rule("transcoding.127")
def test_separators_of_unicode_are_no_line_breaks() -> None:
    message = '{"a":"\u2028\u0085"}'.encode()

    assert framed("ndjson", message, message).split(b"\n") == [message, message, b""]


@pytest.mark.rule("transcoding.129")
def test_event_with_id_and_name() -> None:
    framer = EventFramer(retry_ms=3000)

    assert framer.start() == b"retry: 3000\n\n"
    assert (
        framer.message(b"{}", event_id="41", event="moved") == b"id: 41\nevent: moved\ndata: {}\n\n"
    )
    assert framer.heartbeat.startswith(b":")


@pytest.mark.rule("transcoding.130")
@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
def test_id_that_would_break_the_lines_is_left_out(bad: str) -> None:
    assert EventFramer().message(b"{}", event_id=bad) == b"data: {}\n\n"


@pytest.mark.rule("transcoding.122")
@pytest.mark.parametrize(
    ("accept", "default", "framing"),
    [
        (None, "array", "array"),
        (None, "sse", "sse"),
        ("", "ndjson", "ndjson"),
        ("text/event-stream", "array", "sse"),
        ("TEXT/event-stream", "array", "sse"),
        ("application/jsonl", "array", "ndjson"),
        ("application/x-ndjson;q=0.5, text/event-stream", "array", "sse"),
        ("text/html, */*;q=0.1", "array", "array"),
        ("application/json;q=0, application/x-ndjson", "array", "ndjson"),
        ("application/json, text/event-stream", "array", "array"),
        ("application/json;q=0.5, text/event-stream;q=0.9", "array", "sse"),
        ("application/json", "sse", "sse"),
        ("text/event-stream;q=0", "array", "array"),
        ("text/event-stream;q=x, application/x-ndjson;q=0.1", "array", "ndjson"),
        ("text/html", "array", "array"),
        ('text/html;a="x,text/event-stream"', "array", "array"),
        ("text/event-stream;q=.5;x=y, application/json;q=0.4", "array", "sse"),
    ],
)
def test_framing_follows_accept(accept: str | None, default: str, framing: str) -> None:
    assert choose_framing(None if accept is None else accept.encode(), default) == framing
