"""Hostile documents stop early, and honest ones do not."""

import gc
import tracemalloc
from typing import Any

import pytest

from bff.gql.documents import Document, DocumentCache
from bff.gql.faults import RequestFault
from bff.gql.limits import Caps, check_variables
from bff.gql.text_limits import check_text
from tests.support.shop_graphql import Backend, run, schema_of

SCHEMA = schema_of()


def bomb(doublings: int) -> str:
    """Fragments that each spread the next one twice: 2^doublings fields when expanded."""
    parts = ["{ ...f0 }"]
    parts += [f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(doublings)]
    parts.append(f"fragment f{doublings} on Query {{ __typename }}")
    return " ".join(parts)


def deep_fragments(count: int) -> str:
    parts = ["{ order(orderId: 1) { ...f0 } }"]
    parts += [f"fragment f{n} on Order {{ card {{ ...f{n + 1} }} }}" for n in range(count)]
    return " ".join([*parts, f"fragment f{count} on Order {{ id }}"])


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        pytest.param("{ a }" + " " * 16384, "text", id="size"),
        pytest.param("{ b(x: [" + "1 " * 1000 + "]) }", "tokens", id="tokens"),
        pytest.param("#\n" * 101 + "{ a }", "comments", id="comments"),
        pytest.param("{a" * 5000, "nesting", id="depth-5000"),
        pytest.param("[" * 10000, "nesting", id="lists-10000"),
        pytest.param("{ x { " + " ".join(f"a{n}: id" for n in range(16)) + " } }", "aliases", id="alias-flood"),
        pytest.param("{ " + "id " * 5 + "}", "same_name", id="repeated-name"),
        pytest.param("{ x { " + "t{b} " * 5 + "} }", "same_name", id="repeated-object"),
        pytest.param("{ " + " ".join(f"f{n}" for n in range(11)) + " }", "root_fields", id="roots"),
        pytest.param("{ a " + "@skip(if: true) " * 21 + "}", "directives", id="directives"),
        pytest.param("{ a " + "...f " * 41 + "}", "spreads", id="spreads"),
        pytest.param("fragment f on Q { a } " * 21, "fragments", id="fragments"),
        pytest.param("query a { a } " * 6, "operations", id="operations"),
        pytest.param("{ a } " * 6, "operations", id="short-operations"),
        pytest.param("query (" + " ".join(f"$v{n}: Int" for n in range(31)) + ") { a }", "variables", id="variables"),
        pytest.param("{ " + "on " * 5 + "}", "same_name", id="a-field-named-on"),
    ],
)  # fmt: skip
@pytest.mark.rule("graphql.8.1")
def test_the_text_is_stopped_at_the_first_excess(text: str, limit: str) -> None:
    fault = check_text(text, Caps())

    assert fault is not None
    assert fault.errors[0]["extensions"]["limit"] == limit
    assert fault.errors[0]["extensions"]["code"] == "LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    "text",
    [
        '{ a(x: "{ { { { a: b: c: ...") }',
        '{ a(x: """ " {{{{ \\""" ... @ """) }',
        "{ a(x: {y: {z: [1, 2]}}, y: {y: {z: 1}}) @include(if: $v) { ... on T { b } ...f } }",
        "query q($a: Int = 1, $b: [T!]! @d) { a }",
        "{ a # { { { { {\n}",
        '"""described""" query { a }',
    ],
    ids=["string", "block-string", "inputs", "variables", "comment", "description"],
)
def test_what_stands_in_texts_and_arguments_counts_as_nothing_else(text: str) -> None:
    caps = Caps(
        aliases=0, same_name=1, root_fields=1, nesting=5, operations=1, spreads=2, variables=2
    )

    assert check_text(text, caps) is None


@pytest.mark.parametrize(
    ("text", "caps", "limit"),
    [
        pytest.param(bomb(18), Caps(), "root_fields", id="2^18-roots"),
        pytest.param(bomb(30), Caps(fragments=40, spreads=80), "root_fields", id="2^30-roots"),
        pytest.param(deep_fragments(12), Caps(), "depth", id="depth-by-fragments"),
        pytest.param(
            "{ ...a ...b } fragment a on Query { x1: __typename x2: __typename ...c } fragment b on Query { ...c }"
            " fragment c on Query { y1: __typename y2: __typename }",
            Caps(aliases=5), "aliases", id="aliases-by-fragments",
        ),
        pytest.param("{ a { a { a { a { a { a { a { a { a } } } } } } } } }", Caps(), "depth", id="depth-9"),
    ],
)  # fmt: skip
@pytest.mark.rule("graphql.8.3")
def test_fragments_are_counted_expanded(text: str, caps: Caps, limit: str) -> None:
    fault = DocumentCache(schema=SCHEMA.schema, caps=caps).take(text, introspection=False)

    assert isinstance(fault, RequestFault)
    assert (fault.kind, fault.errors[0]["extensions"]["limit"]) == ("limit", limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }",
            "Cannot spread fragment",
        ),
        ("{ ...a } fragment a on Query { ...a }", "Cannot spread fragment 'a' within itself."),
        ("{ ...a }", "Unknown fragment 'a'."),
        ("{ ...a } fragment a on Query { ...b }", "Unknown fragment 'b'."),
    ],
    ids=["circle", "itself", "unknown", "unknown-below"],
)
@pytest.mark.rule("graphql.8.3")
def test_circles_and_unknown_fragments_are_refused_before_expansion(
    text: str, message: str
) -> None:
    fault = DocumentCache(schema=SCHEMA.schema, caps=Caps()).take(text, introspection=False)

    assert isinstance(fault, RequestFault)
    assert message in fault.errors[0]["message"]


