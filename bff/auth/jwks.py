"""Where an issuer's keys come from: fetched, refreshed ahead of time, kept through its outages.

A request never waits for a fetch unless its token names a key we do not have, and then at most
once per cooldown for the whole worker. The last good set serves until `stale_limit_s`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from bff.auth.jwks_fetch import Fetch, FetchFault, check_url
from bff.auth.key_set import KeySet, KeySetFault, parse_key_set
from bff.auth.strict_json import parse_object
from bff.core.errors import GatewayError
from bff.core.events import Emit, KeysFetched, Noted
from bff.core.ports import Clock, Random

__all__ = ["FixedKeys", "JwksSource", "KeySource"]

TTL_S: Final = 300.0
TTL_RANGE_S: Final = (60.0, 900.0)
RETRY_S: Final = 8.0
STALE_LIMIT_S: Final = 24 * 3600.0
COOLDOWN_S: Final = 30.0
WAITERS: Final = 256
WAIT_S: Final = 0.5
UNKNOWN_S: Final = 60.0
UNKNOWN_KIDS: Final = 1_024


class KeySource(Protocol):
    """An issuer's keys as the authenticator sees them."""

    def live(self) -> KeySet | None:
        """The keys that verify now, or None: never had any, or too old."""
        ...

    def keys(self) -> KeySet:
        """As `live`, but raises GatewayError AUTH_UNAVAILABLE instead of None."""
        ...

    async def keys_with(self, kid: str) -> KeySet | None:
        """A set that holds `kid`, after one fetch if one may be made; None if there is none."""
        ...


