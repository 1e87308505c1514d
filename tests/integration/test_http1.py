"""Our HTTP/1.1 listener on real sockets: what it reads, in which order it answers, what it refuses, what it ends."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import h11
import pytest

from bff.core.errors import GatewayError
from bff.fronts.exchange import Exchange
from bff.fronts.http1 import Http1Protocol, Http1Settings

Seen = tuple[str, bytes, bytes, bytes]


@dataclass
class Echo:
    """A site whose replies show the request: method, path, query, body. `hold` keeps a reply until it is set."""

    settings: Http1Settings = field(
        default_factory=lambda: Http1Settings(idle_s=10.0, connections=8)
    )
    connections: set[Http1Protocol] = field(default_factory=set)
    date_line: bytes = b"date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    clock_s: float = 100.0
    seen: list[Seen] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    # Set once a part has to wait for room.
    full: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None
    cap_bytes: int = 1 << 20
    parts: tuple[bytes, ...] = ()
    cuts: bool = False
    reads_body: bool = True
    port: int = 0
    after: "Parrot | None" = None
    clients: "list[Client]" = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def now_s(self) -> float:
        return self.clock_s

    def answer(self, exchange: Exchange) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(self._answer(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def upgraded(self, _exchange: Exchange) -> asyncio.Protocol | None:
        return self.after

    async def _answer(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.begun.set()
        try:
            body = b""
            if self.reads_body:
                body = await exchange.read_body(self.cap_bytes)
            self.seen.append((exchange.method, exchange.raw_path, exchange.query, body))
            if self.hold is not None:
                await self.hold.wait()
            await self._reply(exchange, b"|".join((exchange.raw_path, body)))
        except GatewayError as error:
            await exchange.send_whole(error.status, [(b"content-length", b"0")], b"")
        finally:
            exchange.close()
            self.ended.set()

    async def _reply(self, exchange: Exchange, body: bytes) -> None:
        if not self.parts:
            length = (b"content-length", b"%d" % len(body))
            await exchange.send_whole(200, [length], b"" if exchange.method == "HEAD" else body)
            return
        await exchange.start(200, [])
        for part in self.parts:
            sending = asyncio.ensure_future(exchange.send_part(part, more=True))
            await asyncio.sleep(0)
            if not sending.done():
                self.full.set()
            await sending
        if self.cuts:
            exchange.abort()
        else:
            await exchange.send_part(b"", more=False)


class Parrot(asyncio.Protocol):
    """Another protocol, which says back what it hears."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    site = Echo()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http1Protocol(site, loop), "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    yield site
    server.close()
    for client in site.clients:
        await client.close()
    for connection in list(site.connections):
        connection.abort()
    if site.tasks:
        await asyncio.wait(site.tasks)


class Client:
    """Octets on a socket; replies read by h11, another implementation of RFC 9112."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._rules = h11.Connection(h11.CLIENT)

    @classmethod
    async def connect(cls, site: Echo) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", site.port))
        site.clients.append(client)
        return client

    async def close(self) -> None:
        """End the connection from this side."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def all(self) -> bytes:
        """Every octet until the end of the connection."""
        async with asyncio.timeout(20):
            return await self.reader.read()

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def reply(self, method: bytes = b"GET") -> tuple[int, dict[bytes, bytes], bytes]:
        """The next reply. Raises h11.RemoteProtocolError where it is cut or no HTTP."""
        rules = self._rules
        if rules.our_state is h11.DONE:
            rules.start_next_cycle()
        rules.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"x")]))
        rules.send(h11.EndOfMessage())
        status, headers, body = 0, {}, b""
        while True:
            event = rules.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(20):
                    rules.receive_data(await self.reader.read(65536))
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, headers, body

    async def is_closed(self) -> bool:
        """Wait for the end of the connection; True if nothing came before it."""
        return await self.all() == b""


GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\nTrailer: t\r\n\r\n"
)
THREE: list[Seen] = [
    ("GET", b"/a", b"b=c", b""),
    ("POST", b"/p", b"", b"hello"),
    ("POST", b"/c", b"", b"hello"),
]


