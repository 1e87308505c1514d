"""Rules across keys and files: names, identity, limits, deadlines, listeners."""

from pathlib import Path

import pytest

from tests.support.config_files import SHOP, lines, loaded, problems

GATEWAY = "gateway: {protos: [p], %s}"
SERVICE = "service: a.B\nupstream: orders\nroutes:\n  - {rpc: A, %s}"
KEYS = "auth: {api_keys: {file: keys.yaml}}"
ISSUER = "auth: {issuers: {main: {issuer: 'https://id', audience: [a], %s}}}"
JOIN = "graphql: {joins: {Order: {rpc: Get, keys: a, into: b, entities: c, entity_key: d}}}"
AGGREGATE = "aggregate: GET /a\ndeadline: 800ms\nsources:\n  x: {rpc: orders.Get, %s}"


def only_problem(tmp_path: Path, documents: list[str], path: str, says: str) -> None:
    """There is this one, at its place, and no other."""
    found = lines(problems(tmp_path, *documents))

    assert len(found) == 1, found
    assert f" {path}: " in found[0]
    assert says in found[0]


@pytest.mark.rule("control.CF4")
@pytest.mark.parametrize(
    ("documents", "path", "says"),
    [
        ([SHOP, "service: a.B\nupstream: order"], "upstream", "no upstream `order`; did you mean `orders`?"),
        ([SHOP, SERVICE % "upstream: users"], "routes[0].upstream", "no upstream `users`; known: orders"),
        ([SHOP, SERVICE % "limit: [slow]"], "routes[0].limit[0]", "no policy `slow`; known: per-caller"),
        ([SHOP + "limit: [sloww]\nlimits: {slow: {rate: 1/s}}"], "limit[0]", "did you mean `slow`?"),
        ([SHOP + "limiter: {store: main}"], "limiter.store", "no store `main`; known: memory"),
        ([SHOP + ISSUER % "tier_map: {g: premum}"], "auth.issuers.main.tier_map.g", "`premium`?"),
        ([SHOP, AGGREGATE.replace("orders.", "order.") % ""], "sources.x.rpc", "mean `orders`?"),
        ([SHOP, AGGREGATE.replace("orders.", "") % ""], "sources.x.rpc", "write UPSTREAM.Get"),
        ([SHOP, AGGREGATE.replace("x:", "body:") % ""], "sources.body", "has a meaning in expressions"),
        ([SHOP, "service: a.B\nupstream: orders\ngraphql: {queries: {a: users.Get}}"],
         "graphql.queries.a.rpc", "no upstream `users`"),
        ([SHOP, "service: a.B\nupstream: orders\n" + JOIN],
         "graphql.joins.Order", "named Type.field"),
        (["upstreams: {a.b: {endpoints: ['127.0.0.1:1']}}"], "upstreams.a.b", "name of an upstream"),
    ],
)  # fmt: skip
def test_a_name_that_nothing_has_is_told_with_the_nearest(
    tmp_path: Path, documents: list[str], path: str, says: str
) -> None:
    only_problem(tmp_path, documents, path, says)


