"""One request's calls: root fields and joins ask here, joins in batches by distinct key.

Keys that are asked for in the same turn of the event loop share a call; a key is asked for once per
request, wherever it stands. The store never outlives the request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from graphql import GraphQLError
from msgspec import Struct

from bff.core.errors import GatewayError, UpstreamError
from bff.core.exchange import Json
from bff.core.joining import Key, chunks_of, holders_of, match_by_index, match_by_key
from bff.core.status import Code
from bff.gql.faults import PublicText, error_of_call

__all__ = ["Call", "JoinPlan", "Run"]

Place = list[str | int]
# (operation, request tree, path in the response) -> reply tree; raises GatewayError.
Call = Callable[[str, dict[str, Json], Place], Awaitable[Json]]


class JoinPlan(Struct, frozen=True, kw_only=True, eq=False):
    """How a join asks. Names are JSON names; `store` is equal for joins that may share answers."""

    store: tuple[str, ...]
    operation: str
    fixed: Mapping[str, Json]
    into: str
    batch: bool
    entities: tuple[str, ...]
    entity_key: str
    zero: Json
    index: bool
    many: bool
    max_batch: int
    parallel: int
    timeout_s: float | None
    # Calls of such a join are not counted against the cap: somebody has said why.
    unbounded: bool


class Run:
    """What resolvers find in their context: the way to the services, and the store of entities."""

    def __init__(
        self,
        *,
        call: Call,
        public_text: PublicText,
        max_calls: int,
        group: asyncio.TaskGroup,
        scope: Mapping[str, Json],
    ) -> None:
        self._call = call
        self._public_text = public_text
        self._max_calls = max_calls
        self._group = group
        self._stores: dict[tuple[str, ...], _Store] = {}
        self.scope = scope
        self.calls = 0

    async def ask(
        self,
        operation: str,
        request: dict[str, Json],
        place: Place,
        *,
        timeout_s: float | None,
        unbounded: bool = False,
    ) -> Json:
        """One call. Raises GatewayError, or GraphQLError when the request has made its calls."""
        if self.calls >= self._max_calls and not unbounded:
            raise GraphQLError(
                f"The document exceeds its limit of {self._max_calls} for calls.",
                extensions={"code": "LIMIT_EXCEEDED", "limit": "calls", "max": self._max_calls},
            )
        self.calls += 1
        if timeout_s is None:
            return await self._call(operation, request, place)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call(operation, request, place)
        except TimeoutError as error:
            raise UpstreamError(
                "TIMEOUT",
                code=Code.DEADLINE_EXCEEDED,
                origin="local",
                upstream=operation.partition(".")[0],
            ) from error

    async def ask_field(
        self, operation: str, request: dict[str, Json], place: Place, *, timeout_s: float | None
    ) -> Json:
        """One call of a root field; its failure is that field's error."""
        try:
            return await self.ask(operation, request, place, timeout_s=timeout_s)
        except GatewayError as error:
            raise self.told(error) from error

    def told(self, error: GatewayError) -> GraphQLError:
        """A failed call as the client reads it."""
        return error_of_call(error, self._public_text)

    def load(self, plan: JoinPlan, key: Key, place_of: Callable[[], Place]) -> Any:
        """The entity of a key: a future, done if the key was asked for before."""
        store = self._stores.get(plan.store)
        if store is None:
            store = self._stores[plan.store] = _Store(plan, self)
        return store.future_of(key, place_of)

    def start(self, ask: Any) -> None:
        """Run a coroutine beside the execution; it ends with the request."""
        self._group.create_task(ask)


class _Store:
    """The entities of one join operation in one request."""

    def __init__(self, plan: JoinPlan, run: Run) -> None:
        self._plan = plan
        self._run = run
        self._futures: dict[Key, asyncio.Future[Json]] = {}
        self._pending: list[Key] = []
        self._place_of: Callable[[], Place] | None = None
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(plan.parallel)

    def future_of(self, key: Key, place_of: Callable[[], Place]) -> asyncio.Future[Json]:
        future = self._futures.get(key)
        if future is None:
            future = self._futures[key] = self._loop.create_future()
            future.add_done_callback(_look_at)
            if not self._pending:
                # Everything that runs in this turn still adds its keys.
                self._place_of = place_of
                self._loop.call_soon(self._flush)
            self._pending.append(key)
        return future

    def _flush(self) -> None:
        keys, self._pending = self._pending, []
        assert self._place_of is not None
        place = self._place_of()
        plan = self._plan
        for chunk in chunks_of(keys, plan.max_batch if plan.batch else 1):
            self._run.start(self._ask(chunk, place))

    async def _ask(self, chunk: list[Key], place: Place) -> None:
        plan = self._plan
        request = {**plan.fixed, plan.into: chunk if plan.batch else chunk[0]}
        try:
            async with self._slots:
                reply = await self._run.ask(
                    plan.operation,
                    request,
                    place,
                    timeout_s=plan.timeout_s,
                    unbounded=plan.unbounded,
                )
        except GraphQLError as error:
            self._fail(chunk, error)
        except GatewayError as error:
            if not plan.batch and error.code is Code.NOT_FOUND:
                self._settle(chunk, {})
            else:
                self._fail(chunk, self._run.told(error))
        else:
            self._match(chunk, reply)

    def _match(self, chunk: list[Key], reply: Json) -> None:
        plan = self._plan
        entities: list[Any] = holders_of(reply, plan.entities)
        if not plan.batch and not plan.entity_key:
            single: Json = entities if plan.many else next(iter(entities), None)
            self._settle(chunk, {chunk[0]: single})
            return
        if plan.index:
            paired = match_by_index(chunk, entities)
            if paired is None:
                bad = UpstreamError("UPSTREAM_MESSAGE", code=Code.INTERNAL, origin="local")
                self._fail(chunk, self._run.told(bad))
                return
            self._settle(chunk, paired.found)
            return
        name, zero = plan.entity_key, plan.zero
        matched = match_by_key(
            chunk, entities, lambda entity: entity.get(name, zero), many=plan.many
        )
        for key in matched.doubled:
            twice = GatewayError("DUPLICATE_ENTITY")
            error = error_of_call(twice, lambda error: error.public)
            assert error.extensions is not None
            error.extensions["code"] = "DUPLICATE_ENTITY"
            self._fail([key], error)
        self._settle(chunk, matched.found)

    def _settle(self, chunk: Sequence[Key], found: Mapping[Key, Json]) -> None:
        nothing: Json = [] if self._plan.many else None
        for key in chunk:
            future = self._futures[key]
            if not future.done():
                future.set_result(found.get(key, nothing))

    def _fail(self, chunk: Sequence[Key], error: GraphQLError) -> None:
        for key in chunk:
            future = self._futures[key]
            if not future.done():
                future.set_exception(error)


def _look_at(future: asyncio.Future[Json]) -> None:
    # A nulled parent may leave nobody to read the failure; that is no fault worth a warning.
    if not future.cancelled():
        future.exception()
