"""What the compiler keeps between versions: connections, breakers, buckets, keys, verified tokens.

A part whose settings did not change is handed from one snapshot to the next, so a publish neither
reconnects, nor closes an open breaker, nor refills a bucket. A part that no snapshot wants any more
is closed once the last request that may use it has ended.
"""

from collections.abc import Awaitable, Callable

from bff.auth.jwks import JwksSource
from bff.auth.jwks_fetch import HttpxFetch
from bff.auth.token_cache import TokenCache
from bff.core.events import Emit
from bff.core.ports import Clock, Random
from bff.ratelimit.limiter import LocalStore, RemoteStore
from bff.upstream.call import UpstreamStack
from bff.upstream.upstream import Endpoint, UpstreamSettings
from bff.wire.channel import Channel

__all__ = ["Connect", "Lease", "Parts"]

Connect = Callable[[UpstreamSettings, Endpoint], Channel]


class Lease:
    """The parts that one snapshot uses, by the mapping's names."""

    def __init__(self) -> None:
        self.stacks: dict[str, UpstreamStack] = {}
        self.keys: dict[str, JwksSource] = {}

    @property
    def parts(self) -> list[UpstreamStack | JwksSource]:
        """All of them."""
        return [*self.stacks.values(), *self.keys.values()]


class Parts:
    """All parts that live now. `make_store` opens the limiter's store by its settings' key."""

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        emit: Emit,
        connect: Connect,
        make_store: Callable[[object], LocalStore | RemoteStore],
    ) -> None:
        self.clock = clock
        self.random = random
        self.emit = emit
        self.tokens = TokenCache(clock=clock)
        self._connect = connect
        self._make_store = make_store
        self._stacks: dict[UpstreamSettings, UpstreamStack] = {}
        self._keys: dict[tuple[str, str, str, float], JwksSource] = {}
        self._started: set[int] = set()
        self._leases: list[Lease] = []
        self._fetch: HttpxFetch | None = None
        self._store: tuple[object, LocalStore | RemoteStore] | None = None

    def stack(self, settings: UpstreamSettings, lease: Lease) -> UpstreamStack:
        """The running stack with these settings, or a new one."""
        stack = self._stacks.get(settings)
        if stack is None:
            stack = UpstreamStack(
                settings,
                clock=self.clock,
                random=self.random,
                emit=self.emit,
                connect=lambda endpoint: self._connect(settings, endpoint),
            )
            self._stacks[settings] = stack
        lease.stacks[settings.name] = stack
        return stack

    def key_source(
        self, *, name: str, issuer: str, url: str, stale_limit_s: float, lease: Lease
    ) -> JwksSource:
        """The key set of an issuer. Raises ValueError for a URL that may not carry keys."""
        settings = (name, issuer, url, stale_limit_s)
        source = self._keys.get(settings)
        if source is None:
            if self._fetch is None:
                self._fetch = HttpxFetch()
            source = JwksSource(
                name=name,
                issuer=issuer,
                url=url,
                fetch=self._fetch,
                clock=self.clock,
                random=self.random,
                emit=self.emit,
                stale_limit_s=stale_limit_s,
            )
            self._keys[settings] = source
        lease.keys[name] = source
        return source

    def store(self, settings: object) -> LocalStore | RemoteStore:
        """The limiter's store; the same one while its settings stay."""
        if self._store is None or self._store[0] != settings:
            self._store = (settings, self._make_store(settings))
        return self._store[1]

    async def go_live(self, lease: Lease) -> None:
        """Keep these parts open from now on, and start those with work of their own (key sets)."""
        self._leases.append(lease)
        for source in lease.keys.values():
            if id(source) not in self._started:
                self._started.add(id(source))
                await source.start()

    def closing(self, lease: Lease) -> Callable[[], Awaitable[None]]:
        """What gives the parts of a snapshot back once its last request has ended."""

        async def close() -> None:
            self._leases.remove(lease)
            await self.close_unused()

        return close

    async def close_unused(self) -> None:
        """Close every part that no snapshot in use has; also those of one that was refused."""
        kept = {id(part) for lease in self._leases for part in lease.parts}
        # All are taken out before the first is waited for: meanwhile a version may go live, and it
        # must find here none that is about to close.
        stacks = [key for key, stack in self._stacks.items() if id(stack) not in kept]
        sources = [key for key, source in self._keys.items() if id(source) not in kept]
        unused: list[UpstreamStack | JwksSource] = [self._stacks.pop(key) for key in stacks]
        unused += [self._keys.pop(key) for key in sources]
        self._started.difference_update(map(id, unused))
        for part in unused:
            await part.close()

    async def close(self) -> None:
        """Close everything that is still open."""
        self._leases.clear()
        await self.close_unused()
        if self._fetch is not None:
            await self._fetch.close()
