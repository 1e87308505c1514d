"""What a mapping may list under `metadata`; the rest is refused at load, at the line that writes it."""

import json
from pathlib import Path

import pytest

from bff.cli.offline import compile_offline
from bff.core.errors import ConfigError
from tests.support.config_files import write

PROTOS = Path(__file__).parents[3] / "protos"
GATEWAY = f"""gateway: {{name: shop, protos: [{PROTOS}]}}
upstreams: {{orders: {{endpoints: ["127.0.0.1:50053"]}}}}
"""
ORDERS = "service: sample.orders.v1.OrderService\nupstream: orders\n"
ROUTE = "routes: [{rpc: GetOrder, get: '/v1/orders/{order_id}', metadata: %s}]\n"


def problems(folder: Path, orders: str, gateway: str = GATEWAY) -> list[tuple[str, str, str]]:
    """What is wrong, as (file:line path, message, hint)."""
    try:
        compile_offline(write(folder, {"gateway.yaml": gateway, "orders.yaml": orders}))
    except ConfigError as error:
        return [
            (f"{Path(p.where.file).name}:{p.where.line} {p.path}", p.message, p.hint)
            for p in error.problems
        ]
    return []


def of_route(folder: Path, **block: object) -> list[tuple[str, str, str]]:
    """What is wrong with this block on a route; JSON is YAML, too."""
    return problems(folder, ORDERS + ROUTE % json.dumps(block))


OURS = "is written by the gateway alone"
HOP = "is of one connection and ends here"
GRPC = "belongs to gRPC itself"
REQUEST = "is about the client's request and ends here"
SECRET = "is a credential and ends here"


@pytest.mark.rule("transcoding.141")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x-user-id", OURS),
        ("X_Roles", OURS),
        ("x-tier-bin", OURS),
        ("grpc-metadata-x-tenant-id", OURS),
        ("x-bff-mirror", OURS),
        ("x-request-id", OURS),
        ("traceparent", OURS),
        ("X-Forwarded-For", OURS),
        ("authorization", SECRET),
        ("Cookie", SECRET),
        ("te", HOP),
        ("Connection", HOP),
        ("proxy-authorization", HOP),
        ("transfer_encoding", HOP),
        ("host", REQUEST),
        ("expect", REQUEST),
        ("forwarded", REQUEST),
        ("content-type", REQUEST),
        ("Content-Anything", REQUEST),
        ("x-original-url", REQUEST),
        ("grpc-timeout", GRPC),
        ("Grpc-Status", GRPC),
    ],
)
def test_a_client_field_that_only_the_gateway_may_send_is_not_listed(
    tmp_path: Path, name: str, why: str
) -> None:
    [listed] = of_route(tmp_path, **{"in": ["accept-language", name]})
    [fixed] = of_route(tmp_path, set={name: "AQI"})
    [added] = of_route(tmp_path, add={name: "AQI"})
    [renamed] = of_route(tmp_path, **{"in": ["x-a"], "rename": {"x-a": name}})

    assert listed[:2] == ("orders.yaml:3 routes[0].metadata.in[1]", f"`{name}` {why}")
    assert fixed[:2] == (f"orders.yaml:3 routes[0].metadata.set.{name}", f"`{name}` {why}")
    assert added[1] == f"`{name}` {why}"
    if not name.endswith("-bin"):
        assert renamed[:2] == ("orders.yaml:3 routes[0].metadata.rename.x-a", f"`{name}` {why}")
    assert listed[2].startswith("remove it")


@pytest.mark.rule("transcoding.146")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("set-cookie", "of a gRPC service never reaches a client"),
        ("Content-Length", OURS),
        ("content-type", OURS),
        ("cache-control", OURS),
        ("x-request-id", OURS),
        ("server", OURS),
        ("date", OURS),
        ("RateLimit", OURS),
        ("retry-after", OURS),
        ("www-authenticate", OURS),
        ("x-content-type-options", OURS),
        ("aggregate-status", OURS),
        ("transfer-encoding", HOP),
        ("connection", HOP),
        ("upgrade", HOP),
        ("grpc-status-details-bin", GRPC),
    ],
)
def test_a_reply_field_that_the_gateway_writes_is_not_listed(
    tmp_path: Path, name: str, why: str
) -> None:
    assert of_route(tmp_path, out=["etag", name]) == [
        ("orders.yaml:3 routes[0].metadata.out[1]", f"`{name}` {why}", "remove it")
    ]
    if not name.endswith("-bin"):
        [(_, message, _)] = of_route(tmp_path, out=["x-a"], rename={"x-a": name})
        assert message == f"`{name}` {why}"


