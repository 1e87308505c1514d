"""The reply of an aggregate: its keys in the mapping's order, whatever arrived first."""

from collections.abc import Mapping

from bff.aggregate.outcome import AGGREGATE_STATUS, Outcome, problems_of, status_text
from bff.aggregate.plan import Plan, ReplyKey, Spread
from bff.core.errors import UpstreamError
from bff.core.exchange import Json
from bff.core.expressions import EvalError
from bff.core.status import Code

__all__ = ["answer_of", "shape_reply"]

_NO_STORE = (b"cache-control", b"no-store")
_NO_CACHE = (b"cache-control", b"private, no-cache")
_COMPLETE = (AGGREGATE_STATUS, b"complete")


def answer_of(
    plan: Plan, outcome: Outcome, *, domain: str
) -> tuple[dict[str, Json], list[tuple[bytes, bytes]]]:
    """The body's tree with its problems, and the headers that tell how complete it is.

    Raises UpstreamError where the reply cannot be made of the values that came.
    """
    body = shape_reply(plan, outcome)
    if outcome.complete:
        return body, [_COMPLETE, _NO_CACHE]
    if plan.problems_key is not None:
        body[plan.problems_key] = problems_of(plan, outcome, domain=domain)
    return body, [(AGGREGATE_STATUS, status_text(outcome.results).encode()), _NO_STORE]


def shape_reply(plan: Plan, outcome: Outcome) -> dict[str, Json]:
    """The reply's keys. Those that read only omitted sources are absent."""
    omitted = frozenset(result.name for result in outcome.results if result.state == "omitted")
    body: dict[str, Json] = {}
    for key in plan.reply:
        if isinstance(key, Spread):
            value = outcome.scope.get(key.source)
            if isinstance(value, Mapping):
                body.update(value)
        elif not (key.only_sources and key.sources <= omitted):
            body[key.name] = _value(key, outcome)
    return body


def _value(key: ReplyKey, outcome: Outcome) -> Json:
    try:
        return key.expr.evaluate(outcome.scope)
    except EvalError as error:
        # A function that got null because a source is missing makes null of it.
        if any(outcome.scope.get(name) is None for name in key.sources):
            return None
        raise UpstreamError(
            "UPSTREAM_MESSAGE", code=Code.INTERNAL, origin="local", detail=f"{key.name}: {error}"
        ) from error
