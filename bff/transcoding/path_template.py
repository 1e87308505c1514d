"""The path grammar of google/api/http.proto: text -> Template, or an error that knows its column.

Pure: no descriptors, no I/O. `http_rules` checks what the names mean, `route_trie` matches.

    Template  = "/" Segments [ Verb ]            Segments = Segment *( "/" Segment )
    Segment   = "*" / "**" / LITERAL / Variable  Variable = "{" FieldPath [ "=" Segments ] "}"
    FieldPath = IDENT *( "." IDENT )             Verb     = ":" LITERAL

A LITERAL is one or more pchar of RFC 3986 3.3, without `*`, percent-encodings allowed. It is kept
decoded, because literals are compared octet by octet after decoding.
"""

import re
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from msgspec import Struct, structs

from bff.transcoding.template_repairs import Fault, repair_hint

__all__ = [
    "MAX_BYTES",
    "MAX_FIELD_DEPTH",
    "MAX_SEGMENTS",
    "MAX_VARIABLES",
    "Segment",
    "SegmentKind",
    "Template",
    "TemplateError",
    "Variable",
    "parse_template",
]

# A path is at most 8 KiB, so a longer template matches nothing a client could reasonably send.
MAX_BYTES: Final = 2048
MAX_SEGMENTS: Final = 32
MAX_VARIABLES: Final = 16
MAX_FIELD_DEPTH: Final = 16

SegmentKind = Literal["literal", "*", "**"]

_IDENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# pchar of RFC 3986 3.3 without "*", which the grammar takes for itself.
_PCHARS = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()+,;=:@"
)
_HEX = frozenset("0123456789abcdefABCDEF")
# What the door refuses in every request path, so that a literal with it would wait in vain.
_UNSENT = re.compile(rb"[\x00-\x1f\x7f\\]|%(?:2[fFeE]|5[cC]|00)")
_DOTS = frozenset({b".", b".."})

_SEGMENT: Final = "a segment"
_VERB: Final = "a verb"


class TemplateError(Exception):
    """A template outside the grammar or its bounds; `column` counts characters from 1.

    `hint` is what to write instead.
    """

    def __init__(self, message: str, column: int, fault: Fault) -> None:
        super().__init__(f"{message} (column {column})")
        self.message = message
        self.column = column
        self.fault = fault
        self.hint = ""


class Segment(Struct, frozen=True):
    """One step of the path. `text` is a literal's decoded text, else empty."""

    kind: SegmentKind
    text: str = ""


class Variable(Struct, frozen=True, kw_only=True):
    """`{path=...}`: the field path, and which segments it covers: `start` up to, not with, `stop`.

    `stop` is None where the variable takes all that is left, below zero where literals follow a
    `**`: so many segments from the end are not its own. `multi` is True for more than one segment
    or a `**`; its value keeps encoded slashes as sent.
    """

    path: tuple[str, ...]
    start: int
    stop: int | None
    multi: bool
    column: int = 1
    # The segment of the template after its last one.
    end: int = 0


class Template(Struct, frozen=True, kw_only=True):
    """A parsed path template. `verb` is decoded and without its colon; empty when there is none."""

    text: str
    segments: tuple[Segment, ...]
    variables: tuple[Variable, ...] = ()
    verb: str = ""

    @property
    def shape(self) -> tuple[tuple[Segment, ...], str]:
        """What is left after dropping variable names: equal shapes match equal paths."""
        return self.segments, self.verb


def parse_template(text: str, *, tail: bool = False) -> Template:
    """Read one path template; `tail` allows literals after `**`.

    Raises TemplateError for the first violation of the grammar or of a bound, with its column and
    what to write instead.
    """
    try:
        return _parse(text, tail=tail)
    except TemplateError as error:
        error.hint = repair_hint(
            text, error.fault, error.column - 1, lambda other: _is_template(other, tail=tail)
        )
        raise


def _parse(text: str, *, tail: bool) -> Template:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise TemplateError(f"a template has at most {MAX_BYTES} bytes", 1, "size")
    if not text.startswith("/"):
        raise TemplateError('a template starts with "/"', 1, "start")
    return _Parser(text, tail=tail).parse()


def _is_template(text: str, *, tail: bool) -> bool:
    try:
        _parse(text, tail=tail)
    except TemplateError:
        return False
    return True


