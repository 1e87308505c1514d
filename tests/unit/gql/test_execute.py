"""Executing documents: values, joins in batches, errors and what they null, and where documents stop."""

import asyncio
from typing import Any

import pytest
from msgspec import UNSET

from bff.core.errors import ClientError, UpstreamError
from bff.core.expressions import Origin, Output
from bff.core.status import Code
from bff.gql.join_fields import JoinField
from bff.gql.limits import Caps
from bff.gql.root_fields import RootField
from bff.gql.shown import FieldRule
from tests.support.shop_graphql import Backend, fields_of, joins_of, run, schema_of
from tests.support.shop_types import make_shop, message_of, method_of, of

ORDER = {
    "id": "o-1",
    "customerId": "u-1",
    "cents": "9007199254740993",
    "status": "ORDER_STATUS_PAID",
    "labels": {"b": "2", "a": "1"},
    "created": "2026-01-02T03:04:05.678Z",
    "digest": "AQI=",
    "weight": 1.5,
    "card": {"lastFour": "1234"},
}


def orders(count: int) -> dict[str, Any]:
    return {
        "orders": [
            {
                "id": f"o-{number}",
                "customerId": f"u-{number % 3}",
                "items": [{"productId": f"p-{number % 5}", "quantity": 1}],
            }
            for number in range(count)
        ]
    }


@pytest.mark.parametrize(
    ("selection", "order", "value"),
    [
        pytest.param("cents", ORDER, "9007199254740993", id="D7-exact-text"),
        pytest.param("status", ORDER, "PAID", id="D15-prefix-stripped"),
        pytest.param("status", {"status": "ORDER_STATUS_UNSPECIFIED"}, None, id="D15-unspecified"),
        pytest.param(
            "labels { key value }",
            ORDER,
            [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}],
            id="D12-sorted",
        ),
        pytest.param("created", ORDER, "2026-01-02T03:04:05.678Z", id="D10-time"),
        pytest.param("digest", ORDER, "AQI=", id="D9-bytes"),
        pytest.param("card { lastFour }", ORDER, {"lastFour": "1234"}, id="D13-set-member"),
        pytest.param("voucher", ORDER, None, id="D13-unset-member"),
        pytest.param("id", {}, "", id="D6-unset-text"),
        pytest.param("cents", {}, "0", id="D6-unset-int64"),
        pytest.param("weight", {}, 0, id="D6-unset-number"),
        pytest.param("gift", {}, False, id="D6-unset-boolean"),
        pytest.param("status", {}, None, id="D6-unset-enum"),
        pytest.param("items { quantity }", {}, [], id="D6-unset-list"),
        pytest.param("labels { key }", {}, [], id="D6-unset-map"),
        pytest.param("coupon", {}, None, id="D6-unset-optional"),
        pytest.param("total { units }", {}, None, id="D6-unset-message"),
        pytest.param("total { units }", {"total": {}}, {"units": "0"}, id="D6-empty-message"),
    ],
)  # fmt: skip
@pytest.mark.rule("graphql.1.4")
async def test_value(selection: str, order: dict[str, Any], value: Any) -> None:
    backend = Backend({"orders.GetOrder": order})

    result = await run(f'{{ order(orderId: "o-1") {{ it: {selection} }} }}', backend)

    assert result.errors == []
    assert result.data == {"order": {"it": value}}


@pytest.mark.parametrize(
    ("selection", "order", "code"),
    [
        ("status", {"status": 77}, "UNKNOWN_ENUM_VALUE"),
        ("status", {"status": "ORDER_STATUS_NEW"}, "UNKNOWN_ENUM_VALUE"),
        ("weight", {"weight": "NaN"}, "UNREPRESENTABLE"),
    ],
)
@pytest.mark.rule("graphql.D15")
async def test_a_value_that_cannot_be_shown_is_an_error(
    selection: str, order: dict[str, Any], code: str
) -> None:
    result = await run(
        f'{{ order(orderId: "o") {{ {selection} }} }}', Backend({"orders.GetOrder": order})
    )

    assert [(error["path"], error["extensions"]["code"]) for error in result.errors] == [
        (["order", selection], code)
    ]


