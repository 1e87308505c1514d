"""Raw path -> route: a trie over path segments, with verbs and methods asked at its leaves.

Edges are tried in the order literal, `*`, `**`; a leaf without the method does not end the search.
Input is the canonical raw path, split on literal slashes; values are decoded after the match.
Nothing here knows what a route is.
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from msgspec import Struct, structs

from bff.transcoding.captures import prepare_capture, prepare_raw_capture
from bff.transcoding.path_template import Segment, Template
from bff.transcoding.switches import STRICT, Switches

__all__ = ["Found", "RouteTrie", "WrongMethod"]

T = TypeVar("T")

# What custom kind "*" answers, as `Allow` names it.
_ANY_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
# Never routed, whatever is registered: a gateway neither tunnels nor echoes (RFC 9110 9.3.6, 9.3.8).
_NEVER: Final = frozenset({"CONNECT", "TRACE"})


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


class _Entry(Generic[T]):
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
        self, template: Template, value: T, switches: Switches, *, implied_head: bool
    ) -> None:
        self.value = value
        self.implied_head = implied_head
        self.wrong_method = switches.wrong_method
        self.found: Found[T] = Found(value, (), implied_head)
        # Segment i of the template is item i + 1 of the split path, whose item 0 is empty.
        spans = tuple((v.start + 1, _after(v.stop), v.multi) for v in template.variables)
        # The commonest shape, one variable of one segment, is a plain index; 0 says "another shape".
        self.single = spans[0][0] if len(spans) == 1 and not spans[0][2] else 0
        self.raw_capture = prepare_raw_capture(spans)
        self.capture = prepare_capture(spans, switches.path_decoding)
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


_Table = dict[str, _Entry[T]]


class _Node(Generic[T]):
    """A place in the trie. `ends` (path ends here) and `tails` (`**` from here): verb -> methods.

    `suffixes` are the tails that go on with literals, longest first.
    """

    __slots__ = ("ends", "literals", "plain", "star", "suffixes", "tails")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.star: _Node[T] | None = None
        self.ends: dict[str, _Table[T]] = {}
        self.tails: dict[str, _Table[T]] = {}
        self.suffixes: dict[tuple[str, ...], dict[str, _Table[T]]] = {}
        # `ends[""]`, one lookup nearer.
        self.plain: _Table[T] | None = None


class RouteTrie(Generic[T]):
    """Routes by path and method. Filled at load, then only read; safe to share between tasks.

    A path of literals alone is found in one dict lookup (0.2 us), one with single captures by one
    walk without any state to go back to (about 1 us); only verbs, escapes and dead ends take the
    full search. The number of routes changes none of these.
    """

    __slots__ = ("_binds_empty", "_is_picky", "_root", "_static", "_verb_colons", "_verbs")

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        # Whole literal paths. They beat every other route, so they may be asked first.
        self._static: dict[str, _Table[T]] = {}
        self._verbs: set[str] = set()
        # How many colons a registered verb holds at most: so many splits of a segment are worth trying.
        self._verb_colons = 0
        # Whether some route's "*" takes an empty segment; whether some route must be asked itself.
        self._binds_empty = False
        self._is_picky = False

    def insert(
        self,
        template: Template,
        method: str,
        value: T,
        *,
        implied_head: bool = True,
        switches: Switches = STRICT,
    ) -> T | None:
        """Add a route; `method` is a method token, or `*` for any.

        Returns the value already there under the same method and an equal shape, which stays; None
        when the route went in. A GET also answers HEAD unless `implied_head` or the switch is False.
        Raises ValueError for CONNECT and TRACE.
        """
        if method in _NEVER:
            raise ValueError(f"{method} is never routed")
        implied_head = implied_head and switches.implied_head
        self._binds_empty |= switches.empty_segment == "bind"
        self._is_picky |= self._binds_empty or switches.verb_unregistered == "no_match"
        held = self._insert(template, method, value, switches, implied_head=implied_head)
        if held is None and switches.trailing_slash == "ignore" and _may_end_in_slash(template):
            slashed = _with_slash(template)
            self._insert(slashed, method, value, switches, implied_head=implied_head)
        return held

    def _insert(
        self,
        template: Template,
        method: str,
        value: T,
        switches: Switches,
        *,
        implied_head: bool,
    ) -> T | None:
        table = self._table(template)
        present = table.get(method)
        if present is not None and not present.implied_head:
            return present.value
        table[method] = _Entry(template, value, switches, implied_head=False)
        if method == "GET" and implied_head and "HEAD" not in table:
            table["HEAD"] = _Entry(template, value, switches, implied_head=True)
        self._index_static(template, table)
        return None

    def find(self, method: str, path: str) -> Found[T] | WrongMethod | None:
        """The route for a request, or which methods the path takes, or None if no route has it.

        `path` is canonical raw text that starts with "/". Raises ClientError BAD_PATH when a value
        does not decode to UTF-8 or holds a dot segment.
        """
        table = self._static.get(path)
        if table is not None:
            entry = table.get(method)
            if entry is not None:
                return entry.found
        if "%" in path or ":" in path:
            return self._find_hard(method, path)
        segments = path.split("/")
        # The first item is the empty text before the slash; the trie hangs one literal below `node`.
        node = self._root
        for segment in segments[1:]:
            below = node.literals.get(segment)
            if below is None:
                below = node.star
                if below is None or not segment:
                    return self._search(method, segments, segments, ())
            node = below
        if node.plain is None or (entry := node.plain.get(method)) is None:
            return self._search(method, segments, segments, ())
        if entry.single:
            return Found(entry.value, (segments[entry.single],), entry.implied_head)
        if entry.raw_capture is None:
            return entry.found
        return Found(entry.value, entry.raw_capture(segments), entry.implied_head)

    def find_each(self, method: str, path: str) -> Iterator[Found[T]]:
        """Every route that takes this request, best first: for routes that refuse by a condition."""
        segments = path.split("/")
        keys = _decode_keys(segments)
        for table, ends in self._leaves(segments, keys, self._splits(segments)):
            entry = _entry_for(table, method)
            if entry is not None and (not self._is_picky or entry.takes(ends)):
                yield Found(entry.value, entry.capture(ends), entry.implied_head)

    def find_all_methods(self, path: str) -> tuple[str, ...]:
        """Every method that some route takes on this path, as `Allow` lists them; empty if unknown."""
        segments = path.split("/")
        keys = _decode_keys(segments)
        refusal = self._refusal(segments, keys, self._splits(segments))
        return refusal.allow if refusal is not None else ()

    def _find_hard(self, method: str, path: str) -> Found[T] | WrongMethod | None:
        segments = path.split("/")
        keys = _decode_keys(segments) if "%" in path else segments
        splits = self._splits(segments) if self._verbs and ":" in segments[-1] else ()
        return self._search(method, segments, keys, splits)

    def _search(
        self, method: str, segments: list[str], keys: list[str], splits: "_Splits"
    ) -> Found[T] | WrongMethod | None:
        for table, ends in self._leaves(segments, keys, splits):
            entry = _entry_for(table, method)
            if entry is not None and (not self._is_picky or entry.takes(ends)):
                return Found(entry.value, entry.capture(ends), entry.implied_head)
        return self._refusal(segments, keys, splits)

    def _refusal(
        self, segments: list[str], keys: list[str], splits: "_Splits"
    ) -> WrongMethod | None:
        """Every method that the path's routes take; None where it has no routes."""
        methods: set[str] = set()
        status = 0
        for table, ends in self._leaves(segments, keys, splits):
            for method, entry in table.items():
                if not self._is_picky or entry.takes(ends):
                    methods.add(method)
                    status = status or entry.wrong_method
        if "*" in methods:
            methods.remove("*")
            methods.update(_ANY_METHODS)
        if not methods:
            return None
        methods.add("OPTIONS")
        return WrongMethod(tuple(sorted(methods)), status)

    def _splits(self, segments: list[str]) -> "_Splits":
        """The ways to cut a registered verb off the last segment: longest verb first.

        A cut is made at a raw colon with something before it; an encoded colon is data.
        """
        last = segments[-1]
        splits = []
        at = len(last)
        for _ in range(self._verb_colons + 1):
            at = last.rfind(":", 0, at)
            if at <= 0:
                break
            verb = _decode_key(last[at + 1 :])
            if verb in self._verbs:
                splits.append((_decode_key(last[:at]), verb, [*segments[:-1], last[:at]]))
        splits.reverse()
        return tuple(splits)

    def _leaves(
        self, segments: list[str], keys: list[str], splits: "_Splits"
    ) -> Iterator[tuple[_Table[T], list[str]]]:
        """Every leaf that the path reaches, in order, with the segments to cut its values from.

        Depth first with our own stack; a node hangs at one depth, so each is visited at most once.
        """
        last = len(segments) - 1
        empty = self._binds_empty
        # A node to go on from, or one whose `**` has its turn after its siblings.
        stack: list[tuple[int, _Node[T], bool]] = [(1, self._root, False)]
        while stack:
            depth, node, is_tail = stack.pop()
            if is_tail:
                yield from _tail_ends(node, depth, segments, keys, splits)
                continue
            if depth == last:
                yield from _last_step(node, segments, keys, splits, binds_empty=empty)
                continue
            if node.tails or node.suffixes:
                stack.append((depth, node, True))
            if node.star is not None and (segments[depth] or empty):
                stack.append((depth + 1, node.star, False))
            below = node.literals.get(keys[depth])
            if below is not None:
                stack.append((depth + 1, below, False))

    def _table(self, template: Template) -> _Table[T]:
        node = self._root
        leaves = node.ends
        for index, segment in enumerate(template.segments):
            if segment.kind == "**":
                leaves = _tails_of(node, template.segments[index + 1 :])
                break
            node = _child(node, segment)
            leaves = node.ends
        table = leaves.setdefault(template.verb, {})
        if template.verb:
            self._verbs.add(template.verb)
            self._verb_colons = max(self._verb_colons, template.verb.count(":"))
        elif leaves is node.ends:
            node.plain = table
        return table

    def _index_static(self, template: Template, table: _Table[T]) -> None:
        if any(segment.kind != "literal" for segment in template.segments):
            return
        path = "/" + "/".join(segment.text for segment in template.segments)
        path += f":{template.verb}" if template.verb else ""
        # Literals are kept decoded: with a "%" in it this text is not what a client sends.
        if "%" in path or not path.isascii():
            return
        # "/a:b" may be literal "a:b" as well as verb "b" of "a"; there the full search decides.
        if self._static.setdefault(path, table) is not table:
            self._static[path] = {}


