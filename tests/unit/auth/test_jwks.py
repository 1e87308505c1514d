"""Key sets over time: fetched, refreshed, kept, and never fetched more often than promised."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bff.auth.jwks import JwksSource
from bff.auth.jwks_fetch import Fetched, FetchFault, check_url
from bff.core.errors import GatewayError
from bff.core.events import Event, KeysFetched
from tests.support.auth_world import ISSUER, FakeClock, ScriptedFetch, key_document, seeded
from tests.support.token_forge import ec_key

URL = f"{ISSUER}/keys"
OLD, NEW = ec_key(kid="old"), ec_key(kid="new")


class World:
    """One source, its scripted provider, its clock, and the waits it asked for."""

    def __init__(self, *, url: str = URL, stale_limit_s: float = 86_400.0) -> None:
        self.clock = FakeClock()
        self.fetch = ScriptedFetch({URL: Fetched(200, key_document(OLD))})
        self.events: list[Event] = []
        self.waits: list[float] = []
        self.asleep = asyncio.Event()
        self.wake = asyncio.Event()
        self.source = JwksSource(
            name="main",
            issuer=ISSUER,
            url=url,
            fetch=self.fetch,
            clock=self.clock,
            random=seeded(),
            emit=self.events.append,
            stale_limit_s=stale_limit_s,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.asleep.set()
        await self.wake.wait()
        self.wake.clear()

    @property
    def results(self) -> list[str]:
        return [event.result for event in self.events if isinstance(event, KeysFetched)]


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    await world.source.start()
    try:
        yield world
    finally:
        await world.source.close()


async def test_start_fetches_once_and_waits_for_most_of_the_life_of_the_set() -> None:
    async with running(World()) as world:
        await world.asleep.wait()

        keys = world.source.keys()
        assert "old" in keys
        assert len(world.fetch.calls) == 1
        assert 210 <= world.waits[0] <= 270


@pytest.mark.parametrize(("max_age_s", "low", "high"), [(10.0, 42, 54), (7200.0, 630, 810)])
async def test_max_age_counts_between_one_and_fifteen_minutes(
    max_age_s: float, low: float, high: float
) -> None:
    world = World()
    world.fetch.documents[URL] = Fetched(200, key_document(OLD), "", max_age_s)
    async with running(world):
        await world.asleep.wait()

        assert low <= world.waits[0] <= high


async def test_never_had_a_set_is_503_with_retry_after_5() -> None:
    world = World()
    world.fetch.documents[URL] = FetchFault("timeout", "no reply")
    async with running(world):
        await world.asleep.wait()

        with pytest.raises(GatewayError) as error:
            world.source.keys()

        assert (error.value.reason, error.value.retry_after_s) == ("AUTH_UNAVAILABLE", 5)
        assert 6 <= world.waits[0] <= 10
        assert world.results == ["timeout"]


@pytest.mark.rule("edge.8.2")
@pytest.mark.parametrize(
    "reply",
    [
        FetchFault("connect", "ConnectError"),
        Fetched(500),
        Fetched(301),
        Fetched(200, b"<html>"),
        Fetched(200, key_document()),
        Fetched(200, key_document(NEW, ec_key(kid="new"))),
    ],
    ids=["down", "500", "redirect", "html", "empty", "kid_clash"],
)
async def test_after_a_bad_reply_the_last_good_set_serves_until_the_stale_limit(
    reply: Fetched | FetchFault,
) -> None:
    world = World(stale_limit_s=3600.0)
    await world.source.refresh()
    world.fetch.documents[URL] = reply

    assert not await world.source.refresh()
    world.clock.advance(3600.0)
    keys = world.source.keys()
    assert "old" in keys
    world.clock.advance(0.1)

    with pytest.raises(GatewayError):
        world.source.keys()
    assert world.source.live() is None


async def test_an_unchanged_set_stays_the_same_object_and_is_young_again() -> None:
    world = World(stale_limit_s=3600.0)
    world.fetch.documents[URL] = Fetched(200, key_document(OLD), '"v1"')
    await world.source.refresh()
    before = world.source.keys()
    world.clock.advance(3000.0)
    world.fetch.documents[URL] = Fetched(304)

    assert await world.source.refresh()

    assert world.source.keys() is before
    assert world.source.age_s == 0
    assert world.fetch.calls[1] == (URL, '"v1"')
    assert world.results == ["ok", "unchanged"]


async def test_an_unknown_kid_is_found_by_one_fetch() -> None:
    world = World()
    await world.source.refresh()
    world.fetch.documents[URL] = Fetched(200, key_document(OLD, NEW))

    keys = await world.source.keys_with("new")

    assert keys is not None
    assert "new" in keys
    assert len(world.fetch.calls) == 2


@pytest.mark.rule("edge.8.2")
@pytest.mark.parametrize(
    "reply", [Fetched(200, key_document(OLD)), Fetched(500)], ids=["same", "down"]
)
async def test_a_minute_of_random_kids_makes_at_most_three_fetches(reply: Fetched) -> None:
    world = World()
    await world.source.refresh()
    world.fetch.documents[URL] = reply
    before = len(world.fetch.calls)

    for second in range(60):
        for number in range(20):
            assert await world.source.keys_with(f"kid-{second}-{number}") is None
        world.clock.advance(1.0)

    assert len(world.fetch.calls) - before <= 3


async def test_a_kid_known_to_be_unknown_is_not_asked_for_within_its_minute() -> None:
    world = World()
    await world.source.refresh()
    await world.source.keys_with("gone")
    world.clock.advance(31.0)

    await world.source.keys_with("gone")
    assert len(world.fetch.calls) == 2
    world.clock.advance(30.0)
    await world.source.keys_with("gone")

    assert len(world.fetch.calls) == 3


async def test_waiters_share_one_fetch_and_those_above_256_are_refused_at_once() -> None:
    world = World()
    await world.source.refresh()
    world.fetch.documents[URL] = Fetched(200, key_document(OLD, NEW))
    world.fetch.gate.clear()
    world.fetch.arrived.clear()
    waiting = [asyncio.create_task(world.source.keys_with("new")) for _ in range(256)]
    await world.fetch.arrived.wait()

    assert await world.source.keys_with("new") is None
    world.fetch.gate.set()
    found = await asyncio.gather(*waiting)

    assert all(keys is not None and "new" in keys for keys in found)
    assert len(world.fetch.calls) == 2


async def test_a_waiter_that_leaves_does_not_end_the_fetch_of_the_others() -> None:
    world = World()
    await world.source.refresh()
    world.fetch.documents[URL] = Fetched(200, key_document(OLD, NEW))
    world.fetch.gate.clear()
    world.fetch.arrived.clear()
    first = asyncio.create_task(world.source.keys_with("new"))
    await world.fetch.arrived.wait()
    second = asyncio.create_task(world.source.keys_with("new"))

    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    world.fetch.gate.set()

    assert first.cancelled()
    assert await second is not None


async def test_close_ends_a_fetch_under_way_and_its_waiters_get_no_key() -> None:
    world = World()
    await world.source.refresh()
    world.fetch.gate.clear()
    world.fetch.arrived.clear()
    waiter = asyncio.create_task(world.source.keys_with("new"))
    await world.fetch.arrived.wait()

    await world.source.close()

    assert await waiter is None


async def test_the_background_refresh_goes_on_after_a_fault_of_ours() -> None:
    """A reply that breaks our own code is reported and tried again."""
    world = World()
    world.fetch.documents[URL] = ZeroDivisionError()
    async with running(world):
        await world.asleep.wait()
        world.fetch.documents[URL] = Fetched(200, key_document(OLD))
        world.asleep.clear()
        world.wake.set()
        await world.asleep.wait()

    assert world.results == ["bug", "ok"]


def metadata(**changes: str) -> Fetched:
    members = {"issuer": ISSUER, "jwks_uri": URL} | changes
    text = ",".join(f'"{name}":"{value}"' for name, value in members.items())
    return Fetched(200, ("{" + text + "}").encode())


WELL_KNOWN = f"{ISSUER}/.well-known/openid-configuration"


async def test_the_key_url_is_discovered_from_the_issuers_metadata() -> None:
    world = World(url="")
    world.fetch.documents[WELL_KNOWN] = metadata()

    assert await world.source.refresh()
    assert await world.source.refresh()

    assert [url for url, _ in world.fetch.calls] == [WELL_KNOWN, URL, URL]


@pytest.mark.parametrize(
    "reply",
    [
        Fetched(404),
        Fetched(200, b"{"),
        Fetched(200, b'{"issuer":"' + ISSUER.encode() + b'"}'),
        metadata(issuer="https://other.example.com"),
        metadata(jwks_uri="http://id.example.com/keys"),
        metadata(jwks_uri="https://u:p@id.example.com/keys"),
        metadata(jwks_uri="file:///etc/passwd"),
    ],
    ids=["404", "no_json", "no_uri", "other_issuer", "http", "userinfo", "file"],
)
async def test_metadata_that_cannot_be_trusted_gives_no_keys(reply: Fetched) -> None:
    world = World(url="")
    world.fetch.documents[WELL_KNOWN] = reply

    assert not await world.source.refresh()

    assert world.results == ["discovery"]
    assert len(world.fetch.calls) == 1


async def test_a_moved_key_url_is_found_again_after_one_failure() -> None:
    world = World(url="")
    world.fetch.documents[WELL_KNOWN] = metadata()
    await world.source.refresh()
    moved = f"{ISSUER}/moved"
    world.fetch.documents = {
        WELL_KNOWN: metadata(jwks_uri=moved),
        moved: Fetched(200, key_document(NEW)),
    }

    assert not await world.source.refresh()
    assert await world.source.refresh()

    keys = world.source.keys()
    assert "new" in keys


@pytest.mark.rule("edge.17")
@pytest.mark.parametrize(
    ("url", "passes"),
    [
        ("https://id.example.com/keys", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://[::1]/keys", True),
        ("http://localhost/keys", True),
        ("http://id.example.com/keys", False),
        ("http://127.0.0.1.example.com/keys", False),
        ("http://localhost.example.com/keys", False),
        ("https://user@id.example.com/keys", False),
        ("ftp://id.example.com/keys", False),
        ("/keys", False),
        ("https://", False),
    ],
)
def test_keys_come_over_https_or_loopback_only(url: str, passes: bool) -> None:
    if passes:
        check_url(url)
    else:
        with pytest.raises(ValueError, match="URL"):
            check_url(url)