@pytest.mark.rule("graphql.2.2")
async def test_twenty_orders_cost_one_call_for_customers_and_one_for_products() -> None:
    backend = Backend({"orders.ListOrders": orders(20)})

    result = await run(
        "{ orders(first: 20) { orders { id customer { displayName } items { product { name } } } } }",
        backend,
    )

    assert result.errors == []
    assert sorted(backend.asked) == [
        "catalog.BatchGetProducts",
        "orders.ListOrders",
        "users.BatchGetUsers",
    ]
    assert backend.calls[1][1] == {"userIds": ["u-0", "u-1", "u-2"]}
    assert result.calls == 3
    shown = result.data["orders"]["orders"]  # type: ignore[index] # executed
    assert [order["customer"]["displayName"] for order in shown] == [
        f"U-{number % 3}" for number in range(20)
    ]
    assert shown[7]["items"] == [{"product": {"name": "name of p-2"}}]


@pytest.mark.rule("graphql.2.2")
async def test_aliases_and_later_levels_ask_only_for_new_keys() -> None:
    """Two roots that share customers ask for each customer once."""
    backend = Backend({"orders.ListOrders": orders(6), "orders.GetOrder": {"customerId": "u-1"}})

    await run(
        "{ a: orders { orders { customer { userId } } } b: orders { orders { customer { displayName } } }"
        ' order(orderId: "x") { customer { userId } } }',
        backend,
    )

    asked = [
        key
        for call in backend.calls
        if call[0] == "users.BatchGetUsers"
        for key in call[1]["userIds"]
    ]
    assert sorted(asked) == ["u-0", "u-1", "u-2"]


@pytest.mark.rule("graphql.2.1")
async def test_keys_are_asked_in_chunks() -> None:
    shop = make_shop()
    join = JoinField(
        type="Order", name="customer", method=shop.batch_users, operation="users.BatchGetUsers",
        keys="customer_id", into="user_ids", entities="users", entity_key="user_id", max_batch=2,
    )  # fmt: skip
    backend = Backend({"orders.ListOrders": orders(6)})

    await run(
        "{ orders { orders { customer { userId } } } }",
        backend,
        schema=schema_of(fields_of(shop), [join]),
    )

    assert [call[1]["userIds"] for call in backend.calls[1:]] == [["u-0", "u-1"], ["u-2"]]


@pytest.mark.rule("graphql.2.3")
async def test_missing_and_empty_keys_are_null_without_an_error() -> None:
    found = {"orders": [{"customerId": "gone"}, {}, {"customerId": "u-1"}]}
    backend = Backend({"orders.ListOrders": found})

    result = await run("{ orders { orders { customer { userId } } } }", backend)

    assert result.data == {
        "orders": {
            "orders": [{"customer": None}, {"customer": None}, {"customer": {"userId": "u-1"}}]
        }
    }
    assert result.errors == []
    assert backend.calls[1][1] == {"userIds": ["gone", "u-1"]}


@pytest.mark.rule("graphql.2.3")
async def test_a_doubled_entity_fails_its_own_positions_only() -> None:
    twice = {"users": [{"userId": "u-0"}, {"userId": "u-0"}, {"userId": "u-1"}]}
    backend = Backend({"orders.ListOrders": orders(2), "users.BatchGetUsers": twice})

    result = await run("{ orders { orders { customer { userId } } } }", backend)

    assert result.data == {
        "orders": {"orders": [{"customer": None}, {"customer": {"userId": "u-1"}}]}
    }
    assert [(error["path"], error["extensions"]["code"]) for error in result.errors] == [
        (["orders", "orders", 0, "customer"], "DUPLICATE_ENTITY")
    ]


@pytest.mark.rule("graphql.2.1")
async def test_a_singular_join_asks_once_per_distinct_key() -> None:
    shop = make_shop()
    join = JoinField(
        type="Order", name="customer", method=shop.get_user, operation="users.GetUser",
        keys="customer_id", into="user_id",
    )  # fmt: skip

    def user(request: dict[str, Any]) -> Any:
        if request["userId"] == "u-2":
            return UpstreamError("NOT_FOUND", code=Code.NOT_FOUND)
        return {"userId": request["userId"]}

    backend = Backend({"orders.ListOrders": orders(6), "users.GetUser": user})

    result = await run(
        "{ orders { orders { customer { userId } } } }",
        backend,
        schema=schema_of(fields_of(shop), [join]),
    )

    assert [call[1]["userId"] for call in backend.calls[1:]] == ["u-0", "u-1", "u-2"]
    assert result.errors == []
    shown = result.data["orders"]["orders"]  # type: ignore[index] # executed
    assert [order["customer"] for order in shown[:3]] == [
        {"userId": "u-0"},
        {"userId": "u-1"},
        None,
    ]


