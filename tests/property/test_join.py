"""Joins against the naive model: look each key up in the whole list."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bff.core.joining import attach, chunks_of, distinct_keys, holders_of, match_by_key

KEYS = st.sampled_from(["", "a", "b", "c", "d"])


@given(
    st.lists(st.lists(KEYS, max_size=4), max_size=4),
    st.permutations(["a", "b", "c"]),
    st.integers(1, 3),
)
def test_every_holder_gets_the_entity_of_its_key(
    rows: list[list[str]], stock: list[str], size: int
) -> None:
    """Whatever the order of the reply and the size of the chunks; unknown and empty keys are null."""
    tree = {"rows": [{"items": [{"key": key} for key in row]} for row in rows]}
    asked = distinct_keys(holder["key"] for holder in holders_of(tree, ("rows", "items")))
    found: dict[Any, Any] = {}
    for chunk in chunks_of(asked, size):
        entities = [{"key": key, "name": key * 2} for key in stock]
        found.update(match_by_key(chunk, entities, lambda entity: entity["key"]).found)

    joined = attach(tree, ("rows", "items"), "entity", lambda holder: found.get(holder["key"]))

    naive = {key: {"key": key, "name": key * 2} for key in stock}
    assert joined == {
        "rows": [{"items": [{"key": key, "entity": naive.get(key)} for key in row]} for row in rows]
    }
    assert len(asked) == len(set(asked))
    assert "entity" not in repr(tree)
