"""The schema from descriptors and mapping: names, types, arguments, and what is refused."""

from typing import Any

import pytest

from bff.core.schema import EnumType, EnumValue, Field, MessageType
from bff.gql.join_fields import JoinField
from bff.gql.naming import assign_names, enum_names, field_name, input_name, local_name
from bff.gql.root_fields import RootField
from bff.gql.schema import build_schema
from bff.gql.shown import FieldRule
from tests.support.shop_graphql import fields_of, joins_of, schema_of
from tests.support.shop_types import enum_of, make_shop, message_of, method_of, of

SDL = schema_of().sdl


def type_of(field: Field, **more: Any) -> str:
    """The printed type of a message's only field."""
    message = message_of("a.v1.Thing", field)
    method = method_of("a.v1.S", "Get", message_of("a.v1.GetRequest"), message)
    root = RootField(kind="query", name="thing", method=method, operation="a.Get")
    sdl = schema_of([root], [], **more).sdl
    line = next(line for line in sdl.splitlines() if line.startswith("  ") and "thing" not in line)
    return line.strip().partition(": ")[2]


NESTED = message_of("a.v1.Nested", of("x"))
EMPTY = message_of("a.v1.Empty")
OPEN = enum_of("a.v1.Kind", "KIND_UNSPECIFIED", "KIND_A")
CLOSED = EnumType(
    full_name="a.v1.Old", package="a.v1", values=(EnumValue(name="A", number=1),), closed=True
)


@pytest.mark.parametrize(
    ("field", "printed"),
    [
        pytest.param(of("f", "int32"), "Int!", id="int32"),
        pytest.param(of("f", "int64"), "Int64!", id="D7-int64"),
        pytest.param(of("f", "fixed64"), "UInt64!", id="D7-fixed64"),
        pytest.param(of("f", "uint32"), "UInt32!", id="D8-uint32"),
        pytest.param(of("f", "double"), "Float!", id="double"),
        pytest.param(of("f", "bool"), "Boolean!", id="bool"),
        pytest.param(of("f", "bytes"), "Bytes!", id="D9-bytes"),
        pytest.param(of("f"), "String!", id="D6-implicit"),
        pytest.param(of("f", has_presence=True), "String", id="D6-optional"),
        pytest.param(of("f", oneof="which"), "String", id="D6-oneof-member"),
        pytest.param(of("f", repeated=True), "[String!]!", id="D6-list"),
        pytest.param(of("f", "message", message=NESTED), "Nested", id="D6-message"),
        pytest.param(
            of("f", "message", message=NESTED, repeated=True), "[Nested!]!", id="D6-messages"
        ),
        pytest.param(of("f", map_key="string"), "[Thing_FEntry!]!", id="D12-map"),
        pytest.param(of("f", "enum", enum=OPEN), "Kind", id="D15-open"),
        pytest.param(of("f", "enum", enum=OPEN, repeated=True), "[Kind]!", id="D15-open-list"),
        pytest.param(of("f", "enum", enum=CLOSED), "Old!", id="D15-closed"),
        pytest.param(of("f", "message", message=EMPTY), "Boolean", id="D17-empty"),
        *(
            pytest.param(
                of("f", "message", message=message_of(f"google.protobuf.{name}")),
                printed,
                id=f"{rule}-{name}",
            )
            for rule, name, printed in [
                ("D10", "Timestamp", "DateTime"),
                ("D10", "Duration", "Duration"),
                ("D10", "FieldMask", "FieldMask"),
                ("D11", "Struct", "JSON"),
                ("D11", "Value", "JSON"),
                ("D11", "ListValue", "JSON"),
                ("D11", "Any", "JSON"),
                ("D18", "StringValue", "String"),
                ("D18", "Int64Value", "Int64"),
                ("D18", "BytesValue", "Bytes"),
            ]
        ),
    ],
)
@pytest.mark.rule("graphql.1.4")
def test_output_type(field: Field, printed: str) -> None:
    assert type_of(field) == printed


def test_all_nullable_takes_the_marks_off() -> None:
    assert type_of(of("f"), all_nullable=True) == "String"


@pytest.mark.parametrize(
    ("rule", "printed"),
    [(FieldRule(as_="ID"), "ID!"), (FieldRule(as_="Int"), "Int!")],
    ids=["ID", "Int"],
)
def test_a_rule_prints_another_scalar(rule: FieldRule, printed: str) -> None:
    assert type_of(of("f", "int64"), rules={("a.v1.Thing", "f"): rule}) == printed


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["ORDER_STATUS_UNSPECIFIED", "ORDER_STATUS_PAID"], {"ORDER_STATUS_PAID": "PAID"}),
        (["A_B_ONE", "A_C_TWO"], {"A_B_ONE": "B_ONE", "A_C_TWO": "C_TWO"}),
        (["RED", "GREEN"], {"RED": "RED", "GREEN": "GREEN"}),
        (["X_1", "X_2"], {"X_1": "X_1", "X_2": "X_2"}),
    ],
    ids=["stripped", "longest-common", "no-prefix", "illegal-left-over"],
)
@pytest.mark.rule("graphql.D15")
def test_enum_names(values: list[str], names: dict[str, str]) -> None:
    assert enum_names(enum_of("a.v1.E", *values)) == names


@pytest.mark.rule("graphql.D1")
def test_type_names() -> None:
    assert local_name("sample.orders.v1.Order.Item", "sample.orders.v1") == "Order_Item"
    assert input_name("PlaceOrderRequest", is_request=True) == "PlaceOrderInput"
    assert input_name("Order_Item", is_request=False) == "Order_ItemInput"


