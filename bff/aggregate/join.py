"""A join's calls: keys from other sources' values, asked for in chunks, matched by key."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from bff.aggregate.plan import Attachment, Join
from bff.core.errors import GatewayError, UpstreamError
from bff.core.exchange import Json
from bff.core.joining import (
    Key,
    attach,
    chunks_of,
    distinct_keys,
    holders_of,
    match_by_index,
    match_by_key,
)
from bff.core.status import Code

__all__ = ["JoinRun", "attached_scope", "keys_of"]

# One call of the join's operation with this request tree.
CallOnce = Callable[[dict[str, Json]], Awaitable[Json]]


def keys_of(join: Join, scope: Mapping[str, Json]) -> list[Key]:
    """The distinct keys in this scope. Raises EvalError."""
    found = join.keys.evaluate(scope)
    return distinct_keys(found if isinstance(found, list) else [found], zero=join.zero)


class _Stop(Exception):
    """A chunk failed and the others are not worth waiting for."""


class JoinRun:
    """One request's calls of a join. What came in stays usable when the rest is cut off.

    `found` has the entities by key; `asked` all keys that were to be asked; `left_off` those beyond
    the cap; `error` the first failure.
    """

    def __init__(self, join: Join, keys: list[Key], request: dict[str, Json]) -> None:
        self.asked = keys[: join.max_keys]
        self.left_off = tuple(keys[join.max_keys :])
        self.found: dict[Key, Json] = {}
        self.answered: set[Key] = set()
        self.error: GatewayError | None = None
        self.calls = 0
        self._join = join
        self._request = request

    async def run(self, call: CallOnce, *, stop_at_failure: bool) -> None:
        """All chunks, a few at a time. Failures are kept in `error`, not raised."""
        join = self._join
        chunks = chunks_of(self.asked, join.max_batch if join.batch else 1)
        if len(chunks) == 1:
            await self._ask(chunks[0], call)
            return
        left = iter(chunks)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(join.parallel, len(chunks))):
                    group.create_task(self._work(left, call, stop_at_failure))
        except* _Stop:
            pass

    async def _work(self, left: Iterator[list[Key]], call: CallOnce, stop: bool) -> None:
        for chunk in left:
            await self._ask(chunk, call)
            if self.error is not None and (stop or self.error.reason == "DUPLICATE_ENTITY"):
                raise _Stop

    async def _ask(self, chunk: list[Key], call: CallOnce) -> None:
        join = self._join
        self.calls += 1
        try:
            reply = await call({**self._request, join.into: chunk if join.batch else chunk[0]})
            self._take(chunk, reply)
        except GatewayError as error:
            if not join.batch and error.code is Code.NOT_FOUND:
                # Asked one by one, an entity that is not there is missing, no failure.
                self.answered.update(chunk)
                return
            self.error = self.error or error

    def _take(self, chunk: list[Key], reply: Json) -> None:
        join = self._join
        entities: list[Any] = holders_of(reply, join.entities)
        if not join.batch and not join.entity_key:
            found: Mapping[Key, Json] = (
                {chunk[0]: entities if join.many else entities[0]} if entities else {}
            )
        elif join.index:
            matched = match_by_index(chunk, entities)
            if matched is None:
                raise UpstreamError(
                    "UPSTREAM_MESSAGE",
                    code=Code.INTERNAL,
                    origin="local",
                    detail=f"{len(entities)} entities for {len(chunk)} keys",
                )
            found = matched.found
        else:
            key, zero = join.entity_key, join.zero
            matched = match_by_key(
                chunk, entities, lambda entity: entity.get(key, zero), many=join.many
            )
            if matched.doubled:
                raise UpstreamError(
                    "DUPLICATE_ENTITY",
                    code=Code.INTERNAL,
                    origin="local",
                    detail=str(matched.doubled[0]),
                )
            found = matched.found
        self.found.update(found)
        self.answered.update(chunk)

    @property
    def missing_keys(self) -> tuple[Key, ...]:
        """Keys that nobody answered for; one that was asked and does not exist is no such key."""
        return (*(key for key in self.asked if key not in self.answered), *self.left_off)

    def value(self) -> Json:
        """The source's value: its distinct entities in the order of the keys, where its reply has them."""
        found = self.found
        entities: list[Json] = []
        for key in self.asked:
            if key in found:
                entities.extend(found[key] if self._join.many else [found[key]])
        tree: Json = entities
        for name in reversed(self._join.entities):
            tree = {name: tree}
        return tree


def attached_scope(
    scope: Mapping[str, Json],
    attachments: tuple[Attachment, ...],
    found: Mapping[str, Mapping[Key, Json]],
) -> Mapping[str, Json]:
    """The scope with joins' entities put beside their keys; the trees in it are not changed."""
    if not attachments:
        return scope
    view = dict(scope)
    for one in attachments:
        entities = found.get(one.join, {})
        key = one.key

        def entity_for(
            holder: dict[str, Json], entities: Mapping[Key, Json] = entities, key: str = key
        ) -> Json:
            value = holder.get(key)
            if isinstance(value, list):
                return [entities[each] for each in value if each in entities]
            return entities.get(value) if isinstance(value, str | int) else None

        view[one.root] = attach(view.get(one.root), one.path, one.name, entity_for)
    return view
