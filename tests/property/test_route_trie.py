"""The trie against a naive matcher that tries every template on every path."""

from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.transcoding.path_template import Segment, Template, parse_template
from bff.transcoding.route_trie import Found, RouteTrie, WrongMethod

METHODS = ("GET", "POST", "HEAD", "*")
RANK = {"literal": 0, "*": 1, "**": 2}

# Few words, so that routes and paths meet often; each is the hard case of some rule.
_WORDS = st.sampled_from(["a", "b", "a:b", "a%3Ab", "%2541"])
_SEGMENT = st.one_of(_WORDS, st.sampled_from(["*", "*", "{x}", "{y=*}", "{z=a/*}", "{w=*/b}"]))
_TAIL = st.sampled_from(["", "", "/**", "/{t=**}", "/{t=a/**}"])
_VERB = st.sampled_from(["", "", ":b", ":c", ":b:b", ":%62", ":a%3Ab"])
_TEMPLATES = st.builds(
    lambda parts, tail, verb: "/" + "/".join(parts) + tail + verb,
    st.lists(_SEGMENT, min_size=1, max_size=2),
    _TAIL,
    _VERB,
)
_METHODS = st.sampled_from(METHODS)
_ROUTES = st.lists(st.tuples(_METHODS, _TEMPLATES), min_size=1, max_size=12)
_PART = st.sampled_from(["a", "b", "a:b", "a%3Ab", "%61", "%41", "x:c", ":b", "", "q%2Fr"])
_END = st.sampled_from(["", "", ":b", ":c", ":b:b", ":%62", ":a:b", ":"])


@st.composite
def _routes_and_path(draw: st.DrawFn) -> tuple[list[tuple[str, str]], str]:
    """Routes, and a path that one of them was made to match, if nothing was changed behind it."""
    routes = draw(_ROUTES)
    template = parse_template(draw(st.sampled_from(routes))[1])
    parts: list[str] = []
    for segment in template.segments:
        if segment.kind == "literal":
            parts.append(segment.text.replace("%", "%25"))
        else:
            count = 1 if segment.kind == "*" else draw(st.integers(0, 2))
            parts += draw(st.lists(_PART, min_size=count, max_size=count))
    verb = f":{template.verb}" if template.verb and draw(st.booleans()) else draw(_END)
    return routes, "/" + "/".join(parts) + verb


def _kinds(template: Template, path: list[str]) -> tuple[int, ...] | None:
    """The edges that carry this path to the template's leaf, or None if they do not."""
    segments = template.segments
    is_open = segments[-1].kind == "**"
    fixed = segments[:-1] if is_open else segments
    if len(path) < len(fixed) or (len(path) > len(fixed) and not is_open):
        return None
    for number, (segment, text) in enumerate(zip(fixed, path, strict=False)):
        if not _fits(segment, text, is_last=number == len(path) - 1):
            return None
    return tuple(RANK[segment.kind] for segment in segments)


def _fits(segment: Segment, text: str, *, is_last: bool) -> bool:
    if segment.kind == "literal":
        return unquote(text) == segment.text
    return text != "" and not (is_last and text.startswith(":"))


def _readings(template: Template, path: list[str]) -> list[tuple[tuple[int, ...], int]]:
    """Each way this template matches the path, as a rank: its edges, then the longest verb first."""
    if not template.verb:
        kinds = _kinds(template, path)
        return [] if kinds is None else [(kinds, 0)]
    last, found = path[-1], []
    for at, char in enumerate(last):
        if char == ":" and at > 0 and unquote(last[at + 1 :]) == template.verb:
            kinds = _kinds(template, [*path[:-1], last[:at]])
            if kinds is not None:
                found.append((kinds, at - len(last)))
    return found


def _naive(routes: dict[tuple[str, str], Template], method: str, path: str) -> object:
    """The best rank of a route that takes the method; else the methods of all that match."""
    matches = [
        (rank, kind)
        for (kind, _), template in routes.items()
        for rank in _readings(template, path[1:].split("/"))
    ]
    if not matches:
        return None
    taken = [
        rank for rank, kind in matches if kind in {method, "*"} or (method, kind) == ("HEAD", "GET")
    ]
    if taken:
        return min(taken)
    kinds = {kind for _, kind in matches} | {"OPTIONS"}
    return tuple(sorted(kinds | ({"HEAD"} if "GET" in kinds else set())))


def _fill(written: list[tuple[str, str]]) -> tuple[RouteTrie[str], dict[tuple[str, str], Template]]:
    trie: RouteTrie[str] = RouteTrie()
    kept = {}
    for method, text in written:
        template = parse_template(text)
        if trie.insert(template, method, text) is None:
            kept[method, text] = template
    return trie, kept


@settings(max_examples=300)
@given(_routes_and_path(), st.sampled_from(["GET", "POST", "HEAD", "PUT"]))
def test_the_trie_answers_as_a_matcher_that_tries_all_routes(
    case: tuple[list[tuple[str, str]], str], method: str
) -> None:
    written, path = case
    trie, routes = _fill(written)
    wanted = _naive(routes, method, path)

    match trie.find(method, path):
        case None:
            assert wanted is None
        case WrongMethod(allow):
            assert allow == wanted
        case Found(value):
            assert wanted in _readings(parse_template(value), path[1:].split("/"))


@given(_routes_and_path())
def test_the_order_of_registration_never_matters(case: tuple[list[tuple[str, str]], str]) -> None:
    """Any order gives the same leaf; routes of equal shape are one leaf, whichever went in."""
    written, path = case
    first, _ = _fill(written)
    second, _ = _fill(list(reversed(written)))

    one, two = first.find("GET", path), second.find("GET", path)

    assert _leaf(one) == _leaf(two)


def _leaf(found: Found[str] | WrongMethod | None) -> object:
    return parse_template(found.value).shape if isinstance(found, Found) else found


@given(_routes_and_path())
def test_the_best_match_is_the_first_of_all(case: tuple[list[tuple[str, str]], str]) -> None:
    written, path = case
    trie, _ = _fill(written)

    found = trie.find("GET", path)

    best = next(trie.find_each("GET", path), None)
    assert best == (found if isinstance(found, Found) else None)


@given(st.text(alphabet="/ab:%2Fe.;\x80", max_size=30), _ROUTES)
def test_no_path_raises_anything_but_bad_path(path: str, written: list[tuple[str, str]]) -> None:
    trie, _ = _fill(written)

    try:
        trie.find("GET", "/" + path)
    except ClientError as error:
        assert error.reason == "BAD_PATH"  # noqa: PT017 - most inputs do not raise
