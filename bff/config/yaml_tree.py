"""YAML text to a tree that knows the place of every key and value. YAML 1.2 core schema, tamed.

No tags, no merge keys, no directives for other versions; duplicate keys are problems; nesting and
the expansion of aliases are bounded. Built from parser events, so that depth is checked before
anything recurses.
"""

import math
import re
from typing import Any

from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from bff.config.blocks import KeyPath
from bff.core.problems import Problem, Where

__all__ = ["MAX_DEPTH", "Entry", "Node", "Source", "entry_at", "lines_of", "parse", "plain"]

# And how many values aliases may add to a document, so that no small file grows large.
MAX_DEPTH = 32
_MAX_ALIASED_VALUES = 10_000
# A longer number is no figure of a configuration.
_MOST_DIGITS = 19

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
# YAML 1.2 5.4: U+0085, U+2028 and U+2029 no longer end a line.
_LINE_BREAK = re.compile(r"\r\n|[\n\r]")
_NO_CHARACTER = re.compile(r"\\U(?!000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})[0-9a-fA-F]{8}")
# With these YAML begins something of its own.
_MARKS = frozenset("*&!%@`")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "false": False}


class Source(Struct, frozen=True, kw_only=True, eq=False):
    """One file: the name that problems show, its path, its lines."""

    name: str
    path: str
    lines: tuple[str, ...]

    def line(self, number: int) -> str:
        """The text of a line, from 1; empty if there is none."""
        return self.lines[number - 1][:200] if 0 < number <= len(self.lines) else ""


def lines_of(text: str) -> tuple[str, ...]:
    """The lines as the parser counts them, the last one too where it is empty."""
    return tuple(_LINE_BREAK.split(text))


class Entry(Struct, frozen=True, eq=False):
    """A key of a mapping, its place, and its value."""

    line: int
    column: int
    node: "Node"


class Node(Struct, kw_only=True, eq=False):
    """A value and its place. `value` is a scalar, a list of nodes, or a dict of entries."""

    source: Source
    line: int
    column: int
    value: Any = None
    flow: bool = True

    @property
    def where(self) -> Where:
        """Where the value starts."""
        return Where(self.source.name, self.line, self.column)


