"""Every token attack against the real authenticator, whose keys come over a real socket.

Around each attack a legitimate token must pass; each refusal must be the same 401, make no fetch
(one for an unknown key) and put no text of the token into the log.
"""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from bff.auth.access import AccessRules, compile_access
from bff.auth.authenticator import Authenticator, Issuer
from bff.auth.jwks import FixedKeys, JwksSource
from bff.auth.jwks_fetch import HttpxFetch
from bff.auth.jwt import IssuerRules, JwtVerifier
from bff.auth.key_set import secret_key_set
from bff.core.errors import ClientError, DeniedError, GatewayError, LimitedError
from bff.core.events import AuthFailed, Event, KeysFetched
from bff.core.exchange import Principal
from bff.core.headers import Headers
from tests.support.auth_world import AUDIENCE, FakeClock, bearer, key_document, seeded
from tests.support.fake_idp import FakeIdp, Scripted
from tests.support.token_forge import Forge, b64, compact, ec_key, hs_sign, rsa_key

NOW = 1_800_000_000
RSA, EC, EC384 = rsa_key(kid="r1", alg="RS256"), ec_key(kid="e1"), ec_key("P-384", kid="e3")
OTHER = ec_key(kid="o1")
STRANGER, STRANGER_RSA = ec_key(kid="e1"), rsa_key(kid="r1")
ENCRYPTION, SIGN_ONLY = ec_key(kid="enc", use="enc"), ec_key(kid="sgn", key_ops=["sign"])
SECRET = b"an hmac secret of thirty-two bytes"
# One for all tests: reading the system's certificates is the dearest part of a world.
TLS = ssl.create_default_context()
MARK = "claim-text-that-must-not-be-logged"


class World:
    """Three issuers: `main` and `other` with fetched keys, `legacy` with a shared secret."""

    def __init__(self, idp: FakeIdp, fetch: HttpxFetch) -> None:
        self.idp = idp
        self.clock = FakeClock(NOW)
        self.events: list[Event] = []
        self.failures: list[str] = []
        self.attempts_left = 1_000_000
        self.main = self._source("main", fetch)
        self.other = self._source("other", fetch)
        self.rs = Forge(RSA, issuer=self.issuer("main"), audience=AUDIENCE, alg="RS256")
        self.es = Forge(EC, issuer=self.issuer("main"), audience=AUDIENCE)
        self.foreign = Forge(OTHER, issuer=self.issuer("other"), audience=AUDIENCE)
        self.legacy = Forge(EC, issuer=self.issuer("legacy"), audience=AUDIENCE)
        self.auth = Authenticator(
            issuers=[
                Issuer(self._verifier("main", "RS256", "ES256", "ES384"), self.main),
                Issuer(self._verifier("other", "ES256"), self.other),
                Issuer(self._verifier("legacy", "HS256"), FixedKeys(secret_key_set(SECRET))),
            ],
            clock=self.clock,
            emit=self.events.append,
            allow_attempt=lambda _address: len(self.failures) < self.attempts_left,
            note_failure=self.failures.append,
        )

    def issuer(self, name: str) -> str:
        return f"{self.idp.url}/{name}"

    def _source(self, name: str, fetch: HttpxFetch) -> JwksSource:
        return JwksSource(
            name=name,
            issuer=self.issuer(name),
            fetch=fetch,
            clock=self.clock,
            random=seeded(),
            emit=self.events.append,
        )

    def _verifier(self, name: str, *algorithms: str) -> JwtVerifier:
        rules = IssuerRules(
            name=name,
            issuer=self.issuer(name),
            audience=(AUDIENCE,),
            algorithms=algorithms,
            tenant_claim="tenant_id",
        )
        return JwtVerifier(rules=rules, clock=self.clock)

    def script(self, name: str, *keys: Any) -> None:
        url = self.issuer(name)
        metadata = {"issuer": url, "jwks_uri": f"{url}/keys"}
        well_known = f"/{name}/.well-known/openid-configuration"
        self.idp.replies[well_known] = Scripted(body=json.dumps(metadata).encode())
        self.idp.replies[f"/{name}/keys"] = Scripted(body=key_document(*keys))

    async def ask(self, token: bytes) -> Principal:
        return await self.auth.authenticate(bearer(token), "192.0.2.1")

    async def refused(self, token: bytes) -> DeniedError:
        with pytest.raises(DeniedError) as error:
            await self.ask(token)
        return error.value

    async def passes(self) -> None:
        """The control of every attack: legitimate tokens of each issuer are taken."""
        for token in (self.rs.token(), self.es.token(), self.foreign.token()):
            assert (await self.ask(token)).sub == "u-1"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with FakeIdp.run() as idp, HttpxFetch(tls=TLS) as fetch:
        made = World(idp, fetch)
        made.script("main", RSA, EC, EC384, ENCRYPTION, SIGN_ONLY)
        made.script("other", OTHER)
        assert await made.main.refresh()
        assert await made.other.refresh()
        yield made