# (decoded text before the verb, verb, the path's segments without the verb)
_Splits = tuple[tuple[str, str, list[str]], ...]


def _child(node: _Node[T], segment: Segment) -> _Node[T]:
    if segment.kind == "literal":
        return node.literals.setdefault(segment.text, _Node())
    if node.star is None:
        node.star = _Node()
    return node.star


def _tails_of(node: _Node[T], after: tuple[Segment, ...]) -> dict[str, _Table[T]]:
    """The leaves of a `**` at this node, with what literals follow it."""
    if not after:
        return node.tails
    suffix = tuple(segment.text for segment in after)
    if suffix not in node.suffixes:
        node.suffixes[suffix] = {}
        longest_first = sorted(node.suffixes.items(), key=lambda item: -len(item[0]))
        node.suffixes = dict(longest_first)
    return node.suffixes[suffix]


def _may_end_in_slash(template: Template) -> bool:
    """Not after a verb; a `**` at the end has the slash anyway."""
    return not template.verb and template.segments[-1].kind != "**"


def _with_slash(template: Template) -> Template:
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


def _entry_for(table: _Table[T], method: str) -> _Entry[T] | None:
    entry = table.get(method)
    if entry is None and method not in _NEVER:
        return table.get("*")
    return entry


def _ends(
    tables: dict[str, _Table[T]], segments: list[str], splits: _Splits
) -> Iterator[tuple[_Table[T], list[str]]]:
    """The tables of one leaf: its verbs, longest first, then the whole segment."""
    for _, verb, without_verb in splits:
        if verb in tables:
            yield tables[verb], without_verb
    if "" in tables:
        yield tables[""], segments


