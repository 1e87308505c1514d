"""The types of JMESPath's functions: what each takes, by the library's own signatures, and what it gives."""

import math
import re
from collections.abc import Sequence
from typing import Any, Final

from jmespath.functions import Functions

from bff.core.exchange import Json
from bff.core.expressions import EvalError
from bff.transform.shapes import ANY, BOOLEAN, NUMBER, STRING, Shape, item_of

__all__ = [
    "FUNCTION_NAMES",
    "argument_fault",
    "call_function",
    "count_fault",
    "result_shape",
    "signature_of",
    "text_size",
    "wanted_words",
]

_FUNCTIONS = Functions()
_JSON_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?").fullmatch
# Digits of 64 bits; beyond them a number is a double, as most readers of JSON have it (RFC 8259 6).
_LONG_NUMBER: Final = 20
_INTEGERS: Final = range(-(2**63), 2**64)
FUNCTION_NAMES: frozenset[str] = frozenset(_FUNCTIONS.FUNCTION_TABLE)

_JMESPATH_KIND: dict[str, str] = {
    "string": "string",
    "int64": "string",
    "enum": "string",
    "number": "number",
    "boolean": "boolean",
    "list": "array",
    "map": "object",
    "message": "object",
    "object": "object",
    "null": "null",
}
_RESULTS: dict[str, Shape] = {
    **dict.fromkeys(("abs", "avg", "ceil", "floor", "sum", "to_number", "length"), NUMBER),
    **dict.fromkeys(("contains", "ends_with", "starts_with"), BOOLEAN),
    **dict.fromkeys(("join", "to_string", "type"), STRING),
    "keys": Shape(kind="list", item=STRING),
}
# The result looks like the first list (or text) that goes in, or like one of its items.
_SAME = frozenset({"reverse", "sort", "sort_by"})
_ONE_OF = frozenset({"max", "min", "max_by", "min_by"})

Signature = tuple[dict[str, Any], ...]


def call_function(name: str, arguments: list[Json]) -> Json:
    """Call it as the library does, its checks of arguments included; numbers stay numbers of JSON.

    Raises EvalError for a number that has no finite value, and what the library raises.
    """
    if name == "to_number" and isinstance(arguments[0], str):
        # The specification: null for what is no number of JSON. Python reads `nan` and `1_0` too.
        if not _JSON_NUMBER(arguments[0]):
            return None
        arguments = [float(arguments[0])] if len(arguments[0]) > _LONG_NUMBER else arguments
    result = _FUNCTIONS.call_function(name, arguments)
    if isinstance(result, int) and not isinstance(result, bool) and result not in _INTEGERS:
        result = float(result)
    if isinstance(result, float) and not math.isfinite(result):
        raise EvalError(f"{name}() gives a number that is too large")
    return result


def text_size(name: str, arguments: list[Json]) -> int:
    """The characters of what join() makes of these; 0 for other functions.

    Known before they are joined, since a long separator between many texts fits no memory.
    """
    if name != "join" or len(arguments) != 2:
        return 0
    separator, parts = arguments
    if not isinstance(separator, str) or not isinstance(parts, list):
        return 0
    texts = sum(len(part) for part in parts if isinstance(part, str))
    return texts + len(separator) * len(parts)


def signature_of(name: str) -> Signature:
    """The library's signature of a known function."""
    signature: Signature = _FUNCTIONS.FUNCTION_TABLE[name]["signature"]
    return signature


def count_fault(name: str, signature: Signature, given: int) -> str:
    """What is wrong with this number of arguments, or an empty string."""
    count = len(signature)
    more = bool(signature and signature[-1].get("variadic"))
    if given == count or (more and given > count):
        return ""
    least = "at least " if more else ""
    return f"{name}() takes {least}{count} argument(s), not {given}"


def argument_fault(
    name: str, wanted: Sequence[str], have: Shape, said: str
) -> tuple[str, str] | None:
    """What is wrong with giving this shape (`said` in the message), and the fix; None if it fits."""
    if not wanted or have.kind == "any" or _takes(wanted, have):
        return None
    hint = ""
    if have.kind == "int64" and "number" in wanted:
        hint = f"write to_number({said})"
    elif have.kind == "list" and item_of(have).kind == "int64":
        hint = f"write map(&to_number(@), {said})"
    elif "string" in wanted:
        hint = f"write to_string({said})"
    what = f"{have.words} of {item_of(have).kind}" if have.kind == "list" else have.words
    return f"{name}() takes {wanted_words(wanted)}; {said} is {what}", hint


def wanted_words(wanted: Sequence[str]) -> str:
    """A signature's types in a sentence."""
    return " or ".join(wanted).replace("expref", "an expression after &") or "a value"


def _takes(wanted: Sequence[str], have: Shape) -> bool:
    kind = _JMESPATH_KIND[have.kind]
    if kind not in {want.split("-")[0] for want in wanted}:
        return False
    items = {want.split("-")[1] for want in wanted if want.startswith("array-")}
    item = item_of(have)
    return kind != "array" or not items or item.kind == "any" or _JMESPATH_KIND[item.kind] in items


def result_shape(name: str, arguments: Sequence[Shape]) -> Shape:
    """The shape of the result; an `&expression` counts as the shape it gives."""
    first = arguments[0]
    if name in _SAME:
        return first
    if name in _ONE_OF:
        return item_of(first)
    match name:
        case "map":
            return Shape(kind="list", item=first)
        case "to_array":
            return first if first.kind == "list" else Shape(kind="list", item=first)
        case "values":
            return Shape(kind="list", item=item_of(first))
        case "not_null":
            return first if len({shape.kind for shape in arguments}) == 1 else ANY
        case _:
            return _RESULTS.get(name, ANY)
