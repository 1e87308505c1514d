"""Carrying out a plan: every source as soon as what it reads is there, all under one deadline.

Required sources end the request when they fail; optional ones end as their `on_error` says. No call
is started without time for it, and none is open when the reply leaves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bff.aggregate.join import JoinRun, attached_scope, keys_of
from bff.aggregate.outcome import Outcome, SourceResult, State, fail
from bff.aggregate.plan import Plan, Source
from bff.core.errors import ClientError, GatewayError, UpstreamError, Violation
from bff.core.exchange import Json
from bff.core.expressions import EvalError
from bff.core.joining import Key
from bff.core.ports import Clock
from bff.core.status import Code

__all__ = ["MIN_CALL_S", "Fetch", "run_plan"]

# A call with less time than this is not worth its bytes.
MIN_CALL_S = 0.005

# (source name, request tree, monotonic deadline in seconds) -> reply tree; raises GatewayError.
Fetch = Callable[[str, dict[str, Json], float], Awaitable[Json]]

_STATES: dict[str, State] = {
    "fail": "failed",
    "omit": "omitted",
    "null": "null",
    "default": "default",
}


async def run_plan(
    plan: Plan,
    inputs: Mapping[str, Json],
    fetch: Fetch,
    *,
    deadline_s: float,
    clock: Clock,
) -> Outcome:
    """All sources of the plan, each settled.

    `inputs` are the trees by name (`path query body request auth`), `deadline_s` the monotonic end
    of the request. Raises GatewayError where a required source failed, or none delivered: its
    metadata names the source, its headers carry Aggregate-Status.
    """
    return await _Run(plan, inputs, fetch, deadline_s - plan.reserve_s, clock).run()


class _Stop(Exception):
    """A required source failed; the others are cancelled."""


class _NoInput(Exception):
    """There is nothing to ask for."""


class _Run:
    """One request. Results are written once, before the source's event is set."""

    def __init__(
        self, plan: Plan, inputs: Mapping[str, Json], fetch: Fetch, end_s: float, clock: Clock
    ) -> None:
        self._plan = plan
        self._fetch = fetch
        self._end_s = end_s
        self._clock = clock
        self._scope: dict[str, Json] = dict(inputs)
        self._results: dict[str, SourceResult] = {}
        self._found: dict[str, Mapping[Key, Json]] = {}
        self._settled = {source.name: asyncio.Event() for source in plan.sources}

    async def run(self) -> Outcome:
        try:
            async with asyncio.TaskGroup() as group:
                for source in self._plan.sources:
                    group.create_task(self._settle(source))
        except* _Stop:
            pass
        known = [
            self._results[source.name]
            for source in self._plan.sources
            if source.name in self._results
        ]
        self._raise_failure(known)
        scope = attached_scope(self._scope, self._plan.attachments, self._found)
        return Outcome(results=tuple(known), scope=scope)

    def _raise_failure(self, known: list[SourceResult]) -> None:
        """The first failed required source in declared order; any first one if nothing was delivered."""
        failed = [result for result in known if result.state == "failed"]
        if not failed and known and not any(result.delivered for result in known):
            failed = [known[0]]
        if not failed:
            return
        first = failed[0]
        source = next(one for one in self._plan.sources if one.name == first.name)
        assert first.error is not None
        first.state = "failed"
        raise fail(source, first.error, known)

    async def _settle(self, source: Source) -> None:
        for name in source.waits_for:
            await self._settled[name].wait()
        result = await self._result(source)
        self._results[source.name] = result
        self._scope[source.name] = result.value
        self._settled[source.name].set()
        if result.state == "failed":
            raise _Stop

    async def _result(self, source: Source) -> SourceResult:
        started_s = self._clock.now_s()
        if any(self._is_missing(name) for name in source.hard):
            return self._missed(source, GatewayError("DEPENDENCY"))
        scope = attached_scope(self._scope, source.attachments, self._found)
        try:
            if source.when is not None and not source.when(scope):
                return self._skipped(source, "WHEN")
            request = _request_of(source, scope)
            keys = keys_of(source.join, scope) if source.join else []
        except _NoInput:
            return self._skipped(source, "NO_INPUT")
        except EvalError as error:
            return self._missed(source, _misfit(str(error)))
        except GatewayError as error:
            return self._missed(source, error)
        if self._end_s - started_s < MIN_CALL_S:
            return self._missed(source, GatewayError("NO_TIME"))
        result = (
            await self._single(source, request, started_s)
            if source.join is None
            else await self._joined(source, JoinRun(source.join, keys, request), started_s)
        )
        result.started_s = started_s
        result.ended_s = self._clock.now_s()
        return result

    def _is_missing(self, name: str) -> bool:
        result = self._results[name]
        return result.value is None or not result.delivered

    def _call_end_s(self, source: Source, started_s: float) -> float:
        if source.timeout_s is None:
            return self._end_s
        return min(started_s + source.timeout_s, self._end_s)

    async def _single(
        self, source: Source, request: dict[str, Json], started_s: float
    ) -> SourceResult:
        end_s = self._call_end_s(source, started_s)
        try:
            async with asyncio.timeout(end_s - self._clock.now_s()):
                value = await self._fetch(source.name, request, end_s)
        except TimeoutError:
            return self._missed(source, _timed_out(), calls=1)
        except GatewayError as error:
            return self._missed(source, error, calls=1)
        return SourceResult(name=source.name, state="ok", value=value, calls=1)

    async def _joined(self, source: Source, join: JoinRun, started_s: float) -> SourceResult:
        if not join.asked:
            return SourceResult(
                name=source.name, state="skipped", reason="NO_INPUT", value=join.value()
            )
        end_s = self._call_end_s(source, started_s)
        try:
            async with asyncio.timeout(end_s - self._clock.now_s()):
                await join.run(
                    lambda request: self._fetch(source.name, request, end_s),
                    stop_at_failure=source.required,
                )
        except TimeoutError:
            join.error = join.error or _timed_out()
        return self._judged(source, join)

    def _judged(self, source: Source, join: JoinRun) -> SourceResult:
        error = join.error
        useless = not join.answered or source.required
        if error is not None and (useless or error.reason == "DUPLICATE_ENTITY"):
            return self._missed(source, error, calls=join.calls)
        self._found[source.name] = join.found
        result = SourceResult(name=source.name, state="ok", value=join.value(), calls=join.calls)
        if error is None and join.left_off:
            error = GatewayError("TOO_MANY_KEYS")
        if error is not None:
            result.state = "partial"
            result.reason = error.reason
            result.error = error
            result.missing_keys = join.missing_keys
        return result

    def _skipped(self, source: Source, reason: str) -> SourceResult:
        return SourceResult(
            name=source.name, state="skipped", reason=reason, value=source.on_error.value
        )

    def _missed(self, source: Source, error: GatewayError, *, calls: int = 0) -> SourceResult:
        return SourceResult(
            name=source.name,
            state=_STATES[source.on_error.kind],
            reason=error.reason,
            error=error,
            value=source.on_error.value,
            calls=calls,
        )


def _timed_out() -> GatewayError:
    return UpstreamError("TIMEOUT", code=Code.DEADLINE_EXCEEDED, origin="local")


def _misfit(detail: str) -> GatewayError:
    """An expression met a value of a service, or a claim, that it cannot take."""
    return UpstreamError("UPSTREAM_MESSAGE", code=Code.INTERNAL, origin="local", detail=detail)


def _request_of(source: Source, scope: Mapping[str, Json]) -> dict[str, Json]:
    """The request tree; fields whose value is null stay unset. Raises _NoInput, ClientError, EvalError."""
    request: dict[str, Any] = {}
    for binding in source.bindings:
        try:
            value = binding.expr.evaluate(scope)
        except EvalError as error:
            if not binding.from_client:
                raise
            violation = Violation(binding.expr.source, "this value does not fit")
            raise ClientError(
                "INVALID_PARAMETER", detail=str(error), violations=(violation,)
            ) from error
        if value is None:
            if binding.required:
                raise _NoInput
            continue
        *above, last = binding.path
        into = request
        for name in above:
            into = into.setdefault(name, {})
        into[last] = value
    return request
