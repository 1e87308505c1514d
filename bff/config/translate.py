"""pydantic's errors and the findings of `Reading` to problems in plain sentences with their places."""

import contextlib
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bff.config.blocks import Block, Finding, KeyPath, Reading
from bff.config.documents import Placed
from bff.config.places import where_key_belongs
from bff.config.units import (
    UnitError,
    duration_text,
    parse_duration_s,
    parse_size_bytes,
    size_text,
)
from bff.config.values import shown
from bff.config.yaml_tree import entry_at
from bff.core.problems import Problem, nearest

__all__ = ["problems_of"]


def problems_of(
    placed: Placed[Block], reading: Reading, error: ValidationError | None
) -> list[Problem]:
    """Everything wrong with one document; what only follows from another problem is left out."""
    problems = [_of_finding(placed, finding) for finding in reading.findings.values()]
    faulty = {path[:-1] for path in reading.findings}
    for detail in error.errors(include_url=False) if error else ():
        path = tuple(detail["loc"])
        known, _, _ = entry_at(placed.root, path)
        missing = detail["type"] == "missing"
        # A block with an unknown or dropped key may well lack another for that reason.
        if (path[:-1] if missing else known) in faulty and (missing or _is_of_block(detail)):
            continue
        message, hint, code = _sentence(detail)
        shown_path = path if missing and len(known) == len(path) - 1 else known
        problem = placed.problem(message, *known, hint=hint, code=code)
        problems.append(_with_path(placed, problem, shown_path))
    return problems


def _with_path(placed: Placed[Block], problem: Problem, path: KeyPath) -> Problem:
    full = placed.problem(problem.message, *path, hint=problem.hint, code=problem.code)
    return Problem(
        problem.where,
        problem.message,
        hint=problem.hint,
        path=full.path,
        code=problem.code,
        line_text=problem.line_text,
    )


def _is_of_block(detail: ErrorDetails) -> bool:
    return detail["type"] in ("bff", "too_short") and isinstance(detail["input"], dict)


def _of_finding(placed: Placed[Block], finding: Finding) -> Problem:
    hint = finding.hint or _hint_for_key(str(finding.path[-1]), finding.known)
    return placed.problem(
        finding.message, *finding.path, hint=hint, code=finding.code, at_key=finding.at_key
    )


def _hint_for_key(key: str, known: tuple[str, ...]) -> str:
    """The nearest key of this block; else where the key does belong; else what this block knows."""
    if not known:
        return ""
    close = get_close_matches(key.lower(), known, n=1, cutoff=0.8)
    if close:
        return f"did you mean `{close[0]}`?"
    if belongs := where_key_belongs(key):
        return belongs
    if near := nearest(key, known):
        return f"did you mean `{near}`?"
    return f"known here: {', '.join(sorted(known)[:40])}"


def _sentence(detail: ErrorDetails) -> tuple[str, str, str]:
    """Message, hint and code of one error."""
    context: dict[str, Any] = detail.get("ctx") or {}
    if detail["type"] == "bff":
        return context["text"], context["hint"], context["code"]
    if detail["type"] == "missing":
        key = str(detail["loc"][-1])
        return f"`{key}` is missing", _MISSING.get(key, ""), "BFF-C011"
    value = detail["input"]
    if detail["type"] == "literal_error":
        return _of_word(context, value)
    if detail["type"] in _EXPECTED:
        hint = (
            "quotes make it text" if detail["type"] == "string_type" and _is_scalar(value) else ""
        )
        if detail["type"].startswith("bool") and isinstance(value, str):
            hint = _OLD_BOOLS.get(value.lower(), "")
        return f"expected {_EXPECTED[detail['type']]}, got {shown(value)}", hint, "BFF-C012"
    if detail["type"] in _BOUNDS:
        return _BOUNDS[detail["type"]](context, value), "", "BFF-C015"
    return f"this value does not fit here: {shown(value)}", "", "BFF-C015"


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def _of_word(context: dict[str, Any], value: Any) -> tuple[str, str, str]:
    words = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
    near = nearest(value, words.split(", ")) if isinstance(value, str) else ""
    hint = f"did you mean `{near}`?" if near else ""
    lead = "expected one of" if ", " in words else "expected"
    return f"{lead} {words}; got {shown(value)}", hint, "BFF-C013"


_MISSING = {"service": "documents of HTTP services, which have none, are not built in this version"}

# Of YAML 1.1; here they are words.
_OLD_BOOLS = dict.fromkeys(("yes", "on", "y", "1"), "write true") | dict.fromkeys(
    ("no", "off", "n", "0"), "write false"
)

_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
    "tuple_type": "a list",
    "list_type": "a list",
}


def _figure(limit: float, value: Any) -> str:
    """A bound in the unit in which the value is written."""
    for parse, text in ((parse_duration_s, duration_text), (parse_size_bytes, size_text)):
        with contextlib.suppress(UnitError):
            parse(value)
            return text(limit)  # type: ignore[arg-type]  # sizes are whole, durations any number
    return f"{limit:g}"


_BOUNDS: dict[str, Callable[[dict[str, Any], Any], str]] = {
    "greater_than": lambda c, v: f"must be above {_figure(c['gt'], v)}, got {shown(v)}",
    "greater_than_equal": lambda c, v: f"must be at least {_figure(c['ge'], v)}, got {shown(v)}",
    "less_than_equal": lambda c, v: f"must be at most {_figure(c['le'], v)}, got {shown(v)}",
    "too_short": lambda c, _: f"needs at least {c['min_length']} entry",
    "too_long": lambda c, _: f"has more than {c['max_length']} entries",
    "string_too_short": lambda _c, _: "expected text, got an empty one",
    "string_too_long": lambda c, _: f"the text is longer than {c['max_length']} characters",
}
