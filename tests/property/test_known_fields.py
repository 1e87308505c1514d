"""Whatever is taken for known fields, llhttp reads from the same octets as one whole request, and alike."""

from random import Random
from typing import Any

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.core.headers import Headers
from bff.fronts.known_fields import learn, learn_with_body

FIELDS = (
    b"Host: x\r\n",
    b"Content-Type: application/json\r\n",
    b"X-Note: content-length: 3\r\n",
    b"content-length:3\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length:\t12 \r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 03\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: close\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Authorization: Bearer a.b.c\r\n",
)
LINES = (b"POST /a HTTP/1.1\r\n", b"GET /a?b=c HTTP/1.1\r\n", b"PATCH /a?b HTTP/1.1\r\n")
BODIES = (b"abc", b"", b"a" * 12, b"\r\n\r\n", b"abcd", b"GET / HTTP/1.1\r\n\r\n")


class Parsed:
    """One whole message, or not."""

    def __init__(self, data: bytes) -> None:
        self.target, self.body = b"", b""
        self.pairs: list[tuple[bytes, bytes]] = []
        self.ends = 0
        parser: Any = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
            self.method: bytes = parser.get_method()
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.ends = 0

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # OWS is no part of a value (RFC 9110 5.5); llhttp leaves it at the end.
        self.pairs.append((name.lower(), value.rstrip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ends += 1


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    return draw(st.sampled_from(LINES)) + b"".join(fields) + b"\r\n" + draw(st.sampled_from(BODIES))


@st.composite
def likes(draw: st.DrawFn, request: bytes) -> bytes:
    """The request again, with another line, length or body, or a little damage."""
    chance: Random = draw(st.randoms(use_true_random=False))
    head, _, body = request.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    if chance.random() < 0.5:
        line = chance.choice([*LINES, b"POST  /a HTTP/1.1\r\n", b"post /a HTTP/1.1\r\n"])[:-2]
    if chance.random() < 0.5:
        body = chance.choice(BODIES)
    if chance.random() < 0.7:
        length = chance.choice([b"%d" % len(body)] * 3 + [b"3", b"12", b"+3", b"", b"9" * 20])
        for old in (b": 3", b":3", b"\t12 ", b": 0"):
            fields = fields.replace(old, old[:1] + b" " * (old[:1] == b":") + length)
    made = bytearray(line + b"\r\n" + fields + b"\r\n\r\n" + body)
    if chance.random() < 0.3 and made:
        made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
    return bytes(made)


@settings(max_examples=1500, deadline=None)
@given(st.data())
def test_what_is_taken_for_known_is_one_whole_request(data: st.DataObject) -> None:
    first = data.draw(requests())
    learned = Parsed(first)
    if learned.ends != 1:
        return
    second = data.draw(likes(first))

    known = learn(first, Headers(learned.pairs))
    known_body = learn_with_body(first, Headers(learned.pairs))
    found = None
    if known is not None and not learned.body and (line := known.line_of(second)):
        found = line, known.headers, b""
    elif known_body is not None and learned.body:
        found = known_body.read(second)

    if found is not None:
        line, headers, body = found
        parsed = Parsed(second)
        method, path, query = line.groups()
        target = path if query is None else path + b"?" + query
        assert parsed.ends == 1
        assert (parsed.method, parsed.target, parsed.body) == (method, target, body)
        assert parsed.pairs == headers.raw


def test_fields_with_a_body_are_known_again_at_another_length() -> None:
    first = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nAccept: */*\r\n\r\nabc"
    second = (
        b"PUT /b?c HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nAccept: */*\r\n\r\n" + b"a" * 12
    )
    known = learn_with_body(first, Headers(Parsed(first).pairs))

    assert known is not None
    found = known.read(second)
    assert found is not None
    assert found[1].get(b"content-length") == b"12"
    assert found[2] == b"a" * 12
    again = known.read(second)
    assert again is not None
    assert again[1] is found[1]


def test_other_lengths_of_bodies_cost_a_connection_one_field_each() -> None:
    """What is the same for each length of a body is one object."""
    lines = b"Host: x\r\nAuthorization: Bearer a.b.c\r\nContent-Length: %d\r\n\r\n%s"
    first = b"POST /a HTTP/1.1\r\n" + lines % (1, b"x")
    raw = [(b"host", b"x"), (b"authorization", b"Bearer a.b.c"), (b"content-length", b"1")]
    known = learn_with_body(first, Headers(raw))
    assert known is not None

    found = [
        known.read(b"POST /a HTTP/1.1\r\n" + lines % (length, b"x" * length))
        for length in range(2, 40)
    ]

    fields = [each[1].raw for each in found if each is not None]
    assert len(fields) == 38
    assert all(each[0] is raw[0] and each[1] is raw[1] for each in fields)
    assert [each[2][1] for each in fields] == [b"%d" % length for length in range(2, 40)]