@pytest.mark.rule("graphql.4.1")
async def test_a_failed_join_nulls_each_of_its_positions_and_nothing_else() -> None:
    failed = UpstreamError(
        "TIMEOUT", code=Code.DEADLINE_EXCEEDED, message="10.0.0.7 hung", upstream="users"
    )
    backend = Backend({"orders.ListOrders": orders(2), "users.BatchGetUsers": failed})

    result = await run("{ orders { orders { id customer { userId } } } }", backend)

    assert result.data == {
        "orders": {"orders": [{"id": "o-0", "customer": None}, {"id": "o-1", "customer": None}]}
    }
    assert result.errors == [
        {
            "message": "The service did not answer in time.",
            "locations": [{"line": 1, "column": 24}],
            "path": ["orders", "orders", number, "customer"],
            "extensions": {
                "code": "DEADLINE_EXCEEDED",
                "reason": "TIMEOUT",
                "grpc": {"status": 4},
                "service": "users",
                "retryable": True,
            },
        }
        for number in (0, 1)
    ]


@pytest.mark.rule("graphql.4.4")
async def test_a_failed_root_leaves_its_siblings() -> None:
    backend = Backend(
        {"orders.GetOrder": ClientError("VALIDATION_FAILED"), "orders.ListOrders": orders(1)}
    )

    result = await run('{ order(orderId: "x") { id } orders { orders { id } } }', backend)

    assert result.data == {"order": None, "orders": {"orders": [{"id": "o-0"}]}}
    assert result.errors[0]["extensions"] == {
        "code": "INVALID_ARGUMENT",
        "reason": "VALIDATION_FAILED",
        "retryable": False,
    }


async def test_a_bug_shows_a_fixed_sentence_and_is_reported() -> None:
    bugs: list[BaseException] = []
    backend = Backend({"orders.GetOrder": KeyError("secret")})

    result = await run('{ order(orderId: "x") { id } }', backend, on_bug=bugs.append)

    assert result.errors[0]["message"] == "The gateway failed."
    assert result.errors[0]["extensions"]["code"] == "INTERNAL"
    assert "secret" not in repr(result)
    assert [repr(bug) for bug in bugs] == ["KeyError('secret')"]


@pytest.mark.rule("graphql.4.3")
async def test_a_null_item_bubbles_to_the_nearest_nullable_parent() -> None:
    """A product key that cannot be printed fails its non-null field, and so the whole item."""
    rule = {("shop.orders.v1.Order.Item", "quantity"): FieldRule(as_="Int")}
    backend = Backend({"orders.GetOrder": {"items": [{"quantity": 2**40}]}})

    result = await run(
        '{ order(orderId: "x") { id items { quantity } } }', backend, schema=schema_of(rules=rule)
    )

    assert result.data == {"order": None}
    assert result.errors[0]["path"] == ["order", "items", 0, "quantity"]


@pytest.mark.rule("graphql.5.9")
async def test_mutations_run_one_after_another_and_a_failure_stops_nobody() -> None:
    order: list[str] = []

    def place(request: dict[str, Any]) -> Any:
        order.append(request["customerId"])
        if request["customerId"] == "a":
            return UpstreamError("UNAVAILABLE", code=Code.UNAVAILABLE)
        return {"id": "o-1", "customerId": request["customerId"]}

    backend = Backend({"orders.PlaceOrder": place})
    text = (
        'mutation { a: placeOrder(input: {customerId: "a"}) { id }'
        ' b: placeOrder(input: {customerId: "b"}) { customer { userId } } }'
    )

    result = await run(text, backend)

    assert (order, result.data) == (["a", "b"], {"a": None, "b": {"customer": {"userId": "b"}}})


