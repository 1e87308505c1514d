"""The pages in a real browser: they load, show every operation, send requests, and trust no string."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bff.fronts.pages import load_pages
from tests.conftest import Tokens
from tests.support.browser import BrowserPage, open_browser
from tests.support.gateway import GatewayProcess
from tests.support.samples import SampleServices

# Faults that others asked for are none of these pages' affair.
pytestmark = pytest.mark.usefixtures("samples")

LISTED = "document.querySelectorAll('.operation').length"
ANSWERED = "/^[1-5]\\d\\d.* bytes$/.test(document.querySelector('.state')?.textContent)"
# Every text on the page against the ground that it stands on (WCAG 2.2, 1.4.3).
FAINT = """(() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => {
    const parts = numbers(text).map((c) => c / 255);
    const [r, g, b] = parts.map((c) => (c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((numbers(color)[3] ?? 1) > 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const texts = [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility()
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
  return texts.map((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
    return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), node.textContent.slice(0, 40)];
  }).filter(([ratio]) => ratio < 4.5);
})()"""


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[BrowserPage]:
    """A tab of a browser of its own."""
    async with open_browser(tmp_path) as browser:
        yield await browser.new_page()


def elsewhere(page: BrowserPage, url: str) -> list[str]:
    """What the tab asked of others; `data:` is no request."""
    return [asked for asked in page.requests if not asked.startswith((f"{url}/", "data:"))]


async def open_operation(page: BrowserPage, url: str, name: str) -> None:
    await page.goto(f"{url}/docs#op-{name}")
    await page.until("document.querySelector('.operation[open] form')")


@pytest.mark.rule("control.CN1", "transcoding.12")
async def test_every_documented_operation_is_listed(
    page: BrowserPage, gateway: GatewayProcess, http: httpx.AsyncClient
) -> None:
    document = (await http.get("/openapi.json")).json()
    wanted = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }

    await page.goto(f"{gateway.url}/docs")
    await page.until(LISTED)
    shown = await page.eval(
        "[...document.querySelectorAll('.operation > summary')].map((summary) =>"
        " summary.querySelector('.method').textContent + ' ' + summary.querySelector('h3').textContent)"
    )

    assert set(shown) == wanted
    assert page.problems == []
    assert elsewhere(page, gateway.url) == []


async def test_an_open_route_is_tried_by_keyboard_alone(
    page: BrowserPage, gateway: GatewayProcess
) -> None:
    """Tab reaches an operation, Enter opens it, Tab its field, Enter sends; the answer is shown."""
    await page.goto(f"{gateway.url}/docs")
    await page.until(LISTED)

    await tab_to(page, "document.activeElement.closest('[id=\"op-catalog.GetProduct\"]')")
    await page.press("Enter")
    await page.until("document.querySelector('.operation[open] form')")
    await tab_to(page, "document.activeElement.closest('form.try')")
    await page.type("p-1")
    await page.press("Enter")
    await page.until(ANSWERED)

    assert (await page.eval("document.querySelector('.state').textContent")).startswith("200")
    body = json.loads(await page.eval("document.querySelector('.reply pre').textContent"))
    assert body["productId"] == "p-1"
    assert page.problems == []
    assert elsewhere(page, gateway.url) == []


async def tab_to(page: BrowserPage, reached: str) -> None:
    for _ in range(60):
        await page.press("Tab")
        if await page.eval(f"Boolean({reached})"):
            assert await page.eval("document.activeElement.matches(':focus-visible')")
            return
    raise AssertionError(f"Tab never came to {reached}")


async def test_a_token_goes_with_what_is_tried_and_is_not_kept(
    page: BrowserPage, gateway: GatewayProcess, tokens: Tokens
) -> None:
    token = await tokens.of("premium")
    await open_operation(page, gateway.url, "users.GetUser")
    await page.eval("document.querySelector('form.try input').value = 'u-1'")

    await page.eval(f"document.querySelector('#credential').value = {json.dumps(token)}")
    await page.eval("document.querySelector('form.try').requestSubmit()")
    await page.until(ANSWERED)

    assert (await page.eval("document.querySelector('.state').textContent")).startswith("200")
    assert await page.eval("localStorage.length + sessionStorage.length") == 0
    assert await page.eval("document.cookie") == ""


async def test_a_refusal_is_shown_as_it_came(page: BrowserPage, gateway: GatewayProcess) -> None:
    await open_operation(page, gateway.url, "users.GetUser")
    await page.eval("document.querySelector('form.try input').value = 'u-1'")

    await page.eval("document.querySelector('form.try').requestSubmit()")
    await page.until(ANSWERED)

    assert (await page.eval("document.querySelector('.state').textContent")).startswith("401")
    assert "CREDENTIAL_MISSING" in await page.eval("document.querySelector('.reply').innerText")


async def test_the_filter_leaves_operations_with_every_word(
    page: BrowserPage, gateway: GatewayProcess
) -> None:
    await page.goto(f"{gateway.url}/docs")
    await page.until(LISTED)

    await page.eval("document.querySelector('#filter').focus()")
    await page.type("POST cancel")
    left = await page.eval(
        "[...document.querySelectorAll('.operation:not([hidden])')].map((each) => each.id)"
    )

    assert left == ["op-orders.CancelOrder"]
    assert await page.eval("document.querySelector('#state').textContent") == "1 operation"


@pytest.mark.rule("control.CN4")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
async def test_text_is_readable_and_nothing_needs_sideways_scrolling(
    page: BrowserPage, gateway: GatewayProcess, width: int, scheme: str
) -> None:
    await page.show_as(width=width, scheme=scheme)
    await open_operation(page, gateway.url, "orders.PlaceOrder")
    await page.until("document.querySelector('.operation[open] .properties')")

    assert await page.eval("document.documentElement.scrollWidth <= innerWidth")
    assert await page.eval(FAINT) == []
    ground = await page.eval("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (scheme == "light")


# What a document might hold if somebody could write into it.

ATTACK = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
NODE = "#/components/schemas/Node"
HOSTILE: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": ATTACK, "version": ATTACK, "description": ATTACK},
    "paths": {
        f"/{ATTACK}": {
            "post": {
                # Names of the page's own parts.
                "operationId": "filter",
                "tags": [ATTACK],
                "summary": ATTACK,
                "description": f"{ATTACK} more",
                "parameters": [
                    {
                        "name": ATTACK,
                        "in": "query",
                        "description": ATTACK,
                        "schema": {"enum": [ATTACK]},
                    },
                    {"$ref": "https://elsewhere.example/parameter"},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": NODE}}}},
                "responses": {
                    "200": {"description": ATTACK, "content": {ATTACK: {"schema": {"$ref": NODE}}}},
                    "4XX": {"$ref": "#/nowhere/at/all"},
                },
                "security": [{ATTACK: []}],
            }
        }
    },
    "components": {
        "schemas": {
            "Node": {
                "type": "object",
                "description": ATTACK,
                "properties": {"next": {"$ref": NODE}, "__proto__": {"type": ATTACK}, ATTACK: True},
                "required": [ATTACK],
            },
            "Ring": {"$ref": "#/components/schemas/Ring"},
        }
    },
}


@asynccontextmanager
async def serving(document: dict[str, Any]) -> AsyncIterator[str]:
    """The page's own files beside this document, without a gateway."""
    pages = load_pages(openapi_path="/openapi.json")
    policy = dict(pages.docs[0].headers)
    policy.pop(b"cross-origin-opener-policy")
    files = {page.path: (page.content_type, page.body) for page in pages.docs}
    files["/openapi.json"] = ("application/json", json.dumps(document).encode())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode().partition("?")[0]
        media, body = files.get(path, ("text/plain", b""))
        lines = [b"HTTP/1.1 200 OK", b"connection: close", b"content-type: " + media.encode()]
        lines.append(b"content-length: %d" % len(body))
        if path == "/docs":
            lines += [name + b": " + value for name, value in policy.items()]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.rule("control.CN5")
async def test_hostile_strings_are_shown_as_text(page: BrowserPage) -> None:
    async with serving(HOSTILE) as url:
        await page.goto(f"{url}/docs#op-filter")
        await page.until("document.querySelector('.operation[open] form')")
        # Three steps down a type that holds itself.
        for depth in range(1, 4):
            await page.until(
                f"document.querySelectorAll('.schema .properties details').length >= {depth}"
            )
            await page.eval(
                "document.querySelectorAll('.schema details').forEach((one) => one.open = true)"
            )

        assert await page.eval("document.querySelector('h1').textContent") == ATTACK
        assert await page.eval("document.querySelector('.summary').textContent") == ATTACK
        assert await page.eval("document.querySelectorAll('main img, main script').length") == 0
        assert await page.eval("window.hit === undefined")
        assert await page.eval("document.querySelector('#filter').type") == "search"
        assert page.problems == []
        assert elsewhere(page, url) == []


async def test_a_document_that_cannot_be_read_is_said_so(page: BrowserPage) -> None:
    async with serving({"openapi": "3.1.0", "paths": {"/a": {"get": None}}}) as url:
        await page.goto(f"{url}/docs")
        await page.until("document.querySelector('#state.alert')")

        assert "cannot be shown" in await page.eval("document.querySelector('#state').textContent")


# GraphiQL


@pytest.mark.rule("graphql.13.2", "control.CN1")
async def test_graphiql_offers_a_query_that_runs(
    page: BrowserPage, gateway: GatewayProcess
) -> None:
    """The page comes without a fault, and its first query fits the schema that it found."""
    await page.goto(f"{gateway.url}/graphql")
    await page.until("document.querySelector('.graphiql-query-editor .cm-property')")

    await page.eval("document.querySelector('.graphiql-execute-button').click()")
    await page.until(
        "document.querySelector('.result-window .cm-def, .result-window .cm-property')"
    )

    answer = json.loads(await page.eval(editor(".result-window") + ".getValue()"))
    assert "errors" not in answer
    assert len(answer["data"]) == 1
    assert page.problems == []
    assert elsewhere(page, gateway.url) == []


@pytest.mark.rule("graphql.13.2")
async def test_graphiql_sends_the_headers_that_are_written_beside_the_query(
    page: BrowserPage, gateway: GatewayProcess, tokens: Tokens
) -> None:
    token = await tokens.of("premium")
    await page.goto(f"{gateway.url}/graphql")
    await page.until("document.querySelector('.graphiql-query-editor .cm-property')")
    headers = json.dumps(json.dumps({"Authorization": f"Bearer {token}"}))
    query = json.dumps('{ user(userId: "u-1") { userId } }')

    await page.eval(f"{editor('.graphiql-query-editor')}.setValue({query})")
    await page.eval(
        "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Headers').click()"
    )
    await page.eval(
        f"{editor('.graphiql-editor-tool .graphiql-editor:not(.hidden)')}.setValue({headers})"
    )
    await page.eval("document.querySelector('.graphiql-execute-button').click()")
    await page.until(f"{editor('.result-window')}?.getValue().includes('u-1')")

    stored = await page.eval("JSON.stringify({...localStorage})")
    assert token not in stored
    assert page.problems == []


async def test_graphiql_opens_its_dialogs_under_the_policy(
    page: BrowserPage, gateway: GatewayProcess
) -> None:
    await page.goto(f"{gateway.url}/graphql")
    await page.until("document.querySelector('.graphiql-query-editor .cm-property')")

    for dialog in ("short keys", "settings"):
        await page.eval(f"document.querySelector('[aria-label=\"Open {dialog} dialog\"]').click()")
        await page.until("document.querySelector('[role=dialog]')")
        await page.eval("document.querySelector('[role=dialog] .graphiql-dialog-close').click()")
        await page.until("!document.querySelector('[role=dialog]')")

    assert page.problems == []


def editor(place: str) -> str:
    """The editor below a place of GraphiQL, as an expression."""
    return f"document.querySelector({json.dumps(place + ' .CodeMirror')})?.CodeMirror"


@pytest.mark.rule("graphql.13.2")
async def test_programs_get_no_page(http: httpx.AsyncClient) -> None:
    """`*/*` without a query is a 400, text/html listed is the page."""
    program = await http.get("/graphql", headers={"accept": "*/*"})
    person = await http.get("/graphql", headers={"accept": "text/html,*/*;q=0.8"})

    assert program.status_code == 400
    assert person.status_code == 200
    assert person.headers["content-type"].startswith("text/html")


@pytest.mark.rule("graphql.13.2", "control.CN1")
async def test_pages_that_are_switched_off_are_not_there(
    shop: SampleServices, tmp_path: Path
) -> None:
    """Without the OpenAPI document there is no page of it, without `graphiql` no page and no assets."""
    changes = {"gateway": {"openapi": "off"}, "graphql": {"graphiql": False}}
    script = "/graphiql/static/page.js"

    with GatewayProcess(tmp_path, shop, changes=changes) as gateway:
        async with gateway.client() as client:
            statuses = [(await client.get(path)).status_code for path in ("/docs", script)]
            page = await client.get("/graphql", headers={"accept": "text/html,*/*;q=0.8"})

    assert statuses == [404, 404]
    assert page.status_code == 400
