"""One connection to Redis or Valkey that runs our scripts. One call at a time; errors end the connection."""

from collections.abc import Sequence
from hashlib import blake2b, sha1
from importlib import resources
from typing import Any

from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import NoScriptError, RedisError, ResponseError

from bff.ratelimit.bucket import Check
from bff.ratelimit.fleet import GONE_S
from bff.ratelimit.lease import Exchange

__all__ = ["LINK_ERRORS", "RedisLink", "store_key"]

# All that a connection may end with; any of them means: this answer will not come.
LINK_ERRORS = (RedisError, OSError, EOFError, TimeoutError)

_FOLDER = resources.files("bff.ratelimit")
SCRIPT = _FOLDER.joinpath("take.lua").read_bytes()
BEAT_SCRIPT = _FOLDER.joinpath("beat.lua").read_bytes()
# The names that EVALSHA asks for; no secret depends on them.
SCRIPT_ID = sha1(SCRIPT, usedforsecurity=False).hexdigest()
BEAT_SCRIPT_ID = sha1(BEAT_SCRIPT, usedforsecurity=False).hexdigest()

WORKERS_KEY = "rl:1:{fleet}:workers"
NODES_KEY = "rl:1:{fleet}:nodes"

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

    async def take(
        self, requests: Sequence[Sequence[Check]], exchanges: Sequence[Exchange] = ()
    ) -> tuple[list[tuple[bool, list[int]]], list[tuple[int, int]]]:
        """Decide requests, then exchanges, in order and in one round trip.

        Returns for each request: admitted or not, and each bucket's use in us; for each exchange: the
        tokens granted (below 0: given back), and the bucket's use in us.
        Raises one of LINK_ERRORS; what the store did then is not known.
        """
        keys: list[str] = []
        figures: list[int] = []
        for checks in requests:
            figures.append(len(checks))
            for check in checks:
                keys.append(store_key(check))
                figures += (check.bucket.token_us, check.bucket.full_us, check.cost)
        for exchange in exchanges:
            bucket = exchange.lease.bucket
            keys.append(store_key(exchange.lease.check))
            figures += (-1, bucket.token_us, bucket.full_us, exchange.tokens)
        answer = await self._run(SCRIPT_ID, (len(keys), *keys, *figures))
        return _decoded(requests, exchanges, answer)

    async def beat(self, *, worker: str, node: str) -> tuple[bool, int, int] | None:
        """Say that we live: if we were not counted before, how many workers live, how many nodes.

        None if the store refuses (a foreign value under our key, no right to the command). Raises one
        of LINK_ERRORS.
        """
        gone_ms = round(GONE_S * 1_000)
        try:
            is_new, workers, nodes = await self._run(
                BEAT_SCRIPT_ID, (2, WORKERS_KEY, NODES_KEY, worker, node, gone_ms)
            )
        except ResponseError:
            # It answered, so the connection is good.
            return None
        return is_new == 1, workers, nodes

    async def leave(self, *, worker: str) -> None:
        """Be counted no more; the node's other workers keep it counted. Raises one of LINK_ERRORS."""
        await self._ask(("ZREM", WORKERS_KEY, worker))

    async def drop(self) -> None:
        """End the connection without saying goodbye; never raises."""
        try:
            await self._connection.disconnect(nowait=True)
        except LINK_ERRORS:
            return

    async def _load(self) -> None:
        await self._ask(("SCRIPT", "LOAD", SCRIPT))
        await self._ask(("SCRIPT", "LOAD", BEAT_SCRIPT))

    async def _run(self, script_id: str, words: _Command) -> Any:
        command = ("EVALSHA", script_id, *words)
        try:
            return await self._ask(command)
        except NoScriptError:
            # SCRIPT FLUSH, a restart or a failover; it answered, so the connection is good.
            await self._load()
            return await self._ask(command)

    async def _ask(self, command: _Command) -> Any:
        connection = self._connection
        await connection.send_packed_command(connection.pack_command(*command), check_health=False)
        return await connection.read_response(disable_decoding=True)


def _decoded(
    requests: Sequence[Sequence[Check]], exchanges: Sequence[Exchange], answer: list[int]
) -> tuple[list[tuple[bool, list[int]]], list[tuple[int, int]]]:
    decided = []
    at = 0
    for checks in requests:
        end = at + 1 + len(checks)
        decided.append((answer[at] == 1, answer[at + 1 : end]))
        at = end
    rest = answer[at:]
    exchanged = [(rest[2 * n], rest[2 * n + 1]) for n in range(len(exchanges))]
    return decided, exchanged
