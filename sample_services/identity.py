"""The identity provider: `python -m sample_services.identity`.

OAuth 2.0 with OpenID Connect, as much as a gateway meets: issuer metadata, key set, client
credentials, and the authorization code with PKCE behind a real sign-in page. Who may sign in
stands in `identity_accounts`. `POST /rotate` is for demos and tests only.
"""

import argparse
import asyncio
import contextlib
import socket
from collections.abc import Generator
from html import escape
from typing import Any

import uvicorn
from authlib.oauth2.rfc6749.errors import OAuth2Error
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from sample_services.identity_accounts import ACCOUNTS, SCOPES, Account
from sample_services.identity_grants import FormRequest, Provider
from sample_services.identity_keys import ALGORITHMS, KeyRing
from sample_services.lifetime import say_ready, stop_event

__all__ = ["make_app"]

_BACKLOG = 128
_SHUTDOWN_S = 1
_MAX_KEY_AGE_S = 300  # how long a reader may keep the key set without asking again

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sign in</title>
<h1>Sign in to {client}</h1>
<p>It asks for: {scope}</p><p role="alert">{problem}</p>
<form method="post" action="?{query}">
<label>Name <input name="username" autocomplete="username" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button></form></html>
"""
_PAGE_FIELDS = {
    "Cache-Control": "no-store",
    # RFC 9700 4.16: nobody may show this page inside one of his own.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def make_app(*, issuer: str, keys: KeyRing) -> FastAPI:
    """The provider as an app; `issuer` is its own URL, without a slash at the end."""
    provider = Provider(issuer=issuer, keys=keys)
    app = FastAPI(title="Sample identity provider", openapi_url=None)
    _add_metadata(app, issuer=issuer, keys=keys)

    @app.get("/authorize")
    async def ask(request: Request) -> Response:
        asked = FormRequest(request, await request.form())
        try:
            grant = provider.get_consent_grant(asked)
        except OAuth2Error as error:
            return _refused(provider, asked, error)
        return _sign_in_page(request, grant, problem="", status=200)

    @app.post("/authorize")
    async def sign_in(request: Request) -> Response:
        form = await request.form()
        asked = FormRequest(request, form)
        account = _account(str(form.get("username", "")), str(form.get("password", "")))
        try:
            grant = provider.get_consent_grant(asked, end_user=account)
        except OAuth2Error as error:
            return _refused(provider, asked, error)
        if account is None:
            return _sign_in_page(request, grant, problem="Name or password is wrong.", status=401)
        answer: Response = provider.create_authorization_response(
            asked, grant_user=account, grant=grant
        )
        return answer

    @app.post("/token")
    async def token(request: Request) -> Response:
        answer: Response = provider.create_token_response(
            FormRequest(request, await request.form())
        )
        return answer

    @app.post("/rotate")
    async def rotate(request: Request) -> Response:
        form = await request.form()
        # Making an RSA key takes a good part of a second on a busy machine.
        await asyncio.to_thread(keys.rotate, keep_old=form.get("keep_old", "true") == "true")
        return JSONResponse(keys.public())

    return app


def _add_metadata(app: FastAPI, *, issuer: str, keys: KeyRing) -> None:
    """RFC 8414 3 and OpenID Connect Discovery 4: one document, two places."""
    metadata: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks.json",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "none",
        ],
        "code_challenge_methods_supported": ["S256"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(ALGORITHMS),
    }

    @app.get("/.well-known/openid-configuration")
    @app.get("/.well-known/oauth-authorization-server")
    async def discover() -> Response:
        return JSONResponse(metadata)

    @app.get("/jwks.json")
    async def publish_keys() -> Response:
        fields = {"Cache-Control": f"max-age={_MAX_KEY_AGE_S}"}
        return JSONResponse(keys.public(), headers=fields)


def _account(name: str, password: str) -> Account | None:
    account = ACCOUNTS.get(name)
    return account if account is not None and account.has_password(password) else None


def _refused(provider: Provider, asked: FormRequest, error: OAuth2Error) -> Response:
    answer: Response = provider.handle_error_response(asked, error)
    return answer


def _sign_in_page(request: Request, grant: Any, *, problem: str, status: int) -> Response:
    text = _PAGE.format(
        client=escape(grant.request.client.client_id),
        scope=escape(grant.request.scope),
        problem=escape(problem),
        query=escape(request.url.query),
    )
    return HTMLResponse(text, status_code=status, headers=_PAGE_FIELDS)


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to us and says when it listens."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        say_ready({"identity": _url_of(sockets[0])})


def _url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def _run(port: int, *, stop_with_stdin: bool) -> None:
    stop = stop_event(with_stdin=stop_with_stdin)
    # Bound by hand: the issuer is in every token, so the port must be known before the app is.
    with socket.create_server(("127.0.0.1", port), backlog=_BACKLOG) as listener:
        config = uvicorn.Config(
            make_app(issuer=_url_of(listener), keys=await asyncio.to_thread(KeyRing)),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )
        server = _Server(config)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listener]))
            await stop.wait()
            server.should_exit = True


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sample_services.identity")
    parser.add_argument("--port", type=int, default=0, help="0 = a free one")
    parser.add_argument("--stop-with-stdin", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(_run(arguments.port, stop_with_stdin=arguments.stop_with_stdin))


if __name__ == "__main__":
    _main()
