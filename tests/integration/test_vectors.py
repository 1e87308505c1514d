"""Every row of `tests/vectors/` through the real stack: octets on a socket, a gateway process, a service.

How a row is written stands at the head of `tests/support/vectors.py`. Rows of equal configs run one
after the other in front of one process; a row that is only loaded goes through `bff check`.

    pytest tests/integration/test_vectors.py -k "transcoding.68"
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cli import run_bff
from tests.support.gateway import TRANSPORT
from tests.support.vector_kitchen import VectorKitchen, vector_types
from tests.support.vector_world import VectorWorld
from tests.support.vectors import Config, Row, Vector, mapping_of, read_rows

_ROWS = list(read_rows())


def _params(vectors: list[Vector], *, is_sent: bool) -> list[Any]:
    return [
        pytest.param(
            *((each.row, each.config) if is_sent else (each.row,)),
            id=each.id,
            marks=[pytest.mark.rule(*each.rules), *_skips(each.row)],
        )
        for each in vectors
        if each.row.is_sent == is_sent
    ]


def _skips(row: Row) -> list[pytest.MarkDecorator]:
    """What grpcio does otherwise than the lane: it takes no notice of a second message, and waits for an end."""
    is_doubled = len(row.answer.messages or ()) > 1 and row.reason == "UPSTREAM_PROTOCOL"
    if not is_doubled or TRANSPORT != "grpcio":
        return []
    return [pytest.mark.skip(reason="with two messages to one call grpcio waits for its deadline")]


@pytest.fixture(scope="session")
def types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kitchen's descriptor set."""
    path = tmp_path_factory.mktemp("types") / "types.binpb"
    path.write_bytes(vector_types())
    return path


@pytest.fixture(scope="session")
def kitchen(types: Path) -> Iterator[VectorKitchen]:
    """The service behind every gateway of this module."""
    with VectorKitchen(types.read_bytes()) as running:
        yield running


@pytest.fixture(scope="session")
def world(
    request: pytest.FixtureRequest,
    kitchen: VectorKitchen,
    types: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[VectorWorld]:
    """A gateway of the config that the row names; pytest brings rows of one config together."""
    config = msgspec.json.decode(request.param, type=Config)
    made = VectorWorld(tmp_path_factory.mktemp("vectors"), config, kitchen, types)
    with made.gateway as gateway:
        start = len(gateway.error_text())
        yield made
        # Nothing that a stranger sends makes a line that is no event.
        assert [
            line
            for line in gateway.error_text()[start:].splitlines()
            if line and not line.startswith("{")
        ] == []


# The scope says that `world` may outlive a row; pytest orders tests by the last parameter of such a scope.
@pytest.mark.parametrize(
    ("row", "world"), _params(_ROWS, is_sent=True), indirect=["world"], scope="session"
)
def test_a_request_ends_as_its_row_says(world: VectorWorld, row: Row) -> None:
    differences = world.run(row)

    if differences:
        pytest.fail("\n".join(differences), pytrace=False)


@pytest.mark.parametrize("row", _params(_ROWS, is_sent=False))
def test_a_mapping_is_judged_as_its_row_says(row: Row, types: Path, tmp_path: Path) -> None:
    files, at = mapping_of(row, types)
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    done = run_bff("check", str(tmp_path), "--json")

    told = [
        f"{Path(each['file']).name}:{each['line']}:{each['column']} {each['message']} ({each['hint']})"
        for each in json.loads(done.stdout)
    ]
    whole = "\n".join([files["cook.yaml"], "---- check says", *told])
    assert done.exit_code == (0 if row.sound or row.warns else 1), whole
    if row.sound:
        return
    place = f"cook.yaml:{at[0]}:{at[1]} " if at else ""
    fits = [
        line
        for line in told
        if line.startswith(place) and all(t in line for t in row.says + row.warns)
    ]
    assert fits, f"{whole}\n---- wanted\n{place}{row.says or row.warns}"
