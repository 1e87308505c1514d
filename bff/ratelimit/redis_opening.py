"""Opening a store in Redis, where a configuration names one. Its client takes a quarter of a second to load."""

from typing import Protocol

from bff.core.events import Emit
from bff.core.late_import import import_late
from bff.core.ports import Clock, Random
from bff.ratelimit.limiter import LocalStore, RemoteStore

__all__ = ["OpenedStore", "load_redis", "redis_store"]

_REDIS_STORE = "bff.ratelimit.redis_store"


class OpenedStore(RemoteStore, Protocol):
    """A store outside the node, with its connections."""

    async def start(self) -> None:
        """Connect, on the loop that will ask."""
        ...

    async def close(self) -> None:
        """Give back what is held and end the connections."""
        ...


def load_redis() -> None:
    """Load the client ahead: once before workers fork, instead of in each of them."""
    import_late(_REDIS_STORE)


def redis_store(
    *,
    url: str,
    user: str | None,
    password: str | None,
    timeout_s: float,
    clock: Clock,
    random: Random,
    emit: Emit,
    fallback: LocalStore,
) -> OpenedStore:
    """A `RedisStore` (see there), not started. Raises ValueError for a bad url."""
    opened: OpenedStore = import_late(_REDIS_STORE).RedisStore(
        url=url,
        user=user,
        password=password,
        timeout_s=timeout_s,
        clock=clock,
        random=random,
        emit=emit,
        fallback=fallback,
    )
    return opened
