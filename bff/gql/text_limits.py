"""What the text of a document may hold: one linear pass over its tokens, before anything is parsed."""

import re

from bff.gql.faults import RequestFault
from bff.gql.limits import Caps, exceeded

__all__ = ["check_text"]


class _Excess(Exception):
    def __init__(self, limit: str, most: int, actual: int) -> None:
        self.fault = exceeded(limit, most, actual)


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
        return exceeded("text", caps.text_bytes, size)
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
