"""Digests of types: a change anywhere below is seen, circles end, depth does not matter."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.core.schema import Field, MessageType
from bff.transcoding.type_shapes import TypeShapes, reachable


def types(edges: Mapping[int, Sequence[int]], *, changed: int | None = None) -> list[MessageType]:
    """Messages by number, each with a field for every one that it leads to; one may be changed."""
    made = [MessageType(full_name=f"t.M{n}", package="t") for n in edges]
    for number, targets in edges.items():
        fields = [
            Field(name=f"f{at}", json_name=f"f{at}", number=at, kind="message", message=made[to])
            for at, to in enumerate(targets, 1)
        ]
        if number == changed:
            fields.append(Field(name="new", json_name="new", number=99, kind="string"))
        made[number].fields = tuple(fields)
    return made


GRAPHS = st.integers(1, 8).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, size - 1), max_size=3), min_size=size, max_size=size
    )
)


@given(GRAPHS, st.data())
def test_a_digest_changes_exactly_above_a_change(
    graph: list[list[int]], data: st.DataObject
) -> None:
    """Whatever the graph, in whatever order its types are asked for."""
    edges = dict(enumerate(graph))
    changed = data.draw(st.sampled_from(sorted(edges)))
    order = data.draw(st.permutations(sorted(edges)))
    before, after = types(edges), types(edges, changed=changed)
    old, new = TypeShapes(), TypeShapes()
    for number in order:
        old.digest(before[number])

    for number, message in enumerate(after):
        leads = any(one.full_name == f"t.M{changed}" for one in reachable(message))
        assert (new.digest(message) != old.digest(before[number])) is leads


@pytest.mark.parametrize("closes", [False, True], ids=["chain", "circle"])
def test_depth_is_no_matter(closes: bool) -> None:
    size = 20_000
    edges = {n: [n + 1] if n + 1 < size else ([0] if closes else []) for n in range(size)}

    first = TypeShapes().digest(types(edges)[0])

    assert first == TypeShapes().digest(types(edges)[0])
    assert first != TypeShapes().digest(types(edges, changed=size - 1)[0])
