"""Mapping files as compiled routes; offline, nothing is opened."""

from pathlib import Path
from typing import Any

import pytest

from bff.cli.offline import compile_offline
from bff.core.errors import ConfigError
from bff.pipeline.route import CompiledRoute
from bff.snapshot.compiler import Compiled
from bff.transcoding.route_trie import Found, WrongMethod
from tests.support.config_files import write

PROTOS = Path(__file__).parents[3] / "protos"
GATEWAY = f"""
gateway: {{name: shop, protos: [{PROTOS}]}}
upstreams:
  users: {{endpoints: ["127.0.0.1:50051"]}}
  catalog: {{endpoints: ["127.0.0.1:50052"]}}
  orders: {{endpoints: ["127.0.0.1:50053"]}}
"""
ORDERS = "service: sample.orders.v1.OrderService\nupstream: orders\n"


def compiled(folder: Path, **files: str) -> Compiled:
    """These documents by file name, after the gateway's."""
    named = {"gateway.yaml": GATEWAY} | {f"{name}.yaml": text for name, text in files.items()}
    return compile_offline(write(folder, named))[1]


def problems(folder: Path, **files: str) -> list[str]:
    """What is wrong, as `file:line:column message; hint`."""
    with pytest.raises(ConfigError) as caught:
        compiled(folder, **files)
    return [
        f"{Path(p.where.file).name}:{p.where.line}:{p.where.column} {p.message}; {p.hint}"
        for p in caught.value.problems
    ]


def route_of(found: Any) -> CompiledRoute:
    assert isinstance(found, Found)
    assert isinstance(found.value, CompiledRoute)
    return found.value


@pytest.mark.rule("transcoding.45")
def test_head_is_no_method_of_a_stream(tmp_path: Path) -> None:
    routes = "routes: [{rpc: WatchOrder, get: '/v1/watch/{order_id}'}]"
    trie = compiled(tmp_path, orders=ORDERS + routes).tools.trie

    assert route_of(trie.find("GET", "/v1/watch/o-1")).id == "orders.WatchOrder"
    refused = trie.find("HEAD", "/v1/watch/o-1")
    assert isinstance(refused, WrongMethod)
    assert refused.allow == ("GET", "OPTIONS")


def test_a_written_id_is_numbered_over_the_rules_of_its_route(tmp_path: Path) -> None:
    routes = """routes:
  - {rpc: GetOrder, id: one, get: '/a/{order_id}', also: [{get: '/b/{order_id}'}, {get: '/c/{order_id}'}]}
"""
    trie = compiled(tmp_path, orders=ORDERS + routes).tools.trie

    ids = [route_of(trie.find("GET", path)).id for path in ("/a/1", "/b/1", "/c/1")]
    assert ids == ["one", "one-2", "one-3"]


def test_an_id_of_two_routes_is_a_problem(tmp_path: Path) -> None:
    routes = """routes:
  - {rpc: GetOrder, id: one, get: '/a/{order_id}'}
  - {rpc: GetOrder, id: one, get: '/b/{order_id}'}
"""
    [problem] = problems(tmp_path, orders=ORDERS + routes)

    assert problem.startswith("orders.yaml:5:5 the route id one stands at ")
    assert problem.endswith("; give one of them an `id`")


@pytest.mark.rule("transcoding.17")
def test_the_template_of_an_aggregate_is_told_with_its_column_and_repair(tmp_path: Path) -> None:
    one = (
        "aggregate: 'GET /v1/{order_id/home'\nsources: {order: {rpc: orders.GetOrder, "
        "with: {order_id: path.order_id}}}\nreply: {order: order}\n"
    )
    orders = ORDERS + "routes: [{rpc: GetOrder, get: '/v1/orders/{order_id}'}]"
    found = problems(tmp_path, orders=orders, one=one)

    begin = "one.yaml:1:30 /v1/{order_id/home: expected "
    assert [line for line in found if line.startswith(begin)], found
    assert found[0].endswith('; write "/v1/{order_id}/home"')


@pytest.mark.rule("upstreams.1")
def test_another_certificate_in_the_same_file_is_another_version(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    gateway = GATEWAY + f"  billing: {{endpoints: [\"b:1\"], tls: {{ca: '{authority}'}}}}\n"
    files = {"gateway.yaml": gateway, "orders.yaml": ORDERS}

    def version() -> str:
        return compile_offline(write(tmp_path / "mappings", files))[1].tools.version

    authority.write_text("one")
    first, again = version(), version()
    authority.write_text("another")

    assert first == again
    assert version() != first


def test_a_fault_in_the_key_file_is_told_at_its_own_place(tmp_path: Path) -> None:
    write(tmp_path, {"keys.txt": "keys:\n- {id: a, hash: b}\n"})
    auth = "auth: {api_keys: {file: keys.txt}}\n"

    (found,) = problems(tmp_path, auth=auth)

    assert found == "keys.txt:2:3 `sub` is missing; "


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("descriptors: [{set: /dev/zero}]", "it is no regular file"),
        ('descriptors: [{set: "a\\0b"}]', r"there is no a\\x00b"),
    ],
)
def test_what_is_no_file_is_not_read_as_one(tmp_path: Path, block: str, message: str) -> None:
    """A device has no end; it once took all of the memory."""
    write(tmp_path, {"gateway.yaml": block})

    with pytest.raises(ConfigError, match=message):
        compile_offline(tmp_path)


@pytest.mark.parametrize(
    ("ca", "message"),
    [("/dev/zero", "it is no regular file"), ("big.pem", "larger than 1 MiB")],
)
def test_a_certificate_is_a_file_of_sensible_size(tmp_path: Path, ca: str, message: str) -> None:
    (tmp_path / "big.pem").write_bytes(b"x" * ((1 << 20) + 1))
    more = f"upstreams: {{users: {{endpoints: ['h:1'], tls: {{ca: {ca}}}}}}}\n"
    gateway = f"gateway: {{name: shop, protos: [{PROTOS}]}}\n"
    write(tmp_path, {"gateway.yaml": gateway + more})

    with pytest.raises(ConfigError, match=message):
        compile_offline(tmp_path)


@pytest.mark.parametrize(
    ("rule", "place", "message"),
    [
        ("when: auth.sub == pth.id", "1:26", "'pth' is not known"),
        ("when: 'auth.sub == pth.id'", "1:27", "'pth' is not known"),
        ('when: "auth.sub\\t== pth.id"', "1:14", "'pth' is not known"),
        ("when: auth.sub == ", "1:25", "not a CEL expression"),
        ("tenant: 'path.a.[b'", "1:26", "the expression ends too early"),
        ("tenant: lenght(path.a)", "1:16", "did you mean 'length'?"),
    ],
)
def test_a_fault_in_an_expression_is_told_at_its_column(
    tmp_path: Path, rule: str, place: str, message: str
) -> None:
    """Where the text stands as it is written; else at the value."""
    key = "issuers: {a: {issuer: 'https://a', audience: [b]}}"
    routes = f"auth: {{{rule}}}\n"

    found = problems(tmp_path, auth=f"auth: {{{key}}}\n", orders=routes + ORDERS)

    assert any(each.startswith(f"orders.yaml:{place} ") and message in each for each in found), (
        found
    )
