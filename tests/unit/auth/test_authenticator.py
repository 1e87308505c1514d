"""From headers to a Principal: what is remembered, what is counted, what a refusal says."""

from typing import Any

import pytest

from bff.auth.api_keys import ApiKeys, create_key
from bff.auth.authenticator import Authenticator, Issuer
from bff.auth.jwks import FixedKeys, JwksSource
from bff.auth.jwks_fetch import Fetched, FetchFault
from bff.auth.token_cache import TokenCache
from bff.core.errors import ClientError, DeniedError, GatewayError, LimitedError
from bff.core.events import AuthFailed, Event
from bff.core.exchange import ANONYMOUS
from bff.core.headers import Headers
from tests.support.auth_world import (
    ISSUER,
    FakeClock,
    ScriptedFetch,
    bearer,
    forge_of,
    key_document,
    key_set,
    make_authenticator,
    make_verifier,
    seeded,
)
from tests.support.token_forge import ec_key

NOW = 1_800_000_000
KEY, OTHER = ec_key(kid="e1"), ec_key(kid="e2")
FORGE = forge_of(KEY)
URL = f"{ISSUER}/keys"
PEPPER = b"0123456789abcdef"


class World:
    """An authenticator on a fetched key set, and all it reported."""

    def __init__(self, **rules: Any) -> None:
        self.clock = FakeClock(NOW)
        self.events: list[Event] = []
        self.fetch = ScriptedFetch({URL: Fetched(200, key_document(KEY))})
        self.source = JwksSource(
            name="main",
            issuer=ISSUER,
            url=URL,
            fetch=self.fetch,
            clock=self.clock,
            random=seeded(),
            emit=self.events.append,
        )
        self.auth = make_authenticator(self.clock, self.source, self.events, **rules)

    @property
    def causes(self) -> list[str]:
        return [event.cause for event in self.events if isinstance(event, AuthFailed)]


async def refusal(auth: Authenticator, headers: Headers) -> DeniedError:
    with pytest.raises(DeniedError) as error:
        await auth.authenticate(headers, "192.0.2.1")
    return error.value


def test_no_credential_is_anonymous_without_waiting() -> None:
    assert World().auth.authenticate_now(Headers([(b"accept", b"*/*")]), "") is ANONYMOUS


@pytest.mark.rule("edge.8.3")
async def test_a_verified_token_is_answered_without_waiting_the_next_time() -> None:
    world = World()
    await world.source.refresh()
    headers = bearer(FORGE.token())
    assert world.auth.authenticate_now(headers, "") is None

    principal = await world.auth.authenticate(headers, "")

    assert principal.sub == "u-1"
    assert world.auth.authenticate_now(headers, "") is principal


@pytest.mark.rule("edge.8.3")
@pytest.mark.parametrize(
    ("life_s", "later_s", "remembered"),
    [(300, 59.9, True), (300, 60.0, False), (30, 29.9, True), (30, 30.0, False)],
)
async def test_memory_of_a_token_ends_with_the_token_and_after_a_minute(
    life_s: int, later_s: float, remembered: bool
) -> None:
    world = World()
    await world.source.refresh()
    headers = bearer(FORGE.token(claims={"exp": NOW + life_s}))
    await world.auth.authenticate(headers, "")

    world.clock.advance(later_s)

    assert (world.auth.authenticate_now(headers, "") is not None) == remembered


async def test_a_wall_clock_that_steps_back_lengthens_no_memory() -> None:
    world = World()
    await world.source.refresh()
    headers = bearer(FORGE.token())
    await world.auth.authenticate(headers, "")

    world.clock.advance(60)
    world.clock.wall_s -= 3600

    assert world.auth.authenticate_now(headers, "") is None


@pytest.mark.rule("edge.8.2")
async def test_a_token_dies_at_the_refresh_that_drops_its_key() -> None:
    world = World()
    await world.source.refresh()
    headers = bearer(FORGE.token())
    await world.auth.authenticate(headers, "")
    world.fetch.documents[URL] = Fetched(200, key_document(OTHER))

    await world.source.refresh()

    assert world.auth.authenticate_now(headers, "") is None
    assert (await refusal(world.auth, headers)).reason == "TOKEN_INVALID"


async def test_a_token_outlives_a_refresh_that_keeps_its_key() -> None:
    world = World()
    await world.source.refresh()
    headers = bearer(FORGE.token())
    principal = await world.auth.authenticate(headers, "")
    world.fetch.documents[URL] = Fetched(200, key_document(KEY, OTHER))

    await world.source.refresh()

    assert world.auth.authenticate_now(headers, "") is principal


