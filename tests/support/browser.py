"""A real Chromium without a window, driven over a pipe by the DevTools protocol. No binary means skip.

async with open_browser(tmp_path) as browser:
    page = await browser.new_page()
    await page.goto(f"{gateway.url}/docs")
    await page.until("document.querySelector('h1').textContent === 'shop'")
    assert page.problems == []
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import ending_with_us

__all__ = ["Browser", "BrowserPage", "open_browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
_GUARD_S = 60.0
_MOST_MESSAGE_BYTES = 64 * 1024 * 1024
_KEYS = {"Tab": 9, "Enter": 13, "Space": 32}
# The browser reads commands on 3 and writes answers on 4.
_READS, _WRITES = 3, 4


class BrowserPage:
    """One tab. `problems` are errors of its console and policy, `requests` every URL that it asked for."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self._session = session
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._loads: asyncio.Queue[None] = asyncio.Queue()

    async def send(self, method: str, **parameters: Any) -> Any:
        """One DevTools command; its result. Raises AssertionError if the browser refuses it."""
        return await self._browser.send(method, parameters, session=self._session)

    def hear(self, method: str, parameters: dict[str, Any]) -> None:
        """Take an event of this tab."""
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Page.loadEventFired":
                self._loads.put_nowait(None)
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                shown = details.get("exception", {}).get("description", details["text"])
                self.problems.append(f"exception: {shown}")
            case "Runtime.consoleAPICalled" if parameters["type"] in {"error", "assert"}:
                texts = (each.get("value", each.get("description")) for each in parameters["args"])
                self.problems.append(f"console: {' '.join(map(str, texts))}")
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                entry = parameters["entry"]
                self.problems.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
            case _:
                pass

    async def goto(self, url: str) -> None:
        """Load a page; returns once its load event has fired."""
        self._loads = asyncio.Queue()
        await self.send("Page.navigate", url=url)
        async with asyncio.timeout(_GUARD_S):
            await self._loads.get()

    async def eval(self, expression: str) -> Any:
        """The value of an expression (a promise is awaited), as JSON carries it."""
        result = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Return once an expression is true. Raises AssertionError if it does not become so."""
        waiting = f"""new Promise((done) => {{
          const look = () => {{ ({expression}) ? done() : setTimeout(look, 20); }};
          look();
        }})"""
        try:
            async with asyncio.timeout(_GUARD_S):
                await self.eval(waiting)
        except TimeoutError as error:
            body = await self.eval("document.body.innerText.slice(0, 2000)")
            message = f"never true: {expression}\nproblems: {self.problems}\npage: {body}"
            raise AssertionError(message) from error

    async def press(self, key: str) -> None:
        """One key, down and up: Tab, Enter, Space."""
        code = _KEYS[key]
        text = {"Enter": "\r", "Space": " "}.get(key, "")
        named = {"key": text if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
        await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **named)

    async def type(self, text: str) -> None:
        """Put a text where the focus is."""
        await self.send("Input.insertText", text=text)

    async def show_as(self, *, width: int, height: int = 800, scheme: str = "light") -> None:
        """A window of this size in CSS pixels, and a person who prefers this colour scheme."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.send("Emulation.setEmulatedMedia", features=[feature])


class Browser:
    """The process and its pipe; made by `open_browser`."""

    def __init__(self, reader: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
        self._reader = reader
        self._write = write
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, BrowserPage] = {}
        # A tab may speak before the answer that names it has come.
        self._early: defaultdict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)

    async def send(self, method: str, parameters: dict[str, Any], *, session: str = "") -> Any:
        """One command; its result."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        answer = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = answer
        self._write(json.dumps(command).encode() + b"\0")
        async with asyncio.timeout(_GUARD_S):
            return await answer

    async def listen(self) -> None:
        """Read answers and events until the browser ends."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                text = await self._reader.readuntil(b"\0")
                self._take(json.loads(text[:-1]))
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(AssertionError("the browser ended"))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            answer = self._waiting.pop(message["id"])
            if answer.done():
                return
            if "error" in message:
                answer.set_exception(AssertionError(str(message["error"])))
            else:
                answer.set_result(message["result"])
            return
        session = message.get("sessionId", "")
        page = self._pages.get(session)
        if page is None:
            self._early[session].append((message["method"], message["params"]))
            return
        page.hear(message["method"], message["params"])

    async def new_page(self) -> BrowserPage:
        """A tab of its own, with nothing in it and no memory of others."""
        context = await self.send("Target.createBrowserContext", {})
        opened = await self.send(
            "Target.createTarget",
            {"url": "about:blank", "browserContextId": context["browserContextId"]},
        )
        attached = await self.send(
            "Target.attachToTarget", {"targetId": opened["targetId"], "flatten": True}
        )
        session = str(attached["sessionId"])
        page = BrowserPage(self, session)
        self._pages[session] = page
        for method, parameters in self._early.pop(session, ()):
            page.hear(method, parameters)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.send(f"{domain}.enable")
        return page


@asynccontextmanager
async def open_browser(folder: Path) -> AsyncIterator[Browser]:
    """A Chromium with a profile of its own in `folder`; ended with all its processes at the end."""
    binary = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is on PATH")
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    # Above every number that the child gives a meaning, so that no dup2 there closes another end.
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (commands, answers)]
    os.close(commands)
    os.close(answers)

    command = [binary, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    process = await asyncio.create_subprocess_exec(
        *ending_with_us(command, descriptors={high[0]: _READS, high[1]: _WRITES}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=high,
    )
    for end in high:
        os.close(end)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_MOST_MESSAGE_BYTES)
    incoming, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_browser, "rb", 0)
    )
    outgoing, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(to_browser, "wb", 0))
    browser = Browser(reader, outgoing.write)
    listening = asyncio.create_task(browser.listen())
    try:
        yield browser
    finally:
        with contextlib.suppress(AssertionError, TimeoutError):
            await browser.send("Browser.close", {})
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await listening
        incoming.close()
        outgoing.close()
