"""What a document may cost before anything is asked.

One linear pass over its text, then counts with fragments expanded. No visitor ever sees a document
that the first pass refused.
"""

import re
from collections.abc import Iterator

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)
from msgspec import Struct

from bff.core.exchange import Json
from bff.gql.faults import RequestFault, coded

__all__ = ["Caps", "check_expanded", "check_text", "check_variables"]

# Expanded counts stop here; a bomb is a number, not a walk.
_SATURATED = 10**9


class Caps(Struct, frozen=True, kw_only=True):
    """The limits of one request; sizes in bytes of UTF-8, the rest are counts."""

    text_bytes: int = 16 * 1024
    tokens: int = 1000
    comments: int = 100
    nesting: int = 32
    depth: int = 8
    introspection_depth: int = 15
    aliases: int = 15
    root_fields: int = 10
    directives: int = 20
    same_name: int = 4
    fragments: int = 20
    spreads: int = 40
    operations: int = 5
    list_items: int = 1000
    input_depth: int = 8
    string_bytes: int = 16 * 1024
    variables: int = 30
    errors: int = 100
    calls: int = 16


def _exceeded(limit: str, most: int, actual: int) -> RequestFault:
    message = f"The document exceeds its limit of {most} for {limit}."
    error = coded(message, "LIMIT_EXCEEDED", limit=limit, max=most, actual=actual)
    return RequestFault("limit", (error,))


class _Excess(Exception):
    def __init__(self, limit: str, most: int, actual: int) -> None:
        self.fault = _exceeded(limit, most, actual)


# Every branch starts with another character and none can fail after a long walk, so the scan is
# linear; what matches nothing is one character for the parser to refuse.
_TOKEN = re.compile(
    r"""(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<punct>\.\.\.|[!$&()\[\]{}:=@|])
      | (?P<comment>\#[^\n\r]*)
      | (?P<text>\"{3}(?:[^\"\\]|\\\"{3}|\\|\"{1,2}(?!\"))*(?:\"{3})?|\"(?:[^\"\\\n\r]|\\.)*\"?)
      | (?P<number>-?[0-9][0-9A-Za-z_.+-]*)
      | (?P<other>[^\s,\ufeff])""",
    re.VERBOSE,
)


def check_text(text: str, caps: Caps) -> RequestFault | None:
    """The pass over the text: None if it is within every cap, else the first excess."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > caps.text_bytes:
        return _exceeded("text", caps.text_bytes, size)
    try:
        _Scan(caps).run(text)
    except _Excess as excess:
        return excess.fault
    return None


class _Scan:
    """Counts over the tokens. Names count as selections where no round bracket is open."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._counts = dict.fromkeys(
            ("tokens", "comments", "aliases", "directives", "fragments", "spreads", "operations",
             "root_fields", "variables"), 0,
        )  # fmt: skip
        self._brackets = 0
        self._parens = 0
        # The word that opened the definition we are in: operation, fragment or none yet.
        self._head = ""
        # One entry per open selection set: how often each response name stands in it.
        self._names: list[dict[str, int]] = []
        # The last selection name, while it may still turn out to be an alias.
        self._pending = ""
        # The next name is the type of an inline fragment.
        self._type_next = False

    def _count(self, limit: str) -> None:
        self._counts[limit] += 1
        most = getattr(self._caps, limit)
        if self._counts[limit] > most:
            raise _Excess(limit, most, self._counts[limit])

    def run(self, text: str) -> None:
        before = ""
        for found in _TOKEN.finditer(text):
            kind = found.lastgroup
            if kind == "comment":
                self._count("comments")
                continue
            self._count("tokens")
            mark = found.group()
            if kind == "name":
                self._name(mark, before)
            elif kind == "punct":
                self._punct(mark)
            before = mark
        self._settle()

    def _name(self, name: str, before: str) -> None:
        if before == ":" and self._pending:
            # The name before the colon was an alias, and this is the field it stands for.
            self._count("aliases")
            self._settle()
            return
        self._settle()
        if self._type_next:
            self._type_next = False
        elif before == "...":
            self._type_next = name == "on"
        elif self._parens or before in {"@", "$"}:
            return
        elif self._names:
            self._pending = name
        elif not self._head:
            self._head = "fragment" if name == "fragment" else "operation"
            self._count(f"{self._head}s")

    def _settle(self) -> None:
        """The pending name is a response name of the innermost selection set."""
        name, self._pending = self._pending, ""
        if not name or not self._names:
            return
        names = self._names[-1]
        names[name] = names.get(name, 0) + 1
        if names[name] > self._caps.same_name:
            raise _Excess("same_name", self._caps.same_name, names[name])
        if self._head == "operation" and len(self._names) == 1:
            self._count("root_fields")

    def _punct(self, mark: str) -> None:
        if mark == ":":
            return
        self._settle()
        match mark:
            case "{" | "[" | "(":
                self._open(mark)
            case "}" | "]" | ")":
                self._close(mark)
            case "...":
                self._count("spreads")
            case "@":
                self._count("directives")
            case "$" if not self._names and self._parens:
                # Definitions stand in the round brackets before any selection.
                self._count("variables")
            case _:
                pass

    def _open(self, mark: str) -> None:
        self._brackets += 1
        if self._brackets > self._caps.nesting:
            raise _Excess("nesting", self._caps.nesting, self._brackets)
        if mark == "(":
            self._parens += 1
        elif mark == "{" and not self._parens:
            if not self._head:
                # The short form of a query: a selection set without a word before it.
                self._head = "operation"
                self._count("operations")
            self._names.append({})

    def _close(self, mark: str) -> None:
        self._brackets = max(0, self._brackets - 1)
        if mark == ")":
            self._parens = max(0, self._parens - 1)
        elif mark == "}" and not self._parens and self._names:
            self._names.pop()
            if not self._names:
                self._head = ""


