"""Where a read mask may be written: on a unary method that answers with a message."""

from pathlib import Path

import pytest

from bff.cli.offline import compile_offline
from bff.core.errors import ConfigError
from tests.support.config_files import write

PROTOS = Path(__file__).parents[3] / "protos"
GATEWAY = f"""gateway: {{name: shop, protos: [{PROTOS}]}}
upstreams: {{orders: {{endpoints: ["127.0.0.1:50053"]}}}}
"""
ORDERS = "service: sample.orders.v1.OrderService\nupstream: orders\nroutes:\n"


@pytest.mark.rule("transcoding.121")
@pytest.mark.parametrize(
    ("rpc", "message"),
    [
        ("WatchOrder", "WatchOrder is a stream"),
        ("GetInvoice", "GetInvoice answers with a file"),
    ],
)
def test_a_mask_where_there_are_no_fields_to_choose_is_refused(
    tmp_path: Path, rpc: str, message: str
) -> None:
    orders = f"{ORDERS}  - {{rpc: {rpc}, read_mask: {{}}}}\n"

    with pytest.raises(ConfigError) as caught:
        compile_offline(write(tmp_path, {"gateway.yaml": GATEWAY, "orders.yaml": orders}))

    [problem] = caught.value.problems
    assert (problem.message, problem.path) == (message, "routes[0].read_mask")
    assert (problem.where.line, problem.hint != "") == (4, True)