Tokens = Callable[[World], Iterable[bytes]]


def spoiled(segment: int, change: Callable[[bytes], bytes]) -> Tokens:
    """A good token with one segment changed as text."""

    def tokens(world: World) -> list[bytes]:
        parts = world.es.token().split(b".")
        parts[segment] = change(parts[segment])
        return [b".".join(parts)]

    return tokens


def headers(*changes: dict[str, Any]) -> Tokens:
    """Properly signed tokens whose header was changed."""
    return lambda world: [world.es.token(header=change) for change in changes]


def claims(*changes: dict[str, Any]) -> Tokens:
    """Properly signed tokens whose claims were changed."""
    return lambda world: [world.es.token(claims=change) for change in changes]


def each_header(name: str, *values: Any) -> Tokens:
    """Properly signed tokens, with each of these values in one header member."""
    return headers(*[{name: value} for value in values])


def each_claim(name: str, *values: Any) -> Tokens:
    """Properly signed tokens, with each of these values in one claim."""
    return claims(*[{name: value} for value in values])


def raw_claims(world: World, *texts: str) -> list[bytes]:
    """Properly signed tokens with claims that json.dumps would not write."""
    good = json.dumps(world.es.claims())[1:-1]
    return [world.es.token(claims="{" + text.replace("GOOD", good) + "}") for text in texts]


def with_exp(world: World, *texts: str) -> list[bytes]:
    rest = json.dumps(world.es.claims(exp=...))[1:-1]
    return [world.es.token(claims="{" + f'"exp": {text}, {rest}' + "}") for text in texts]


def unspared(segment: bytes) -> bytes:
    """The same bytes, with a spare bit of the last character set."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + bytes([alphabet[alphabet.index(segment[-1]) + 1]])


def confused(world: World) -> list[bytes]:
    """J5, J6: the public key, in each of its forms, as an HMAC secret."""
    forges = [(world.rs, RSA), (world.es, EC)]
    return [
        forge.hmac_token(text, alg=alg)
        for forge, key in forges
        for text in key.public_texts()
        for alg in ("HS256", "HS384", "HS512")
    ]


def json_serialised(world: World) -> list[bytes]:
    head, body, signature = world.es.token().decode().split(".")
    flat = {"protected": head, "payload": body, "signature": signature}
    general = {"payload": body, "signatures": [{"protected": head, "signature": signature}]}
    return [json.dumps(one).encode() for one in (flat, general)]


def odd_ecdsa(world: World) -> list[bytes]:
    """J26: zero, order, DER, short, long, swapped."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    good = base64.urlsafe_b64decode(world.es.token().split(b".")[2] + b"==")
    n = order.to_bytes(32, "big")
    odd = [bytes(64), bytes(32) + good[32:], good[:32] + bytes(32), n + n, b"\xff" * 64]
    odd += [good[:-1], good + b"\0", good[32:] + good[:32], b"0E\x02" + good, b"\0"]
    return [world.es.token(signature=signature) for signature in odd]


