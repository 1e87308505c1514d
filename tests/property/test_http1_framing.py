"""Our listener takes nothing for a request that RFC 9112 does not, and reads what it takes as the RFC does.

Requests are mutated where smugglers do it (lengths, codings, chunks, lines, white space) and read by
the listener and by a second reader written from the RFC (`tests.support.http1_grammar`).
"""

from collections import Counter
from random import Random

import pytest

from tests.fuzz.wires import requests_of
from tests.support.http1_grammar import Message, read_connection

MUTANTS = 4_000

_HOST = b"Host: x\r\n"
GOOD = b"GET /v1/orders/7?view=FULL HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
SEEDS = (
    b"GET /a?b=c HTTP/1.1\r\n" + _HOST + b"Accept: */*\r\n\r\n",
    b"POST /p HTTP/1.1\r\n" + _HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\n\r\n",
    b"POST /c HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    b'5;a="b\\"c";d\r\nhello\r\n000\r\nX-T: t\r\n\r\n',
    b"PUT /t HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi",
    b"DELETE /d HTTP/1.1\r\n" + _HOST + b"Connection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"POST /e HTTP/1.1\r\n" + _HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /u HTTP/1.1\r\n" + _HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 2\r\n\r\n{}",
    b"PATCH /l HTTP/1.1\r\n" + _HOST + b"X-A: b\r\nX-A: c\r\nContent-Length: 2\r\n\r\n{}",
)
BITS = (
    b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"=", b'"', b"\\", b"\x80", b"\x0b",
    b"\x0c", b"\x85", b"\xa0", b"0", b"1", b"a", b"+", b"-", b"/", b"\x7f", b"\r\n ", b"\r\n\t", b"0x",
    b"_",
)  # fmt: skip
LINES = (
    b"Content-Length: 5", b"Content-Length: 0", b"content-length:5", b"Content-Length: 5, 5",
    b"Content-Length: 5,6", b"Content-Length: +5", b"Content-Length: 0x5", b"Content-Length:",
    b"Content-Length : 5", b"Content-Length: 18446744073709551616", b"Content_Length: 5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: , chunked",
    b'Transfer-Encoding: "chunked"', b"Transfer-Encoding:chunked ", b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding", b"Transfer_Encoding: chunked", b"Transfer-Encoding: chun\r\n ked",
    b"Connection: close", b"Connection: keep-alive, close", b"Connection: upgrade",
    b"Connection: content-length", b"Upgrade: websocket", b"Host: y", b" folded: x", b": nameless",
    b"X", b"X:\x01", b"X: \xff", b"Trailer: X", b"TE: trailers",
)  # fmt: skip


def mutant(random: Random) -> bytes:
    """One to three requests on a connection, one of them changed in up to three places."""
    requests = [random.choice(SEEDS) for _ in range(random.choice((1, 1, 2, 3)))]
    at = random.randrange(len(requests))
    for _ in range(random.choice((1, 1, 1, 2, 2, 3))):
        requests[at] = _changed(requests[at], random)
    return b"".join(requests)


def _changed(text: bytes, random: Random) -> bytes:
    at = random.randrange(len(text) + 1)
    lines = text.split(b"\r\n")
    match random.choice(("put", "drop", "swap", "case", "cut", "line", "line", "line", "order")):
        case "put":
            return text[:at] + random.choice(BITS) + text[at:]
        case "drop":
            return text[:at] + text[at + 1 :]
        case "swap":
            return text[:at] + random.choice(BITS) + text[at + 1 :]
        case "case":
            return text[:at] + text[at:].swapcase()
        case "cut":
            return text[:at]
        case "line":
            lines.insert(random.randrange(1, max(2, len(lines))), random.choice(LINES))
        case _:
            one, other = random.randrange(len(lines)), random.randrange(len(lines))
            lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def taken(reads: list[bytes]) -> list[Message]:
    """What the listener hands on, less what the door refuses for its transfer coding (501) whatever it is."""
    messages = []
    for method, path, query, fields, version, body in requests_of(reads):
        if any(n == b"transfer-encoding" and v.lower() != b"chunked" for n, v in fields):
            break
        target = path + b"?" + query if query else path
        messages.append(Message(method.encode(), target, version, tuple(fields), body))
    return messages


def meant(octets: bytes) -> list[Message]:
    """What the RFC says they are."""
    return [
        # The listener splits the target, and an empty query is none.
        Message(one.method, one.target.removesuffix(b"?"), one.version, one.fields, one.body)
        for one in read_connection(octets).messages
    ]


@pytest.mark.rule("edge.4")
@pytest.mark.parametrize("seed", range(5))
def test_mutants_are_refused_or_mean_what_the_rfc_says(seed: int) -> None:
    random = Random(seed)
    outcomes: Counter[str] = Counter()
    for _ in range(MUTANTS):
        octets = mutant(random)
        expected = meant(octets)
        # On a connection of its own; behind others, where fields are known; and cut in two.
        cut = random.randrange(len(octets) + 1)
        for reads in ([octets], [GOOD, GOOD, octets], [octets[:cut], octets[cut:]]):
            known = len(reads) - 1 if reads[0] is GOOD else 0
            found = taken(reads)[known:]

            assert found == expected[: len(found)], octets
            if not known:
                outcomes["all" if len(found) == len(expected) else "fewer"] += 1

    # A listener that refuses everything would pass, too.
    assert outcomes["fewer"] < outcomes["all"] / 20


def test_the_reference_reads_what_it_should() -> None:
    for octets in (GOOD, *SEEDS):
        assert len(read_connection(octets).messages) == 1
        assert read_connection(octets[:-1]).end == "more"
    assert read_connection(b"".join(SEEDS[:4])).end == "whole"
    assert [one.body for one in read_connection(b"".join(SEEDS[:4])).messages] == [
        b"", b"hello", b"hello", b"hello",
    ]  # fmt: skip
    for bad in (b"GET /\r\n\r\n", b"GET / HTTP/1.1\n\n", b"GET / HTTP/1.1\r\nA : b\r\n\r\n"):
        assert read_connection(bad + GOOD).end == "bad"
