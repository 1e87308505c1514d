"""Expressions: what they accept, what they say when they do not, and what unset fields read as."""

from typing import Any

import pytest

from bff.transform.expr import (
    MAX_EXPRESSION_BYTES,
    EvalError,
    ExprError,
    RootType,
    binding_fault,
    compile_expr,
)
from bff.transform.shapes import ANY, NUMBER, STRING, object_of
from tests.support.shop_types import make_shop

SHOP = make_shop()
ROOTS: dict[str, RootType] = {
    "orders": SHOP.list_orders.output,
    "order": SHOP.order,
    "profile": SHOP.user,
    "query": object_of({"region": STRING, "count": NUMBER}),
    "auth": ANY,
}


@pytest.mark.parametrize(
    ("source", "scope", "value"),
    [
        pytest.param("order.customer_id", {"order": {"customerId": "u"}}, "u", id="proto-spelling"),
        pytest.param("order.customerId", {"order": {"customerId": "u"}}, "u", id="json-spelling"),
        pytest.param("order.id", {"order": {}}, "", id="unset-text"),
        pytest.param("order.cents", {"order": {}}, "0", id="unset-int64-is-text"),
        pytest.param("order.weight", {"order": {}}, 0, id="unset-number"),
        pytest.param("order.gift", {"order": {}}, False, id="unset-boolean"),
        pytest.param("order.status", {"order": {}}, "ORDER_STATUS_UNSPECIFIED", id="unset-enum"),
        pytest.param("order.items", {"order": {}}, [], id="unset-list"),
        pytest.param("order.labels", {"order": {}}, {}, id="unset-map"),
        pytest.param("order.coupon", {"order": {}}, None, id="unset-optional"),
        pytest.param("order.total", {"order": {}}, None, id="unset-message"),
        pytest.param("order.voucher", {"order": {}}, None, id="unset-oneof-member"),
        pytest.param("order.total.units", {"order": {}}, None, id="below-an-unset-message"),
        pytest.param("order.id", {"order": None}, None, id="missing-root"),
        pytest.param("order.id", {}, None, id="absent-root"),
        pytest.param("order.labels.a", {"order": {"labels": {"a": "b"}}}, "b", id="map-key"),
        pytest.param("auth.any.thing", {"auth": {"any": {"thing": 1}}}, 1, id="free-root"),
        pytest.param(
            "orders.orders[].items[].product_id",
            {"orders": {"orders": [{"items": [{"productId": "a"}, {}]}, {}]}},
            ["a", ""],
            id="flatten-twice",
        ),
        pytest.param(
            "orders.orders[?status=='ORDER_STATUS_PAID'].{i: id}",
            {"orders": {"orders": [{"id": "a", "status": "ORDER_STATUS_PAID"}, {"id": "b"}]}},
            [{"i": "a"}],
            id="filter",
        ),
        pytest.param(
            "sort_by(orders.orders, &to_number(cents))[*].cents",
            {"orders": {"orders": [{"cents": "9007199254740993"}, {}]}},
            ["0", "9007199254740993"],
            id="sort-by-exact-64-bit",
        ),
        pytest.param("'text'", {}, "text", id="text-literal"),
        pytest.param("`[1, 2]`", {}, [1, 2], id="json-literal"),
        pytest.param(5, {}, 5, id="yaml-number"),
        pytest.param(True, {}, True, id="yaml-boolean"),
        pytest.param(None, {}, None, id="yaml-null"),
    ],
)
@pytest.mark.rule("aggregation.2.4")
def test_value(source: Any, scope: Any, value: Any) -> None:
    assert compile_expr(source, ROOTS).evaluate(scope) == value