async def test_replies_come_in_the_order_of_pipelined_requests(echo: Echo) -> None:
    client = await Client.connect(echo)

    client.send(GET + POST + CHUNKED)
    bodies = [(await client.reply())[2] for _ in range(3)]

    assert bodies == [b"/a|", b"/p|hello", b"/c|hello"]
    assert echo.seen == THREE


async def test_requests_cut_at_every_octet_read_the_same(echo: Echo) -> None:
    """Wherever the network cuts, the same three requests are seen, with whole bodies."""
    octets = GET + POST + CHUNKED
    for cut in range(1, len(octets)):
        client = await Client.connect(echo)
        echo.begun.clear()
        client.send(octets[:cut])
        if b"\r\n\r\n" in octets[:cut]:
            await echo.begun.wait()
        client.send(octets[cut:])
        for _ in range(3):
            assert (await client.reply())[0] == 200
        await client.close()

    assert echo.seen == THREE * (len(octets) - 1)


async def test_random_pieces_read_the_same(echo: Echo) -> None:
    random = Random(7)
    octets = (GET + POST + CHUNKED) * 5
    for _ in range(30):
        cuts = sorted(random.sample(range(1, len(octets)), 9))
        client = await Client.connect(echo)
        for start, end in pairwise([0, *cuts, len(octets)]):
            client.send(octets[start:end])
            await client.writer.drain()
        for _ in range(15):
            assert (await client.reply())[0] == 200
        await client.close()

    assert echo.seen == THREE * 5 * 30


async def test_what_is_ahead_waits_for_its_turn(echo: Echo) -> None:
    echo.hold = asyncio.Event()
    client = await Client.connect(echo)

    client.send(GET + POST)
    await echo.begun.wait()
    client.send(CHUNKED)
    begun_before = len(echo.exchanges)
    echo.hold.set()
    for _ in range(3):
        await client.reply()

    assert begun_before == 1
    assert echo.seen == THREE


async def test_more_than_a_client_may_send_ahead_is_not_kept(echo: Echo) -> None:
    """What was taken is answered, then the connection ends; memory does not grow with what is sent."""
    echo.hold = asyncio.Event()
    client = await Client.connect(echo)

    client.send(GET * 2_000)
    await echo.begun.wait()
    echo.hold.set()
    answers = (await client.all()).count(b"HTTP/1.1 200 ")

    assert 256 <= answers < 1_000
    assert len(echo.seen) == answers


