"""The pages as files: nothing inline, nothing from elsewhere, and what is vendored is what was published."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bff.fronts.pages import load_pages
from bff.pipeline.documents import Page

STATIC = Path(__file__).parents[3] / "bff" / "fronts" / "static"
GRAPHIQL = STATIC / "graphiql"
PAGES = load_pages(openapi_path="/openapi.json")
DOCS = PAGES.docs[0]
EVERY = {page.path: page for page in (*PAGES.docs, *PAGES.graphiql_assets)}
OUR_SCRIPTS = sorted(path for path in STATIC.glob("*/*.js") if not path.name.endswith(".min.js"))
# Ways by which a string could become markup or code.
STRINGS_INTO_CODE = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "createContextualFragment",
    "DOMParser",
    "document.write",
    "srcdoc",
    "javascript:",
    "eval(",
    "Function(",
)


class Markup(HTMLParser):
    """What a page loads, and what stands in it that a strict policy would refuse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect addresses; note handlers, style attributes and elements with content."""
        given = dict(attrs)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self._inside = tag if tag in {"script", "style"} else ""
        if tag == "script" or (tag == "link" and given.get("rel") != "canonical"):
            self.loads.append(given.get("src") or given.get("href") or "")

    def handle_data(self, data: str) -> None:
        """Text inside a script or style is inline code."""
        if self._inside and data.strip():
            self.inline.append(data)


def header(page: Page, name: bytes) -> str:
    return dict(page.headers)[name].decode()


def policy(page: Page) -> dict[str, list[str]]:
    parts = header(page, b"content-security-policy").split(";")
    return {name: values for name, *values in (part.split() for part in parts)}


@pytest.mark.rule("control.CN1")
def test_vendored_files_are_those_that_were_published() -> None:
    """Each file has the hash in VENDORED.md, and no file but ours is missing there."""
    rows = re.findall(
        r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$",
        (GRAPHIQL / "VENDORED.md").read_text(),
        re.MULTILINE,
    )

    found = {name: hashlib.sha256((GRAPHIQL / name).read_bytes()).hexdigest() for name, _ in rows}

    assert found == dict(rows)
    ours = {"VENDORED.md", "LICENSE-bundled.txt", "index.html", "page.css", "page.js", "icon.svg"}
    assert {path.name for path in GRAPHIQL.iterdir()} == ours | set(found)


@pytest.mark.rule("control.CN1")
@pytest.mark.parametrize("page", [DOCS, PAGES.graphiql_page], ids=["docs", "graphiql"])
def test_pages_load_only_what_the_package_serves(page: Page) -> None:
    markup = Markup(page.body.decode())

    assert markup.inline == []
    assert markup.loads
    assert [address for address in markup.loads if address not in EVERY] == []


@pytest.mark.rule("control.CN1")
@pytest.mark.parametrize("page", [DOCS, PAGES.graphiql_page], ids=["docs", "graphiql"])
def test_policies_take_scripts_and_requests_of_our_origin_alone(page: Page) -> None:
    rules = policy(page)

    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == ["'self'"]
    assert rules["connect-src"] == ["'self'"]
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == ["'none'"]


def test_the_page_of_ours_needs_no_inline_style() -> None:
    assert policy(DOCS)["style-src"] == ["'self'"]


@pytest.mark.parametrize("path", OUR_SCRIPTS, ids=[path.name for path in OUR_SCRIPTS])
def test_our_scripts_never_turn_strings_into_markup_or_code(path: Path) -> None:
    text = path.read_text()

    assert [way for way in STRINGS_INTO_CODE if way in text] == []


@pytest.mark.parametrize("path", OUR_SCRIPTS, ids=[path.name for path in OUR_SCRIPTS])
def test_our_scripts_import_files_that_are_served(path: Path) -> None:
    names = re.findall(r'^import .* from "\./([^"]+)";$', path.read_text(), re.MULTILINE)

    assert [name for name in names if f"/docs/static/{name}" not in EVERY] == []
    assert len(re.findall(r"\bimport\b.*", path.read_text())) == len(names)


def test_the_path_of_the_document_is_text_in_the_page() -> None:
    """A path with quotes and brackets stays inside its attribute."""
    page = load_pages(openapi_path='/a"><script>b').docs[0].body.decode()

    assert "<script>b" not in page
    assert 'content="/a&quot;&gt;&lt;script&gt;b"' in page


def test_licences_and_notes_are_not_served() -> None:
    kinds = {path.rpartition(".")[2] for path in EVERY if path != "/docs"}

    assert kinds == {"css", "js", "svg"}


def test_only_files_that_name_their_version_are_kept_without_asking() -> None:
    kept = {path for path, page in EVERY.items() if "max-age" in header(page, b"cache-control")}

    assert kept == {path for path in EVERY if ".min." in path}
    assert all(re.search(r"-\d+\.\d+\.\d+\.min\.", path) for path in kept)


def test_every_file_says_that_its_type_is_not_to_be_guessed() -> None:
    nosniff = {
        header(page, b"x-content-type-options") for page in (*EVERY.values(), PAGES.graphiql_page)
    }

    assert nosniff == {"nosniff"}
