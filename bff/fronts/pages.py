"""The pages for people, read from the package: the OpenAPI page and GraphiQL, with their assets.

All are static files under a strict Content-Security-Policy (CSP 3): no inline script, no other
origin. What a page has to know of the gateway is written into it here, once.
"""

import html
from importlib.resources import files
from importlib.resources.abc import Traversable

from bff.pipeline.documents import Page, Pages

__all__ = ["DOCS_PATH", "load_pages"]

DOCS_PATH = "/docs"

# By extension; anything else in the folders (licences, notes) is not served.
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_HTML = "text/html; charset=utf-8"
# The place in docs/index.html where the document's path goes.
_OPENAPI_MARK = "{{openapi}}"

_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
)
_DOCS_POLICY = _POLICY + "style-src 'self'; img-src 'self'"
# GraphiQL's dialogs add a style element each time they open, and its fonts and marks are data URLs.
# Foreign style could leak nothing here: no source but our own may be loaded.
_GRAPHIQL_POLICY = (
    _POLICY + "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src data:"
)

_NOSNIFF = (b"x-content-type-options", b"nosniff")
_REVALIDATE = (b"cache-control", b"no-cache")
# Their names tell the version, so a new version is a new address.
_KEEP = (b"cache-control", b"public, max-age=3600")
_VENDORED = frozenset(
    {
        "graphiql-3.9.0.min.css",
        "graphiql-3.9.0.min.js",
        "react-18.3.1.min.js",
        "react-dom-18.3.1.min.js",
    }
)


def load_pages(openapi_path: str) -> Pages:
    """Every page and asset, ready to serve. Blocks: it reads about 1.5 MB of files.

    `openapi_path` is where the OpenAPI document is, a path that starts with "/".
    """
    static = files("bff.fronts") / "static"
    docs, graphiql = static / "docs", static / "graphiql"
    docs_text = (docs / "index.html").read_text(encoding="utf-8")
    docs_text = docs_text.replace(_OPENAPI_MARK, html.escape(openapi_path, quote=True))
    return Pages(
        docs=(
            _page(DOCS_PATH, docs_text.encode(), _DOCS_POLICY),
            *_assets(docs, f"{DOCS_PATH}/static"),
        ),
        graphiql_page=_page("/graphql", (graphiql / "index.html").read_bytes(), _GRAPHIQL_POLICY),
        graphiql_assets=_assets(graphiql, "/graphiql/static"),
    )


def _page(path: str, body: bytes, policy: str) -> Page:
    return Page(
        path=path,
        body=body,
        content_type=_HTML,
        headers=(
            _REVALIDATE,
            _NOSNIFF,
            (b"content-security-policy", policy.encode()),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-frame-options", b"DENY"),
        ),
    )


def _assets(folder: Traversable, path: str) -> tuple[Page, ...]:
    return tuple(
        Page(
            path=f"{path}/{entry.name}",
            body=entry.read_bytes(),
            content_type=_TYPES[extension],
            headers=(
                _KEEP if entry.name in _VENDORED else _REVALIDATE,
                _NOSNIFF,
                (b"cross-origin-resource-policy", b"same-origin"),
            ),
        )
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if (extension := entry.name.rpartition(".")[2]) in _TYPES
    )
