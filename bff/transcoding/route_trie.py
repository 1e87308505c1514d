"""Raw path -> route: a trie over path segments, with verbs and methods asked at its leaves.

Edges are tried in the order literal, `*`, `**`; a leaf without the method does not end the search.
Input is the canonical raw path, split on literal slashes; values are decoded after the match.
Nothing here knows what a route is.
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from bff.transcoding.captures import prepare_capture, prepare_raw_capture
from bff.transcoding.path_template import Segment, Template

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
    """The path is known, the method is not; `allow` is sorted and complete (RFC 9110 10.2.1)."""

    allow: tuple[str, ...]


class _Entry(Generic[T]):
    """One route at a leaf. `capture` turns the path's segments into texts; `found` serves if none."""

    __slots__ = ("capture", "found", "implied_head", "raw_capture", "single", "value")

    def __init__(self, template: Template, value: T, *, implied_head: bool) -> None:
        self.value = value
        self.implied_head = implied_head
        self.found: Found[T] = Found(value, (), implied_head)
        # Segment i of the template is item i + 1 of the split path, whose item 0 is empty.
        spans = tuple(
            (v.start + 1, None if v.stop is None else v.stop + 1, v.multi)
            for v in template.variables
        )
        # The commonest shape, one variable of one segment, is a plain index; 0 says "another shape".
        self.single = spans[0][0] if len(spans) == 1 and not spans[0][2] else 0
        self.raw_capture = prepare_raw_capture(spans)
        self.capture = prepare_capture(spans)


_Table = dict[str, _Entry[T]]


class _Node(Generic[T]):
    """A place in the trie. `ends` (path ends here) and `tails` (`**` from here): verb -> methods."""

    __slots__ = ("ends", "literals", "plain", "star", "tails")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.star: _Node[T] | None = None
        self.ends: dict[str, _Table[T]] = {}
        self.tails: dict[str, _Table[T]] = {}
        # `ends[""]`, one lookup nearer.
        self.plain: _Table[T] | None = None


class RouteTrie(Generic[T]):
    """Routes by path and method. Filled at load, then only read; safe to share between tasks.

    A path of literals alone is found in one dict lookup (0.2 us), one with single captures by one
    walk without any state to go back to (about 1 us); only verbs, escapes and dead ends take the
    full search. The number of routes changes none of these.
    """

    __slots__ = ("_root", "_static", "_verb_colons", "_verbs")

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        # Whole literal paths. They beat every other route, so they may be asked first.
        self._static: dict[str, _Table[T]] = {}
        self._verbs: set[str] = set()
        # How many colons a registered verb holds at most: so many splits of a segment are worth trying.
        self._verb_colons = 0

    def insert(
        self, template: Template, method: str, value: T, *, implied_head: bool = True
    ) -> T | None:
        """Add a route; `method` is a method token, or `*` for any.

        Returns the value already there under the same method and an equal shape, which stays; None
        when the route went in. A GET also answers HEAD unless `implied_head` is False.
        Raises ValueError for CONNECT and TRACE.
        """
        if method in _NEVER:
            raise ValueError(f"{method} is never routed")
        table = self._table(template)
        present = table.get(method)
        if present is not None and not present.implied_head:
            return present.value
        table[method] = _Entry(template, value, implied_head=False)
        if method == "GET" and implied_head and "HEAD" not in table:
            table["HEAD"] = _Entry(template, value, implied_head=True)
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
            if entry is not None:
                yield Found(entry.value, entry.capture(ends), entry.implied_head)

    def find_all_methods(self, path: str) -> tuple[str, ...]:
        """Every method that some route takes on this path, as `Allow` lists them; empty if unknown."""
        segments = path.split("/")
        keys = _decode_keys(segments)
        return self._allow(segments, keys, self._splits(segments))

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
            if entry is not None:
                return Found(entry.value, entry.capture(ends), entry.implied_head)
        allow = self._allow(segments, keys, splits)
        return WrongMethod(allow) if allow else None

    def _allow(self, segments: list[str], keys: list[str], splits: "_Splits") -> tuple[str, ...]:
        methods: set[str] = set()
        for table, _ in self._leaves(segments, keys, splits):
            methods.update(table)
        if "*" in methods:
            methods.remove("*")
            methods.update(_ANY_METHODS)
        if methods:
            methods.add("OPTIONS")
        return tuple(sorted(methods))

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
        # Either a node to go on from, or the tables of a `**` whose turn comes after its siblings.
        stack: list[tuple[int, _Node[T] | None, dict[str, _Table[T]]]] = [(1, self._root, {})]
        while stack:
            depth, node, tails = stack.pop()
            if node is None:
                yield from _ends(tails, segments, splits)
                continue
            if depth == last:
                yield from _last_step(node, segments, keys[last], splits)
                continue
            if node.tails:
                stack.append((depth, None, node.tails))
            if node.star is not None and segments[depth]:
                stack.append((depth + 1, node.star, {}))
            below = node.literals.get(keys[depth])
            if below is not None:
                stack.append((depth + 1, below, {}))

    def _table(self, template: Template) -> _Table[T]:
        node = self._root
        leaves = node.ends
        for segment in template.segments:
            if segment.kind == "**":
                leaves = node.tails
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


def _last_step(
    node: _Node[T], segments: list[str], key: str, splits: _Splits
) -> Iterator[tuple[_Table[T], list[str]]]:
    """The leaves of the path's last segment. `**` may take nothing, so it is also asked one step on."""
    # With verbs the one segment may name several literals: "a:b" is "a" with a verb, or "a:b".
    steps = [(node.literals.get(head), verb, cut) for head, verb, cut in splits]
    steps.append((node.literals.get(key), "", segments))
    for below, verb, cut in steps:
        if below is not None and verb in below.ends:
            yield below.ends[verb], cut
    for below, verb, cut in steps:
        if below is not None and verb in below.tails:
            yield below.tails[verb], cut
    star = node.star
    # A last segment that begins with a colon has nothing before it that "*" could be.
    if star is not None and segments[-1][:1] not in {"", ":"}:
        yield from _ends(star.ends, segments, splits)
        yield from _ends(star.tails, segments, splits)
    yield from _ends(node.tails, segments, splits)


def _decode_key(segment: str) -> str:
    """A segment as literals are kept: decoded, octets that are no UTF-8 kept apart."""
    if "%" not in segment:
        return segment
    return unquote_to_bytes(segment).decode("utf-8", "surrogateescape")


def _decode_keys(segments: list[str]) -> list[str]:
    return [_decode_key(segment) for segment in segments]
