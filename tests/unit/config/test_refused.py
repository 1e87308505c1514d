"""Bad snippets and what is said about them: keys, types, words, units, features that are not built."""

from pathlib import Path

import pytest

from bff.config.blocks import later_keys
from bff.config.not_built import NOT_BUILT, NOT_BUILT_VALUES
from bff.config.places import places
from tests.support.config_files import SHOP, lines, problems

UPSTREAM = "upstreams: {orders: {endpoints: ['127.0.0.1:1'], %s}}"
ROUTE = SHOP + "---\nservice: a.B\nupstream: orders\nroutes:\n  - {rpc: A, %s}"
SOURCE = SHOP + "---\naggregate: GET /a\nsources: {x: {rpc: orders.Get, %s}}"


@pytest.mark.rule("control.CF4")
@pytest.mark.parametrize(
    ("text", "place", "path", "parts"),
    [
        # Unknown keys: the nearest here, or where the key belongs, or what is known.
        ("limts: {}", "1:1", "limts", ["unknown key `limts`", "did you mean `limits`?"]),
        (UPSTREAM % "time_out: 1s", "1:50", "upstreams.orders.time_out", ["mean `timeout`?"]),
        ("jwks: x", "1:1", "jwks", ["`jwks` belongs under `auth.issuers.NAME`"]),
        (ROUTE % "cache_ttl: 5s", "8:14", "routes[0].cache_ttl", ["unknown key `cache_ttl`"]),
        (ROUTE % "limit_header: always", "8:14", "routes[0].limit_header", ["`limit_headers`?"]),
        (ROUTE % "telemetry: {user_id: off}", "8:26", "routes[0].telemetry.user_id", ["unknown"]),
        (ROUTE % "with_: {}", "8:14", "routes[0].with_", ["unknown key `with_`"]),
        # Types.
        ("gateway: {name: 5}", "1:17", "gateway.name", ["expected text, got the number 5", "quotes"]),
        ("gateway: {workers: '2'}", "1:20", "gateway.workers", ["a whole number, got the text '2'"]),
        ("gateway: {workers: 1.5}", "1:20", "gateway.workers", ["a whole number"]),
        ("gateway: {workers: 0}", "1:20", "gateway.workers", ["must be at least 1, got the number 0"]),
        ("gateway: []", "1:10", "gateway", ["expected a block of keys, got a list"]),
        ("limits:\n", "1:1", "limits", ["`limits` has no value", "remove the key"]),
        (ROUTE % "limit: a", "8:21", "routes[0].limit", ["none, a list of policies; got the text 'a'"]),
        (ROUTE % "auth: {scopes: a}", "8:29", "routes[0].auth.scopes", ["a list", "write [a]"]),
        (ROUTE % "limit: [5]", "8:22", "routes[0].limit[0]", ["expected text, got the number 5"]),
        (SOURCE % "with: {a: [1]}", "6:42", "sources.x.with.a", ["an expression", "got a list"]),
        ("service: a.B\nupstream: b\nroutes: annotation", "3:9", "routes", ["mean `annotations`?"]),
        (ROUTE % "auth: {required: yes}", "8:31", "routes[0].auth.required", ["'yes'", "write true"]),
        # What templates and bodies invite, where quotes are left out.
        ("service: a.B\nupstream: b\nroutes:\n- rpc: A\n  body: *\n", "5:10", "", ['such as "*"']),
        ("routes: [{get: /v1/{id}, also: {}}]", "1:20", "", ["put a path with variables in quotes"]),
        ("service: a.B\n\tupstream: b\n", "2:1", "", ["indent with spaces"]),
        # Addresses.
        ("gateway: {listen: 8080}", "1:19", "gateway.listen", ["write 127.0.0.1:8080"]),
        ("gateway: {listen: ':8080'}", "1:19", "gateway.listen", ["0.0.0.0:8080 for every interface"]),
        ("upstreams: {a: {endpoints: ['http://h:1']}}", "1:29", "upstreams.a.endpoints[0]", ["write h:1;"]),
        ("upstreams: {a: {endpoints: [h]}}", "1:29", "upstreams.a.endpoints[0]", ["its port too"]),
        # Missing keys.
        ("service: a.B\nroutes: []", "1:1", "upstream", ["`upstream` is missing"]),
        (SHOP + "---\nservice: a.B\nupstream: orders\nroutes: [{get: /a}]", "7:10", "routes[0].rpc",
         ["`rpc` is missing"]),
        # Words.
        (UPSTREAM % "balance: rr", "1:59", "upstreams.orders.balance", ["one of p2c, round_robin"]),
        (UPSTREAM % "retry: of", "1:57", "upstreams.orders.retry", ["off, a block", "mean `off`?"]),
        (UPSTREAM % "retry: {codes: [UNAVAILBLE]}", "1:66", "upstreams.orders.retry.codes[0]",
         ["did you mean `UNAVAILABLE`?"]),
        ("format: 2", "1:9", "format", ["expected 1; got the number 2"]),
        # Figures.
        (UPSTREAM % "timeout: 5", "1:59", "upstreams.orders.timeout",
         ["expected a duration such as 250ms, got 5", "write 5s or 5ms"]),
        (UPSTREAM % "timeout: 0s", "1:59", "upstreams.orders.timeout", ["must be above 0s"]),
        ("caps: {body: 17MiB}", "1:14", "caps.body", ["must be at most 16MiB"]),
        ("caps: {body: 1024}", "1:14", "caps.body", ["a size such as 64KiB, got 1024", "1024B"]),
        ("tiers: {guest: 60}", "1:16", "tiers.guest", ["a rate such as 60/min, got 60"]),
        ("tiers: {guest: 60/fortnight}", "1:16", "tiers.guest", ["a rate such as 60/min"]),
        ("telemetry: {log: 5}", "1:18", "telemetry.log", ["a share such as 5%, got 5"]),
        ("telemetry: {log: some}", "1:18", "telemetry.log", ["got 'some'"]),
        # Shapes of texts.
        ("gateway: {listen: '8080'}", "1:19", "gateway.listen", ["an address such as 127.0.0.1:8080"]),
        ("gateway: {listen: 'a:99999'}", "1:19", "gateway.listen", ["the port must be 0 to 65535"]),
        ("gateway: {openapi: x}", "1:10", "gateway", ["`openapi` is a path or off"]),
        (ROUTE % "get: v1/a", "8:19", "routes[0].get", ["starts with /", "write /v1/a"]),
        (ROUTE % "get: /a, post: /b", "8:5", "routes[0]", ["one verb per rule", "under `also`"]),
        (ROUTE % "also: [{body: x}]", "8:21", "routes[0].also[0]", ["a rule needs a verb"]),
        ("upstreams: {a: {endpoints: [{host: b}]}}", "1:29", "upstreams.a.endpoints[0]",
         ["either `address`, or `host` and `port`"]),
        ("aggregate: FETCH /a\nsources: {}", "1:12", "aggregate", ["expected METHOD /path"]),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place_and_a_way_out(
    tmp_path: Path, text: str, place: str, path: str, parts: list[str]
) -> None:
    found = [line for line in lines(problems(tmp_path, text)) if f" {path}: " in line]

    assert len(found) == 1, lines(problems(tmp_path, text))
    assert found[0].startswith(place + " ")
    for part in parts:
        assert part in found[0]
    assert "validation error" not in found[0]


@pytest.mark.parametrize(
    ("text", "path", "feature"),
    [
        ("cache_store: {memory: 1MiB}", "cache_store", "response caching"),
        ("operations: {A: {}}", "operations", "registered GraphQL documents"),
        ("gateway: {egress: {deny: []}}", "gateway.egress", "egress rules"),
        ("gateway: {admin: {address: '127.0.0.1:1', token: env:A}}", "gateway.admin.token", "sign-in"),
        ("gateway: {forwarded: forwarded}", "gateway.forwarded", "RFC 7239"),
        ("control: {store: main}", "control.store", "publishing of versions"),
        ("stores: {a: {redis: ['redis://a']}}", "stores.a.redis", "several store addresses"),
        ("stores: {a: {redis: 'redis://a', mode: cluster}}", "stores.a.mode", "clusters"),
        ("upstreams: {a: {discover: {dns: x}}}", "upstreams.a.discover", "service discovery"),
        (UPSTREAM % "concurrency: adaptive", "upstreams.orders.concurrency", "adaptive concurrency"),
        (UPSTREAM % "health: {every: 1s}", "upstreams.orders.health", "health checks"),
        (UPSTREAM % "balance: {hash: user}", "upstreams.orders.balance", "this balancing"),
        (UPSTREAM % "hedge: {after: p95}", "upstreams.orders.hedge", "hedged calls"),
        (UPSTREAM % "outbound: {mode: mint}", "upstreams.orders.outbound.mode", "tokens to upstreams"),
        ("limits: {a: {quota: 5/month}}", "limits.a.quota", "quotas"),
        ("limits: {a: {rate: 1/s, cost: calls}}", "limits.a.cost", "computed costs"),
        ("limits: {a: {rate: 1/s, algorithm: fixed_window}}", "limits.a.algorithm", "algorithms"),
        ("auth: {sessions: {issuer: a}}", "auth.sessions", "browser sessions"),
        ("cors: {origins: []}", "cors", "CORS"),
        ("graphql: {documents: {mode: only}}", "graphql.documents", "trusted documents"),
        ("graphql: {expose: all}", "graphql.expose", "exposing of everything"),
        ("service: a.B\nupstream: b\ninternal: [a]", "internal", "internal fields"),
        (ROUTE % "cache: {ttl: 5s}", "routes[0].cache", "response caching"),
        (ROUTE % "auth: {any: [jwt, session]}", "routes[0].auth.any", "this credential"),
        ("upstream: orders\nroutes: [{get: /a, http: GET /b}]", "routes[0].http", "HTTP services"),
        (SOURCE % "on_error: {stale: 60s}", "sources.x.on_error.stale", "stale replies"),
        (SOURCE % "mask: [a]", "sources.x.mask", "field masks"),
        (SHOP + "---\naggregate: GET /a\nprogressive: false\nsources: {x: {rpc: orders.A}}",
         "progressive", "progressive replies"),
    ],
)  # fmt: skip
def test_what_is_not_built_is_refused_by_name(
    tmp_path: Path, text: str, path: str, feature: str
) -> None:
    found = [line for line in lines(problems(tmp_path, text)) if f"BFF-C016 {path}: " in line]

    assert len(found) == 1, lines(problems(tmp_path, text))
    assert "is not built in this version" in found[0] or "are not built" in found[0]
    assert feature in found[0]


def test_off_stays_allowed_where_only_off_is_built(tmp_path: Path) -> None:
    assert (
        problems(tmp_path, UPSTREAM % "health: off, ejection: off, hedge: off, admission: off")
        == []
    )


def test_a_missing_key_is_not_told_beside_its_misspelling(tmp_path: Path) -> None:
    """Follow-on problems are left out: what is wrong is the spelling alone."""
    for text in (
        ROUTE.replace("rpc: A", "rcp: A") % "id: a",
        "upstreams: {a: {discover: {dns: x}}}",
    ):
        assert len(problems(tmp_path, text)) == 1


def test_every_row_of_what_is_not_built_names_a_model_and_no_built_key() -> None:
    """A feature that gets built takes its row with it."""
    models = {parent.__name__ for place in places() for parent in place.model.__mro__}

    assert set(NOT_BUILT) | set(NOT_BUILT_VALUES) <= models
    for model in {place.model for place in places()}:
        built = {field.alias or name for name, field in model.model_fields.items()}
        assert not built & set(later_keys(model)), model