@pytest.mark.parametrize(
    ("rules", "remembered"), [({}, True), ({"require": ("jti",)}, False), ({"name": "else"}, False)]
)
async def test_tokens_handed_to_the_next_configuration_die_with_their_rules(
    rules: dict[str, Any], remembered: bool
) -> None:
    clock, keys = FakeClock(NOW), FixedKeys(key_set(KEY))
    tokens = TokenCache(clock=clock)

    def configured(**rules: Any) -> Authenticator:
        issuer = Issuer(make_verifier(clock, **rules), keys)
        return Authenticator(issuers=[issuer], clock=clock, emit=lambda _event: None, tokens=tokens)

    headers = bearer(FORGE.token())
    await configured().authenticate(headers, "")

    assert (configured(**rules).authenticate_now(headers, "") is not None) == remembered


async def test_the_token_cache_holds_no_more_than_its_size() -> None:
    clock, keys = FakeClock(NOW), FixedKeys(key_set(KEY))
    auth = Authenticator(
        issuers=[Issuer(make_verifier(clock), keys)],
        clock=clock,
        emit=lambda _event: None,
        tokens=TokenCache(clock=clock, size=2),
    )
    first, second, third = (bearer(FORGE.token(claims={"jti": name})) for name in "abc")
    await auth.authenticate(first, "")
    await auth.authenticate(second, "")
    assert auth.authenticate_now(first, "") is not None

    await auth.authenticate(third, "")

    assert auth.authenticate_now(second, "") is None
    assert auth.authenticate_now(first, "") is not None


async def test_what_nobody_may_use_any_more_gives_way_to_what_is_new() -> None:
    clock, keys = FakeClock(NOW), FixedKeys(key_set(KEY))
    tokens = TokenCache(clock=clock)
    auth = Authenticator(
        issuers=[Issuer(make_verifier(clock), keys)],
        clock=clock,
        emit=lambda _event: None,
        tokens=tokens,
    )
    old, new = "abcdef", "ghij"
    for name in old:
        await auth.authenticate(bearer(FORGE.token(claims={"jti": name})), "")
    clock.advance(61)

    for name in new:
        await auth.authenticate(bearer(FORGE.token(claims={"jti": name})), "")

    assert len(tokens) == len(new)


@pytest.mark.rule("edge.8.3")
async def test_a_refusal_is_forgotten_when_the_keys_change() -> None:
    world = World()
    await world.source.refresh()
    token = bearer(OTHER_FORGE.token(header={"kid": "e1"}))
    await refusal(world.auth, token)
    assert world.causes == ["signature is not valid"]

    world.fetch.documents[URL] = Fetched(200, key_document(OTHER.jwk(kid="e1")))
    await world.source.refresh()

    assert (await world.auth.authenticate(token, "")).sub == "u-1"


OTHER_FORGE = forge_of(OTHER)


async def test_a_token_from_the_near_future_passes_when_its_time_comes() -> None:
    """A refusal that time heals is not remembered."""
    world = World()
    await world.source.refresh()
    headers = bearer(FORGE.token(claims={"nbf": NOW + 61}))
    await refusal(world.auth, headers)

    world.clock.advance(1)

    assert (await world.auth.authenticate(headers, "")).sub == "u-1"


@pytest.mark.rule("edge.8.2")
async def test_a_token_that_its_claims_refuse_makes_no_fetch() -> None:
    world = World()
    await world.source.refresh()

    await refusal(world.auth, bearer(OTHER_FORGE.token(claims={"exp": NOW})))
    assert len(world.fetch.calls) == 1
    await refusal(world.auth, bearer(OTHER_FORGE.token()))

    assert len(world.fetch.calls) == 2


async def test_a_key_added_by_the_provider_is_found_by_its_first_token() -> None:
    world = World()
    await world.source.refresh()
    world.fetch.documents[URL] = Fetched(200, key_document(KEY, OTHER))

    principal = await world.auth.authenticate(bearer(OTHER_FORGE.token()), "")

    assert principal.sub == "u-1"


@pytest.mark.rule("edge.8.2")
async def test_without_keys_a_token_is_503_and_counts_as_nobodys_failure() -> None:
    failures: list[str] = []
    world = World(note_failure=failures.append)
    world.fetch.documents[URL] = FetchFault("connect", "down")
    await world.source.refresh()

    with pytest.raises(GatewayError) as error:
        await world.auth.authenticate(bearer(FORGE.token()), "")

    assert (error.value.status, error.value.reason) == (503, "AUTH_UNAVAILABLE")
    assert error.value.retry_after_s == 5
    assert failures == []


