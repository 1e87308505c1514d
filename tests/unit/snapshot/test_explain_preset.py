"""`bff check --explain-preset`: the switches of a route, and who said so."""

import json
from pathlib import Path

import pytest

from tests.support.cli import run_bff
from tests.support.config_files import write

PROTOS = Path(__file__).parents[3] / "protos"
FILES = {
    "gateway.yaml": f"""
gateway: {{name: shop, protos: [{PROTOS}]}}
upstreams: {{orders: {{endpoints: ["127.0.0.1:50053"]}}}}
transcoding: {{int64: number}}
""",
    "orders.yaml": """
service: sample.orders.v1.OrderService
upstream: orders
transcoding: {preset: envoy}
routes:
  - rpc: GetOrder
    get: "/v1/orders/{order_id}"
    transcoding:
      query_plus: space
""",
}


@pytest.fixture
def mappings(tmp_path: Path) -> str:
    return str(write(tmp_path, FILES))


def explained(mappings: str, route: str) -> dict[str, tuple[str, str]]:
    result = run_bff("check", mappings, "--explain-preset", route, "--json")
    assert result.exit_code == 0, result.output
    return {row["switch"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}


@pytest.mark.rule("transcoding.162")
@pytest.mark.parametrize("route", ["GET /v1/orders/{order_id}", "get /v1/orders/o-1"])
def test_each_switch_has_its_origin(mappings: str, route: str) -> None:
    found = explained(mappings, route)

    assert found["query_plus"][0] == "space"
    assert found["query_plus"][1].endswith("orders.yaml:9:19")
    value, origin = found["wrong_method"]
    assert (value, origin.startswith("preset envoy (")) == ("404", True)
    assert origin.endswith("orders.yaml:4:23)")
    # The preset of the service is nearer than the gateway's switch.
    assert found["int64"][0] == "string"
    assert found["query_ignore"][0] == "[key, alt, $fields, utm_*]"


@pytest.mark.rule("transcoding.162", "transcoding.166")
@pytest.mark.parametrize(
    "route", ["POST /sample.orders.v1.OrderService/GetOrder", "GET {}", "get {}"]
)
def test_the_path_of_a_protocol_has_switches_too(tmp_path: Path, route: str) -> None:
    protocols = {
        "orders.yaml": FILES["orders.yaml"].replace("envoy}", "envoy, protocols: [connect]}")
    }
    mappings = str(write(tmp_path, {**FILES, **protocols}))
    path = "/sample.orders.v1.OrderService/GetOrder"

    found = explained(mappings, route.format(path))

    assert (found["protocols"][0], found["query_plus"][0]) == ("[connect]", "space")
    assert found["protocols"][1].endswith("orders.yaml:4:41")


def test_table_is_for_people(mappings: str) -> None:
    result = run_bff("check", mappings, "--explain-preset", "GET /v1/orders/o-1")

    assert result.exit_code == 0
    assert "ORIGIN" in result.stdout
    assert "[key, alt, $fields, utm_*]" in result.stdout


@pytest.mark.parametrize("route", ["GET /v1/nope", "PUT /v1/orders/o-1", "nonsense"])
def test_route_that_is_not_there(mappings: str, route: str) -> None:
    result = run_bff("check", mappings, "--explain-preset", route)

    assert result.exit_code == 1
    assert "no route to a method takes" in result.output
