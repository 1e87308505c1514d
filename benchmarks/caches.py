"""What the bounded caches of one worker hold when they are full, in MB as tracemalloc counts.

`python -m benchmarks.caches` fills each to its bound with entries of an ordinary size, or of the largest
that it takes, and prints Markdown. Nothing is asserted.
"""

import argparse
import hashlib
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from graphql import build_schema
from hpack import Encoder

from bff.auth.identity import compile_identity
from bff.auth.key_set import KeySet
from bff.auth.token_cache import ENTRIES, REFUSED_ENTRIES, IssuerState, TokenCache
from bff.core.exchange import Principal
from bff.core.headers import Headers
from bff.core.ports import SystemClock
from bff.fronts.known_fields import learn, learn_with_body
from bff.gql.documents import DocumentCache
from bff.gql.limits import Caps
from bff.ratelimit.address_buckets import AddressBuckets
from bff.ratelimit.bucket import Bucket, Check
from bff.ratelimit.limits_compiler import compile_limits
from bff.ratelimit.memory_store import MemoryStore
from bff.ratelimit.policies import Policy
from bff.wire.http2.headers import FIRST_BLOCK, BlockMemo, MemoDecoder

__all__ = ["main"]

_MB: Final = 1e6
# What a listener takes at most; most connections send no bodies.
_CONNECTIONS: Final = 4_096
_FIELDS: Final = (
    (b"host", b"api.example.com"),
    (b"user-agent", b"Shop/7.2 (Android 15; Pixel 9) okhttp/4.12"),
    (b"accept", b"application/json"),
    (b"accept-language", b"de-DE,de;q=0.9,en;q=0.8"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"x-request-id", b"0f8fad5b-d9cb-469f-a165-70867728950e"),
)
_SCHEMA: Final = f"type Query {{ a: Query {' '.join(f'f{n}: Int' for n in range(600))} }}"