class _Parser:
    """A cursor over the text. Each method reads one production and leaves `at` behind it."""

    def __init__(self, text: str, *, tail: bool) -> None:
        self.text = text
        self.tail = tail
        self.at = 0
        self.segments: list[Segment] = []
        self.variables: list[Variable] = []
        self.verb = ""

    def parse(self) -> Template:
        while self._peek() == "/":
            self.at += 1
            self._segment()
        if self._peek() == ":":
            self.at += 1
            self.verb = self._literal(stop="/", what=_VERB)
        if self.at < len(self.text):
            self._refuse_rest()
        return Template(
            text=self.text,
            segments=tuple(self.segments),
            variables=tuple(self._counted_from_end(each) for each in self.variables),
            verb=self.verb,
        )

    def _counted_from_end(self, variable: Variable) -> Variable:
        """The variable that holds the `**`, once it is known what follows it."""
        if variable.stop is not None or variable.end == len(self.segments):
            return variable
        return structs.replace(variable, stop=variable.end - len(self.segments))

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _error(self, fault: Fault, message: str, at: int | None = None) -> TemplateError:
        return TemplateError(message, (self.at if at is None else at) + 1, fault)

    def _refuse_rest(self) -> None:
        if self._peek() == "/":
            raise self._error("after_verb", "a verb ends the template; no segment can follow it")
        raise self._error(
            "whole", f'unexpected "{self._peek()}"; a wildcard or variable is a whole segment'
        )

    def _segment(self) -> None:
        if self._peek() == "{":
            self._variable()
        else:
            self._plain_segment(in_variable=False)

    def _plain_segment(self, *, in_variable: bool) -> None:
        begin = self.at
        self._need_room(begin, literal=self._peek() != "*")
        if self._peek() != "*":
            self.segments.append(Segment("literal", self._segment_literal(in_variable=in_variable)))
            return
        self.at += 1
        if self._peek() != "*":
            self.segments.append(Segment("*"))
            return
        self.at += 1
        self.segments.append(Segment("**"))

    def _segment_literal(self, *, in_variable: bool) -> str:
        """A literal segment; outside a variable the last one gives up its last colon to the verb."""
        begin = self.at
        if in_variable:
            return self._literal(stop="/}", what=_SEGMENT)
        end = self.text.find("/", begin)
        if end >= 0:
            return self._literal(stop="/", what=_SEGMENT)
        colon = self.text.rfind(":", begin)
        if colon < 0:
            return self._literal(stop="", what=_SEGMENT)
        # The rest of the text is checked as literals, so "{" and "*" before the colon still fail.
        return self._literal(stop="", what=_SEGMENT, end=colon)

    def _literal(self, *, stop: str, what: str, end: int | None = None) -> str:
        begin = self.at
        limit = len(self.text) if end is None else end
        while self.at < limit and self.text[self.at] not in stop:
            self._pchar()
        if self.at == begin:
            fault: Fault = "verb" if what is _VERB else "segment"
            raise self._error(fault, f"{what} is not empty")
        octets = unquote_to_bytes(self.text[begin : self.at])
        if b"/" in octets:
            raise self._error("slash", "an encoded slash cannot be in a literal", begin)
        parts = octets.split(b";")
        # A colon joins the last part of a segment and the first one of its verb: `..:v` is no dot segment.
        if what is _VERB:
            del parts[0]
        elif end is not None:
            del parts[-1]
        if not _DOTS.isdisjoint(parts):
            raise self._error(
                "dot", "a dot segment never matches: no request path holds one", begin
            )
        if _UNSENT.search(octets):
            raise self._error(
                "unsent",
                "this never matches: no request path holds a control character, a backslash, or"
                " an escape of one, of a dot or a slash behind %25",
                begin,
            )
        try:
            return octets.decode()
        except UnicodeDecodeError:
            raise self._error(
                "utf8", "this never matches: a request path is UTF-8 once decoded", begin
            ) from None

    def _pchar(self) -> None:
        char = self.text[self.at]
        if char in _PCHARS:
            self.at += 1
            return
        if char != "%":
            raise self._error(
                "query" if char in "?#" else "literal", f'"{char}" cannot stand in a literal'
            )
        digits = self.text[self.at + 1 : self.at + 3]
        if len(digits) != 2 or not _HEX.issuperset(digits):
            raise self._error("escape", '"%" needs two hexadecimal digits')
        self.at += 3

    def _variable(self) -> None:
        begin = self.at
        if len(self.variables) == MAX_VARIABLES:
            raise self._error("size", f"a template has at most {MAX_VARIABLES} variables")
        self.at += 1
        path = self._field_path()
        start = len(self.segments)
        if self._peek() == "=":
            self.at += 1
            self._variable_segments()
        else:
            self._implied_star(begin)
        if self._peek() != "}":
            raise self._error("brace", 'expected "}"')
        self.at += 1
        covered = self.segments[start:]
        open_end = any(each.kind == "**" for each in covered)
        self.variables.append(
            Variable(
                path=path,
                start=start,
                stop=None if open_end else len(self.segments),
                multi=open_end or len(covered) > 1,
                column=begin + 1,
                end=len(self.segments),
            )
        )

    def _implied_star(self, begin: int) -> None:
        self._need_room(begin, literal=False)
        self.segments.append(Segment("*"))

    def _need_room(self, begin: int, *, literal: bool) -> None:
        if any(each.kind == "**" for each in self.segments) and not (self.tail and literal):
            after = "only literals can follow it" if self.tail else "it must be the last segment"
            raise self._error("last", f'"**" takes all that is left; {after}', begin)
        if len(self.segments) == MAX_SEGMENTS:
            raise self._error("size", f"a template has at most {MAX_SEGMENTS} segments", begin)

    def _variable_segments(self) -> None:
        while True:
            if self._peek() == "{":
                raise self._error("nested", "variables cannot be nested")
            self._plain_segment(in_variable=True)
            if self._peek() != "/":
                return
            self.at += 1

    def _field_path(self) -> tuple[str, ...]:
        names: list[str] = []
        while True:
            found = _IDENT.match(self.text, self.at)
            if found is None:
                raise self._error("name", "expected a field name")
            if len(names) == MAX_FIELD_DEPTH:
                raise self._error("size", f"a field path has at most {MAX_FIELD_DEPTH} names")
            names.append(found.group())
            self.at = found.end()
            if self._peek() != ".":
                return tuple(names)
            self.at += 1