@pytest.mark.rule("edge.17")
@pytest.mark.parametrize(
    ("documents", "path", "says"),
    [
        ([ISSUER % "algorithms: []"], "auth.issuers.main.algorithms", "is empty"),
        ([ISSUER % "algorithms: [none]"], "auth.issuers.main.algorithms[0]", "without a signature"),
        ([ISSUER % "algorithms: [RS256, HS256]"], "auth.issuers.main.algorithms[1]", "shared secret"),
        ([ISSUER % "algorithms: [RS257]"], "auth.issuers.main.algorithms[0]", "mean `RS256`?"),
        ([ISSUER % "jwks: 'http://id/keys'"], "auth.issuers.main.jwks", "plain http"),
        ([ISSUER % "jwks: 'ftp://id'"], "auth.issuers.main.jwks", "https://"),
        (["auth: {issuers: {main: {issuer: 'http://id', audience: [a]}}}"],
         "auth.issuers.main.issuer", "plain http"),
        (["auth: {issuers: {main: {issuer: 'https://id'}}}"], "auth.issuers.main.audience", "audience"),
        (["upstreams: {a: {endpoints: ['127.0.0.1:1'], transport: grpcio, warm: true}}"],
         "upstreams.a.warm", "which `transport: grpcio` does without"),
        ([GATEWAY % "trusted_proxies: [0.0.0.0/0]"], "gateway.trusted_proxies[0]", "every address"),
        ([GATEWAY % "trusted_proxies: ['::/0']"], "gateway.trusted_proxies[0]", "every address"),
        ([GATEWAY % "listen: 127.0.0.1:9901"], "gateway.admin", "also a public listener"),
        ([GATEWAY % "listen: 0.0.0.0:9901"], "gateway.admin", "also a public listener"),
        ([GATEWAY % "admin: 0.0.0.0:9901"], "gateway.admin", "stays on loopback"),
        ([GATEWAY % "listen: ['a:1', 'a:1']"], "gateway.listen[1].address", "two listeners"),
        (["limits: {a: {by: [ip]}}"], "limits.a", "needs a `rate`"),
        (["limits: {a: {rate: 1/s, by: [tennant]}}"], "limits.a.by[0]", "mean `tenant`?"),
        (["limits: {a: {rate: 1/s, by: [region]}}"], "limits.a.by[0]", "not built"),
        (["limits: {a: {rate: 1/s, by: ['header:x']}}"], "limits.a.by[0]", "client's own word"),
        (["limits: {a: {rate: 1/s, by: [ip, ip]}}"], "limits.a.by[1]", "twice"),
        (["limits: {a: {rate: 5/s, cost: 6}}"], "limits.a.cost", "never fits: the burst is 5"),
        (["limits: {a: {rate: tier, cost: 61}}"], "limits.a.cost", "the burst of tier guest is 60"),
        (["limits: {a: {rate: 10001/s}}"], "limits.a.rate", "at most 10000/s"),
        (["limit: none"], "limit", "lifts the limits of one route"),
        (["auth: {default: required}"], "auth.default", "there is no provider"),
        ([SHOP, SERVICE % "auth: {required: true}"], "routes[0].auth.required", "nobody can call"),
        ([SHOP, SERVICE % "auth: {scopes: [a]}"], "routes[0].auth.scopes", "nobody can call"),
        ([SHOP + KEYS, SERVICE % "auth: {any: [jwt]}"], "routes[0].auth.any", "providers here: api_key"),
        ([SHOP + KEYS, SERVICE % "auth: {public: why, scopes: [a]}"], "routes[0].auth.public", "yet asks"),
        ([SHOP, SERVICE % "deadline: 31s"], "routes[0].deadline", "at most 30s, got 31s"),
        (["deadline: 40s"], "deadline", "at most 30s, got 40s"),
        ([SHOP, AGGREGATE % "timeout: 900ms"], "sources.x.timeout",
         "900ms is above the deadline of 800ms; the deadline is set at"),
        ([SHOP, AGGREGATE.replace("deadline: 800ms\n", "") % "timeout: 6s"], "sources.x.timeout",
         "the deadline is the default"),
        ([SHOP, "service: a.B\nupstream: orders\ngraphql: {queries: {a: {rpc: G, timeout: 6s}}}"],
         "graphql.queries.a.timeout", "above the deadline of 5s"),
        (["upstreams: {a: {endpoints: ['127.0.0.1:1'], retry: {budget: 51%}}}"],
         "upstreams.a.retry.budget", "above 50%"),
        ([SHOP, (AGGREGATE % "") + "\nreply: {problems: x}"], "reply.problems", "what is missing"),
        ([SHOP, "aggregate: GET /b\ncaps: {sources: 1}\nsources: {a: {rpc: orders.A}, b: {rpc: orders.A}}"],
         "sources", "2 sources; `caps.sources` allows 1"),
        (["upstreams: {a: {endpoints: ['127.0.0.1:1']}}", "service: a.B\nupstream: a"],
         "gateway", "there are no types"),
    ],
)  # fmt: skip
def test_what_must_not_run_is_refused(
    tmp_path: Path, documents: list[str], path: str, says: str
) -> None:
    only_problem(tmp_path, documents, path, says)


@pytest.mark.parametrize(
    "documents",
    [
        ["auth: {issuers: {main: {issuer: 'http://127.0.0.1:8081', audience: [a]}}}"],
        ["auth: {issuers: {main: {issuer: 'http://localhost:8081', audience: [a]}}}"],
        [GATEWAY % "listen: 127.0.0.1:0, admin: 127.0.0.1:0"],
        [GATEWAY % "listen: 10.0.0.1:9901"],
        ["limits: {a: {rate: 1/s, by: []}, b: {rate: 1/s, by: [user, 'header:x', 'claim:y']}}"],
        ["limits: {a: {rate: 5/s, burst: 6, cost: 6}}"],
        [SHOP + KEYS, SERVICE % "auth: {public: why}, limit: none"],
        [SHOP, AGGREGATE % "timeout: 800ms"],
        [SHOP, (AGGREGATE % "") + "\nproblems: none\nreply: {problems: x}"],
        [SHOP, SERVICE % "limit: [per-caller]"],
    ],
)
def test_what_may_run_is_not_refused(tmp_path: Path, documents: list[str]) -> None:
    assert lines(problems(tmp_path, *documents)) == []


def test_nine_policies_on_one_route_are_too_many(tmp_path: Path) -> None:
    names = ", ".join(f"p{n}" for n in range(9))
    limits = "limits: {" + ", ".join(f"p{n}: {{rate: 1/s}}" for n in range(9)) + "}"

    found = lines(problems(tmp_path, SHOP + limits, SERVICE % f"limit: [{names}]"))

    assert len(found) == 1
    assert "9 policies hold here; at most 8" in found[0]


def test_silence_about_identity_and_limits_is_said_out_loud(tmp_path: Path) -> None:
    said = [warning.message for warning in loaded(tmp_path, SHOP).warnings]

    assert "no identity provider is configured: routes are open" in said
    assert "nothing is said about limits: the default guest bucket of 60/min applies" in said
    assert "limits are counted in memory: each node counts for itself" in said


def test_nothing_is_said_when_everything_is_set(tmp_path: Path) -> None:
    document = loaded(
        tmp_path,
        SHOP
        + KEYS
        + "\ntiers: {guest: 1/s}\nstores: {a: {redis: 'redis://a'}}\nlimiter: {store: a}",
    )

    assert document.warnings == ()


def test_clear_text_beyond_this_machine_is_a_warning_unless_a_mesh_encrypts(tmp_path: Path) -> None:
    for tls, count in (("off", 1), ("mesh", 0), ("{name: a}", 0)):
        document = loaded(tmp_path, f"upstreams: {{a: {{endpoints: ['10.0.0.1:1'], tls: {tls}}}}}")
        assert sum("clear text" in warning.message for warning in document.warnings) == count