async def test_a_method_that_no_standard_knows_is_the_routes_affair(echo: Echo) -> None:
    client = await Client.connect(echo)

    client.send(b"BREW /pot HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
    assert (await client.reply())[0] == 200
    client.send(GET)
    assert (await client.reply())[0] == 200
    client.send(b"get /a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.reply())[0] == 200

    assert [seen[0] for seen in echo.seen] == ["BREW", "GET", "get"]
    assert echo.seen[0] == ("BREW", b"/pot", b"", b"ok")


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "folded line": b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: x\n\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: x\x00\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "signed length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
    "length beside chunked": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    "bad chunk size": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no version": b"GET /\r\nHost: x\r\n\r\n",
    "no space before the version": b"GET /HTTP/1.1\r\nHost: x\r\n\r\n",
    "a version without its preface": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "version": b"GET / HTTP/3.7\r\nHost: x\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "nameless field": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
}


@pytest.mark.rule("edge.4")
@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_http_is_refused_and_the_connection_ends(
    echo: Echo, octets: bytes
) -> None:
    """Nothing of it, and nothing after it, is taken for a request."""
    client = await Client.connect(echo)

    client.send(octets + GET)
    answer = await client.all()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert [seen for seen in echo.seen if seen[0] == "GET"] == []


async def test_good_requests_before_a_bad_one_are_answered(echo: Echo) -> None:
    client = await Client.connect(echo)

    client.send(GET + b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n" + GET)
    status, headers, _ = await client.reply()

    assert (status, headers[b"connection"]) == (200, b"close")
    assert await client.is_closed()
    assert len(echo.seen) == 1


async def test_a_body_that_breaks_off_never_counts_as_whole(echo: Echo) -> None:
    client = await Client.connect(echo)

    client.send(b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
    await echo.begun.wait()
    client.send(b"nonsense\r\n")
    await client.all()
    await echo.ended.wait()

    assert echo.seen == []
    assert echo.exchanges[0].gone


TRAILED = (
    b"POST /c HTTP/1.1\r\nHost: x\r\nX-A:  b \t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n"
    b"Authorization: Bearer a.b.c\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
)


@pytest.mark.rule("edge.4")
async def test_fields_behind_a_body_are_none_of_the_requests(echo: Echo) -> None:
    """RFC 9110 6.5.1: a proxy before us may have judged the head alone. However they come."""
    for cut in (len(TRAILED), TRAILED.index(b"0\r\nAuth"), TRAILED.index(b"2.1")):
        client = await Client.connect(echo)
        client.send(TRAILED[:cut])
        await asyncio.sleep(0)
        client.send(TRAILED[cut:] + GET)
        assert (await client.reply())[0] == 200
        assert (await client.reply())[0] == 200
        await client.close()

    assert [seen[3] for seen in echo.seen[::2]] == [b"he"] * 3
    for exchange in echo.exchanges[::2]:
        assert exchange.headers.raw == [
            (b"host", b"x"),
            (b"x-a", b"b"),
            (b"transfer-encoding", b"chunked"),
        ]


ENDLESS = {
    "a chunk extension": (b"2;", b"a" * 4096),
    "a field behind the body": (b"0\r\nX: ", b"a" * 4096),
    "fields behind the body": (b"0\r\n", b"X-A: b\r\n" * 512),
    "the size of a chunk": (b"", b"0" * 4096),
    "extensions of small chunks": (b"", (b"1;" + b"a" * 500 + b"\r\nx\r\n") * 8),
}


@pytest.mark.rule("edge.4")
@pytest.mark.parametrize("kind", ENDLESS)
async def test_what_stands_about_a_body_is_bounded(echo: Echo, kind: str) -> None:
    begin, more = ENDLESS[kind]
    client = await Client.connect(echo)

    client.send(b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + begin)
    for _ in range(64):
        client.send(more)
    await client.all()

    assert echo.seen == []
    assert all(exchange.gone for exchange in echo.exchanges)


async def test_small_chunks_may_be_many(echo: Echo) -> None:
    client = await Client.connect(echo)

    client.send(b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")

    assert (await client.reply())[0] == 200
    assert echo.seen == [("POST", b"/c", b"", b"x" * 50_000)]


@pytest.mark.rule("edge.2")
async def test_a_head_without_end_is_bounded(echo: Echo) -> None:
    client = await Client.connect(echo)

    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
    for _ in range(40):
        client.send(b"x" * 8192)
    answer = await client.all()

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"HEADERS_TOO_LARGE" in answer
    assert echo.exchanges == []


async def test_a_large_body_before_a_head_is_no_large_head(echo: Echo) -> None:
    """The octets of a body and of the next request's head come in one read, and are counted apart."""
    client = await Client.connect(echo)
    body = b"x" * 300_000

    client.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + body + GET[:9])
    assert (await client.reply())[2] == b"/p|" + body
    client.send(GET[9:])

    assert (await client.reply())[0] == 200


@pytest.mark.rule("edge.1")
async def test_connections_that_never_ask_are_closed(echo: Echo) -> None:
    """Silent ones, ones with half a head, and kept ones, once their time is over; not one second sooner."""
    silent, half, kept = [await Client.connect(echo) for _ in range(3)]
    half.send(GET[:20])
    kept.send(GET)
    await kept.reply()

    echo.clock_s += 9.9
    _sweep(echo)
    kept.send(GET)
    assert (await kept.reply())[0] == 200
    echo.clock_s += 9.9
    _sweep(echo)

    assert await silent.is_closed()
    assert await half.is_closed()
    kept.send(GET)
    assert (await kept.reply())[0] == 200
    echo.clock_s += 10.1
    _sweep(echo)
    assert await kept.is_closed()


def _sweep(echo: Echo) -> None:
    for connection in list(echo.connections):
        connection.sweep(echo.clock_s)


async def test_a_long_answer_is_not_idle(echo: Echo) -> None:
    echo.hold = asyncio.Event()
    client = await Client.connect(echo)
    client.send(GET)
    await echo.begun.wait()

    echo.clock_s += 100
    _sweep(echo)
    echo.hold.set()

    assert (await client.reply())[0] == 200


async def test_connections_above_the_most_are_told_and_ended(echo: Echo) -> None:
    echo.settings = Http1Settings(idle_s=10.0, connections=2)
    first, second = [await Client.connect(echo) for _ in range(2)]
    for client in (first, second):
        client.send(GET)
        await client.reply()

    third = await Client.connect(echo)
    answer = await third.all()
    first.send(GET)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"OVERLOADED" in answer
    assert echo.refusals == ["OVERLOADED"]
    assert (await first.reply())[0] == 200


async def test_the_body_is_invited_only_when_it_is_wanted(echo: Echo) -> None:
    """RFC 9110 10.1.1: 100 goes out when the body is read, and not at all where it is not."""
    ask = b"POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    client = await Client.connect(echo)
    client.send(ask)
    invited = await client.reader.readuntil(b"\r\n\r\n")
    client.send(b"hello")
    assert (await client.reply())[2] == b"/p|hello"

    echo.reads_body = False
    client.send(ask)
    status, headers, _ = await client.reply()

    assert invited == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (status, headers[b"connection"]) == (200, b"close")


async def test_the_end_of_a_body_is_no_request(echo: Echo) -> None:
    """A body may look like a method: what follows it in the same read is malformed then, and nobody is asked for it."""
    client = await Client.connect(echo)
    client.send(b"POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    await client.reader.readuntil(b"\r\n\r\n")

    client.send(b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (await client.reply())[2] == b"/p|GET"
    assert await client.is_closed()
    assert [seen[1] for seen in echo.seen] == [b"/p"]


async def test_who_is_refused_while_sending_can_read_why(echo: Echo) -> None:
    """The rest of the body is heard out for a while, since a reset would destroy the reply."""
    echo.cap_bytes = 10
    client = await Client.connect(echo)

    client.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + b"x" * 100_000)
    await echo.ended.wait()
    client.send(b"x" * 400_000)
    await client.writer.drain()
    status, headers, _ = await client.reply()

    assert (status, headers[b"connection"]) == (413, b"close")
    assert await client.is_closed()


async def test_who_sends_on_and_on_is_not_heard_for_ever(echo: Echo) -> None:
    echo.cap_bytes = 10
    client = await Client.connect(echo)
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
    client.send(head + b"more than the cap")
    await echo.ended.wait()

    async def send_on() -> None:
        for _ in range(2_000):
            client.send(b"x" * 65_536)
            await client.writer.drain()

    with pytest.raises(ConnectionError):
        await send_on()


async def test_http10_gets_its_end_by_the_end_of_the_connection(echo: Echo) -> None:
    for parts, body in (((), b"/a|"), ((b"one", b"two"), b"onetwo")):
        echo.parts = parts
        client = await Client.connect(echo)
        client.send(b"GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        head, _, rest = (await client.all()).partition(b"\r\n\r\n")

        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert rest == body


async def test_a_reply_of_unknown_length_is_chunked(echo: Echo) -> None:
    echo.parts = (b"one", b"", b"two")
    client = await Client.connect(echo)

    client.send(GET + GET)
    replies = [await client.reply() for _ in range(2)]

    assert [body for _, _, body in replies] == [b"onetwo", b"onetwo"]
    assert replies[0][1][b"transfer-encoding"] == b"chunked"


async def test_a_reply_that_is_cut_has_no_end(echo: Echo) -> None:
    echo.parts, echo.cuts = (b"one",), True
    client = await Client.connect(echo)

    client.send(GET)

    with pytest.raises((ConnectionError, h11.RemoteProtocolError)):
        await client.reply()


async def test_head_has_the_fields_and_no_content(echo: Echo) -> None:
    client = await Client.connect(echo)

    client.send(GET.replace(b"GET", b"HEAD") + GET)
    status, headers, body = await client.reply(b"HEAD")

    assert (status, headers[b"content-length"], body) == (200, b"3", b"")
    assert (await client.reply())[2] == b"/a|"


async def test_a_client_that_leaves_ends_its_request_at_once(echo: Echo) -> None:
    echo.hold = asyncio.Event()
    client = await Client.connect(echo)
    client.send(GET + POST)
    await echo.begun.wait()

    client.writer.close()
    await echo.ended.wait()

    assert echo.exchanges[0].gone
    assert len(echo.exchanges) == 1


UPGRADE = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"


@pytest.mark.rule("edge.4")
@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
    ids=["no body", "length", "chunked"],
)
async def test_an_upgrade_that_nobody_takes_is_ignored(
    echo: Echo, method: bytes, body: bytes
) -> None:
    """RFC 9110 7.8: the request is one like any other, with its body, and so are those after it.

    `curl --http2` sends it so, with whatever it posts.
    """
    octets = method + b" /a HTTP/1.1\r\n" + UPGRADE + body
    odd = b"BREW" + octets[len(method) :]
    expected = (method.decode(), b"/a", b"", b"hello" if b"h" in body else b"")
    for cut in range(len(octets)):
        client = await Client.connect(echo)
        client.send(octets[:cut])
        await asyncio.sleep(0)
        client.send(octets[cut:] + octets)
        for _ in range(2):
            status, headers, _ = await client.reply()
            assert (status, b"connection" in headers) == (200, False)
        # Of a method that llhttp does not know, too.
        client.send(odd)
        assert (await client.reply())[0] == 200
        client.send(GET)
        assert (await client.reply())[0] == 200
        await client.close()

        assert echo.seen == [expected, expected, ("BREW", *expected[1:]), THREE[0]]
        echo.seen.clear()


async def test_a_request_with_a_body_is_never_handed_over(echo: Echo) -> None:
    """Two protocols could see its end in two places."""
    echo.after = Parrot()
    client = await Client.connect(echo)

    client.send(b"GET /a HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 5\r\n\r\nhello")

    assert (await client.reply())[0] == 200
    assert echo.seen == [("GET", b"/a", b"", b"hello")]


async def test_nothing_behind_a_connect_is_a_request(echo: Echo) -> None:
    client = await Client.connect(echo)

    client.send(b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n" + GET)
    status, headers, _ = await client.reply()

    assert (status, headers[b"connection"]) == (200, b"close")
    assert await client.is_closed()
    assert [seen[0] for seen in echo.seen] == ["CONNECT"]


async def test_an_upgrade_that_is_taken_hands_the_connection_over(echo: Echo) -> None:
    """The other protocol gets the request's octets, what follows at once, and all that comes later."""
    echo.after = Parrot()
    client = await Client.connect(echo)
    ask = b"GET /a?b HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"

    client.send(ask + b"first")
    heard = await client.reader.readexactly(len(ask) + 5)
    client.send(b"second")

    assert heard == ask + b"first"
    assert await client.reader.readexactly(6) == b"second"
    assert echo.connections == set()
    assert echo.seen == []


async def test_a_reader_that_takes_nothing_holds_the_writer_back(echo: Echo) -> None:
    """What is written waits in the socket, not in us; after the stall it is cut."""
    echo.parts = tuple(b"x" * 65_536 for _ in range(1_000))
    client = await Client.connect(echo)
    client.send(GET)
    await echo.begun.wait()
    connection = next(iter(echo.connections))
    await echo.full.wait()
    held = connection._transport.get_write_buffer_size()

    echo.clock_s += 29
    _sweep(echo)
    assert echo.connections
    echo.clock_s += 2
    _sweep(echo)
    await echo.ended.wait()

    assert held < 1 << 20
    assert echo.exchanges[0].gone


async def test_shutting_down_lets_the_reply_out(echo: Echo) -> None:
    echo.hold = asyncio.Event()
    busy, idle = [await Client.connect(echo) for _ in range(2)]
    busy.send(GET)
    await echo.begun.wait()

    for connection in list(echo.connections):
        connection.shutdown()
    assert await idle.is_closed()
    echo.hold.set()
    status, headers, _ = await busy.reply()

    assert (status, headers[b"connection"]) == (200, b"close")
    assert await busy.is_closed()


async def test_a_body_comes_in_parts_while_it_is_read(echo: Echo) -> None:
    """More than the connection holds: reading pauses the socket, and taking parts lets it go on."""
    client = await Client.connect(echo)
    body = bytes(range(256)) * 4_000

    client.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    assert (await client.reply())[2] == b"/p|" + body


FIELDS = {
    "plain": b"Host: x\r\nAccept: */*\r\n",
    "token": b"Host: x\r\nAuthorization: Bearer abc\r\nAccept: */*\r\n",
    "other token": b"Host: x\r\nAuthorization: Bearer abd\r\nAccept: */*\r\n",
    "kept": b"Host: x\r\nConnection: keep-alive\r\n",
    "other host": b"Host: y\r\nAccept: */*\r\n",
}


async def test_fields_that_repeat_are_read_as_if_they_were_new(echo: Echo) -> None:
    """A connection's next request is seen with its own line and its own fields, repeated or not."""
    random = Random(11)
    client = await Client.connect(echo)
    expected = []
    for number in range(300):
        name = random.choice([*FIELDS, *["token"] * 3])
        method = random.choice(["GET", "GET", "GET", "HEAD", "POST", "POST", "PATCH", "DELETE"])
        body = b"h" * random.choice([1, 5, 5, 12]) if method in {"POST", "PATCH"} else b""
        length = b"Content-Length: %d\r\nX-Last: 1\r\n" % len(body) if body else b""
        query = random.choice([b"", b"?a=1", b"?"])
        target = b"/p/%d" % number
        client.send(
            b"%b %b%b HTTP/1.1\r\n%b%b\r\n%b"
            % (method.encode(), target, query, FIELDS[name], length, body)
        )
        assert (await client.reply(method.encode()))[0] == 200
        pairs = [
            (field.lower(), value)
            for field, _, value in (
                line.partition(b": ") for line in (FIELDS[name] + length).split(b"\r\n")[:-1]
            )
        ]
        expected.append(((method, target, query[1:], body), pairs))

    assert echo.seen == [seen for seen, _ in expected]
    assert [each.headers.raw for each in echo.exchanges] == [pairs for _, pairs in expected]


@pytest.mark.parametrize(
    ("length", "body"),
    [
        (b"3", b"abcGET /b HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"3\r\nContent-Length: 3", b"abc"),
        (b"3\r\nTransfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
        (b"+3", b"abc"),
        (b"03", b"abc"),
        (b"3 ", b"abc"),
        (b"0", b""),
        (b"", b""),
        (b"-1", b""),
        (b"0x3", b"abc"),
        (b"3,3", b"abc"),
        (b"\xb2", b"ab"),
        (b"3\r\nX-More: 1", b"abc"),
        (b"3\r\n", b"\r\nabc"),
        (b"99999999999999999999", b"abc"),
    ],
    ids=repr,
)
async def test_bodies_behind_known_fields_end_where_the_parser_says(
    echo: Echo, length: bytes, body: bytes
) -> None:
    """Whether its fields were seen before or not, a request is read alike to the last octet."""
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\nX-Last: 1\r\n\r\n"
    told = []
    for known in (True, False):
        client = await Client.connect(echo)
        if known:
            for text in (b"ab", b"abcd"):
                client.send(head % b"%d" % len(text) + text)
                assert (await client.reply())[2] == b"/a|" + text
        before = len(echo.seen)
        client.send(
            head % length + body + b"GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answer = await client.all()
        told.append((echo.seen[before:], re.sub(rb"date: [^\r]*", b"", answer)))

    assert told[0] == told[1]


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a\x00 HTTP/1.1\r\n",
        b"GET /a HTTP/1.0 \r\n",
        b"GET /\xff HTTP/1.1\r\n",
    ],
    ids=["nul", "space behind", "not ASCII"],
)
async def test_known_fields_let_no_bad_request_line_in(echo: Echo, line: bytes) -> None:
    """It is for the parser to refuse it, or for the door to see it as it is."""
    client = await Client.connect(echo)
    for _ in range(2):
        client.send(b"GET /a HTTP/1.1\r\n" + FIELDS["plain"] + b"\r\n")
        await client.reply()

    client.send(line + FIELDS["plain"] + b"\r\n")
    answer = await client.all() if b"\xff" not in line else b""

    assert b"HTTP/1.1 200" not in answer
    assert [seen[1] for seen in echo.seen[:2]] == [b"/a", b"/a"]
    assert all(seen[1] != b"/a\x00" for seen in echo.seen)
