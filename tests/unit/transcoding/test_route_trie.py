"""Matching and percent-decoding, edge by edge."""

from collections import Counter
from itertools import product

import pytest

from bff.core.errors import ClientError
from bff.transcoding.path_template import parse_template
from bff.transcoding.route_trie import Found, RouteTrie, WrongMethod
from bff.transcoding.switches import Switches


def _trie(*routes: str) -> RouteTrie[str]:
    """A trie of routes written `GET /path`; the value is the text itself."""
    trie: RouteTrie[str] = RouteTrie()
    for route in routes:
        method, template = route.split(" ", 1)
        assert trie.insert(parse_template(template), method, route) is None
    return trie


# rule, routes, request, the route found with its captures; None is "no route"
Wanted = tuple[str, tuple[str, ...]] | None
CANCEL = ("GET /p/{id}", "POST /p/{id}:cancel")
TABLE: list[tuple[str, tuple[str, ...], str, Wanted]] = [
    ("33", ("GET /a/b", "GET /a/*", "GET /a/**"), "GET /a/b", ("GET /a/b", ())),
    ("33", ("GET /a/b", "GET /a/*", "GET /a/**"), "GET /a/c", ("GET /a/*", ())),
    ("33", ("GET /a/b", "GET /a/*", "GET /a/**"), "GET /a/c/d", ("GET /a/**", ())),
    ("34", ("GET /a/b/c", "GET /a/*/d"), "GET /a/b/d", ("GET /a/*/d", ())),
    ("35", ("POST /a/b", "GET /a/{x}"), "GET /a/b", ("GET /a/{x}", ("b",))),
    ("36", ("GET /a/{x=**}",), "GET /a", ("GET /a/{x=**}", ("",))),
    ("36", ("GET /a/{x=**}",), "GET /a/", ("GET /a/{x=**}", ("",))),
    ("36", ("GET /a/{x}",), "GET /a/", None),
    ("36", ("GET /{x=**}",), "GET /", ("GET /{x=**}", ("",))),
    ("37", ("GET /a",), "GET /a/", None),
    ("38", ("GET /a/*/b",), "GET /a//b", None),
    ("38", ("GET /a/{x=**}",), "GET /a/b//c", ("GET /a/{x=**}", ("b//c",))),
    (
        "39",
        ("POST /v1/{name=ops/*}:cancel",),
        "POST /v1/ops/7:cancel",
        ("POST /v1/{name=ops/*}:cancel", ("ops/7",)),
    ),
    (
        "39",
        ("POST /v1/{name=ops/*}:cancel", "POST /v1/{name=ops/*}"),
        "POST /v1/ops/7%3Acancel",
        ("POST /v1/{name=ops/*}", ("ops/7:cancel",)),
    ),
    ("39", ("POST /v1/{name=ops/*}:cancel",), "POST /v1/ops/7%3Acancel", None),
    (
        "40",
        ("GET /p/{id}", "GET /q/{id}:other"),
        "GET /p/j:other",
        ("GET /p/{id}", ("j:other",)),
    ),
    ("40", CANCEL, "GET /p/7:cancel", ("GET /p/{id}", ("7:cancel",))),
    ("40", CANCEL, "POST /p/7:cancel", ("POST /p/{id}:cancel", ("7",))),
    (
        "40",
        ("GET /p/{id}:b", "GET /p/{id}:a:b"),
        "GET /p/x:a:b",
        ("GET /p/{id}:a:b", ("x",)),
    ),
    ("40", ("POST /a:b",), "POST /a:b", ("POST /a:b", ())),
    ("40", ("POST /a:b", "POST /a%3Ab"), "POST /a%3Ab", ("POST /a%3Ab", ())),
    ("40", ("POST /a:b", "POST /a%3Ab"), "POST /a:b", ("POST /a:b", ())),
    ("40", ("POST /a:b", "GET /a%3Ab"), "GET /a:b", ("GET /a%3Ab", ())),
    ("41", CANCEL, "GET /p/:", None),
    ("41", CANCEL, "GET /p/:cancel", None),
    ("41", CANCEL, "POST /p/:cancel", None),
    ("41", ("GET /a/{x=**}:v",), "GET /a/:v", None),
    ("41", ("GET /a/{x=**}:v",), "GET /a:v", ("GET /a/{x=**}:v", ("",))),
    ("41", ("GET /p/{id}",), "GET /p/a:", ("GET /p/{id}", ("a:",))),
    (
        "41",
        ("GET /{a}/const:v",),
        "GET /some:v/const:v",
        ("GET /{a}/const:v", ("some:v",)),
    ),
    ("43", ("* /a", "PUT /a"), "PUT /a", ("PUT /a", ())),
    ("43", ("* /a", "PUT /a"), "PURGE /a", ("* /a", ())),
    ("23", ("GET /%7Ea/%2A",), "GET /~a/*", ("GET /%7Ea/%2A", ())),
    ("23", ("GET /%7Ea/%2A",), "GET /%7ea/%2a", ("GET /%7Ea/%2A", ())),
    ("23", ("GET /%7Ea/%2A",), "GET /~A/*", None),
    ("23", ("GET /%2541",), "GET /%41", None),
    ("44", ("GET /a",), "GET /b", None),
    ("49", ("GET /{x}",), "GET /a%2Fb", ("GET /{x}", ("a/b",))),
    ("49", ("GET /{x=**}",), "GET /a%2Fb/c", ("GET /{x=**}", ("a%2Fb/c",))),
    ("49", ("GET /{x=**}",), "GET /a%2fb", ("GET /{x=**}", ("a%2fb",))),
    ("49", ("GET /{x=**}",), "GET /%23/%20%2523", ("GET /{x=**}", ("#/ %23",))),
    (
        "50",
        ("GET /{outer=shelves/*}",),
        "GET /shelves/A%2Fb",
        ("GET /{outer=shelves/*}", ("shelves/A%2Fb",)),
    ),
    ("50", ("GET /{outer=shelves/*}",), "GET /shelves%2FA", None),
    ("50", ("GET /a/{x=b}",), "GET /a/b", ("GET /a/{x=b}", ("b",))),
    ("50", ("POST /a/b", "GET /a/{x=b}"), "GET /a/b", ("GET /a/{x=b}", ("b",))),
    ("51", ("GET /{x}",), "GET /%2523", ("GET /{x}", ("%23",))),
    ("51", ("GET /{x}",), "GET /a+b", ("GET /{x}", ("a+b",))),
    (
        "54",
        ("GET /{b=x/*}/{a}",),
        "GET /x/%41/%C3%A9",
        ("GET /{b=x/*}/{a}", ("x/A", "é")),
    ),
]