@pytest.mark.rule("edge.5")
async def test_an_address_that_failed_too_often_is_refused_before_a_check() -> None:
    failures: list[str] = []
    world = World(allow_attempt=lambda _address: len(failures) < 2, note_failure=failures.append)
    await world.source.refresh()
    good = bearer(FORGE.token())
    await world.auth.authenticate(good, "192.0.2.1")
    for number in range(2):
        await refusal(world.auth, bearer(FORGE.token(claims={"aud": f"x{number}"})))

    for headers in (
        bearer(FORGE.token(claims={"jti": "new"})),
        Headers([(b"authorization", b"Basic x")]),
    ):
        with pytest.raises(LimitedError) as error:
            await world.auth.authenticate(headers, "192.0.2.1")
        assert (error.value.status, error.value.reason) == (429, "TOO_MANY_FAILURES")

    assert failures == ["192.0.2.1"] * 2
    # A caller whose token has been verified is not punished for its neighbour.
    assert world.auth.authenticate_now(good, "192.0.2.1") is not None


def test_an_api_key_is_answered_without_waiting_and_counted_when_wrong() -> None:
    text, record = create_key(pepper=PEPPER, sub="svc")
    clock, failures = FakeClock(NOW), list[str]()
    world = World()
    auth = make_authenticator(
        clock,
        world.source,
        world.events,
        api_keys=ApiKeys(records=[record], pepper=PEPPER, clock=clock),
        allow_attempt=lambda _address: not failures,
        note_failure=failures.append,
    )
    good = Headers([(b"x-api-key", text.encode())])

    principal = auth.authenticate_now(good, "")
    assert principal is not None
    assert principal.key_id == record.id
    with pytest.raises(DeniedError) as error:
        auth.authenticate_now(Headers([(b"x-api-key", text.encode()[:-1])]), "")
    assert error.value.reason == "KEY_INVALID"
    with pytest.raises(LimitedError):
        auth.authenticate_now(Headers([(b"x-api-key", b"bff_other")]), "")
    assert auth.authenticate_now(good, "") is principal


async def test_a_credential_that_no_provider_can_judge_is_401_and_never_anonymous() -> None:
    auth = Authenticator(clock=FakeClock(), emit=lambda _event: None)

    assert (await refusal(auth, bearer(FORGE.token()))).reason == "TOKEN_INVALID"
    assert (await refusal(auth, Headers([(b"x-api-key", b"k")]))).reason == "KEY_INVALID"


@pytest.mark.rule("edge.8")
async def test_refusals_look_alike_outside_and_differ_in_the_log() -> None:
    """Expired, forged, unknown key, unknown issuer, garbage: one status, one text, one challenge."""
    world = World()
    await world.source.refresh()
    tokens = [
        FORGE.token(claims={"exp": NOW}),
        FORGE.token(signature=bytes(64)),
        OTHER_FORGE.token(),
        FORGE.token(claims={"iss": "https://evil.example.com"}),
        b"garbage",
    ]

    errors = [await refusal(world.auth, bearer(token)) for token in tokens]

    outside = {(e.status, e.reason, e.public, e.headers, tuple(e.metadata)) for e in errors}
    assert len(outside) == 1
    assert errors[0].headers == (
        (
            b"www-authenticate",
            b'Bearer realm="shop", error="invalid_token", error_description="The credential is not valid."',
        ),
    )
    assert len(set(world.causes)) == len(tokens)


async def test_two_credentials_are_400_with_their_challenge() -> None:
    headers = Headers([(b"authorization", b"Bearer a"), (b"x-api-key", b"k")])

    with pytest.raises(ClientError) as error:
        World().auth.authenticate_now(headers, "")

    assert (error.value.status, error.value.reason) == (400, "MULTIPLE_CREDENTIALS")
    assert b'error="invalid_request"' in error.value.headers[0][1]


def test_two_issuers_of_one_iss_are_refused_at_load() -> None:
    clock, keys = FakeClock(), FixedKeys(key_set(KEY))
    issuers = [Issuer(make_verifier(clock, name=name), keys) for name in "ab"]

    with pytest.raises(ValueError, match="two issuers"):
        Authenticator(issuers=issuers, clock=clock, emit=lambda _event: None)


@pytest.mark.parametrize("realm", ['a"b', "a\\b", "a\nb", "ä"])
def test_a_realm_that_would_break_its_field_is_refused(realm: str) -> None:
    with pytest.raises(ValueError, match="realm"):
        Authenticator(realm=realm, clock=FakeClock(), emit=lambda _event: None)