def _tail_ends(
    node: _Node[T], depth: int, segments: list[str], keys: list[str], splits: _Splits
) -> Iterator[tuple[_Table[T], list[str]]]:
    """The leaves of a node's `**`, which takes from `depth` on: first those that go on after it."""
    for suffix, tables in node.suffixes.items():
        count = len(suffix)
        if len(segments) - depth < count or tuple(keys[-count:-1]) != suffix[:-1]:
            continue
        for head, verb, without_verb in splits:
            if head == suffix[-1] and verb in tables:
                yield tables[verb], without_verb
        if keys[-1] == suffix[-1] and "" in tables:
            yield tables[""], segments
    yield from _ends(node.tails, segments, splits)


def _last_step(
    node: _Node[T], segments: list[str], keys: list[str], splits: _Splits, *, binds_empty: bool
) -> Iterator[tuple[_Table[T], list[str]]]:
    """The leaves of the path's last segment. `**` may take nothing, so it is also asked one step on."""
    # With verbs the one segment may name several literals: "a:b" is "a" with a verb, or "a:b".
    steps = [(node.literals.get(head), verb, cut) for head, verb, cut in splits]
    steps.append((node.literals.get(keys[-1]), "", segments))
    for below, verb, cut in steps:
        if below is not None and verb in below.ends:
            yield below.ends[verb], cut
    for below, verb, cut in steps:
        if below is not None and verb in below.tails:
            yield below.tails[verb], cut
    star, first = node.star, segments[-1][:1]
    # A last segment that begins with a colon has nothing before it that "*" could be.
    if star is not None and first != ":" and (first or binds_empty):
        yield from _ends(star.ends, segments, splits)
        yield from _ends(star.tails, segments, splits)
    yield from _tail_ends(node, len(segments) - 1, segments, keys, splits)


def _decode_key(segment: str) -> str:
    """A segment as literals are kept: decoded, octets that are no UTF-8 kept apart."""
    if "%" not in segment:
        return segment
    return unquote_to_bytes(segment).decode("utf-8", "surrogateescape")


def _decode_keys(segments: list[str]) -> list[str]:
    return [_decode_key(segment) for segment in segments]