@pytest.mark.rule("transcoding.143")
@pytest.mark.parametrize("key", ["in", "out"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("accept language", "did you mean accept-language?"),
        ("X-Grüße", "did you mean x-gr-e?"),
        (":authority", "use 0-9 a-z _ - ."),
        ("", "use 0-9 a-z _ - ."),
    ],
)
def test_a_name_that_metadata_cannot_have_is_refused(
    tmp_path: Path, key: str, name: str, hint: str
) -> None:
    assert of_route(tmp_path, **{key: [name]}) == [
        (
            f"orders.yaml:3 routes[0].metadata.{key}[0]",
            f"{name!r} is no name of gRPC metadata",
            hint,
        )
    ]


@pytest.mark.rule("transcoding.143")
@pytest.mark.parametrize("value", ["a\r\nx-user-id: b", "tab\t", "grün", "\x7f"])
def test_a_fixed_value_is_printable_ascii(tmp_path: Path, value: str) -> None:
    [(_, message, hint)] = of_route(tmp_path, set={"x-note": value})

    assert message == "the value of `x-note` is not printable ASCII"
    assert hint == "use U+0020 to U+007E"


@pytest.mark.rule("transcoding.141")
@pytest.mark.parametrize(
    ("block", "key", "size"),
    [
        ({"set": {"x-a": "a" * 6_200}}, "set", 6_235),
        ({"set": {"x-a": "a" * 3_200}, "add": {"x-b": "b" * 3_000}}, "add", 6_270),
        ({"add": {"x-a-bin": "AAAA" * 3_000}}, "add", 9_039),
    ],
    ids=["set", "both", "octets"],
)
def test_fixed_values_that_no_call_could_carry_are_refused(
    tmp_path: Path, block: dict[str, object], key: str, size: int
) -> None:
    assert of_route(tmp_path, **block) == [
        (
            f"orders.yaml:3 routes[0].metadata.{key}",
            f"`set` and `add` come to {size} octets, and a call carries 6144",
            "shorten them, or raise `caps.metadata`",
        )
    ]
    gateway = GATEWAY + "caps: {metadata: 16KiB}\n"
    assert problems(tmp_path, ORDERS + ROUTE % json.dumps(block), gateway) == []


def test_ordinary_names_may_cross(tmp_path: Path) -> None:
    names = ["Accept-Language", "x-fault", "x_note", "v1.mark", "user-agent", "last-event-id"]
    out = ["location", "etag", "Content-Language", "x-user-id"]

    assert of_route(tmp_path, **{"in": names, "out": out, "set": {"x-source": "web ~"}}) == []


BAD = "metadata: {in: [cookie]}\n"


@pytest.mark.parametrize(
    ("gateway", "service", "route", "place"),
    [
        (BAD, "", "{}", "gateway.yaml:3 metadata.in[0]"),
        ("", BAD, "{}", "orders.yaml:3 metadata.in[0]"),
        (BAD, "", "{out: [etag]}", "gateway.yaml:3 metadata.in[0]"),
        (BAD, "metadata: {in: [accept-language]}\n", "{}", None),
        # Of the methods that no route serves, screens and GraphQL may ask.
        ("", BAD, "{in: [accept-language]}", "orders.yaml:3 metadata.in[0]"),
    ],
    ids=[
        "gateway",
        "service",
        "route-writes-another-key",
        "nearer-level-writes-the-key",
        "in-force-without-a-route",
    ],
)
def test_the_level_that_writes_a_name_in_force_is_named(
    tmp_path: Path, gateway: str, service: str, route: str, place: str | None
) -> None:
    found = problems(tmp_path, ORDERS + service + ROUTE % route, GATEWAY + gateway)

    assert [where for where, _, _ in found] == ([place] if place else [])


