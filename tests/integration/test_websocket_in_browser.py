"""A page that opens a WebSocket by itself, in a real browser: what scripts can do, and what they are told."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOMY
from tests.support.browser import BrowserPage, open_browser
from tests.support.gateway import GatewayProcess
from tests.support.samples import SampleServices

# Browsers cannot put a token into the request for the upgrade, so this stream is anybody's.
ORDERS = """
service: sample.orders.v1.OrderService
upstream: orders
auth: {required: false}
routes:
  - {rpc: TrackOrders, post: "/open/orders:track", body: "*", websocket: true}
  - {rpc: WatchOrder, get: "/open/orders/{order_id}:watch", websocket: true,
     stream: {default: sse, sse: {id: revision, resume: after_revision}}}
  - {rpc: GetOrder, get: "/open/orders/{order_id}"}
"""
# Says each of the texts, and resolves to all that was heard once the connection is closed.
TALK = """new Promise((done) => {
  const heard = [], socket = new WebSocket(%s, %s);
  socket.onopen = () => { heard.push(["open", socket.protocol]); for (const text of %s) socket.send(text); };
  socket.onmessage = (event) => heard.push(["message", event.data]);
  socket.onclose = (event) => done([...heard, ["close", event.code, event.wasClean]]);
})"""


@pytest.fixture(scope="module")
def opened(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway whose streams anybody may have."""
    files = {"orders.yaml": ORDERS, "home.yaml": None}
    with GatewayProcess(
        tmp_path_factory.mktemp("open"), shop, changes=ROOMY, files=files
    ) as running:
        yield running


@pytest.fixture
async def page(tmp_path: Path, opened: GatewayProcess) -> AsyncIterator[BrowserPage]:
    """A tab on a document of the gateway's own origin, which has no policy of its own."""
    async with open_browser(tmp_path) as browser:
        tab = await browser.new_page()
        await tab.goto(f"{opened.url}/open/orders/o-81")
        yield tab


def told(url: str, texts: list[str], *, protocols: tuple[str, ...] = ("bff.v1",)) -> str:
    """The expression of one talk."""
    return TALK % (
        json.dumps(url.replace("http:", "ws:")),
        json.dumps(protocols),
        json.dumps(texts),
    )


@asynccontextmanager
async def stranger() -> AsyncIterator[str]:
    """A page of another origin."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def messages(heard: list[list[Any]]) -> list[Any]:
    return [json.loads(each[1]) for each in heard if each[0] == "message"]


@pytest.mark.rule("transcoding.135", "transcoding.136")
async def test_a_script_sends_reads_and_is_told_of_the_end(
    page: BrowserPage, opened: GatewayProcess, samples: SampleServices
) -> None:
    said = ['{"message":{"orderId":"o-81","afterRevision":"3"}}', '{"end":true}']

    heard = await page.eval(told(f"{opened.url}/open/orders:track", said))

    assert heard[0] == ["open", "bff.v1"]
    message, end = messages(heard)
    assert (message["message"]["revision"], end) == ("4", {"end": {}})
    assert heard[-1] == ["close", 1000, True]


@pytest.mark.rule("transcoding.135")
async def test_a_script_reads_the_error_and_its_code(
    page: BrowserPage, opened: GatewayProcess, samples: SampleServices
) -> None:
    heard = await page.eval(told(f"{opened.url}/open/orders/o-999999:watch", ['{"message":{}}']))

    assert messages(heard)[-1]["error"]["status"] == "NOT_FOUND"
    assert heard[-1] == ["close", 4005, True]


@pytest.mark.rule("transcoding.139")
async def test_a_script_that_closes_cancels_the_call(
    page: BrowserPage, opened: GatewayProcess, samples: SampleServices
) -> None:
    closed = await page.eval(
        "new Promise((done) => { const socket = new WebSocket("
        + json.dumps(opened.url.replace("http:", "ws:") + "/open/orders/o-1:watch")
        + "); socket.onopen = () => socket.send('{\"message\":{}}');"
        " socket.onmessage = () => socket.close(1000, 'enough');"
        " socket.onclose = (event) => done([event.code, event.wasClean]); })"
    )

    assert closed == [1000, True]
    seen = await samples.wait_calls("orders", "WatchOrder", lambda calls: not calls.in_flight)
    assert seen.cancelled == 1


@pytest.mark.rule("transcoding.136")
async def test_a_page_of_another_origin_opens_none(
    page: BrowserPage, opened: GatewayProcess, samples: SampleServices
) -> None:
    """A script is never told why: 1006 is all that it hears (RFC 6455 7.1.5)."""
    async with stranger() as url:
        await page.goto(url)
        heard = await page.eval(told(f"{opened.url}/open/orders:track", []))

    assert heard == [["close", 1006, False]]
    assert (await samples.calls("orders", "TrackOrders")).calls == 0


@pytest.mark.rule("transcoding.129", "transcoding.131")
async def test_an_event_source_reads_to_the_end_and_stays_away(
    page: BrowserPage, opened: GatewayProcess, samples: SampleServices
) -> None:
    """`end` is where a page closes; until then the ids are those that the browser would come back with."""
    heard = await page.eval(
        "new Promise((done) => { const ids = [], source = new EventSource('/open/orders/o-81:watch');"
        " source.onmessage = (event) => ids.push(event.lastEventId);"
        " source.addEventListener('end', () => { source.close(); done(ids); }); })"
    )

    assert heard == ["1", "2", "3", "4"]
    assert (await samples.calls("orders", "WatchOrder")).calls == 1