class _Counts(Struct):
    """What a selection set comes to with its fragments expanded."""

    depth: int = 0
    introspection_depth: int = 0
    aliases: int = 0
    fields: int = 0


def check_expanded(document: DocumentNode, caps: Caps) -> RequestFault | None:
    """Depth, aliases and root fields with every fragment in its place.

    Each fragment is counted once, however often it is spread. Unknown fragments and circles are
    refused here, before validation.
    """
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    order, fault = _fragment_order(fragments)
    if fault is not None:
        return fault
    counted: dict[str, _Counts] = {}
    for name in order:
        counted[name] = _count(fragments[name].selection_set, counted)
    for node in document.definitions:
        if not isinstance(node, OperationDefinitionNode):
            continue
        missing = [name for name in _spreads(node.selection_set) if name not in fragments]
        if missing:
            return _invalid(f"Unknown fragment '{missing[0]}'.")
        counts = _count(node.selection_set, counted)
        for limit, actual in (
            ("depth", counts.depth),
            ("introspection_depth", counts.introspection_depth),
            ("aliases", counts.aliases),
            ("root_fields", counts.fields),
        ):
            most = getattr(caps, limit)
            if actual > most:
                return _exceeded(limit, most, actual)
    return None


def _invalid(message: str) -> RequestFault:
    return RequestFault("validation", (coded(message, "GRAPHQL_VALIDATION_FAILED"),))


def _fragment_order(
    fragments: dict[str, FragmentDefinitionNode],
) -> tuple[list[str], RequestFault | None]:
    """Fragments so that each comes after those it spreads; iterative, since chains may be long."""
    spreads = {name: list(_spreads(node.selection_set)) for name, node in fragments.items()}
    order: list[str] = []
    state: dict[str, int] = {}
    for first in fragments:
        stack = [first]
        while stack:
            name = stack[-1]
            if state.get(name) == 2:
                stack.pop()
                continue
            if name not in fragments:
                return [], _invalid(f"Unknown fragment '{name}'.")
            if state.get(name) == 1:
                state[name] = 2
                order.append(name)
                stack.pop()
                continue
            state[name] = 1
            for below in spreads[name]:
                if state.get(below) == 1:
                    return [], _invalid(f"Cannot spread fragment '{below}' within itself.")
                if state.get(below) is None:
                    stack.append(below)
    return order, None


def _spreads(selections: SelectionSetNode) -> Iterator[str]:
    """Names of the fragments spread anywhere below; the depth is that of the text, which is capped."""
    for node in selections.selections:
        if isinstance(node, FragmentSpreadNode):
            yield node.name.value
        else:
            below: SelectionSetNode | None = getattr(node, "selection_set", None)
            if below is not None:
                yield from _spreads(below)


def _count(selections: SelectionSetNode, counted: dict[str, _Counts]) -> _Counts:
    """Counts of one selection set; `fields` are those directly in it."""
    total = _Counts()
    for node in selections.selections:
        if isinstance(node, FieldNode):
            total.fields += 1
            total.aliases += node.alias is not None
            below = _count(node.selection_set, counted) if node.selection_set else _Counts()
            is_meta = node.name.value in {"__schema", "__type"}
            total.aliases += below.aliases
            if is_meta:
                deepest = max(below.depth, below.introspection_depth)
                total.introspection_depth = max(total.introspection_depth, deepest + 1)
            else:
                total.depth = max(total.depth, below.depth + 1)
                total.introspection_depth = max(
                    total.introspection_depth, below.introspection_depth
                )
        else:
            below = (
                counted.get(node.name.value, _Counts())
                if isinstance(node, FragmentSpreadNode)
                else _count(_selections(node), counted)
            )
            total.fields += below.fields
            total.aliases += below.aliases
            total.depth = max(total.depth, below.depth)
            total.introspection_depth = max(total.introspection_depth, below.introspection_depth)
    total.fields = min(total.fields, _SATURATED)
    total.aliases = min(total.aliases, _SATURATED)
    return total


def _selections(node: SelectionNode) -> SelectionSetNode:
    assert isinstance(node, InlineFragmentNode)
    return node.selection_set


def check_variables(variables: Json, caps: Caps) -> RequestFault | None:
    """Size of the variables' values: nesting, list lengths, text lengths."""
    if len(variables) > caps.variables:
        return _exceeded("variables", caps.variables, len(variables))
    level = list(variables.values())
    depth = 1
    while level:
        if depth > caps.input_depth:
            return _exceeded("input_depth", caps.input_depth, depth)
        below: list[Json] = []
        for value in level:
            if isinstance(value, str):
                # Four bytes a character at most: short texts need no encoding to be judged.
                if len(value) * 4 > caps.string_bytes and len(value.encode()) > caps.string_bytes:
                    return _exceeded("string", caps.string_bytes, len(value.encode()))
            elif isinstance(value, list):
                if len(value) > caps.list_items:
                    return _exceeded("list_items", caps.list_items, len(value))
                below.extend(value)
            elif isinstance(value, dict):
                below.extend(value.values())
        level = below
        depth += 1
    return None