def test_a_wildcard_is_named_once_for_all_its_methods(tmp_path: Path) -> None:
    routes = """routes:
  - {rpc: GetOrder, get: '/v1/orders/{order_id}'}
  - {rpc: "*", metadata: {in: [x-user-id]}}
"""
    found = problems(tmp_path, ORDERS + routes)

    assert [where for where, _, _ in found] == ["orders.yaml:5 routes[1].metadata.in[0]"]


# Renaming, removing, prefixes


@pytest.mark.rule("transcoding.141", "transcoding.144")
@pytest.mark.parametrize(
    ("block", "where", "message"),
    [
        (
            {"in": ["x-a"], "rename": {"x-b": "x-c"}},
            "rename.x-b",
            "`x-b` stands in no list, so there is nothing to rename",
        ),
        (
            {"in": ["x-a"], "rename": {"x-a": "x-a-bin"}},
            "rename.x-a",
            "`x-a` and `x-a-bin` carry different kinds of value",
        ),
        (
            {"out": ["x-a-bin"], "rename": {"x-a-bin": "x-a"}},
            "rename.x-a-bin",
            "`x-a-bin` and `x-a` carry different kinds of value",
        ),
        (
            {"in": ["x-a"], "rename": {"x-a": "x a"}},
            "rename.x-a",
            "'x a' is no name of gRPC metadata",
        ),
        (
            {"in": ["x-a"], "remove": ["x-b"]},
            "remove[0]",
            "`x-b` does not cross, so there is nothing to remove",
        ),
        ({"in": ["x-a"], "remove": ["x a"]}, "remove[0]", "'x a' is no name of gRPC metadata"),
        ({"set": {"x-a-bin": "A!"}}, "set.x-a-bin", "the value of `x-a-bin` is not base64"),
        ({"add": {"x-a-bin": "A"}}, "add.x-a-bin", "the value of `x-a-bin` is not base64"),
        ({"add": {"x-a": "\n"}}, "add.x-a", "the value of `x-a` is not printable ASCII"),
        (
            {"prefix": "X Y-"},
            "prefix",
            "`X Y-` is no beginning of a field name that ends in a dash",
        ),
        (
            {"prefix": "X-Meta"},
            "prefix",
            "`X-Meta` is no beginning of a field name that ends in a dash",
        ),
        (
            {"prefix": "Grpc-"},
            "prefix",
            "fields that begin with `Grpc-` may not cross: `grpc-x` belongs to gRPC itself",
        ),
    ],
)
def test_a_change_of_metadata_that_cannot_be_meant_is_refused(
    tmp_path: Path, block: dict[str, object], where: str, message: str
) -> None:
    [(place, found, hint)] = of_route(tmp_path, **block)

    assert place == f"orders.yaml:3 routes[0].metadata.{where}"
    assert found == message
    assert hint


def test_changes_of_metadata_that_mean_something_are_taken(tmp_path: Path) -> None:
    assert (
        of_route(
            tmp_path,
            **{
                "in": ["Accept-Language", "x-trace-bin", "x-debug"],
                "out": ["Etag", "x-cost"],
                "rename": {"accept-language": "locale", "ETag": "x-version"},
                "set": {"x-env": "prod", "x-key-bin": "AQI="},
                "add": {"x-tag": "a"},
                "remove": ["X-Debug", "x-cost"],
                "prefix": "X-Meta-",
            },
        )
        == []
    )


def test_a_gateways_change_is_for_the_routes_that_have_the_name(tmp_path: Path) -> None:
    """What one route lists, another need not."""
    gateway = "metadata: {rename: {accept-language: locale}, remove: [x-debug]}\n"

    assert problems(tmp_path, ORDERS + ROUTE % "{}", GATEWAY + gateway) == []


def test_behind_a_prefix_any_name_may_be_removed(tmp_path: Path) -> None:
    assert of_route(tmp_path, prefix="Grpc-Metadata-", remove=["x-debug"]) == []
