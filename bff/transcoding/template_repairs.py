"""How a template that breaks the grammar could be written: suggestions, each of them a good template.

Other gateways and frameworks write variables otherwise (`/:id`, `<id>`, `{id:int}`, `{*rest}`), which is
where most faults come from.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, Literal
from urllib.parse import quote

__all__ = ["Fault", "repair_hint"]

# What is wrong, as the parser finds it.
Fault = Literal[
    "start", "segment", "verb", "after_verb", "literal", "query", "escape", "slash", "dot",
    "unsent", "utf8", "whole", "brace", "nested", "name", "last", "size",
]  # fmt: skip

_MAX_WRITTEN: Final = 2
# Of a template that is much longer nobody would read the repair.
_MAX_CHARS: Final = 200
_IDENT: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_NOT_LITERAL: Final = frozenset("*{")
_KEPT: Final = "/{}=*%!$&'()+,;:@-._~"

_Repair = Callable[[str, int], Iterator[str]]


def repair_hint(text: str, fault: Fault, at: int, takes: Callable[[str], bool]) -> str:
    """What to write in place of `text`, whose character at index `at` is at fault.

    `takes` says whether a template is good; what is not is never suggested.
    """
    repair, words = _REPAIRS[fault]
    written: list[str] = []
    if repair is not None and len(text) <= _MAX_CHARS:
        for candidate in repair(text, at):
            if candidate not in {text, *written} and takes(candidate):
                written.append(candidate)
    if not written:
        return words
    told = " or ".join(f'"{each}"' for each in written[:_MAX_WRITTEN])
    return f"write {told}; {words}" if _is_told(text, fault) else f"write {told}"


def _is_told(text: str, fault: Fault) -> bool:
    """Whether the words say what the repaired text does not."""
    if fault == "last":
        # What follows is literals.
        return _NOT_LITERAL.isdisjoint(text.partition("**")[2])
    return fault in {"slash", "query"}


def _start(text: str, _at: int) -> Iterator[str]:
    yield "/" + re.sub(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/]*", "", text).lstrip("/")


def _segment(text: str, _at: int) -> Iterator[str]:
    # A verb in a segment of its own, or a variable as many routers write it.
    joined = re.sub(r"/{2,}", "/", text).replace("=/", "=").replace("=}", "}")
    yield re.sub(rf"/(:{_IDENT})\Z", r"\1", joined)
    yield re.sub(rf"/:({_IDENT})(?=/|\Z)", r"/{\1}", joined)
    yield re.sub(r"/(?=[:}]|\Z)", "", joined)


def _verb(text: str, _at: int) -> Iterator[str]:
    yield text.rstrip(":")


def _after_verb(text: str, at: int) -> Iterator[str]:
    colon = text.index(":", max(text.rfind("}", 0, at), text.rfind("*", 0, at)))
    yield text[:colon] + text[at:] + text[colon:at]


def _literal(text: str, at: int) -> Iterator[str]:
    char, begin = text[at], text.rfind("/", 0, at) + 1
    if char in "{*":
        yield f"{text[:at].rstrip(':')}/{text[at:]}"
    elif char == "}":
        yield f"{text[:begin]}{{{text[begin:]}"
        yield text[:at] + text[at + 1 :]
    elif char == "\\":
        yield text.replace("\\", "/")
    else:
        named = re.sub(rf"[<\[](?:{_IDENT}:)?({_IDENT})[>\]]", r"{\1}", text)
        yield quote(text, safe=_KEPT) if named == text else named


def _query(text: str, at: int) -> Iterator[str]:
    yield text[:at]


def _escape(text: str, at: int) -> Iterator[str]:
    yield f"{text[:at]}%25{text[at + 1 :]}"


def _slash(text: str, _at: int) -> Iterator[str]:
    yield re.sub("%2[fF]", "/", text)


def _dot(text: str, at: int) -> Iterator[str]:
    end = text.find("/", at)
    yield text[: at - 1] + ("" if end < 0 else text[end:])


def _whole(text: str, at: int) -> Iterator[str]:
    if text[at] in "}*":
        yield text[:at] + text[at + 1 :]
    yield f"{text[:at]}/{text[at:]}"


def _brace(text: str, at: int) -> Iterator[str]:
    begin, close = text.rfind("{", 0, at), text.find("}", at)
    if close > 0 and text[at] == ":":
        # {id:int}
        yield text[:at] + text[close:]
    elif close > 0 and text[at] in "- ":
        # {the-id}
        name = re.sub(r"[^A-Za-z0-9_.]+", "_", text[begin + 1 : close]).strip("_")
        yield f"{text[: begin + 1]}{name}{text[close:]}"
    elif close > 0:
        # {id/more}, {id=*more}
        yield f"{text[:at]}={text[at:].lstrip('/')}"
        yield f"{text[:at]}/{text[at:]}"
    yield f"{text[:at]}}}{text[at:]}"


def _nested(text: str, at: int) -> Iterator[str]:
    close = text.find("}", at)
    yield f"{text[:at]}*{text[close + 1 :]}"


def _name(text: str, at: int) -> Iterator[str]:
    begin, close = text.rfind("{", 0, at + 1), text.find("}", at)
    if close < 0:
        return
    inside, head, tail = text[begin + 1 : close], text[:begin], text[close + 1 :]
    if inside in {"*", "**"}:
        yield head + inside + tail
    rest = re.fullmatch(rf"\*{{1,2}}({_IDENT})|({_IDENT})\.\.\.", inside)
    if rest is not None:
        yield f"{head}{{{rest[1] or rest[2]}=**}}{tail}"
        return
    cleaned = re.sub(r"\.{2,}", ".", inside.strip(" .$:<>")).replace(".=", "=")
    yield f"{head}{{{cleaned}}}{tail}"


def _last(text: str, _at: int) -> Iterator[str]:
    # All of them but the last; the only one, where there are no two.
    yield re.sub(r"\*\*(?=.*\*\*)", "*", text)
    yield text.replace("**", "*")


_REPAIRS: Final[dict[Fault, tuple[_Repair | None, str]]] = {
    "start": (_start, 'begin with "/" and a segment, such as "/v1"'),
    "segment": (_segment, 'write one "/" before each segment, and none at the end'),
    "verb": (_verb, "write the verb behind its colon, or leave both out"),
    "after_verb": (_after_verb, "move the verb to the end"),
    "literal": (_literal, "write a variable as {name}, other characters percent-encoded"),
    "query": (_query, "fields that neither path nor body sets come from the query by themselves"),
    "escape": (_escape, 'write "%25" for a percent sign itself'),
    "slash": (_slash, "in a request an encoded slash is data, and parts no segments"),
    "dot": (_dot, "leave the segment out"),
    "unsent": (None, "leave it out"),
    "utf8": (None, 'percent-encode the UTF-8 of the character: "%C3%A9" is é'),
    "whole": (_whole, 'write a "/" between it and what is beside it'),
    "brace": (_brace, "write a variable as {name} or {name=shelves/*}"),
    "nested": (_nested, "give each variable a place of its own, such as {parent=shelves/*}/{book}"),
    "name": (_name, "name a field of the request message, as {name} or {book.name}"),
    "last": (_last, "with `template_tail: allow` literals may follow"),
    "size": (None, "bind what is left as one value: {name=**}"),
}