@pytest.mark.rule("graphql.D14")
async def test_an_input_becomes_a_proto_json_tree() -> None:
    backend = Backend({"orders.PlaceOrder": {}})
    text = "mutation ($in: PlaceOrderInput!) { placeOrder(input: $in) { id } }"
    given = {
        "customerId": "u-1",
        "items": [{"productId": "p", "quantity": 2}],
        "status": "PAID",
        "digest": "AQI",
        "created": "2026-01-02T03:04:05Z",
        "card": {"lastFour": "1234"},
        "voucher": None,
        "labels": [{"key": "a", "value": "b"}],
        "cents": 9007199254740993,
    }

    result = await run(text, backend, {"in": given})

    assert result.errors == []
    assert backend.calls[0][1] == {
        "customerId": "u-1",
        "items": [{"productId": "p", "quantity": 2}],
        "status": "ORDER_STATUS_PAID",
        "digest": "AQI=",
        "created": "2026-01-02T03:04:05Z",
        "card": {"lastFour": "1234"},
        "labels": {"a": "b"},
        "cents": "9007199254740993",
    }


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"card": {"lastFour": "1"}, "voucher": "v"}, id="two-members-of-a-oneof"),
        pytest.param(
            {"labels": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}, id="doubled-key"
        ),
        pytest.param({"cents": 2**63}, id="int64-out-of-range"),
        pytest.param({"digest": "??"}, id="no-base64"),
        pytest.param({"created": "yesterday"}, id="no-time"),
        pytest.param({"status": "ORDER_STATUS_PAID"}, id="proto-name-of-an-enum"),
        pytest.param({"secretNote": "x"}, id="output-only"),
        pytest.param({"customerId": None}, id="null-for-required"),
    ],
)
@pytest.mark.rule("graphql.7.4")
async def test_variables_that_do_not_fit_have_no_data(given: dict[str, Any]) -> None:
    backend = Backend()
    text = "mutation ($in: PlaceOrderInput!) { placeOrder(input: $in) { id } }"

    result = await run(text, backend, {"in": {"customerId": "u", **given}})

    assert (result.fault, result.data, backend.calls) == ("variables", UNSET, [])
    assert {error["extensions"]["code"] for error in result.errors} == {"BAD_USER_INPUT"}
    assert "Did you mean" not in repr(result.errors)


@pytest.mark.parametrize(
    ("arguments", "request_tree"),
    [
        ("", {"pageSize": 20}),
        ("(first: 5)", {"pageSize": 5}),
        ('(first: 500, after: "t")', {"pageSize": 100, "pageToken": "t"}),
    ],
    ids=["default", "given", "clamped"],
)
@pytest.mark.rule("graphql.8.4")
async def test_a_page_size_has_a_default_and_a_most(
    arguments: str, request_tree: dict[str, Any]
) -> None:
    backend = Backend({"orders.ListOrders": {}})

    await run(f"{{ orders{arguments} {{ nextPageToken }} }}", backend)

    assert backend.calls[0][1] == request_tree


async def test_a_negative_page_size_costs_no_call() -> None:
    backend = Backend()

    result = await run("{ orders(first: -1) { nextPageToken } }", backend)

    assert (backend.calls, result.errors[0]["extensions"]["code"]) == ([], "BAD_USER_INPUT")


class Tenant:
    """An expression that reads the tenant."""

    source, literal = "auth.tenant", False
    path: Origin | None = ("auth", "tenant")
    roots = needs = frozenset({"auth"})
    reads: frozenset[Origin] = frozenset({("auth", "tenant")})
    outputs = (Output("", reads),)

    def evaluate(self, scope: Any) -> Any:
        return scope["auth"]["tenant"]


@pytest.mark.rule("graphql.D5")
async def test_a_filled_field_is_hidden_and_set() -> None:
    shop = make_shop()
    field = RootField(
        kind="query", name="orders", method=shop.list_orders, operation="orders.ListOrders",
        fill={"user_id": Tenant()},
    )  # fmt: skip
    schema = schema_of([field], [])
    backend = Backend({"orders.ListOrders": {}})

    await run(
        "{ orders { nextPageToken } }", backend, schema=schema, scope={"auth": {"tenant": "t-1"}}
    )

    assert "userId" not in schema.sdl.partition("type Query")[2].partition("}")[0]
    assert backend.calls[0][1] == {"userId": "t-1"}


@pytest.mark.rule("graphql.D10")
async def test_an_empty_reply_is_true() -> None:
    method = method_of(
        "a.S", "Ping", message_of("a.PingRequest"), message_of("google.protobuf.Empty")
    )
    schema = schema_of(
        [RootField(kind="query", name="ping", method=method, operation="a.Ping")], []
    )

    result = await run("{ ping }", Backend({"a.Ping": {}}), schema=schema)

    assert result.data == {"ping": True}


@pytest.mark.rule("graphql.D19")
async def test_pick_shows_a_part_of_the_reply() -> None:
    shop = make_shop()
    reply = message_of("a.CancelOrderResponse", of("order", "message", message=shop.order))
    method = method_of("a.S", "CancelOrder", message_of("a.CancelOrderRequest"), reply)
    field = RootField(kind="query", name="cancel", method=method, operation="a.C", pick="order")
    schema = schema_of([field], joins_of(shop))

    result = await run("{ cancel { id } }", Backend({"a.C": {"order": {"id": "o"}}}), schema=schema)

    assert result.data == {"cancel": {"id": "o"}}