@pytest.mark.parametrize("text", ["{a" * 10_000, "{ a(x: " + "[" * 10_000, bomb(30), "#\n" * 8000])
@pytest.mark.rule("graphql.14.2")
async def test_a_hostile_document_costs_no_call(text: str) -> None:
    backend = Backend()

    result = await run(text, backend)

    assert (result.fault, backend.calls) == ("limit", [])


@pytest.mark.parametrize(
    ("variables", "limit"),
    [
        ({"a": list(range(1001))}, "list_items"),
        ({"a": "x" * 16385}, "string"),
        ({"a": [[[[[[[[1]]]]]]]]}, "input_depth"),
        ({str(number): 1 for number in range(31)}, "variables"),
    ],
    ids=["list", "string", "depth", "count"],
)
@pytest.mark.rule("graphql.8")
def test_variables_are_bounded(variables: dict[str, Any], limit: str) -> None:
    fault = check_variables(variables, Caps())

    assert fault is not None
    assert fault.errors[0]["extensions"]["limit"] == limit


@pytest.mark.rule("graphql.5.1")
def test_documents_are_prepared_once_and_the_cache_is_bounded() -> None:
    cache = DocumentCache(schema=SCHEMA.schema, caps=Caps(), max_entries=2)

    first = cache.take("{ __typename }", introspection=False)
    again = cache.take("{ __typename }", introspection=False)
    refused = cache.take("{ nothing }", introspection=False)
    refused_again = cache.take("{ nothing }", introspection=False)
    for number in range(2):
        cache.take(f"{{ a{number}: __typename }}", introspection=False)
    later = cache.take("{ __typename }", introspection=False)

    assert isinstance(first, Document)
    assert first is again
    assert refused is refused_again
    assert later is not first


@pytest.mark.rule("graphql.5.1")
def test_the_cache_is_bounded_by_weight_and_drops_what_was_used_longest_ago() -> None:
    texts = [f"{{ a{number}: __typename }}" for number in range(4)]
    caps = Caps()
    one = DocumentCache(schema=SCHEMA.schema, caps=caps).take(texts[0], introspection=False)
    assert isinstance(one, Document)
    cache = DocumentCache(schema=SCHEMA.schema, caps=caps, max_weight_bytes=3 * one.weight_bytes)

    first, second, third = [cache.take(text, introspection=False) for text in texts[:3]]
    assert cache.take(texts[0], introspection=False) is first
    cache.take(texts[3], introspection=False)

    assert cache.take(texts[2], introspection=False) is third
    assert cache.take(texts[0], introspection=False) is first
    assert cache.take(texts[1], introspection=False) is not second


def test_a_document_above_the_whole_weight_is_served_and_not_kept() -> None:
    cache = DocumentCache(schema=SCHEMA.schema, caps=Caps(), max_weight_bytes=1)

    first = cache.take("{ __typename }", introspection=False)

    assert isinstance(first, Document)
    assert cache.take("{ __typename }", introspection=False) is not first


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{ a: __typename }", id="few-tokens"),
        pytest.param("{ " + "... @skip(if: false) { __typename } " * 4 + "}", id="many-tokens"),
        pytest.param("{ __typename } #" + "x" * 10_000, id="comment"),
    ],
)
def test_the_weight_of_documents_covers_the_memory_that_they_take(text: str) -> None:
    cache = DocumentCache(schema=SCHEMA.schema, caps=Caps())
    # What the library prepares once is none of theirs.
    cache.take(text, introspection=False)

    gc.collect()
    tracemalloc.start()
    try:
        made = [cache.take(f"{text}#{number}", introspection=False) for number in range(20)]
        gc.collect()
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    weight_bytes = sum(one.weight_bytes for one in made if isinstance(one, Document))
    assert weight_bytes / 8 < taken_bytes < weight_bytes


def test_a_callers_right_to_the_schema_is_part_of_the_key() -> None:
    """What an operator may introspect is not served to others out of the cache."""
    cache = DocumentCache(schema=SCHEMA.schema, caps=Caps())
    text = "{ __schema { queryType { name } } }"

    assert isinstance(cache.take(text, introspection=True), Document)
    assert isinstance(cache.take(text, introspection=False), RequestFault)
