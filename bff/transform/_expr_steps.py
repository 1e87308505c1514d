"""The closures of compiled expressions: made at load, run for each request.

Semantics are those of jmespath's own interpreter; only a message's fields read differently, since a
ProtoJSON tree leaves out what is unset.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from bff.core.exchange import Json
from bff.core.expressions import EvalError
from bff.core.schema import Field
from bff.transform.shapes import default_of

__all__ = [
    "Meter",
    "Step",
    "chain",
    "comparer",
    "field_getter",
    "filterer",
    "flattener",
    "getter",
    "indexer",
    "is_false",
    "projector",
    "reference",
    "value_projector",
]


class Meter:
    """The work that one evaluation may still do, in loop turns."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, turns: int) -> None:
        """Count turns; raises EvalError when none are left."""
        self.left -= turns
        if self.left < 0:
            raise EvalError("the expression does too much work on this value")


Step = Callable[[Json, Meter], Json]


class _Expression:
    """A function's `&expression` argument, under the name and with the method that jmespath looks for."""

    def __init__(self, expression: Step, meter: Meter) -> None:
        self.expression = expression
        self._meter = meter

    def visit(self, expression: Step, value: Json) -> Json:
        self._meter.spend(1)
        return expression(value, self._meter)


def is_false(value: Json) -> bool:
    # JMESPath's own idea of false: 0 is true.
    return value is None or value is False or value in ("", [], {})


def _equals(left: Json, right: Json) -> bool:
    # Python takes True for 1; JMESPath does not. Only the top of a value is looked at, as there.
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return bool(left == right)


def _is_ordered(value: Json) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


_ORDERINGS: dict[str, Callable[[Any, Any], Any]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def chain(steps: list[Step]) -> Step:
    """One after the other; flat, so that a long path costs no depth of stack."""
    if len(steps) == 2:
        first, second = steps
        return lambda value, meter: second(first(value, meter), meter)
    links = tuple(steps)

    def step(value: Json, meter: Meter) -> Json:
        for link in links:
            value = link(value, meter)
        return value

    return step


def getter(name: str, default: Json) -> Step:
    def step(value: Json, _meter: Meter) -> Json:
        return value.get(name, default) if isinstance(value, Mapping) else None

    return step


def field_getter(field: Field) -> Step:
    name = field.json_name
    if field.repeated or field.is_map:
        empty = list if field.repeated else dict

        def step(value: Json, _meter: Meter) -> Json:
            if not isinstance(value, dict):
                return None
            found = value.get(name)
            return empty() if found is None else found

        return step
    default = default_of(field)

    def single(value: Json, _meter: Meter) -> Json:
        return value.get(name, default) if isinstance(value, dict) else None

    return single


def indexer(index: int) -> Step:
    def step(value: Json, _meter: Meter) -> Json:
        if not isinstance(value, list) or not -len(value) <= index < len(value):
            return None
        return value[index]

    return step


def flattener(base_step: Step) -> Step:
    def step(value: Json, meter: Meter) -> Json:
        base = base_step(value, meter)
        if not isinstance(base, list):
            return None
        flat: list[Json] = []
        for element in base:
            if isinstance(element, list):
                flat.extend(element)
            else:
                flat.append(element)
        meter.spend(len(flat))
        return flat

    return step


def projector(base_step: Step, right_step: Step) -> Step:
    def step(value: Json, meter: Meter) -> Json:
        base = base_step(value, meter)
        if not isinstance(base, list):
            return None
        meter.spend(len(base))
        found = (right_step(element, meter) for element in base)
        return [element for element in found if element is not None]

    return step


def value_projector(base_step: Step, right_step: Step) -> Step:
    def step(value: Json, meter: Meter) -> Json:
        base = base_step(value, meter)
        if not isinstance(base, Mapping):
            return None
        meter.spend(len(base))
        found = (right_step(element, meter) for element in base.values())
        return [element for element in found if element is not None]

    return step


def filterer(base_step: Step, condition: Step, right_step: Step) -> Step:
    def step(value: Json, meter: Meter) -> Json:
        base = base_step(value, meter)
        if not isinstance(base, list):
            return None
        meter.spend(len(base))
        kept = (element for element in base if not is_false(condition(element, meter)))
        found = (right_step(element, meter) for element in kept)
        return [element for element in found if element is not None]

    return step


def comparer(name: str, left_step: Step, right_step: Step) -> Step:
    if name in {"eq", "ne"}:
        wanted = name == "eq"
        return lambda value, meter: (
            _equals(left_step(value, meter), right_step(value, meter)) is wanted
        )
    compare = _ORDERINGS[name]

    def step(value: Json, meter: Meter) -> Json:
        left, right = left_step(value, meter), right_step(value, meter)
        if not (_is_ordered(left) and _is_ordered(right)):
            return None
        return compare(left, right)

    return step


def reference(inner: Step) -> Step:
    return lambda _value, meter: _Expression(inner, meter)
