"""Rules that look at the request: what a condition sees of it, and what is told when one cannot say."""

from pathlib import Path
from typing import Any

import pytest

from bff.core.events import Noted
from bff.pipeline.query import query_tree
from tests.support.kitchen_gateway import KitchenGateway

# Query, tree.
QUERIES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "none": (b"", {}),
    "one": (b"a=1", {"a": "1"}),
    "plus and percent": (b"a+b=c%2Bd+e%26", {"a b": "c+d e&"}),
    "not ASCII": (b"a=%C3%BC", {"a": "ü"}),
    "a flag": (b"a&b=", {"a": "", "b": ""}),
    "given again": (b"a=1&b=2&a=3&a=1", {"a": ["1", "3", "1"], "b": "2"}),
    "given again under an escape": (b"a=1&%61=2", {"a": ["1", "2"]}),
    "empty pairs": (b"&&a=1&", {"a": "1"}),
    "signs of equality": (b"a=b=c", {"a": "b=c"}),
}


@pytest.mark.parametrize(("query", "tree"), QUERIES.values(), ids=QUERIES)
def test_a_query_is_its_texts_by_name(query: bytes, tree: dict[str, Any]) -> None:
    assert query_tree(query) == tree


@pytest.mark.rule("edge.9")
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("GET /k/1?note=a+b", 200),
        ("GET /k/1?note=a%20b", 200),
        ("GET /k/1?note=other", 401),
        ("GET /k/1", 401),
        ("GET /k/1?note=a+b&note=other", 401),
        ("GET /k/1?note=other&note=a+b", 401),
    ],
)
async def test_a_condition_reads_the_query(tmp_path: Path, target: str, status: int) -> None:
    rule = """auth: {required: false, when: "query.note == 'a b'"}"""
    kitchen = KitchenGateway(tmp_path, service=f"{rule}\ntranscoding: {{query_unknown: ignore}}")

    answer = await kitchen.ask(target)

    assert answer.status == status
    assert (answer.bound is None) == (status != 200)


async def test_a_condition_that_cannot_say_is_told_of(tmp_path: Path) -> None:
    told: list[object] = []
    kitchen = KitchenGateway(
        tmp_path,
        service="""auth: {required: false, when: "query.i32 == '5'"}""",
        emit=told.append,
    )

    answer = await kitchen.ask("GET /k/1")

    assert answer.status == 401
    noted = [event for event in told if isinstance(event, Noted)]
    assert [event.name for event in noted if event.name == "access_undecided"] == [
        "access_undecided"
    ]
