"""One connection to Redis or Valkey that runs `take.lua`. One call at a time; errors end the connection."""

from collections.abc import Sequence
from hashlib import blake2b, sha1
from importlib import resources
from typing import Any

from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import NoScriptError, RedisError

from bff.ratelimit.bucket import Check

__all__ = ["LINK_ERRORS", "RedisLink", "store_key"]

# All that a connection may end with; any of them means: this answer will not come.
LINK_ERRORS = (RedisError, OSError, EOFError, TimeoutError)

SCRIPT = resources.files("bff.ratelimit").joinpath("take.lua").read_bytes()
# The name that EVALSHA asks for; no secret depends on it.
SCRIPT_ID = sha1(SCRIPT, usedforsecurity=False).hexdigest()

_Command = tuple[str | bytes | int, ...]


def store_key(check: Check) -> str:
    """`rl:1:<policy>:{<tag>}:<hash>`: no identity in clear; a tenant's buckets share a Cluster slot."""
    hashed = blake2b(check.key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    tag = hashed
    if check.tenant:
        tenant = check.tenant.encode("utf-8", "surrogatepass")
        tag = blake2b(tenant, digest_size=8, person=b"tenant").hexdigest()
    return f"rl:1:{check.policy}:{{{tag}}}:{hashed}"


class RedisLink:
    """`url` is redis://, rediss:// (TLS) or unix://; user and password win over those inside it.

    Raises ValueError for a url that is none.
    """

    def __init__(
        self, *, url: str, user: str | None, password: str | None, connect_timeout_s: float
    ) -> None:
        given: dict[str, Any] = dict(parse_url(url))
        make = given.pop("connection_class", Connection)
        if user is not None:
            given["username"] = user
        if password is not None:
            given["password"] = password
        # RESP2 and no driver info: a connection is ready after one round trip at most. The store
        # above keeps the time of calls, since it knows our own loop's lag.
        given.update(
            protocol=2,
            driver_info=None,
            socket_timeout=None,
            socket_connect_timeout=connect_timeout_s,
        )
        self._connection: Any = make(**given)

    @property
    def is_connected(self) -> bool:
        """True until a call fails or `drop` is called."""
        return bool(self._connection.is_connected)

    async def connect(self) -> None:
        """Connect, sign in, and see that the script is there. Raises one of LINK_ERRORS."""
        await self._connection.connect()
        await self._load()

    async def take(self, requests: Sequence[Sequence[Check]]) -> list[tuple[bool, list[int]]]:
        """Decide requests in order, in one round trip: admitted or not, and each bucket's use in us.

        Raises one of LINK_ERRORS; what the store did then is not known.
        """
        keys: list[str] = []
        figures: list[int] = []
        for checks in requests:
            figures.append(len(checks))
            for check in checks:
                keys.append(store_key(check))
                figures += (check.bucket.token_us, check.bucket.full_us, check.cost)
        command: _Command = ("EVALSHA", SCRIPT_ID, len(keys), *keys, *figures)
        try:
            answer = await self._ask(command)
        except NoScriptError:
            # SCRIPT FLUSH, a restart or a failover; it answered, so the connection is good.
            await self._load()
            answer = await self._ask(command)
        return _decoded(requests, answer)

    async def drop(self) -> None:
        """End the connection without saying goodbye; never raises."""
        try:
            await self._connection.disconnect(nowait=True)
        except LINK_ERRORS:
            return

    async def _load(self) -> None:
        await self._ask(("SCRIPT", "LOAD", SCRIPT))

    async def _ask(self, command: _Command) -> Any:
        connection = self._connection
        await connection.send_packed_command(connection.pack_command(*command), check_health=False)
        return await connection.read_response(disable_decoding=True)


def _decoded(
    requests: Sequence[Sequence[Check]], answer: list[int]
) -> list[tuple[bool, list[int]]]:
    decided = []
    at = 0
    for checks in requests:
        end = at + 1 + len(checks)
        decided.append((answer[at] == 1, answer[at + 1 : end]))
        at = end
    return decided
