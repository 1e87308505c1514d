"""Where buckets live, by the `limiter` and `stores` blocks: as plain settings that tell if they changed."""

from msgspec import Struct

from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.core.errors import ConfigError
from bff.snapshot.findings import Findings

__all__ = ["StoreSettings", "store_settings"]


class StoreSettings(Struct, frozen=True, kw_only=True):
    """`url` empty: memory. The password is a reference that only the store's opener resolves."""

    url: str = ""
    user: str = ""
    password_ref: str = ""
    timeout_s: float = 0.005


def store_settings(gateway: Placed[GatewayFile], find: Findings) -> StoreSettings:
    """The limiter's store of this configuration (its name was checked when it was loaded).

    A password that cannot be had is a problem now, not when the store is opened.
    """
    limiter = gateway.value.limiter
    if limiter.store == "memory":
        return StoreSettings()
    store = gateway.value.stores[limiter.store]
    if store.password is not None:
        try:
            store.password.resolve()
        except ConfigError as error:
            for problem in error.problems:
                path = ("stores", limiter.store, "password")
                find.add(gateway, problem.message, *path, hint=problem.hint)
    return StoreSettings(
        url=store.redis,
        user=store.user or "",
        password_ref=store.password.text if store.password is not None else "",
        timeout_s=limiter.timeout,
    )