@pytest.mark.parametrize(
    ("source", "message", "column"),
    [
        pytest.param(
            "orders.orders[].item[].product_id",
            "shop.orders.v1.Order has no field 'item'; did you mean 'items'?",
            17,
            id="unknown-field",
        ),
        pytest.param(
            "ordrs.orders", "there is no 'ordrs' here; did you mean 'orders'?", 1, id="root"
        ),
        pytest.param("orders.orders.id", "'id' is read from a list; write [].id", 15, id="list"),
        pytest.param("order.id.x", "a string has no field 'x'", 10, id="below-a-scalar"),
        pytest.param(
            "order[]", "[] is applied to order, which is a shop.orders.v1.Order", 1, id="flatten"
        ),
        pytest.param("order.id[0]", "[0] is applied to order.id, which is a string", 7, id="index"),
        pytest.param(
            "lenght(order.id)",
            "there is no function 'lenght'; did you mean 'length'?",
            1,
            id="function",
        ),
        pytest.param("length()", "length() takes 1 argument(s), not 0", 1, id="count"),
        pytest.param(
            "abs(order.cents)",
            "abs() takes number; order.cents is a 64-bit integer; write to_number(order.cents)",
            11,
            id="int64-argument",
        ),
        pytest.param(
            "order.cents == `5`",
            "order.cents is a 64-bit integer, which is text here, and never equals a number;"
            " write to_number(cents)",
            7,
            id="int64-compared",
        ),
        pytest.param(
            "order.status == 'ORDER_STATUS_PAYD'",
            "order.status is never 'ORDER_STATUS_PAYD'; did you mean 'ORDER_STATUS_PAID'?",
            7,
            id="enum-compared",
        ),
        pytest.param(
            "query.regoin", "there is no 'regoin' here; did you mean 'region'?", 7, id="input"
        ),
        pytest.param("order.", "the expression ends too early", 7, id="incomplete"),
        pytest.param("order..id", "unexpected '.'", 7, id="syntax"),
        pytest.param("order.#", "Unknown token #", 7, id="token"),
        pytest.param(
            "  ", "an expression cannot be empty; write \"''\" for empty text", 1, id="empty"
        ),
        pytest.param("keys(@)", "an expression starts with a name", 1, id="whole-scope"),
    ],
)
@pytest.mark.rule("aggregation.2.3")
def test_fault_is_told_with_its_place(source: str, message: str, column: int) -> None:
    with pytest.raises(ExprError) as caught:
        compile_expr(source, ROOTS)

    assert (str(caught.value), caught.value.column) == (message, column)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("a" * (MAX_EXPRESSION_BYTES + 1), id="bytes"),
        pytest.param("[" * 17 + "auth" + "]" * 17, id="brackets"),
        pytest.param("!" * 1000 + "auth", id="prefixes"),
        pytest.param("auth" + "[*]" * 300, id="projections"),
        pytest.param("||".join(["auth"] * 150), id="alternatives"),
    ],
)
@pytest.mark.rule("aggregation.16.1")
def test_hostile_size_is_refused_without_a_recursion_error(source: str) -> None:
    with pytest.raises(ExprError):
        compile_expr(source, {**ROOTS, "a" * (MAX_EXPRESSION_BYTES + 1): ANY})


def test_a_long_path_costs_no_stack() -> None:
    assert compile_expr(".".join(["auth", *["a"] * 500]), ROOTS).evaluate({"auth": {}}) is None


@pytest.mark.rule("aggregation.16.1")
def test_work_is_bounded() -> None:
    """A long list doubled a few times ends as an error and not in memory."""
    doubling = compile_expr("|".join(["[auth, auth][]", *["[@, @][]"] * 6]), ROOTS)

    with pytest.raises(EvalError, match="too much work"):
        doubling.evaluate({"auth": [1] * 2_000})


@pytest.mark.rule("aggregation.16.1")
@pytest.mark.parametrize(
    ("source", "column"),
    [
        pytest.param("auth" + "|[@, @]" * 20, 1, id="nested-pairs"),
        pytest.param("auth" + "|[@, @][]" * 20, 1, id="lists"),
        pytest.param("auth.a" + "|{b: @, c: @}" * 20, 119, id="objects"),
        pytest.param("auth" + "|to_string([@])" * 20, 126, id="escapes-of-escapes"),
        pytest.param("auth" + "|map(&[@, @], @)" * 20, 134, id="map"),
    ],
)
def test_doubling_in_a_pipe_is_refused_at_load(source: str, column: int) -> None:
    """What would fill the memory with a small value is no expression, and the place is told."""
    with pytest.raises(ExprError, match="more than 256 times") as caught:
        compile_expr(source, ROOTS)

    assert caught.value.column == column


@pytest.mark.rule("aggregation.16.1")
def test_text_is_bounded() -> None:
    """A long separator between many texts is refused before it is joined."""
    joined = compile_expr("join(auth.between, auth.texts)", ROOTS)

    with pytest.raises(EvalError, match="too much work"):
        joined.evaluate({"auth": {"between": "x" * 1_000_000, "texts": ["y"] * 100_000}})


@pytest.mark.parametrize(
    ("source", "message", "column"),
    [
        pytest.param("auth.a || `" + "[" * 999 + "`", "nested too deeply", 12, id="very-deep"),
        pytest.param("`" + "[" * 500 + "]" * 500 + "`", "nested too deeply", 1, id="deep"),
        pytest.param("auth.a || `NaN`", "only finite numbers are JSON", 11, id="nan"),
        pytest.param("auth.a || `[1, 1e999]`", "only finite numbers are JSON", 11, id="infinite"),
        pytest.param("auth.a || `" + "9" * 30 + "`", "too large for 64 bits", 11, id="large"),
        pytest.param('`"\\ud800"`', "half a surrogate pair", 1, id="half-a-pair"),
        pytest.param('auth."\\ud800"', "half a surrogate pair", 6, id="half-a-pair-named"),
        pytest.param("auth.a || `01`", "not JSON; text stands in single quotes", 11, id="number"),
        pytest.param("auth.a || `none`", "not JSON; text stands in single quotes", 11, id="text"),
    ],
)
def test_literals_are_json_that_a_reply_can_carry(source: str, message: str, column: int) -> None:
    with pytest.raises(ExprError, match=message) as caught:
        compile_expr(source, ROOTS)

    assert caught.value.column == column


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("nan", None), ("inf", None), ("1_000", None), (" 1 ", None), ("+1", None), ("01", None), ("1.", None),
        ("-0.5e1", -5.0), ("18446744073709551615", 2**64 - 1), ("1" + "0" * 30, 1e30),
    ],
)  # fmt: skip
def test_only_numbers_of_json_are_numbers(text: str, number: float | None) -> None:
    """As the specification of to_number() has it; Python's own idea is wider."""
    found = compile_expr("to_number(auth)", ROOTS).evaluate({"auth": text})

    assert repr(found) == repr(number)


