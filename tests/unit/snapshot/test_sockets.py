"""Which routes may say `websocket: true`, and what is noted where they may not."""

from pathlib import Path

import pytest

from bff.cli.offline import compile_offline
from bff.core.errors import ConfigError
from bff.core.problems import Problem
from bff.snapshot.compiler import Compiled
from bff.transcoding.route_trie import Found
from tests.support.config_files import write

PROTOS = Path(__file__).parents[3] / "protos"
GATEWAY = f"""gateway: {{name: shop, protos: [{PROTOS}]}}
upstreams: {{orders: {{endpoints: ["127.0.0.1:50053"]}}}}
"""
ORDERS = "service: sample.orders.v1.OrderService\nupstream: orders\nroutes:\n"


def compiled(folder: Path, routes: str) -> Compiled:
    files = {"gateway.yaml": GATEWAY, "orders.yaml": f"{ORDERS}{routes}\n"}
    return compile_offline(write(folder, files))[1]


def problem_of(folder: Path, routes: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        compiled(folder, routes)
    [problem] = caught.value.problems
    return problem


@pytest.mark.rule("transcoding.135")
@pytest.mark.parametrize(
    ("rpc", "message"),
    [
        ("GetOrder", "GetOrder is no stream, and WebSocket is for streams"),
        ("DownloadAttachment", "DownloadAttachment carries a file, and frames are JSON messages"),
        ("UploadAttachment", "UploadAttachment carries a file, and frames are JSON messages"),
    ],
)
def test_what_is_no_stream_of_messages_is_refused(tmp_path: Path, rpc: str, message: str) -> None:
    problem = problem_of(tmp_path, f"  - {{rpc: {rpc}, websocket: true}}")

    assert (problem.message, problem.path) == (message, "routes[0].websocket")
    assert (problem.where.line, problem.hint != "") == (4, True)


def test_two_routes_cannot_have_one_address(tmp_path: Path) -> None:
    routes = """
  - {rpc: TrackOrders, id: a, post: "/v1/all", body: "*", websocket: true}
  - {rpc: ImportOrders, id: b, put: "/v1/all", body: "*", websocket: true}
"""
    problem = problem_of(tmp_path, routes.strip("\n"))

    assert problem.message.startswith(
        "a WebSocket at /v1/all is served by orders.TrackOrders already"
    )


def test_a_wildcard_speaks_for_its_streams_alone(tmp_path: Path) -> None:
    routes = """
  - {rpc: "*", websocket: true}
  - {rpc: ImportOrders, websocket: false}
"""
    sockets = compiled(tmp_path, routes.strip("\n")).tools.sockets

    def takes(path: str) -> bool:
        return isinstance(sockets.find("GET", path), Found)

    assert takes("/v1/orders/o-1:watch")
    assert takes("/v1/orders:track")
    assert not takes("/v1/orders/o-1")
    assert not takes("/v1/orders/o-1/attachments/a")
    assert not takes("/v1/orders:import")
