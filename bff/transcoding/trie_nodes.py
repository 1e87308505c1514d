"""What a trie of routes is made of: what it finds, its nodes, and one route at a leaf."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from msgspec import Struct, structs

from bff.transcoding.captures import Cuts
from bff.transcoding.path_template import Segment, Template
from bff.transcoding.switches import Switches

__all__ = [
    "Entry",
    "Found",
    "Node",
    "Table",
    "WrongMethod",
    "child_of",
    "may_end_in_slash",
    "tails_of",
    "with_slash",
]

T = TypeVar("T")


class Found(Struct, Generic[T], frozen=True, gc=False):
    """A match: the route's value and its variables' decoded texts, in the template's order.

    `implied_head` is True when a HEAD request was answered by a GET rule (RFC 9110 9.3.2).
    """

    value: T
    captures: tuple[str, ...] = ()
    implied_head: bool = False


class WrongMethod(Struct, frozen=True):
    """The path is known, the method is not; `allow` is sorted and complete (RFC 9110 10.2.1).

    `status` is what the best of the path's routes wants said: 405, 501, or 404 as if it were not there.
    """

    allow: tuple[str, ...]
    status: int = 405


class Entry(Generic[T]):
    """One route at a leaf. `capture` turns the path's segments into texts; `found` serves if none."""

    __slots__ = (
        "_binds_empty",
        "_no_verb_from",
        "_stars",
        "capture",
        "found",
        "implied_head",
        "raw_capture",
        "single",
        "value",
        "wrong_method",
    )

    def __init__(
        self,
        template: Template,
        value: T,
        switches: Switches,
        cuts: Cuts,
        *,
        implied_head: bool,
    ) -> None:
        self.value = value
        self.implied_head = implied_head
        self.wrong_method = switches.wrong_method
        self.found: Found[T] = Found(value, (), implied_head)
        # Segment i of the template is item i + 1 of the split path, whose item 0 is empty.
        spans = tuple((v.start + 1, _after(v.stop), v.multi) for v in template.variables)
        # The commonest shape, one variable of one segment, is a plain index; 0 says "another shape".
        self.single = spans[0][0] if len(spans) == 1 and not spans[0][2] else 0
        self.raw_capture, self.capture = cuts.of(spans, switches.path_decoding)
        kinds = [segment.kind for segment in template.segments]
        self._stars = tuple(at for at, kind in enumerate(kinds, 1) if kind == "*")
        self._binds_empty = switches.empty_segment == "bind"
        # Where a last segment with an unregistered verb would be a wildcard's; 0: may be.
        refuses_verb = switches.verb_unregistered == "no_match" and kinds[-1] != "literal"
        self._no_verb_from = len(kinds) if refuses_verb and not template.verb else 0

    def takes(self, segments: list[str]) -> bool:
        """Whether this route, having switches of its own or such neighbours, takes the path."""
        if not self._binds_empty and any(not segments[at] for at in self._stars):
            return False
        return (
            not self._no_verb_from
            or len(segments) <= self._no_verb_from
            or ":" not in segments[-1][1:-1]
        )


def _after(stop: int | None) -> int | None:
    """A variable's end in the split path; below zero it counts from the end of either."""
    return stop + 1 if stop is not None and stop > 0 else stop


Table = dict[str, Entry[T]]
_NONE: Mapping[Any, Any] = MappingProxyType({})


class Node(Generic[T]):
    """A place in the trie. `ends` (path ends here) and `tails` (`**` from here): verb -> methods.

    `suffixes` are the tails that go on with literals, longest first.
    """

    __slots__ = ("ends", "literals", "plain", "star", "suffixes", "tails")

    def __init__(self) -> None:
        self.literals: dict[str, Node[T]] = {}
        self.star: Node[T] | None = None
        self.ends: dict[str, Table[T]] = {}
        # Few nodes have tails; the others share these.
        self.tails: Mapping[str, Table[T]] = _NONE
        self.suffixes: Mapping[tuple[str, ...], dict[str, Table[T]]] = _NONE
        # `ends[""]`, one lookup nearer.
        self.plain: Table[T] | None = None


def child_of(node: Node[T], segment: Segment) -> Node[T]:
    """The node one segment on, made if it is not there."""
    if segment.kind == "literal":
        below = node.literals.get(segment.text)
        if below is None:
            below = node.literals[segment.text] = Node()
        return below
    if node.star is None:
        node.star = Node()
    return node.star


def tails_of(node: Node[T], after: tuple[Segment, ...]) -> dict[str, Table[T]]:
    """The leaves of a `**` at this node, with what literals follow it."""
    if not after:
        if not isinstance(node.tails, dict):
            node.tails = {}
        return node.tails
    suffix = tuple(segment.text for segment in after)
    if suffix not in node.suffixes:
        every = {**node.suffixes, suffix: {}}
        node.suffixes = dict(sorted(every.items(), key=lambda item: -len(item[0])))
    return node.suffixes[suffix]


def may_end_in_slash(template: Template) -> bool:
    """Not after a verb; a `**` at the end has the slash anyway."""
    return not template.verb and template.segments[-1].kind != "**"


def with_slash(template: Template) -> Template:
    """The template of the same path with a slash behind it."""
    opens = any(segment.kind == "**" for segment in template.segments)
    variables = tuple(
        structs.replace(
            each, stop=(each.stop or 0) - 1 if opens and (each.stop or 0) <= 0 else each.stop
        )
        for each in template.variables
    )
    segments = (*template.segments, Segment("literal"))
    return structs.replace(template, segments=segments, variables=variables)