@pytest.mark.parametrize(
    ("text", "more", "fault", "code"),
    [
        ("{ order", {}, "parse", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", {}, "validation", "GRAPHQL_VALIDATION_FAILED"),
        ("query a { __typename } query b { __typename }", {}, "operation", "OPERATION_RESOLUTION_FAILURE"),
        ("query a { __typename }", {"operation": "b"}, "operation", "OPERATION_RESOLUTION_FAILURE"),
        ("fragment f on Order { id }", {}, "validation", "GRAPHQL_VALIDATION_FAILED"),
        (
            'mutation { placeOrder(input: {customerId: "a"}) { id } }',
            {"queries_only": True},
            "method",
            "OPERATION_RESOLUTION_FAILURE",
        ),
        ("{ __schema { queryType { name } } }", {}, "validation", "INTROSPECTION_DISABLED"),
        ('{ ...f } fragment f on Query { __type(name: "Order") { name } }', {}, "validation", "INTROSPECTION_DISABLED"),
    ],
    ids=["parse", "field", "several", "unknown", "none", "get-mutation", "schema", "type-in-fragment"],
)  # fmt: skip
@pytest.mark.rule("graphql.4.6")
async def test_a_document_that_is_not_executed_has_no_data(
    text: str, more: dict[str, Any], fault: str, code: str
) -> None:
    backend = Backend()

    result = await run(text, backend, **more)

    assert (result.fault, "data" in result.body(), backend.calls) == (fault, False, [])
    assert result.errors[0]["extensions"]["code"] == code


@pytest.mark.rule("graphql.9.1")
async def test_introspection_is_open_where_it_is_allowed() -> None:
    text = "{ __schema { queryType { name } } __typename }"

    result = await run(text, introspection=True)

    assert result.data == {"__schema": {"queryType": {"name": "Query"}}, "__typename": "Query"}


@pytest.mark.rule("graphql.9.1")
async def test_suggestions_are_hidden_with_the_schema() -> None:
    hidden = await run('{ order(orderId: "x") { idd } }')
    shown = await run('{ order(orderId: "x") { idd } }', introspection=True)

    assert "Did you mean" not in hidden.errors[0]["message"]
    assert "Did you mean" in shown.errors[0]["message"]


@pytest.mark.rule("graphql.4.5")
async def test_errors_come_in_the_order_of_the_response_and_are_capped() -> None:
    backend = Backend(
        {
            "orders.ListOrders": orders(6),
            "orders.GetOrder": UpstreamError("NOT_FOUND", code=Code.NOT_FOUND),
            "users.BatchGetUsers": UpstreamError("UNAVAILABLE", code=Code.UNAVAILABLE),
        }
    )
    text = '{ orders { orders { customer { userId } } } order(orderId: "x") { id } }'

    whole = await run(text, backend)
    capped = await run(text, backend, caps=Caps(errors=3))

    assert [error["path"][0] for error in whole.errors] == ["orders"] * 6 + ["order"]
    assert [error["path"][2] for error in whole.errors[:6]] == list(range(6))
    assert capped.errors[2]["message"] == "5 more errors are not listed."


@pytest.mark.rule("graphql.8")
async def test_calls_are_capped() -> None:
    backend = Backend({"orders.GetOrder": {}})

    result = await run(
        '{ a: order(orderId: "1") { id } b: order(orderId: "2") { id } }',
        backend,
        caps=Caps(calls=1),
    )

    assert (len(backend.calls), result.calls) == (1, 1)
    assert result.errors[0]["extensions"] == {
        "code": "LIMIT_EXCEEDED",
        "limit": "calls",
        "max": 1,
        "reason": "LIMIT_EXCEEDED",
    }


async def test_a_cancelled_request_leaves_no_task() -> None:
    """The client leaves while a join is open: its call is cancelled with the request."""
    started = asyncio.Event()
    ended: list[str] = []

    class Hanging(Backend):
        async def call(self, operation: str, request: dict[str, Any], path: list[Any]) -> Any:
            if operation != "users.BatchGetUsers":
                return await super().call(operation, request, path)
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(operation)

    backend = Hanging({"orders.ListOrders": orders(3)})
    task = asyncio.ensure_future(run("{ orders { orders { customer { userId } } } }", backend))
    await started.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended == ["users.BatchGetUsers"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