def main() -> None:
    """Fill and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.caches", description=__doc__)
    parser.parse_args()
    print("| cache | filled with | entries | MB |\n|---|---|---:|---:|")
    for name, content, fill in _CACHES:
        with _counted() as total:
            kept, entries = fill()
            print(f"| {name} | {content} | {entries:,} | {total() / _MB:.1f} |")
            del kept


@contextmanager
def _counted() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def _principal(number: int) -> Principal:
    claims = {
        "iss": f"https://id.example.com/{number}"[:22],
        "sub": f"user-{number:08}",
        "aud": ["https://api.example.com"],
        "exp": 1_700_000_000 + number,
        "iat": 1_699_999_000 + number,
        "jti": hashlib.sha256(b"%d" % number).hexdigest()[:32],
        "scope": "orders.read orders.write profile",
        "client_id": "mobile",
    }
    return Principal(
        kind="jwt",
        sub=f"user-{number:08}",
        tenant=f"tenant-{number % 100}",
        client_id="mobile",
        scopes=frozenset({"orders.read", "orders.write", "profile"}),
        claims=claims,
        expires_unix_s=2e9,
        provider="main",
    )


def _tokens(routes: int) -> tuple[Any, int]:
    cache = TokenCache(clock=SystemClock())
    keys = KeySet([])
    cache.bind({"main": IssuerState(b"policy", lambda: keys)})
    policy = Policy(name="each", bucket=Bucket(100, 1.0), by=("user", "route"))
    limits = [
        compile_limits([policy], route_id=f"r{n}", upstream="u", service="s", method="GET")
        for n in range(routes)
    ]
    headers = Headers()
    for number in range(ENTRIES):
        principal = _principal(number)
        for each in limits:
            each.checks(principal, "192.0.2.1", headers)
        digest = hashlib.sha256(b"%d" % number).digest()
        cache.put(digest, principal, issuer="main", thumbprint="t", keys=keys)
    return (cache, limits), ENTRIES


def _refused() -> tuple[Any, int]:
    cache = TokenCache(clock=SystemClock())
    for number in range(REFUSED_ENTRIES):
        digest = hashlib.sha256(b"%d" % number).digest()
        cache.put_refusal(digest, f"exp is {number} s ago", issuer="main")
    return cache, REFUSED_ENTRIES


def _identities() -> tuple[Any, int]:
    pairs_of = compile_identity(("x-user-id", "x-tenant-id", "x-scopes"))
    principals = 4_096
    for number in range(principals):
        pairs_of(_principal(number))
    return pairs_of, principals


def _addresses() -> tuple[Any, int]:
    buckets = AddressBuckets(bucket=Bucket(100, 1.0, 200), clock=SystemClock())
    for number in range(70_000):
        buckets.allow(f"198.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    return buckets, len(buckets)


def _memory_buckets() -> tuple[Any, int]:
    store = MemoryStore(clock=SystemClock())
    bucket = Bucket(1, 3_600.0)
    for number in range(131_072):
        store.take(
            [Check("each", f"each|14:mainuser-{number:08}12:orders.Get{number % 50:02}", bucket)]
        )
    return store, len(store)


def _blocks(value_bytes: int) -> tuple[Any, int]:
    memo = BlockMemo()
    decoder = MemoDecoder(memo)
    encoder = Encoder()
    encoder.header_table_size = 0
    decoder.decode(FIRST_BLOCK + encoder.encode([(":status", "200")]))
    for number in range(4_090):
        text = f"{number:06}".ljust(value_bytes, "x")
        raw = encoder.encode(
            [(":status", "200"), ("content-type", "application/grpc"), ("x-a", text)]
        )
        for _ in range(2):
            decoder.decode(raw)
    return memo, len(memo)


def _known(*, bodies: bool) -> tuple[Any, int]:
    kept: list[Any] = []
    for number in range(_CONNECTIONS):
        raw = [*_FIELDS, (b"authorization", b"Bearer " + b"%06d" % number + b"x" * 800)]
        method = b"POST" if bodies else b"GET"
        fields = [*raw, (b"content-length", b"2")] if bodies else raw
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
        data = method + b" /v1/orders HTTP/1.1\r\n" + lines + b"\r\n" + (b"{}" if bodies else b"")
        if not bodies:
            kept.append(learn(data, Headers(fields)))
            continue
        known = learn_with_body(data, Headers(fields))
        assert known is not None
        for length in range(3, 67):
            other = data.replace(b"length: 2", b"length: %d" % length)[:-2] + b"x" * length
            assert known.read(other)
        kept.append(known)
    return kept, _CONNECTIONS


def _documents(fields: int) -> tuple[Any, int]:
    caps = Caps()
    cache = DocumentCache(schema=build_schema(_SCHEMA), caps=caps)
    for number in range(1_000):
        names = " ".join(f"f{n}" for n in range(fields))
        cache.take(f"query Q{number} {{ a {{ {names} }} }}", introspection=True)
    return cache, len(cache._good)  # noqa: SLF001 - a benchmark may look


_CACHES: Final[tuple[tuple[str, str, Callable[[], tuple[Any, int]]], ...]] = (
    ("verified tokens", "8 claims each, no buckets by route", lambda: _tokens(0)),
    (
        "verified tokens",
        "the same, each caller on 2 routes with buckets of their own",
        lambda: _tokens(2),
    ),
    ("verified tokens", "the same, on as many routes as are kept", lambda: _tokens(6)),
    ("refused tokens", "a cause", _refused),
    ("identity metadata", "3 providers, callers included", _identities),
    ("addresses of the flood guard", "IPv4", _addresses),
    ("buckets in memory (one worker)", "keys of 40 characters", _memory_buckets),
    ("header blocks of replies", "20 octets each", lambda: _blocks(20)),
    ("header blocks of replies", "1,000 octets each", lambda: _blocks(1_000)),
    ("fields of connections", "GET, a token of 800 octets", lambda: _known(bodies=False)),
    (
        "fields of connections",
        "POST, as many lengths of bodies as are kept",
        lambda: _known(bodies=True),
    ),
    ("GraphQL documents", "10 fields", lambda: _documents(10)),
    ("GraphQL documents", "480 fields", lambda: _documents(480)),
)


if __name__ == "__main__":
    main()
