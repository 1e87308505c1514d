"""JSON objects as tokens and key sets must write them: no member twice, no NaN, not deep (RFC 8725 2.4).

Two readers that disagree on a doubled member are how a signed token comes to mean two things, so a
text with any room for doubt is refused, though RFC 8259 would let a reader choose.
"""

import json
from typing import NoReturn

from bff.core.exchange import Json

__all__ = ["parse_object"]


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is given twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def parse_object(text: bytes, *, depth: int = 8) -> dict[str, Json]:
    """Read one JSON object of at most `depth` levels, the object itself being the first.

    Raises ValueError for anything else: bad UTF-8, a member twice, NaN, too deep, no object.
    """
    try:
        tree = _DECODER.decode(text.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if type(tree) is not dict:
        raise ValueError("not an object")
    # Only a text with that many brackets can be too deep; almost none has.
    if text.count(b"{") + text.count(b"[") > depth and _levels(tree) > depth:
        raise ValueError("nested too deeply")
    return tree


def _levels(tree: Json) -> int:
    levels, layer = 0, [tree]
    while layer:
        levels += 1
        inner = [
            child
            for node in layer
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        layer = inner
    return levels