def encrypted(_world: World) -> list[bytes]:
    """J23, J24: five segments, as a JWE has, with headers that ask for dear or weak things."""
    heads: list[dict[str, Any]] = [
        {"alg": "RSA1_5", "enc": "A128GCM"},
        {"alg": "dir", "enc": "A256GCM", "zip": "DEF"},
        {"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 2**31, "p2s": "AAAA"},
    ]
    five = [b".".join([b64(json.dumps(head).encode()).encode(), *[b"AAAA"] * 4]) for head in heads]
    return five + [b".".join([one.split(b".")[0], b"AAAA", b"AAAA"]) for one in five]


def secrets(world: World) -> list[bytes]:
    """J7: an empty, a NUL and common secrets, against both kinds of issuer."""
    guesses = [b"\0", b"secret", b"changeme", b"password", SECRET[:-1], SECRET + b"\0"]
    return [forge.hmac_token(guess) for forge in (world.es, world.legacy) for guess in guesses] + [
        world.legacy.token(header={"alg": "HS256"}, signature=b"\0" * 32),
        world.legacy.hmac_token(SECRET, alg="HS512"),
        world.legacy.token(),
    ]


ATTACKS: dict[str, Tokens] = {
    "J1 alg none": lambda world: [
        compact(json.dumps(world.es.header(alg=alg)), json.dumps(world.es.claims()), sig)
        for alg in ("none", "None", "NONE", "nOnE", " none", "none\0", "")
        for sig in (b"", b"x")
    ],
    "J2 alg no text": each_header("alg", ..., None, ["ES256"], 256, {}),
    "J3 segments": lambda world: [
        change(world.es.token())
        for change in (
            lambda token: token.split(b".")[0],
            lambda token: b".".join(token.split(b".")[:2]),
            lambda token: token + b".",
            lambda token: token + b".AAAA",
            lambda token: token + b".AAAA.AAAA",
            lambda token: b"." + token,
            lambda token: b"..".join(token.split(b".")[:2]),
            lambda token: b"..",
            lambda token: b".",
            lambda token: token[: token.rindex(b".") + 1],
        )
    ],
    "J4 changed header": lambda world: [
        b".".join([b64(json.dumps(world.es.header(x=1)).encode()).encode(), *world.es.token().split(b".")[1:]])
    ],
    "J4 changed payload": lambda world: [
        b".".join([
            world.es.token().split(b".")[0],
            b64(json.dumps(world.es.claims(sub="admin")).encode()).encode(),
            world.es.token().split(b".")[2],
        ])
    ],
    "J5 J6 public key as secret": confused,
    "J7 weak secrets": secrets,
    "J8 near algorithms": lambda world: [
        *each_header("alg", "ES257", "es256", "ES256 ", "ES256K", "ES512", "EdDSA", "HS256")(world),
        world.rs.token(header={"alg": "RS512"}, alg="RS512"),
        world.rs.token(header={"alg": "PS256"}, alg="PS256"),
    ],
    "J9 alg against the key": lambda world: [
        world.es.token(header={"alg": "RS256"}),
        world.rs.token(header={"alg": "ES256"}),
        world.es.token(header={"alg": "ES384"}),
        world.es.token(header={"alg": "ES256", "kid": "e3"}, key=EC384),
        world.es.token(header={"kid": "r1"}),
    ],
    "J10 jwk": lambda world: [
        world.es.token(header={"jwk": STRANGER.jwk()}, key=STRANGER),
        world.es.token(header={"jwk": EC.jwk()}),
    ],
    "J11 jku x5u": lambda world: [
        world.es.token(header={name: url}, key=STRANGER)
        for name in ("jku", "x5u")
        for url in (
            f"{world.idp.url}/evil", "file:///etc/passwd", "http://169.254.169.254/",
            "https://u@id.example.com/", 5,
        )
    ],
    "J12 x5c": headers({"x5c": ["MIIB"]}, {"x5c": []}),
    "J13 J14 odd kid": each_header(
        "kid",
            "../../../dev/null\0", "a\r\nb", "\0", "", "k" * 257, "k" * 10_000, "é", 5, None, ["e1"], {"a": 1}, True,
    ),
    "J15 kid of another issuer": lambda world: [
        world.foreign.token(header={"kid": "e1"}, key=EC),
        world.es.token(key=STRANGER),
        world.rs.token(key=STRANGER_RSA),
    ],
    "J17 no kid and several keys": lambda world: [
        world.rs.token(header={"kid": ...}, key=STRANGER_RSA),
        world.es.token(header={"kid": ...}, key=OTHER),
    ],
    "J22 crit": each_header("crit", [], ["exp"], ["x"], "exp", None, ["b64"], ["crit"]),
    "J23 J24 encrypted": encrypted,
    "J23 JWE members in a JWS": headers({"enc": "A256GCM"}, {"zip": "DEF"}),
    "J25 b64": lambda world: [
        world.es.token(header={"b64": False, "crit": ["b64"]}),
        world.es.token(header={"b64": False}),
        world.es.token(header={"b64": True}),
    ],
    "J26 ecdsa": odd_ecdsa,
    "J27 padding": spoiled(1, lambda segment: segment + b"="),
    "J27 white space": spoiled(0, lambda segment: segment[:8] + b"\n" + segment[8:]),
    "J27 other alphabet": spoiled(2, lambda segment: b"+/" + segment[2:]),
    "J27 foreign characters": spoiled(0, lambda segment: segment + b"\xc3\xa9"),
    "J27 spare bits": lambda world: [
        b".".join([*token.split(b".")[:2], unspared(token.split(b".")[2])])
        for token in [world.es.token()]
    ],
    "J28 member twice": lambda world: [
        *raw_claims(world, '"sub": "admin", GOOD', 'GOOD, "sub": "admin"', 'GOOD, "x": {"a": 1, "a": 2}'),
        world.es.token(header='{"alg": "none", "alg": "ES256", "typ": "at+jwt", "kid": "e1"}'),
        world.es.token(header='{"alg": "ES256", "\\u0061lg": "none", "typ": "at+jwt", "kid": "e1"}'),
    ],
    "J28 no strict JSON": lambda world: [
        *raw_claims(world, 'GOOD, "x": NaN', 'GOOD, "x": Infinity', "GOOD,", 'GOOD, "x": 01', "GOOD} {"),
        world.es.token(claims="\ufeff" + json.dumps(world.es.claims())),
        world.es.token(claims="[]"),
        world.es.token(claims="null"),
        world.es.token(header='"ES256"'),
    ],
    "J29 JSON serialisation": json_serialised,
    "J30 exp": lambda world: [
        *each_claim("exp", NOW, NOW - 1, ..., None, f"{NOW + 60}", True, False, [NOW + 60], {}, -1, 0)(world),
        *with_exp(world, "NaN", "Infinity", "-Infinity", "1e999", str(2**63), str(2**53 + 1), "1" * 5000),
    ],
    "J31 nbf and iat ahead": claims({"nbf": NOW + 61}, {"iat": NOW + 61}, {"nbf": "0"}, {"iat": None}, {"nbf": True}),
    "J32 iss": lambda world: [
        world.es.token(claims={"iss": iss})
        for good in [world.issuer("main")]
        for iss in (
            ..., None, "", good[:-1], good + "/", good.upper(), [good], good + "\0", " " + good,
            world.issuer("other"), 5,
        )
    ],
    "J33 aud": each_claim(
        "aud",
            ..., None, "", "https://other.example.com", AUDIENCE + "/", AUDIENCE[:-1], AUDIENCE.upper(),
            [], [AUDIENCE + "/"], {AUDIENCE: 1}, [[AUDIENCE]], [5, AUDIENCE], 5,
    ),
    "J34 other kinds of token": each_header(
        "typ", ..., None, "JWT", "id_token", "logout+jwt", "dpop+jwt", "secevent+jwt", 5, ["at+jwt"]
    ),
    "J35 sub": each_claim(
        "sub", ..., None, "", 5, ["u-1"], {}, "a\r\nb", "a\0", "s" * 256, "\x85", "\ud800"
    ),
    "J37 tenant of another form": each_claim(
        "tenant_id", "", "a/b", "a" * 65, ["acme"], 5, "a\r\nb"
    ),
    "J38 too large": lambda world: [
        world.es.token(claims={"x": "y" * 8192}),
        world.es.token(header={"x": "y" * 2048}),
        b"A" * 1_000_000,
        b"." * 10_000,
    ],
    "J38 too deep": lambda world: [
        world.es.token(claims={"x": json.loads("[" * depth + "]" * depth)}) for depth in (8, 100)
    ] + raw_claims(world, 'GOOD, "x": ' + "[" * 2500 + "]" * 2500),
    "J42 nested token": lambda world: [
        compact(json.dumps(world.es.header(cty="JWT")), world.es.token(), b"x"),
        world.es.token(claims=json.dumps(world.es.token().decode())),
    ],
    "J43 bound token": claims({"cnf": {"jkt": "x"}}, {"cnf": {"x5t#S256": "x"}}, {"cnf": {}}, {"cnf": None}),
}  # fmt: skip

# These hold a token of one issuer with a key id of another: an unknown kid, which may fetch once.
FETCHING = frozenset({"J15 kid of another issuer", "J32 iss"})


@pytest.mark.rule("edge.8.1")
@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_the_same_401_and_fetches_nothing(world: World, name: str) -> None:
    await world.passes()
    fetches = world.idp.hits.total()
    tokens = list(ATTACKS[name](world))

    errors = [await world.refused(token) for token in tokens]

    assert errors
    outside = {(error.status, error.reason, error.public, error.headers) for error in errors}
    assert len(outside) == 1
    assert errors[0].status == 401
    assert b'error="invalid_token"' in errors[0].headers[0][1]
    assert world.idp.hits.total() - fetches == (name in FETCHING)
    assert len(world.failures) == len(tokens)
    await world.passes()


async def test_a_legitimate_odd_token_passes(world: World) -> None:
    """The other side of the table: what looks odd and is right."""
    for token in (
        world.es.token(claims={"aud": ["x", AUDIENCE]}),
        world.es.token(claims={"x": json.loads("[" * 7 + "]" * 7)}),
        world.es.token(claims={"exp": NOW + 0.5, "tenant_id": "acme"}),
        world.es.token(header={"typ": "application/AT+jwt", "x5t": "t", "unknown": [1]}),
        world.es.token(header={"alg": "ES384", "kid": "e3"}, key=EC384, alg="ES384"),
        world.rs.token(header={"kid": ...}),
        world.legacy.hmac_token(SECRET, kid=...),
        world.foreign.token(header={"kid": ...}),
    ):
        assert (await world.ask(token)).sub == "u-1"


async def test_no_text_of_a_token_reaches_the_log(world: World) -> None:
    """A mark in each place that a stranger writes is found in no event."""
    tokens = [
        world.es.token(claims={"sub": MARK, "exp": NOW}),
        world.es.token(claims={"iss": MARK}),
        world.es.token(claims={"aud": MARK}),
        world.es.token(claims={"tenant_id": MARK + "/"}),
        world.es.token(header={"alg": MARK}),
        world.es.token(header={"typ": MARK}),
        world.es.token(header={"kid": MARK}),
        world.es.token(header={MARK: "x", "crit": [MARK]}),
        world.es.token(claims=MARK),
        MARK.encode(),
    ]

    for token in tokens:
        assert MARK not in str(await world.refused(token))

    assert len([event for event in world.events if isinstance(event, AuthFailed)]) == len(tokens)
    assert MARK not in repr(world.events)


@pytest.mark.parametrize("kid", ["gone", "../e1", "e1' OR '1'='1", "$(id)", "o1"])
async def test_an_unknown_kid_is_401_after_one_fetch_at_most(world: World, kid: str) -> None:
    """J16, J13, J14, J15: whatever the kid says, it is compared and never acted on."""
    fetches = world.idp.hits.total()

    for number in range(5):
        await world.refused(world.es.token(header={"kid": kid}, claims={"jti": str(number)}))

    assert world.idp.hits.total() - fetches <= 1
    assert set(world.idp.hits) <= {
        f"/{name}/{path}"
        for name in ("main", "other")
        for path in ("keys", ".well-known/openid-configuration")
    }
    await world.passes()


@pytest.mark.parametrize("kid", ["enc", "sgn"])
async def test_a_key_that_is_not_for_verifying_verifies_nothing(world: World, kid: str) -> None:
    """J19."""
    key = ENCRYPTION if kid == "enc" else SIGN_ONLY

    assert (await world.refused(world.es.token(header={"kid": kid}, key=key))).status == 401


OFFICIAL = [RSA, EC, EC384]


@pytest.mark.rule("edge.8.2")
@pytest.mark.parametrize(
    ("reply", "result"),
    [
        pytest.param(Scripted(body=key_document(*OFFICIAL, STRANGER)), "kid_clash", id="J18"),
        pytest.param(Scripted(body=b"<html>login</html>"), "not_json", id="J20 html"),
        pytest.param(Scripted(body=key_document(*[STRANGER] * 10_000)), "too_large", id="J20 10k"),
        pytest.param(Scripted(body=b" " * 5_000_000), "too_large", id="J20 5 MB"),
        pytest.param(Scripted(body=key_document(ENCRYPTION)), "no_keys", id="J20 none usable"),
        pytest.param(Scripted(body=key_document(rsa_key(1024))), "no_keys", id="J21"),
        pytest.param(Scripted(302, headers=(("location", "/evil"),)), "status", id="redirect"),
        pytest.param(Scripted(500), "status", id="500"),
        pytest.param(
            Scripted(body=b"x", headers=(("content-encoding", "gzip"),)), "coded", id="gzip"
        ),
    ],
)
async def test_a_bad_key_set_changes_nothing(world: World, reply: Scripted, result: str) -> None:
    """J18, J20, J21: the last good set stays, and the stranger's key does not get in."""
    world.idp.replies["/main/keys"] = reply

    assert not await world.main.refresh()

    fetched = [event.result for event in world.events if isinstance(event, KeysFetched)]
    assert fetched[-1] == result
    assert world.idp.hits["/evil"] == 0
    await world.passes()
    assert (await world.refused(world.es.token(key=STRANGER))).status == 401


async def test_a_provider_that_is_gone_changes_nothing_until_its_keys_are_too_old(
    world: World,
) -> None:
    world.idp.replies = {}
    assert not await world.main.refresh()
    await world.passes()
    world.clock.advance(24 * 3600 + 1)
    token = Forge(
        EC, issuer=world.issuer("main"), audience=AUDIENCE, unix_s=world.clock.wall_s
    ).token()

    with pytest.raises(GatewayError) as error:
        await world.ask(token)

    assert (error.value.status, error.value.retry_after_s) == (503, 5)


def test_certificates_are_always_checked() -> None:
    lax = ssl.create_default_context()
    lax.check_hostname = False
    lax.verify_mode = ssl.CERT_NONE

    with pytest.raises(ValueError, match="certificates"):
        HttpxFetch(tls=lax)


async def test_an_unchanged_set_is_asked_for_by_its_etag(world: World) -> None:
    world.idp.replies["/main/keys"] = Scripted(body=key_document(EC), headers=(("etag", '"v1"'),))
    await world.main.refresh()
    world.idp.replies["/main/keys"] = Scripted(304)

    assert await world.main.refresh()

    assert world.idp.asked[-1]["if-none-match"] == '"v1"'
    assert (await world.ask(world.es.token())).sub == "u-1"


async def test_a_key_that_left_the_set_is_dead_though_its_token_is_cached(world: World) -> None:
    """J41."""
    token = world.es.token()
    await world.ask(token)
    assert world.auth.authenticate_now(bearer(token), "") is not None
    world.script("main", RSA)

    await world.main.refresh()

    assert (await world.refused(token)).reason == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "scope",
    [["orders.write"], "orders.write2", "Orders.Write", "orders.write,x", "x\torders.write", 5],
)
async def test_a_scope_that_only_looks_right_is_403(world: World, scope: Any) -> None:
    """J36."""
    stage = compile_access(required=True, rules=[AccessRules(scopes=("orders.write",))])
    stage.check(await world.ask(world.es.token(claims={"scope": "a orders.write"})), dict)

    principal = await world.ask(world.es.token(claims={"scope": scope}))

    with pytest.raises(DeniedError) as error:
        stage.check(principal, dict)
    assert (error.value.status, error.value.reason) == (403, "INSUFFICIENT_SCOPE")


