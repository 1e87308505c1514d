"""A small world for authentication tests: a clock to turn, a provider to script, an authenticator."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from bff.auth.api_keys import ApiKeys
from bff.auth.authenticator import Authenticator, Issuer
from bff.auth.jwks import FixedKeys, KeySource
from bff.auth.jwks_fetch import Fetched, FetchFault
from bff.auth.jwt import IssuerRules, JwtVerifier
from bff.auth.key_set import KeySet, parse_key_set
from bff.core.events import Event
from bff.core.headers import Headers
from tests.support.token_forge import Forge, ForgeKey

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "FakeClock",
    "ScriptedFetch",
    "bearer",
    "forge_of",
    "key_document",
    "key_set",
    "make_authenticator",
    "make_verifier",
    "seeded",
]

ISSUER = "https://id.example.com"
AUDIENCE = "https://api.example.com"


class FakeClock:
    """Both clocks, moved by hand."""

    def __init__(self, unix_s: float = 1_800_000_000.0) -> None:
        self.wall_s = unix_s
        self.steady_s = 1_000.0

    def now_s(self) -> float:
        return self.steady_s

    def unix_s(self) -> float:
        return self.wall_s

    def advance(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds


class ScriptedFetch:
    """A provider in memory: `documents[url]` is a reply, a fault, or what makes one.

    While `gate` is clear, calls wait; `arrived` counts those that came.
    """

    def __init__(self, documents: dict[str, Fetched | Exception] | None = None) -> None:
        self.documents: dict[str, Fetched | Exception] = dict(documents or {})
        self.calls: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()

    async def __call__(self, url: str, etag: str) -> Fetched:
        self.calls.append((url, etag))
        self.arrived.set()
        await self.gate.wait()
        reply = self.documents.get(url, FetchFault("status", "status 404"))
        if isinstance(reply, Exception):
            raise reply
        return reply


def seeded() -> random.Random:
    """Repeatable jitter."""
    return random.Random(7)


def key_document(*keys: ForgeKey | dict[str, Any]) -> bytes:
    """A JWK Set document."""
    return json.dumps(
        {"keys": [key.jwk() if isinstance(key, ForgeKey) else key for key in keys]}
    ).encode()


def key_set(*keys: ForgeKey) -> KeySet:
    """A key set in which every key must be usable."""

    def refused(cause: str) -> None:
        raise AssertionError(cause)

    return parse_key_set(key_document(*keys), refused=refused)


def make_verifier(clock: FakeClock, **changes: Any) -> JwtVerifier:
    """The checks of the test issuer; `changes` go into its rules."""
    rules: dict[str, Any] = {"name": "main", "issuer": ISSUER, "audience": (AUDIENCE,)}
    return JwtVerifier(rules=IssuerRules(**(rules | changes)), clock=clock)


def make_authenticator(
    clock: FakeClock,
    keys: KeySource | KeySet,
    events: list[Event],
    *,
    more: Sequence[Issuer] = (),
    api_keys: ApiKeys | None = None,
    allow_attempt: Callable[[str], bool] = lambda _address: True,
    note_failure: Callable[[str], None] = lambda _address: None,
    **rules: Any,
) -> Authenticator:
    """An authenticator of one issuer; `rules` change its IssuerRules."""
    source = FixedKeys(keys) if isinstance(keys, KeySet) else keys
    return Authenticator(
        realm="shop",
        issuers=[Issuer(make_verifier(clock, **rules), source), *more],
        api_keys=api_keys,
        clock=clock,
        emit=events.append,
        allow_attempt=allow_attempt,
        note_failure=note_failure,
    )


def bearer(token: bytes) -> Headers:
    """Request fields with this token."""
    return Headers([(b"host", b"api.example.com"), (b"authorization", b"Bearer " + token)])


def forge_of(key: ForgeKey, **changes: Any) -> Forge:
    """The workshop of the test issuer."""
    return Forge(key, issuer=ISSUER, audience=AUDIENCE, **changes)