@pytest.mark.rule("graphql.D1")
def test_names_that_clash_all_get_their_package() -> None:
    wanted = {
        "1": ("sample.orders.v1", "Order"),
        "2": ("b", "Order"),
        "3": ("b", "Query"),
        "4": ("b", "X"),
    }

    final, doubled = assign_names(wanted)

    assert final == {"1": "SampleOrdersV1Order", "2": "BOrder", "3": "BQuery", "4": "X"}
    assert doubled == []


@pytest.mark.rule("graphql.D2")
def test_a_json_name_that_is_no_graphql_name_is_replaced() -> None:
    field = Field(name="big_one", json_name="big-one", number=1, kind="string")

    assert field_name(field) == "bigOne"


@pytest.mark.parametrize(
    "line",
    [
        "  order(orderId: String!): Order",
        "  orders(userId: String, first: Int, after: String, status: OrderStatus): ListOrdersResponse",
        "  placeOrder(input: PlaceOrderInput!): Order",
        "  customer: User",
        "  product: Product",
        '"""What somebody bought."""',
        "  customerId: String!",
        "input Order_ItemInput {",
        "  labels: [PlaceOrder_LabelsEntryInput!]",
    ],
)
@pytest.mark.rule("graphql.D5")
def test_sdl_has(line: str) -> None:
    assert line in SDL.splitlines()


@pytest.mark.rule("graphql.D6")
def test_output_only_is_no_input() -> None:
    assert "secretNote" not in SDL


@pytest.mark.rule("graphql.D16")
def test_a_message_may_lead_back_to_itself() -> None:
    tree = MessageType(full_name="a.v1.Node", package="a.v1")
    from tests.support.shop_types import fill

    fill(tree, of("name"), of("parent", "message", message=tree))
    method = method_of("a.v1.S", "Get", message_of("a.v1.GetRequest"), tree)

    sdl = schema_of(
        [RootField(kind="query", name="node", method=method, operation="a.Get")], []
    ).sdl

    assert "  parent: Node" in sdl.splitlines()


@pytest.mark.rule("graphql.D5")
def test_nine_fields_become_one_input() -> None:
    request = message_of("a.v1.FindRequest", *(of(f"f{number}") for number in range(9)))
    method = method_of("a.v1.S", "Find", request, NESTED)

    sdl = schema_of(
        [RootField(kind="query", name="find", method=method, operation="a.Find")], []
    ).sdl

    assert "  find(input: FindInput): Nested" in sdl.splitlines()


def join(**changes: Any) -> JoinField:
    shop = make_shop()
    words: dict[str, Any] = {
        "type": "Order", "name": "customer", "method": shop.batch_users, "operation": "u.B",
        "keys": "customer_id", "into": "user_ids", "entities": "users", "entity_key": "user_id",
        "path": "j", **changes,
    }  # fmt: skip
    return JoinField(**words)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"type": "Ordr"}, "j: there is no type 'Ordr'; did you mean 'Order'?"),
        ({"name": "id"}, "j: Order has a field 'id' of its own"),
        (
            {"keys": "customer"},
            "j.keys: Order has no field 'customer'; did you mean 'customer_id'?",
        ),
        ({"keys": "weight"}, "j.into: user_ids is string, the key weight is double"),
        (
            {"into": "ids"},
            "j.into: BatchGetUsersRequest has no field 'ids'; did you mean 'user_ids'?",
        ),
        (
            {"entities": "user"},
            "j.entities: BatchGetUsersResponse has no field 'user'; did you mean 'users'?",
        ),
        ({"entity_key": "id"}, "j.entity_key: User has no field 'id'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.rule("graphql.2.1")
def test_a_wrong_join_is_told(change: dict[str, Any], fault: str) -> None:
    schema, faults = build_schema(fields_of(make_shop()), [join(**change)])

    said = [f"{one.path}: {one.message}; {one.hint}".removesuffix("; ") for one in faults]
    assert schema is None
    assert [one.replace("shop.orders.v1.", "").replace("shop.users.v1.", "") for one in said] == [
        fault
    ]


def test_every_fault_is_found_at_once() -> None:
    shop = make_shop()
    fields = fields_of(shop)
    bad = RootField(
        kind="query", name="bad", method=shop.list_orders, operation="o.L", args={"n": "page_sizes"}, path="q",
    )  # fmt: skip

    _, faults = build_schema([*fields, fields[0], bad], [join(into="x"), join(keys="y")])

    assert [one.path for one in faults] == ["j.into", "j.keys", "graphql.queries.order", "q.args.n"]


def test_a_streaming_operation_is_no_query() -> None:
    shop = make_shop()
    shop.get_order.server_streaming = True

    _, faults = build_schema(fields_of(shop), joins_of(shop))

    assert "streams" in faults[0].message


def test_names_that_graphql_cannot_have_are_faults_with_their_place() -> None:
    message = message_of("a.v1.Thing", of("f"))
    method = method_of("a.v1.S", "Get", message_of("a.v1.GetRequest", of("page_size")), message)

    def faults_of(name: str, args: dict[str, str]) -> list[str]:
        path = f"graphql.queries.{name}"
        root = RootField(
            kind="query", name=name, method=method, operation="a.Get", args=args, path=path
        )
        return [fault.path for fault in build_schema([root])[1]]

    assert faults_of("thing", {"page-size": "page_size"}) == [
        "graphql.queries.thing.args.page-size"
    ]
    assert faults_of("my-thing", {}) == ["graphql.queries.my-thing"]
    assert faults_of("thing", {"pageSize": "page_size"}) == []
