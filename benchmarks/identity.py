"""The identity stub: one RSA key, a token for the whole run, and the key set over HTTP on loopback."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from msgspec import Struct

__all__ = ["AUDIENCE", "Identity", "identity_provider"]

AUDIENCE = "bench"
# Longer than any run.
_LIFETIME_S = 6 * 3600


class Identity(Struct, frozen=True, kw_only=True):
    """An issuer: its name, its key set as text and as URL, and a bearer token that it signed."""

    issuer: str
    jwks_url: str
    jwks: str
    token: str


@contextmanager
def identity_provider() -> Iterator[Identity]:
    """Serve the key set until left."""
    key = RSAKey.generate_key(2048, {"kid": "bench-1", "alg": "RS256", "use": "sig"})
    key_set = json.dumps(KeySet([key]).as_dict(private=False))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(key_set.encode()))
    thread = threading.Thread(target=server.serve_forever, name="identity", daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield Identity(
            issuer=url, jwks_url=f"{url}/jwks.json", jwks=key_set, token=_token(key, url)
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _token(key: RSAKey, issuer: str) -> str:
    now_s = int(time.time())  # noqa: TID251 - a token's times are those of the wall clock
    claims = {
        "iss": issuer,
        "sub": "user-7f3a91",
        "aud": AUDIENCE,
        "client_id": "mobile-app",
        "scope": "orders.read orders.write",
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + _LIFETIME_S,
        "jti": "bench-token-1",
    }
    return jwt.encode({"alg": "RS256", "kid": "bench-1", "typ": "at+jwt"}, claims, key)


def _handler(body: bytes) -> type[BaseHTTPRequestHandler]:
    class KeySetHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    return KeySetHandler
