"""The same requests to Envoy's gRPC-JSON transcoder and to `preset: envoy`, in front of one service.

    make differential

What parts them stands in `envoy.yaml` with its reason; whatever else parts them fails, and so does a
row of the list that no longer holds. docs/coming-from-envoy.md is made of that list.
"""

from collections.abc import Iterator

import msgspec
import pytest

from benchmarks.envoy import envoy_binary
from tests.support.envoy import EnvoyProcess
from tests.support.envoy_differences import (
    Case,
    Outcome,
    cook_types,
    gateway_files,
    read_corpus,
)
from tests.support.gateway import GatewayProcess
from tests.support.render_envoy import PAGE, render_envoy
from tests.support.vector_kitchen import VectorKitchen
from tests.support.vector_world import exchange
from tests.support.vectors import request_octets

_CORPUS = read_corpus()
_BINARY = envoy_binary()
# What passes an unknown method or parameter on to the service as it came is imitated by nobody.
_OPTIONS = {
    "convert_grpc_status": True,
    "request_validation_options": {
        "reject_unknown_method": True,
        "reject_unknown_query_parameters": True,
    },
}

needs_envoy = pytest.mark.skipif(
    _BINARY is None, reason="Envoy is not installed; `make differential` installs it"
)


class Sides(msgspec.Struct, frozen=True):
    """Both gateways, by their ports, and the one service behind them."""

    kitchen: VectorKitchen
    envoy: int
    ours: int

    def ask(self, port: int, case: Case) -> Outcome:
        """One request to one side."""
        row = case.row()
        self.kitchen.begin(row.answer)
        reply = exchange(port, request_octets(row))
        return Outcome.of(reply, self.kitchen.asked, failed=bool(row.answer.code))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    folder = tmp_path_factory.mktemp("differential")
    types = folder / "types.binpb"
    types.write_bytes(cook_types())
    assert _BINARY is not None
    with VectorKitchen(types.read_bytes(), reads=True) as kitchen:
        ours = GatewayProcess(folder, None, files=gateway_files(kitchen.port, types))
        envoy = EnvoyProcess(_BINARY, folder, kitchen.port, types, **_OPTIONS)
        with ours, envoy:
            yield Sides(kitchen, envoy.port, ours.port)


@needs_envoy
@pytest.mark.rule("transcoding.160", "transcoding.161")
@pytest.mark.parametrize(
    "case", _CORPUS.rows, ids=[f"{n}-{case.send[:60]}" for n, case in enumerate(_CORPUS.rows)]
)
def test_both_sides_do_what_the_list_says(sides: Sides, case: Case) -> None:
    envoy, ours = sides.ask(sides.envoy, case), sides.ask(sides.ours, case)

    if not case.differs:
        assert ours.text == envoy.text
        return
    assert ours != envoy, "they agree by now: take the reason out"
    assert (envoy.text, ours.text) == (case.envoy, case.ours)


def test_the_corpus_is_large_and_every_reason_has_a_row() -> None:
    told = {case.differs for case in _CORPUS.rows}

    assert len(_CORPUS.rows) >= 150
    assert set(_CORPUS.reasons) == told - {""}


def test_the_page_tells_of_the_list() -> None:
    """`python -m tests.support.render_envoy` writes it."""
    assert PAGE.read_text(encoding="utf-8") == render_envoy(_CORPUS)