@pytest.mark.parametrize("tenant", ["other", "ACME", "acme.", ...])
async def test_a_tenant_other_than_the_routes_is_403(world: World, tenant: Any) -> None:
    """J37."""
    rules = AccessRules(tenant=lambda tree: tree["path"]["tenant"])
    stage = compile_access(required=True, rules=[rules])

    def scope() -> dict[str, Any]:
        return {"path": {"tenant": "acme"}}

    stage.check(await world.ask(world.es.token(claims={"tenant_id": "acme"})), scope)

    principal = await world.ask(world.es.token(claims={"tenant_id": tenant}))

    with pytest.raises(DeniedError) as error:
        stage.check(principal, scope)
    assert error.value.status == 403


async def test_two_credentials_are_400_and_other_schemes_401(world: World) -> None:
    """J39. What stands in query, cookie or body is not read at all."""
    token = world.es.token()
    both = Headers([*bearer(token).raw, (b"x-api-key", b"k")])

    with pytest.raises(ClientError) as error:
        await world.auth.authenticate(both, "")
    assert error.value.status == 400
    for scheme in (
        b"Token ",
        b"JWT ",
        b"Bearer  ",
        b"Bearer\t",
        b"Bearer:",
        b"",
        b"Bearer,Bearer ",
    ):
        with pytest.raises(DeniedError):
            await world.auth.authenticate(Headers([(b"authorization", scheme + token)]), "")