class FixedKeys:
    """A key set that never changes: an issuer with a shared secret, or tests."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def live(self) -> KeySet | None:
        """The keys."""
        return self._keys

    def keys(self) -> KeySet:
        """The keys."""
        return self._keys

    async def keys_with(self, kid: str) -> KeySet | None:
        """None: there is nowhere to ask."""
        return self._keys if kid in self._keys else None


class JwksSource:
    """The fetched key set of one issuer.

    `name` is the mapping's, `issuer` the exact `iss`; `url` the JWK Set, or empty to discover it
    from the issuer's metadata. `start` fetches once and keeps fresh in a task that `close` ends.
    Raises ValueError for a URL that may not carry keys.
    """

    def __init__(
        self,
        *,
        name: str,
        issuer: str,
        url: str = "",
        fetch: Fetch,
        clock: Clock,
        random: Random,
        emit: Emit,
        stale_limit_s: float = STALE_LIMIT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        check_url(url or issuer)
        self._name = name
        self._issuer = issuer
        self._fixed_url = url
        self._url = url
        self._fetch = fetch
        self._now_s = clock.now_s
        self._random = random
        self._emit = emit
        self._stale_limit_s = stale_limit_s
        self._sleep = sleep
        self._keys: KeySet | None = None
        self._etag = ""
        self._fresh_s = 0.0
        self._wait_s = RETRY_S
        self._tried = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._fetching: asyncio.Task[bool] | None = None
        self._forced: asyncio.Task[bool] | None = None
        self._cooldown_until_s = float("-inf")
        self._waiting = 0
        self._unknown: dict[str, float] = {}

    async def start(self) -> None:
        """Begin to keep fresh; returns after the first attempt, whatever its end."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_fresh(), name=f"jwks {self._name}")
        await self._tried.wait()

    async def close(self) -> None:
        """End the tasks and wait for them. Requests that wait for a fetch get no key."""
        tasks = [task for task in (self._keeper, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._keeper = None

    def live(self) -> KeySet | None:
        """The last good set, or None: never had one, or older than the stale limit."""
        keys = self._keys
        if keys is None or self._now_s() - self._fresh_s > self._stale_limit_s:
            return None
        return keys

    def keys(self) -> KeySet:
        """As `live`; raises GatewayError AUTH_UNAVAILABLE (503, Retry-After 5) instead of None."""
        keys = self.live()
        if keys is None:
            raise GatewayError(
                "AUTH_UNAVAILABLE", detail=f"no keys of issuer {self._name}", retry_after_s=5
            )
        return keys

    @property
    def age_s(self) -> float | None:
        """Seconds since the set was last known to be current, or None before the first."""
        return None if self._keys is None else self._now_s() - self._fresh_s

    async def refresh(self) -> bool:
        """Fetch now, or join the fetch under way; True if the set is current afterwards."""
        task = self._begin()
        await asyncio.wait((task,))
        return not task.cancelled() and task.result()

    async def keys_with(self, kid: str) -> KeySet | None:
        """The set if it holds `kid`, after at most one forced fetch per cooldown.

        At most 256 requests wait for that fetch, 500 ms each; the others get None at once.
        """
        now_s = self._now_s()
        if self._keys is not None and kid in self._keys:
            return self._keys
        if self._unknown.get(kid, 0.0) > now_s:
            return None
        task = self._forced
        if task is None or task.done():
            if now_s < self._cooldown_until_s:
                return None
            # Claimed before the fetch and kept whatever its end, or failures would fetch unbounded.
            self._cooldown_until_s = now_s + COOLDOWN_S
            task = self._forced = self._begin()
        elif self._waiting >= WAITERS:
            return None
        self._waiting += 1
        try:
            # asyncio.wait leaves the task alone when this request is cancelled or gives up.
            await asyncio.wait((task,), timeout=WAIT_S)
        finally:
            self._waiting -= 1
        keys = self._keys
        if keys is not None and kid in keys:
            return keys
        if task.done() and not task.cancelled() and task.result():
            self._remember_unknown(kid)
        return None

    def _remember_unknown(self, kid: str) -> None:
        if len(self._unknown) >= UNKNOWN_KIDS:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[kid] = self._now_s() + UNKNOWN_S

    def _begin(self) -> asyncio.Task[bool]:
        """The fetch under way, or a new one: single flight for the background and for requests."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(
                self._supervised(), name=f"jwks fetch {self._name}"
            )
        return self._fetching

    async def _keep_fresh(self) -> None:
        while True:
            await self.refresh()
            self._tried.set()
            await self._sleep(self._wait_s)

    async def _supervised(self) -> bool:
        try:
            return await self._fetch_once()
        except Exception as error:  # A supervisor: a fault of ours must not end refreshing.
            self._emit(KeysFetched(self._name, "bug"))
            self._note("jwks_failed", repr(error))
            return False

    async def _fetch_once(self) -> bool:
        """One attempt; True if the set is current now. On failure the last good set stays."""
        self._wait_s = RETRY_S * self._random.uniform(0.75, 1.25)
        try:
            if not self._url:
                self._url = await self._discover()
            fetched = await self._fetch(self._url, self._etag)
            if fetched.status == 304 and self._keys is not None:
                result = "unchanged"
            elif fetched.status == 200:
                result = self._take(parse_key_set(fetched.body, refused=self._note_refused))
                self._etag = fetched.etag
            else:
                raise FetchFault("status", f"status {fetched.status}")
        except (FetchFault, KeySetFault) as error:
            # A provider that moved its keys tells so in its metadata only.
            self._url = self._fixed_url
            self._emit(KeysFetched(self._name, error.kind))
            self._note("jwks_failed", str(error))
            return False
        self._fresh_s = self._now_s()
        ttl_s = TTL_S if fetched.max_age_s is None else fetched.max_age_s
        ttl_s = min(max(ttl_s, TTL_RANGE_S[0]), TTL_RANGE_S[1])
        # Ahead of the end, and not all workers at once.
        self._wait_s = ttl_s * self._random.uniform(0.7, 0.9)
        self._emit(KeysFetched(self._name, result))
        return True

    def _take(self, keys: KeySet) -> str:
        if keys.same_as(self._keys):
            # The same object stays, so cached tokens need no second look.
            return "unchanged"
        self._keys = keys
        return "ok"

    async def _discover(self) -> str:
        """The jwks_uri of the issuer's metadata (OpenID Connect Discovery 4, RFC 8414 3)."""
        well_known = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        fetched = await self._fetch(well_known, "")
        if fetched.status != 200:
            raise FetchFault("discovery", f"metadata: status {fetched.status}")
        try:
            metadata = parse_object(fetched.body)
        except ValueError as error:
            raise FetchFault("discovery", f"metadata: {error}") from error
        # RFC 8414 3.3: metadata that names another issuer must not be used.
        if metadata.get("issuer") != self._issuer:
            raise FetchFault("discovery", "metadata names another issuer")
        url = metadata.get("jwks_uri")
        if not isinstance(url, str):
            raise FetchFault("discovery", "metadata has no jwks_uri")
        try:
            check_url(url)
        except ValueError as error:
            raise FetchFault("discovery", str(error)) from error
        return url

    def _note_refused(self, cause: str) -> None:
        self._note("jwks_key_refused", cause)

    def _note(self, name: str, cause: str) -> None:
        self._emit(Noted(name, {"issuer": self._name, "cause": cause}))
