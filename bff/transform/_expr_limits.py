"""What the library's lexer and parser let through and an expression may not hold.

Literals are JSON that a reply can carry, and no expression writes its value out more often than a
selection of that size does: a doubling, piped into itself thirty times, would end in memory.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from bff.core.exchange import Json
from bff.core.expressions import ExprError

__all__ = ["check_literals", "check_repeats", "deep_column"]

# A selection names its value at most so often within the bytes of an expression.
_MAX_REPEATS: Final = 256
# The numbers that every reader of JSON can hold (RFC 8259 6), and those of 64 bits.
_INTEGERS: Final = range(-(2**63), 2**64)
_LITERAL: Final = re.compile(r"`((?:\\.|[^`\\])*)`", re.DOTALL)
_DEEP: Final = re.compile(r"(?:[\[{][ \t\r\n]*){17}")


def deep_column(source: str) -> int:
    """Where a literal begins to nest so deeply that no reader of JSON follows."""
    found = _DEEP.search(source)
    return found.start() + 1 if found else 1


def check_literals(source: str, tokens: list[dict[str, Any]], *, max_nesting: int) -> None:
    """Raise ExprError for a literal or a quoted name that is no JSON, or that no reply can carry."""
    for token in tokens:
        column = token["start"] + 1
        if token["type"] == "quoted_identifier" and _has_half_pair(token["value"]):
            raise ExprError("half a surrogate pair is no character", column)
        if token["type"] != "literal":
            continue
        literal = _LITERAL.match(source, token["start"])
        if literal is not None:
            # The library takes what is no JSON for text: `01` would be "01".
            _check_json(literal[1].replace("\\`", "`"), column)
        fault = _fault_of(token["value"], max_nesting)
        if fault:
            raise ExprError(fault, column)


def _check_json(text: str, column: int) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise ExprError("what stands between backticks is not JSON", column, _QUOTES) from error


_QUOTES: Final = "text stands in single quotes: 'text'"


def _fault_of(value: Json, room: int) -> str:
    """Why no reply can carry this value; empty if one can."""
    if isinstance(value, str):
        return "half a surrogate pair is no character" if _has_half_pair(value) else ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else "only finite numbers are JSON"
    if isinstance(value, int) and value not in _INTEGERS:
        return "this number is too large for 64 bits"
    if not isinstance(value, list | dict):
        return ""
    if not room:
        return "the literal is nested too deeply"
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    return next((fault for part in parts if (fault := _fault_of(part, room - 1))), "")


def _has_half_pair(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def check_repeats(tree: dict[str, Any], columns: Mapping[int, int]) -> None:
    """Raise ExprError where a value could be written out more than 256 times."""
    _Repeats(columns).count(tree)


class _Repeats:
    """Counts how often the result of each node may hold a value that goes in; the tree is not deep."""

    def __init__(self, columns: Mapping[int, int]) -> None:
        self._columns = columns
        self._column = 1

    def count(self, node: dict[str, Any]) -> int:
        self._column = self._columns.get(id(node), self._column)
        counts = [
            self.count(child) for child in node.get("children", ()) if isinstance(child, dict)
        ]
        kind = node["type"]
        if kind in _IN_TURN:
            # A condition chooses; what it makes goes nowhere.
            repeats = math.prod(counts[:2] if kind == "filter_projection" else counts)
        elif kind in _ONE_OF:
            repeats = max(counts)
        elif kind in _ANSWERS:
            repeats = 1
        else:
            repeats = max(1, sum(counts))
        if kind == "function_expression":
            if node["value"] == "map":
                repeats = math.prod(counts)
            elif node["value"] == "to_string":
                # Quotes and backslashes of text within gain a backslash each time.
                repeats *= 2
        if repeats > _MAX_REPEATS:
            raise ExprError(
                f"the expression may write a value out more than {_MAX_REPEATS} times",
                self._column,
                "pipes multiply what selections repeat",
            )
        return repeats


# What the second makes of the first's result; what gives one of its parts; what gives true or false.
_IN_TURN: Final = frozenset(
    {"filter_projection", "index_expression", "pipe", "projection", "subexpression", "value_projection"}
)  # fmt: skip
_ONE_OF: Final = frozenset({"or_expression", "and_expression"})
_ANSWERS: Final = frozenset({"comparator", "not_expression"})
