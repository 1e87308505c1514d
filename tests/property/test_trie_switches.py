"""The trie under switches, each route with its own, against a naive matcher that tries every route."""

from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.config.presets import PRESET_TABLE, PRESETS
from bff.transcoding.path_template import Segment, Template, parse_template
from bff.transcoding.route_trie import Found, RouteTrie, WrongMethod
from bff.transcoding.switches import Switches

_NAMES = ("trailing_slash", "empty_segment", "verb_unregistered", "implied_head")
_SWITCHES = [
    msgspec.convert(
        {"trailing_slash": slash, "empty_segment": empty, "verb_unregistered": verb, "implied_head": head},
        Switches,
    )
    for slash in ("distinct", "ignore")
    for empty in ("no_match", "bind")
    for verb in ("plain", "no_match")
    for head in (True, False)
] + [
    msgspec.convert({name: PRESET_TABLE[name][at] for name in _NAMES}, Switches)
    for at in range(len(PRESETS))
]  # fmt: skip

_SEGMENT = st.sampled_from(["a", "b", "a:b", "*", "*", "{x}", "{z=a/*}", "{w=*/b}"])
_TAIL = st.sampled_from(["", "", "", "/**", "/{t=**}", "/{t=**}/a", "/**/a/b", "/{t=a/**/b}"])
_VERB = st.sampled_from(["", "", ":b", ":c", ":b:b"])
_TEMPLATES = st.builds(
    lambda parts, tail, verb: "/" + "/".join(parts) + tail + verb,
    st.lists(_SEGMENT, min_size=1, max_size=2),
    _TAIL,
    _VERB,
)
_ROUTE = st.tuples(
    st.sampled_from(["GET", "POST", "HEAD", "*"]),
    _TEMPLATES,
    st.integers(0, len(_SWITCHES) - 1),
)
_PART = st.sampled_from(["a", "b", "a:b", "a%3Ab", "x:c", ":b", "", "", "b:"])
_END = st.sampled_from(["", "", "/", ":b", ":c", ":b:b", ":", "//"])

# A route by what it was written with, and the templates that it stands for.
_Route = tuple[str, str, int]
_Rank = tuple[tuple[float, ...], int]


@st.composite
def _routes_and_path(draw: st.DrawFn) -> tuple[list[_Route], str]:
    """Routes, and a path that one of them was made to match, if nothing was changed behind it."""
    routes = draw(st.lists(_ROUTE, min_size=1, max_size=8))
    template = parse_template(draw(st.sampled_from(routes))[1], tail=True)
    parts: list[str] = []
    for segment in template.segments:
        if segment.kind == "literal":
            parts.append(segment.text)
        else:
            count = 1 if segment.kind == "*" else draw(st.integers(0, 2))
            parts += draw(st.lists(_PART, min_size=count, max_size=count))
    verb = f":{template.verb}" if template.verb and draw(st.booleans()) else ""
    return routes, "/" + "/".join(parts) + verb + draw(_END)


def _readings(route: _Route, path: list[str]) -> list[_Rank]:
    """Each way this route takes the path, as a rank: its edges, then the longest verb first."""
    switches = _SWITCHES[route[2]]
    template = parse_template(route[1], tail=True)
    found = _of_template(template, path, switches)
    takes_slash = switches.trailing_slash == "ignore" and template.segments[-1].kind != "**"
    if takes_slash and not template.verb and path[-1] == "":
        # As if the slash were not there, but for colons: a verb begins in the last segment alone.
        edges = _edges(template.segments, path[:-1], switches, last=-1)
        found += [((*edges, 0.0), 0)] if edges is not None else []
    return found


def _of_template(template: Template, path: list[str], switches: Switches) -> list[_Rank]:
    found: list[_Rank] = []
    colons = [at for at, char in enumerate(path[-1]) if char == ":" and at]
    for at in colons if template.verb else [len(path[-1])]:
        if unquote(path[-1][at + 1 :]) != template.verb:
            continue
        cut = [*path[:-1], path[-1][:at]]
        edges = _edges(template.segments, cut, switches, last=len(cut) - 1)
        if edges is not None and not _refuses_verb(template, cut, switches):
            found.append((edges, at - len(path[-1])))
    return found


def _refuses_verb(template: Template, path: list[str], switches: Switches) -> bool:
    """A colon with something on either side, where the last segment is a wildcard's."""
    if switches.verb_unregistered == "plain" or template.verb:
        return False
    is_taken = template.segments[-1].kind != "literal" and len(path) >= len(template.segments)
    return is_taken and ":" in path[-1][1:-1]


def _edges(
    segments: tuple[Segment, ...], path: list[str], switches: Switches, *, last: int
) -> tuple[float, ...] | None:
    """The edges that carry the path to the leaf: 0 literal, 1 `*`, below 2 a `**` by what follows it."""
    kinds = [segment.kind for segment in segments]
    open_at = kinds.index("**") if "**" in kinds else None
    fixed = segments if open_at is None else segments[:open_at]
    after = () if open_at is None else segments[open_at + 1 :]
    if len(path) < len(fixed) + len(after) or (open_at is None and len(path) > len(fixed)):
        return None
    for number, segment in enumerate(fixed):
        if not _fits(segment, path[number], switches, is_last=number == last):
            return None
    behind = path[len(path) - len(after) :]
    if [unquote(text) for text in behind] != [segment.text for segment in after]:
        return None
    ranks = [0.0 if segment.kind == "literal" else 1.0 for segment in fixed]
    return tuple(ranks if open_at is None else [*ranks, 2 - len(after) / 100])


def _fits(segment: Segment, text: str, switches: Switches, *, is_last: bool) -> bool:
    if segment.kind == "literal":
        return unquote(text) == segment.text
    if not text:
        return switches.empty_segment == "bind"
    return not (is_last and text.startswith(":"))


def _methods(route: _Route) -> set[str]:
    is_head = route[0] == "GET" and _SWITCHES[route[2]].implied_head
    return {route[0], "HEAD"} if is_head else {route[0]}


_ANY = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}


@pytest.mark.rule("transcoding.36", "transcoding.37", "transcoding.40", "transcoding.44")
@settings(max_examples=800, deadline=None)
@given(_routes_and_path(), st.sampled_from(["GET", "POST", "HEAD", "PUT"]))
def test_the_trie_answers_as_a_matcher_that_tries_all_routes_by_their_switches(
    case: tuple[list[_Route], str], method: str
) -> None:
    written, path = case
    # A rule of kind HEAD takes the place of the one that a GET of equal shape implies.
    gets = {parse_template(text, tail=True).shape for kind, text, _ in written if kind == "GET"}
    written = [
        route
        for route in written
        if route[0] != "HEAD" or parse_template(route[1], tail=True).shape not in gets
    ]
    trie: RouteTrie[_Route] = RouteTrie()
    routes = [
        route
        for route in written
        if trie.insert(
            parse_template(route[1], tail=True), route[0], route, switches=_SWITCHES[route[2]]
        )
        is None
    ]
    matches = [(rank, route) for route in routes for rank in _readings(route, path[1:].split("/"))]
    taken = [rank for rank, route in matches if _methods(route) & {method, "*"}]

    found = trie.find(method, path)

    if isinstance(found, Found):
        assert min(taken) in _readings(found.value, path[1:].split("/"))
        return
    assert not taken
    known = set().union(*(_methods(route) for _, route in matches))
    allow = (known - {"*"}) | (_ANY if "*" in known else set()) | {"OPTIONS"}
    if isinstance(found, WrongMethod):
        assert set(found.allow) == allow
    else:
        assert not matches
