"""Raw path -> route: a trie over path segments, with verbs and methods asked at its leaves.

Edges are tried in the order literal, `*`, `**`; a leaf without the method does not end the search.
Input is the canonical raw path, split on literal slashes; values are decoded after the match.
Nothing here knows what a route is.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from bff.transcoding.captures import Cuts
from bff.transcoding.path_template import Template
from bff.transcoding.switches import STRICT, Switches
from bff.transcoding.trie_nodes import (
    Entry,
    Found,
    Node,
    Table,
    WrongMethod,
    child_of,
    may_end_in_slash,
    tails_of,
    with_slash,
)

__all__ = ["Found", "RouteTrie", "WrongMethod"]

T = TypeVar("T")

# What custom kind "*" answers, as `Allow` names it.
_ANY_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
# Never routed, whatever is registered: a gateway neither tunnels nor echoes (RFC 9110 9.3.6, 9.3.8).
_NEVER: Final = frozenset({"CONNECT", "TRACE"})


class RouteTrie(Generic[T]):
    """Routes by path and method. Filled at load, then only read; safe to share between tasks.

    A path of literals alone is found in one dict lookup (0.2 us), one with single captures by one
    walk without any state to go back to (about 1 us); only verbs, tails and dead ends take the full
    search. The number of routes changes none of these.
    """

    __slots__ = ("_binds_empty", "_cuts", "_is_picky", "_root", "_static", "_verb_colons", "_verbs")

    def __init__(self) -> None:
        self._root: Node[T] = Node()
        # Whole literal paths. They beat every other route, so they may be asked first.
        self._static: dict[str, Table[T]] = {}
        self._verbs: set[str] = set()
        # How many colons a registered verb holds at most: so many splits of a segment are worth trying.
        self._verb_colons = 0
        # Whether some route's "*" takes an empty segment; whether some route must be asked itself.
        self._binds_empty = False
        self._is_picky = False
        self._cuts = Cuts()

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
        if held is None and switches.trailing_slash == "ignore" and may_end_in_slash(template):
            slashed = with_slash(template)
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
        table[method] = Entry(template, value, switches, self._cuts, implied_head=False)
        if method == "GET" and implied_head and "HEAD" not in table:
            table["HEAD"] = Entry(template, value, switches, self._cuts, implied_head=True)
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
            # A variable may be a literal too: `{parent=shelves}`.
            if entry is not None and entry.raw_capture is None:
                return entry.found
        if "%" in path or ":" in path:
            return self._find_odd(method, path)
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
        """Every route that takes this request, best first, by the whole search; it judges the short cuts of `find`."""
        segments = path.split("/")
        keys = _decode_keys(segments)
        for table, ends in self._leaves(segments, keys, self._splits(segments)):
            entry = self._taker(table, method, ends)
            if entry is not None:
                yield Found(entry.value, entry.capture(ends), entry.implied_head)

    def _find_odd(self, method: str, path: str) -> Found[T] | WrongMethod | None:
        """For a path with escapes or colons: the walk of `find`, literals and values being decoded.

        Only in the last segment may a colon begin a verb.
        """
        segments = path.split("/")
        keys = _decode_keys(segments) if "%" in path else segments
        if ":" in segments[-1]:
            splits = self._splits(segments) if self._verbs else ()
            return self._search(method, segments, keys, splits)
        node = self._root
        for depth in range(1, len(segments)):
            below = node.literals.get(keys[depth])
            if below is None:
                below = node.star
                if below is None or not segments[depth]:
                    return self._search(method, segments, keys, ())
            node = below
        if node.plain is None or (entry := node.plain.get(method)) is None:
            return self._search(method, segments, keys, ())
        return Found(entry.value, entry.capture(segments), entry.implied_head)

    def _search(
        self, method: str, segments: list[str], keys: list[str], splits: "_Splits"
    ) -> Found[T] | WrongMethod | None:
        for table, ends in self._leaves(segments, keys, splits):
            entry = self._taker(table, method, ends)
            if entry is not None:
                return Found(entry.value, entry.capture(ends), entry.implied_head)
        return self._refusal(segments, keys, splits)

    def _taker(self, table: Table[T], method: str, ends: list[str]) -> Entry[T] | None:
        """The route of a leaf that takes the request: that of its method, else that of any."""
        entry = _entry_for(table, method)
        if entry is None or not self._is_picky or entry.takes(ends):
            return entry
        # Its own switches turn the path down; those of the other may not.
        other = table.get("*")
        return other if other is not None and other is not entry and other.takes(ends) else None

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
    ) -> Iterator[tuple[Table[T], list[str]]]:
        """Every leaf that the path reaches, in order, with the segments to cut its values from.

        Depth first with our own stack; a node hangs at one depth, so each is visited at most once.
        """
        last = len(segments) - 1
        empty = self._binds_empty
        # A node to go on from, or one whose `**` has its turn after its siblings.
        stack: list[tuple[int, Node[T], bool]] = [(1, self._root, False)]
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

    def _table(self, template: Template) -> Table[T]:
        node = self._root
        leaves = node.ends
        for index, segment in enumerate(template.segments):
            if segment.kind == "**":
                leaves = tails_of(node, template.segments[index + 1 :])
                break
            node = child_of(node, segment)
            leaves = node.ends
        table = leaves.setdefault(template.verb, {})
        if template.verb:
            self._verbs.add(template.verb)
            self._verb_colons = max(self._verb_colons, template.verb.count(":"))
        elif leaves is node.ends:
            node.plain = table
        return table

    def _index_static(self, template: Template, table: Table[T]) -> None:
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


def _entry_for(table: Table[T], method: str) -> Entry[T] | None:
    entry = table.get(method)
    if entry is None and method not in _NEVER:
        return table.get("*")
    return entry


def _ends(
    tables: Mapping[str, Table[T]], segments: list[str], splits: _Splits
) -> Iterator[tuple[Table[T], list[str]]]:
    """The tables of one leaf: its verbs, longest first, then the whole segment."""
    for _, verb, without_verb in splits:
        if verb in tables:
            yield tables[verb], without_verb
    if "" in tables:
        yield tables[""], segments


def _tail_ends(
    node: Node[T], depth: int, segments: list[str], keys: list[str], splits: _Splits
) -> Iterator[tuple[Table[T], list[str]]]:
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
    node: Node[T], segments: list[str], keys: list[str], splits: _Splits, *, binds_empty: bool
) -> Iterator[tuple[Table[T], list[str]]]:
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
    return [_decode_key(segment) if "%" in segment else segment for segment in segments]
