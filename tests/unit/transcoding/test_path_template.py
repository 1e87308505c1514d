"""The path grammar of google/api/http.proto, edge by edge."""

import re

import pytest

from bff.transcoding.path_template import Segment, TemplateError, parse_template

REFUSED = [
    # text, column, a word of the message
    pytest.param("", 1, "starts with", id="empty", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("//", 2, "empty", id="slashes", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("/", 2, "empty", id="root", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("/a/", 4, "empty", id="trailing", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("/a//b", 4, "empty", id="inner", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("a/b", 1, "starts with", id="relative", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("/a?b", 3, '"?"', id="query", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("/é", 2, '"é"', id="unencoded", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("/a%2", 3, "hexadecimal", id="escape", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("/a%zz/b", 3, "hexadecimal", id="hex", marks=pytest.mark.rule("transcoding.16")),
    pytest.param("/{}", 3, "field name", id="noname", marks=pytest.mark.rule("transcoding.17")),
    pytest.param("/{a", 4, 'expected "}"', id="open", marks=pytest.mark.rule("transcoding.17")),
    pytest.param("/a{x}", 3, '"{"', id="prefix", marks=pytest.mark.rule("transcoding.17")),
    pytest.param(
        "/{x}b", 5, "whole segment", id="suffix", marks=pytest.mark.rule("transcoding.17")
    ),
    pytest.param("/{x=}", 5, "empty", id="nosegment", marks=pytest.mark.rule("transcoding.17")),
    pytest.param("/{1x}", 3, "field name", id="digit", marks=pytest.mark.rule("transcoding.17")),
    pytest.param("/{a..b}", 5, "field name", id="dots", marks=pytest.mark.rule("transcoding.17")),
    pytest.param("/*b", 3, "whole segment", id="star", marks=pytest.mark.rule("transcoding.17")),
    pytest.param("/b*", 3, '"*"', id="tail-star", marks=pytest.mark.rule("transcoding.17")),
    pytest.param("/{x={y}/*}", 5, "nested", id="nested", marks=pytest.mark.rule("transcoding.18")),
    pytest.param("/a/:verb", 4, "empty", id="verb", marks=pytest.mark.rule("transcoding.19")),
    pytest.param("/*:", 4, "empty", id="star-verb", marks=pytest.mark.rule("transcoding.19")),
    pytest.param("/a:", 4, "empty", id="noverb", marks=pytest.mark.rule("transcoding.19")),
    pytest.param("/{x}:a/b", 7, "ends", id="after-verb", marks=pytest.mark.rule("transcoding.19")),
    pytest.param("/a/**/**", 7, "last", id="two", marks=pytest.mark.rule("transcoding.20")),
    pytest.param("/a/**/*", 7, "last", id="then-star", marks=pytest.mark.rule("transcoding.20")),
    pytest.param("/a/**/b", 7, "last", id="then-lit", marks=pytest.mark.rule("transcoding.20")),
    pytest.param("/{x=**}/{y}", 9, "last", id="then-var", marks=pytest.mark.rule("transcoding.20")),
    pytest.param("/{x=**/a}", 8, "last", id="inside", marks=pytest.mark.rule("transcoding.20")),
    pytest.param("/a%2Fb", 2, "slash", id="slash", marks=pytest.mark.rule("transcoding.23")),
    pytest.param("/a/%2e%2E", 4, "dot", id="dot", marks=pytest.mark.rule("transcoding.23")),
    pytest.param("/a:b;.", 4, "dot", id="verb-dot", marks=pytest.mark.rule("transcoding.19")),
]


@pytest.mark.parametrize(("text", "column", "word"), REFUSED)
def test_violation_is_refused_with_its_column(text: str, column: int, word: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text)

    assert (caught.value.column, word in caught.value.message) == (column, True), caught.value
    assert caught.value.hint


# A fault, and what is said to write instead.
REPAIRED = [
    ("16", "a/b", 'write "/a/b"'),
    ("16", "https://shop.example/v1/a", 'write "/v1/a"'),
    ("16", "", 'begin with "/" and a segment, such as "/v1"'),
    ("16", "/", 'write one "/" before each segment, and none at the end'),
    ("16", "/a/", 'write "/a"'),
    ("16", "/a//b/", 'write "/a/b"'),
    ("16", "/a?b={c}", 'write "/a"; fields that neither path nor body sets come from the query'),
    ("16", "/é b", 'write "/%C3%A9%20b"'),
    ("16", "/a\\b", 'write "/a/b"'),
    ("16", "/100%", 'write "/100%25"'),
    ("16", "/<int:id>/<x>", 'write "/{id}/{x}"'),
    ("16", "/[id]", 'write "/{id}"'),
    ("16", "/:id", 'write "/{id}"'),
    ("16", "/a/..", 'write "/a"'),
    ("16", "/a/%00", "leave it out"),
    ("16", "/%ff", 'percent-encode the UTF-8 of the character: "%C3%A9" is é'),
    ("16", "/a" * 33, "bind what is left as one value: {name=**}"),
    ("17", "/{}", "name a field of the request message, as {name} or {book.name}"),
    ("17", "/{a", 'write "/{a}"'),
    ("17", "/{a/b", 'write "/{a}/b"'),
    ("17", "/v1/{a=b/*", 'write "/v1/{a=b/*}"'),
    ("17", "/{a}}", 'write "/{a}"'),
    ("17", "/a}/b", 'write "/{a}/b" or "/a/b"'),
    ("17", "/a{x}", 'write "/a/{x}"'),
    ("17", "/{x}b{y}", 'write a "/" between it and what is beside it'),
    ("17", "/{x}{y}", 'write "/{x}/{y}"'),
    ("17", "/{x=}", 'write "/{x}"'),
    ("17", "/{x=/a}", 'write "/{x=a}"'),
    ("17", "/{x=*a}", 'write "/{x=*/a}"'),
    ("17", "/{a..b}", 'write "/{a.b}"'),
    ("17", "/{ a }", 'write "/{a}"'),
    ("17", "/{user-id}", 'write "/{user_id}"'),
    ("17", "/{id:[0-9]+}/x", 'write "/{id}/x"'),
    ("17", "/{*rest}", 'write "/{rest=**}"'),
    ("17", "/{rest...}", 'write "/{rest=**}"'),
    ("17", "/{**}", 'write "/**"'),
    ("17", "/a*", 'write "/a/*"'),
    ("17", "/***", 'write "/**"'),
    ("18", "/{x={y}/*}", 'write "/{x=*/*}"'),
    ("19", "/a/:verb", 'write "/a:verb" or "/a/{verb}"'),
    ("19", "/{x}:", 'write "/{x}"'),
    ("19", "/{x}:a/b", 'write "/{x}/b:a"'),
    ("19", "/a:{x}", 'write "/a/{x}"'),
    ("20", "/a/**/b", 'write "/a/*/b"; with `template_tail: allow` literals may follow'),
    ("20", "/{a=*/**/b}", 'write "/{a=*/*/b}"; with `template_tail: allow` literals may follow'),
    ("20", "/{x=**}/{y}", 'write "/{x=*}/{y}"'),
    ("20", "/a/**/**", 'write "/a/*/**" or "/a/*/*"'),
    ("23", "/a%2Fb", 'write "/a/b"; in a request an encoded slash is data, and parts no segments'),
]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        pytest.param(*row[1:], id=row[1][:24], marks=pytest.mark.rule(f"transcoding.{row[0]}"))
        for row in REPAIRED
    ],
)
def test_what_to_write_instead_is_told(text: str, hint: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text)

    assert caught.value.hint.startswith(hint)
    for written in re.findall(r'"(/[^"]+)"', hint if hint.startswith("write") else ""):
        parse_template(written)


@pytest.mark.rule("transcoding.20")
def test_a_repair_keeps_to_what_the_switch_allows() -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template("/a/**/b/*", tail=True)

    assert caught.value.hint == 'write "/a/*/b/*"'


BOUNDS = {
    "2048 bytes": ("/" + "a" * 2047, "/" + "a" * 2048),
    "32 segments": ("/a" * 32, "/a" * 33),
    "16 variables": (
        "".join(f"/{{v{i}}}" for i in range(16)),
        "".join(f"/{{v{i}}}" for i in range(17)),
    ),
    "16 names": ("/{" + ".".join("a" * 16) + "}", "/{" + ".".join("a" * 17) + "}"),
}


@pytest.mark.rule("transcoding.16")
@pytest.mark.parametrize("bound", BOUNDS)
def test_bound_is_the_last_size_taken(bound: str) -> None:
    at_bound, over = BOUNDS[bound]

    parse_template(at_bound)
    with pytest.raises(TemplateError):
        parse_template(over)


@pytest.mark.rule("transcoding.21")
def test_double_star_may_be_followed_by_a_verb_alone() -> None:
    template = parse_template("/a/{x=**}:cancel")

    assert template.verb == "cancel"
    assert template.segments == (Segment("literal", "a"), Segment("**"))
    assert [(v.path, v.start, v.stop, v.multi) for v in template.variables] == [
        (("x",), 1, None, True)
    ]


@pytest.mark.rule("transcoding.21")
def test_bare_variable_equals_one_star() -> None:
    bare, written = parse_template("/a/{x}"), parse_template("/a/{x=*}")

    assert bare.variables == written.variables
    assert bare.shape == written.shape


VERBS = [
    ("/v1/{n}:a:b", "a:b", None),
    ("/v1/*:a:b", "a:b", None),
    ("/v1/a:b:c", "c", "a:b"),
    ("/v1/a%3Ab", "", "a:b"),
    ("/v1/a%3ab:c", "c", "a:b"),
    ("/v1/{n=a:b/c:d}", "", "c:d"),
    ("/v1/a:..", "..", "a"),
]


@pytest.mark.rule("transcoding.22")
@pytest.mark.parametrize(("text", "verb", "last_literal"), VERBS)
def test_verb_starts_where_the_grammar_says(text: str, verb: str, last_literal: str | None) -> None:
    template = parse_template(text)

    assert template.verb == verb
    if last_literal is not None:
        assert template.segments[-1] == Segment("literal", last_literal)


@pytest.mark.rule("transcoding.22")
def test_colon_in_an_earlier_segment_is_literal() -> None:
    assert parse_template("/a:b/c").segments[0] == Segment("literal", "a:b")


@pytest.mark.rule("transcoding.23")
def test_literals_are_kept_decoded() -> None:
    assert parse_template("/%7Ea/%2A").segments == (
        Segment("literal", "~a"),
        Segment("literal", "*"),
    )


def test_variable_spans_its_segments() -> None:
    template = parse_template("/v1/{book.name=shelves/*/books/*}/{page}")

    assert [(v.path, v.start, v.stop, v.multi, v.column) for v in template.variables] == [
        (("book", "name"), 1, 5, True, 5),
        (("page",), 5, 6, False, 35),
    ]