async def test_only_the_whole_token_is_remembered(world: World) -> None:
    """J46: no prefix, suffix or equal head and signature of a known token is a hit."""
    token = world.es.token()
    await world.ask(token)
    head, body, signature = token.split(b".")

    for near in (
        token[:-1],
        token + b"A",
        token[1:],
        token.upper(),
        b".".join(
            [head, b64(json.dumps(world.es.claims(sub="admin")).encode()).encode(), signature]
        ),
        b".".join([head, body, b64(hs_sign(b"x", head)).encode()]),
    ):
        assert world.auth.authenticate_now(bearer(near), "") is None
        await world.refused(near)
    assert world.auth.authenticate_now(bearer(token), "") is not None


async def test_a_flood_of_bad_signatures_is_stopped_by_the_failure_bucket(world: World) -> None:
    """J47: after 20 failures no further signature is checked, and 429 says so."""
    world.attempts_left = 20
    good = world.rs.token()
    await world.ask(good)

    refusals = []
    for number in range(200):
        with pytest.raises(GatewayError) as error:
            await world.ask(world.rs.token(claims={"jti": str(number)}, signature=bytes(256)))
        refusals.append(type(error.value))

    assert refusals == [DeniedError] * 20 + [LimitedError] * 180
    causes = [event.cause for event in world.events if isinstance(event, AuthFailed)]
    assert causes == ["signature is not valid"] * 20
    assert world.auth.authenticate_now(bearer(good), "") is not None