class _Fatal(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Open(Struct):
    """A list or mapping whose end has not come; `key` waits for its value."""

    node: Node
    anchor: str | None
    key: tuple[str, int, int] | None = None


def parse(source: Source, text: str) -> tuple[list[Node], list[Problem]]:
    """The documents of one file that are not empty, and everything wrong with it as YAML."""
    reader = _Reader(source)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            reader.take(event)
    except _Fatal as error:
        reader.problems.append(error.problem)
    except ReaderError as error:
        line, column = _place_in(text, error.position)
        # The reader gives the number of a character, or octets that are none.
        number = error.character if isinstance(error.character, int) else 0xFFFD
        message = f"the character U+{number:04X} is not allowed in YAML"
        reader.report(message, line, column, "BFF-C001")
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        hint = _fix(str(error.problem), reader.line(line)[column - 1 : column])
        reader.report(f"this is not YAML: {what}", line, column, "BFF-C001", hint)
    except (YAMLError, ValueError, OverflowError) as error:
        # ValueError and OverflowError: an escape beyond U+10FFFF, or a version of thousands of digits.
        found = _NO_CHARACTER.search(text)
        why = "this escape names no character" if found else f"this is not YAML: {str(error)[:200]}"
        reader.report(why, *_place_in(text, found.start() if found else 0), "BFF-C001")
    return reader.documents, reader.problems


def _place_in(text: str, position: int) -> tuple[int, int]:
    """Line and column of a character."""
    lines = lines_of(text[:position])
    return len(lines), len(lines[-1]) + 1


def _fix(problem: str, at: str) -> str:
    """What to write instead, for the mistakes that templates and bodies invite."""
    if "alphabetic" in problem or at in _MARKS:
        return 'put the text in quotes, such as "*"'
    if "'\\t'" in problem:
        return "indent with spaces; a tab indents nothing in YAML"
    if at == "{":
        return 'put a path with variables in quotes where it stands inside { }: "/v1/{id}"'
    return ""


class _Reader:
    """Takes parser events, builds the documents of one file."""

    def __init__(self, source: Source) -> None:
        self.documents: list[Node] = []
        self.problems: list[Problem] = []
        self._source = source
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None

    def line(self, number: int) -> str:
        """The text of a line; empty for line 0."""
        return self._source.line(number)

    def report(self, message: str, line: int, column: int, code: str, hint: str = "") -> None:
        self.problems.append(self._problem(message, line, column, code, hint))

    def _problem(self, message: str, line: int, column: int, code: str, hint: str = "") -> Problem:
        where = Where(self._source.name, line, column)
        return Problem(where, message, hint=hint, code=code, line_text=self._source.line(line))

    def _report_at(self, event: Event, message: str, code: str, hint: str = "") -> None:
        mark = event.start_mark
        self.report(message, mark.line + 1, mark.column + 1, code, hint)

    def take(self, event: Event) -> None:
        """Go on by one event. Raises _Fatal if the file cannot be read further."""
        match event:
            case DocumentStartEvent():
                self._start_document(event)
            case DocumentEndEvent():
                if self._root is not None and self._root.value is not None:
                    self.documents.append(self._root)
            case MappingEndEvent() | SequenceEndEvent():
                closed = self._stack.pop()
                if closed.anchor:
                    self._anchors[closed.anchor] = closed.node
            case AliasEvent():
                self._take_alias(event)
            case ScalarEvent() | MappingStartEvent() | SequenceStartEvent():
                self._take_node(event)
            case _:
                pass

    def _start_document(self, event: DocumentStartEvent) -> None:
        self._anchors = {}
        self._root = None
        if event.version is not None and tuple(event.version) != (1, 2):
            self._report_at(event, "only YAML 1.2 is read here", "BFF-C001", "remove %YAML")

    def _take_alias(self, event: AliasEvent) -> None:
        if self._is_key():
            self._set_key(event, None)
            return
        node = self._anchors.get(event.anchor)
        if node is None:
            within = any(frame.anchor == event.anchor for frame in self._stack)
            why = "stands within its own anchor" if within else "has no anchor above it"
            self._report_at(event, f"the alias *{event.anchor} {why}", "BFF-C004")
            node = self._node_at(event)
            node.value = ""
        self._place(node)

    def _take_node(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.tag is not None:
            message = f"tags such as {str(event.tag)[:40]} are not allowed"
            self._report_at(event, message, "BFF-C003", "remove the tag; quotes make text")
        if self._is_key():
            self._set_key(event, self._text(event) if isinstance(event, ScalarEvent) else None)
            return
        node = self._node_at(event)
        if isinstance(event, ScalarEvent):
            node.value = self._resolve(event)
            if event.anchor:
                self._anchors[event.anchor] = node
            self._place(node)
            return
        if len(self._stack) >= MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise _Fatal(self._problem(message, node.line, node.column, "BFF-C005"))
        node.value = {} if isinstance(event, MappingStartEvent) else []
        node.flow = bool(event.flow_style)
        self._place(node)
        self._stack.append(_Open(node, event.anchor))

    def _node_at(self, event: Event) -> Node:
        mark = event.start_mark
        return Node(source=self._source, line=mark.line + 1, column=mark.column + 1)

    def _is_key(self) -> bool:
        if not self._stack:
            return False
        frame = self._stack[-1]
        return isinstance(frame.node.value, dict) and frame.key is None

    def _set_key(self, event: Event, key: str | None) -> None:
        mark = event.start_mark
        if key is None:
            message = "a key must be plain text"
            raise _Fatal(self._problem(message, mark.line + 1, mark.column + 1, "BFF-C001"))
        if key == "<<" and isinstance(event, ScalarEvent) and not event.style:
            hint = "YAML 1.2 has none; write the keys"
            self._report_at(event, "merge keys (<<) are not allowed", "BFF-C004", hint)
        self._stack[-1].key = (key, mark.line + 1, mark.column + 1)

    def _place(self, node: Node) -> None:
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        if isinstance(frame.node.value, list):
            frame.node.value.append(node)
            return
        assert frame.key is not None
        name, line, column = frame.key
        frame.key = None
        first = frame.node.value.get(name)
        if first is not None:
            message = f"the key `{name[:60]}` is written twice in one block"
            self.report(message, line, column, "BFF-C002", f"first in line {first.line}")
            return
        frame.node.value[name] = Entry(line, column, node)

    def _text(self, event: ScalarEvent) -> str:
        """The text of a scalar. JSON writes characters above U+FFFF as two escapes, which are one here."""
        text = str(event.value)
        if text.isascii() or not _SURROGATE.search(text):
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._report_at(event, "half a surrogate pair is no character", "BFF-C001")
            return _SURROGATE.sub("\ufffd", text)

    def _resolve(self, event: ScalarEvent) -> Any:
        """A scalar by the core schema, but that only `true` and `false` are booleans."""
        text = self._text(event)
        if event.style or not event.implicit[0]:
            return text
        if text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if _INT.fullmatch(text):
            if len(text) <= _MOST_DIGITS:
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            self._report_at(event, "this number is too large", "BFF-C007", "quotes make it text")
            return 0
        if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and math.isinf(float(text))):
            hint = "quotes make it text"
            self._report_at(event, "only finite numbers are allowed", "BFF-C007", hint)
            return 0.0
        return float(text) if _FLOAT.fullmatch(text) else text


class _TooMuch(Exception):
    pass


def plain(root: Node) -> tuple[Any, dict[int, KeyPath], Problem | None]:
    """The tree as dicts, lists and scalars; the path of each dict by its id; a problem with aliases.

    The ids hold as long as the tree returned is kept.
    """
    paths: dict[int, KeyPath] = {}
    seen: set[int] = set()
    repeated = 0

    def build(node: Node, path: KeyPath) -> Any:
        nonlocal repeated
        if id(node) in seen:
            repeated += 1
        seen.add(id(node))
        # An alias may stand deep within a tree that is itself deep.
        if repeated > _MAX_ALIASED_VALUES or len(path) > MAX_DEPTH:
            raise _TooMuch
        if isinstance(node.value, list):
            return [build(item, (*path, index)) for index, item in enumerate(node.value)]
        if not isinstance(node.value, dict):
            return node.value
        block = {key: build(entry.node, (*path, key)) for key, entry in node.value.items()}
        paths[id(block)] = path
        return block

    try:
        return build(root, ()), paths, None
    except _TooMuch:
        message = "the aliases of this document make it too large or too deep"
        line_text = root.source.line(root.line)
        return None, {}, Problem(root.where, message, code="BFF-C004", line_text=line_text)


def entry_at(root: Node, path: KeyPath) -> tuple[KeyPath, Node, Entry | None]:
    """The nearest known place on `path`: how far it is known, its value, and its key if it has one."""
    node, entry = root, None
    for depth, part in enumerate(path):
        value = node.value
        if isinstance(value, dict) and isinstance(part, str) and part in value:
            entry = value[part]
            node = entry.node
        elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            entry, node = None, value[part]
        else:
            return path[:depth], node, entry
    return path, node, entry