@pytest.mark.parametrize(
    ("routes", "request_line", "wanted"),
    [
        pytest.param(
            routes, request, wanted, id=request, marks=pytest.mark.rule(f"transcoding.{rule}")
        )
        for rule, routes, request, wanted in TABLE
    ],
)
def test_request_finds_its_route(
    routes: tuple[str, ...], request_line: str, wanted: tuple[str, tuple[str, ...]] | None
) -> None:
    method, path = request_line.split(" ")

    for ordered in (routes, routes[::-1]):
        found = _trie(*ordered).find(method, path)

        assert found == (None if wanted is None else Found(*wanted))


REFUSED = [
    ("35", ("POST /a/b", "GET /a/*"), "PUT /a/b", ("GET", "HEAD", "OPTIONS", "POST")),
    ("43", ("GET /a",), "get /a", ("GET", "HEAD", "OPTIONS")),
    ("44", ("PUT /a/b", "DELETE /a/{x}", "PATCH /**"), "GET /a/b", ("DELETE", "OPTIONS", "PATCH", "PUT")),
    ("44", ("PUT /a",), "TRACE /a", ("OPTIONS", "PUT")),
    ("44", ("* /a",), "CONNECT /a", ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")),
    ("40", CANCEL, "PUT /p/7:cancel", ("GET", "HEAD", "OPTIONS", "POST")),
    ("46", ("PUT /a",), "OPTIONS /a", ("OPTIONS", "PUT")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("routes", "request_line", "allow"),
    [
        pytest.param(
            routes, request, allow, id=request, marks=pytest.mark.rule(f"transcoding.{rule}")
        )
        for rule, routes, request, allow in REFUSED
    ],
)
def test_other_method_is_told_what_the_path_takes(
    routes: tuple[str, ...], request_line: str, allow: tuple[str, ...]
) -> None:
    method, path = request_line.split(" ")
    trie = _trie(*routes)

    assert trie.find(method, path) == WrongMethod(allow)


@pytest.mark.rule("transcoding.45")
def test_head_falls_to_get_and_says_so() -> None:
    assert _trie("GET /a/{x}").find("HEAD", "/a/1") == Found("GET /a/{x}", ("1",), True)
    assert _trie("GET /a").find("HEAD", "/a") == Found("GET /a", (), True)


@pytest.mark.rule("transcoding.45")
@pytest.mark.parametrize("order", [1, -1])
def test_rule_of_kind_head_wins(order: int) -> None:
    trie = _trie(*("GET /a", "HEAD /a")[::order])

    assert trie.find("HEAD", "/a") == Found("HEAD /a", ())


@pytest.mark.rule("transcoding.45")
def test_get_without_implied_head_refuses_head() -> None:
    trie: RouteTrie[int] = RouteTrie()
    trie.insert(parse_template("/a"), "GET", 1, implied_head=False)

    assert trie.find("HEAD", "/a") == WrongMethod(("GET", "OPTIONS"))


@pytest.mark.rule("transcoding.31")
def test_equal_shape_under_one_method_returns_the_first() -> None:
    trie: RouteTrie[str] = RouteTrie()

    assert trie.insert(parse_template("/a/{x}"), "GET", "first") is None
    assert trie.insert(parse_template("/a/{y=*}"), "GET", "second") == "first"
    assert trie.insert(parse_template("/a/{y=*}"), "POST", "other method") is None
    assert trie.insert(parse_template("/a/{y=*}:v"), "GET", "other verb") is None
    assert trie.find("GET", "/a/1") == Found("first", ("1",))


BAD_PATHS = [
    ("/{x}", "/..%2Fx"),
    ("/{x}", "/a%2F%2e"),
    ("/{x}", "/%FF"),
    ("/{x}", "/%C3%28"),
    ("/a/{x=**}", "/a/..%2Fb/c"),
    ("/a/{x=**}", "/a/..%2fb"),
    ("/{name=ops/*}:cancel", "/ops/..:cancel"),
    ("/{x}", "/..;p%20"),
]


@pytest.mark.rule("transcoding.52")
@pytest.mark.parametrize(("template", "path"), BAD_PATHS)
def test_value_that_decodes_badly_is_refused(template: str, path: str) -> None:
    with pytest.raises(ClientError) as caught:
        _trie(f"GET {template}").find("GET", path)

    assert caught.value.reason == "BAD_PATH"


@pytest.mark.rule("transcoding.42")
def test_all_routes_of_a_path_stand_in_the_order_of_their_rank() -> None:
    trie = _trie("GET /a/**", "GET /a/{x}", "GET /a/b", "POST /a/b")

    assert list(trie.find_each("GET", "/a/b")) == [
        Found("GET /a/b", ()),
        Found("GET /a/{x}", ("b",)),
        Found("GET /a/**", ()),
    ]


@pytest.mark.rule("transcoding.47")
@pytest.mark.parametrize("path", ["/" * 8000, "/a" * 4000, "/a:" * 2600, "/" + ":v" * 4000])
def test_long_path_visits_each_node_once(path: str) -> None:
    """Steps are counted, not timed: the search asks each node for its literals at most once."""
    trie = _trie("GET /a/*/a/*/b", "GET /*/a/*/a/c", "POST /a/{x=**}:v", "GET /{x}:v:v")
    asked = []

    class Counting(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:
            asked.append(key)
            return super().get(key, default)

    nodes = [trie._root]
    for node in nodes:
        nodes += [*node.literals.values(), *([node.star] if node.star else [])]
        node.literals = Counting(node.literals)  # type: ignore[assignment]  # a counting stand-in

    trie.find("GET", path)

    # One greedy walk and two full searches (the match, then Allow), each with one split per verb.
    assert len(asked) <= 5 * len(nodes)


@pytest.mark.rule("transcoding.47")
def test_a_trie_made_for_dead_ends_is_walked_once() -> None:
    """Every path of literal or wildcard leads on, and none to the end: each node is asked once a search."""
    trie: RouteTrie[int] = RouteTrie()
    for choice in product(("a", "*"), repeat=9):
        trie.insert(parse_template("/" + "/".join((*choice, "end"))), "GET", 1)
        trie.insert(parse_template("/" + "/".join((*choice, "**", "end")), tail=True), "POST", 1)
    asked: Counter[int] = Counter()

    class Counting(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:
            asked[id(self)] += 1
            return super().get(key, default)

    nodes = [trie._root]
    for node in nodes:
        nodes += [*node.literals.values(), *([node.star] if node.star else [])]
        node.literals = Counting(node.literals)  # type: ignore[assignment]  # a counting stand-in

    assert trie.find("GET", "/a" * 9 + "/other") is None
    assert len(asked) > 500
    # The greedy walk, the search, and the list of methods; the last step asks for the rest of the path too.
    assert max(asked.values()) <= 4

    asked.clear()
    assert trie.find("GET", "/a" * 4000) is None
    assert max(asked.values()) <= 4


@pytest.mark.rule("transcoding.40", "transcoding.43")
def test_a_route_of_any_method_takes_what_that_of_the_method_turns_down() -> None:
    """Two routes of one leaf, of which one reads no unregistered verbs."""
    trie: RouteTrie[str] = RouteTrie()
    picky = Switches(verb_unregistered="no_match")
    trie.insert(parse_template("/{x}"), "GET", "picky", switches=picky)
    trie.insert(parse_template("/{x}"), "*", "any")

    assert trie.find("GET", "/j") == Found("picky", ("j",))
    assert trie.find("GET", "/j:other") == Found("any", ("j:other",))


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_connect_and_trace_are_never_routed(method: str) -> None:
    with pytest.raises(ValueError, match="never routed"):
        RouteTrie[int]().insert(parse_template("/a"), method, 1)