@pytest.mark.parametrize("source", ["sum(auth)", "to_number('1e999')", "avg(auth)"])
def test_a_number_beyond_all_bounds_is_an_evaluation_error(source: str) -> None:
    with pytest.raises(EvalError, match="too large"):
        compile_expr(source, ROOTS).evaluate({"auth": [1e308, 1e308]})


def test_a_function_on_null_is_an_evaluation_error() -> None:
    with pytest.raises(EvalError, match=r"length\(\)"):
        compile_expr("length(auth.list)", ROOTS).evaluate({"auth": {}})


@pytest.mark.parametrize(
    ("source", "reads", "needs"),
    [
        pytest.param("order.customer_id", {"order.customerId"}, {"order"}, id="path"),
        pytest.param("profile.display_name || 'eu'", {"profile.displayName"}, set(), id="total"),
        pytest.param(
            "profile.user_id || order.id", {"profile.userId", "order.id"}, set(), id="either"
        ),
        pytest.param("not_null(order.id, 'x')", {"order.id"}, set(), id="not-null"),
        pytest.param(
            "join('-', [order.id, profile.user_id])",
            {"order.id", "profile.userId"},
            {"order", "profile"},
            id="both",
        ),
        pytest.param(
            "orders.orders[?gift].id",
            {"orders.orders.gift", "orders.orders.id"},
            {"orders"},
            id="filter",
        ),
        pytest.param("order | {a: id}", {"order.id"}, {"order"}, id="pipe"),
        pytest.param("order | 'x'", {"order"}, {"order"}, id="dropped"),
        pytest.param(
            "sort_by(orders.orders, &id)[0].gift",
            {"orders.orders", "orders.orders.id", "orders.orders.gift"},
            {"orders"},
            id="by",
        ),
        pytest.param("'x'", set(), set(), id="literal"),
        pytest.param("auth.list[*].a", {"auth.list.a"}, {"auth"}, id="list-of-no-type"),
        pytest.param("auth[?a == 'x'].{n: b}", {"auth.a", "auth.b"}, {"auth"}, id="filter-no-type"),
        pytest.param("orders.orders[*].[`1`]", {"orders.orders"}, {"orders"}, id="only-its-length"),
    ],
)
@pytest.mark.rule("aggregation.2.1")
def test_what_it_reads_and_needs(source: str, reads: set[str], needs: set[str]) -> None:
    expr = compile_expr(source, ROOTS)

    assert {".".join(path) for path in expr.reads} == reads
    assert expr.needs == needs
    assert expr.roots == {path.split(".")[0] for path in reads}


def test_outputs_name_the_places_of_a_selection() -> None:
    source = "orders.orders[].{id: id, items: items[].{name: product_id}}"

    outputs = compile_expr(source, ROOTS).outputs

    places = {output.place: {".".join(path) for path in output.reads} for output in outputs}
    assert places == {
        "": {"orders.orders"},
        "[].id": {"orders.orders.id"},
        "[].items": {"orders.orders.items"},
        "[].items[].name": {"orders.orders.items.productId"},
    }


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("orders.orders[].items[].product_id", ("orders", "orders", "items", "productId")),
        ("orders.orders[0].id", None),
        ("orders.orders[?gift].id", None),
        ("to_string(order.id)", None),
    ],
)
def test_path_is_known_only_of_plain_paths(source: str, path: tuple[str, ...] | None) -> None:
    assert compile_expr(source, ROOTS).path == path


@pytest.mark.parametrize(
    ("source", "field", "message"),
    [
        pytest.param(
            "query.count",
            "user_id",
            "query.count is a number, R.user_id a string; write to_string(query.count)",
            id="number-for-text",
        ),
        pytest.param(
            "order.items",
            "user_id",
            "order.items is a list, R.user_id a string; write order.items | [0]",
            id="list-for-text",
        ),
        pytest.param(
            "order.id",
            "page_size",
            "order.id is a string, R.page_size an integer; write to_number(order.id)",
            id="text-for-number",
        ),
        pytest.param("order.status", "status", "", id="enum-for-enum"),
        pytest.param("auth.level", "page_size", "", id="any"),
        pytest.param("`5`", "page_size", "", id="literal"),
    ],
)
@pytest.mark.rule("aggregation.2.3")
def test_result_is_held_against_the_bound_field(source: str, field: str, message: str) -> None:
    target = SHOP.list_orders.input.by_name[field]

    fault = binding_fault(compile_expr(source, ROOTS), target, "R")

    assert str(fault or "") == message
