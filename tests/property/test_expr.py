"""Compiled expressions against the jmespath library's own interpreter."""

from typing import Any

import jmespath
from hypothesis import given, settings
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from bff.transform.expr import EvalError, compile_expr
from bff.transform.shapes import ANY
from tests.support.shop_types import make_shop

NAMES = st.sampled_from(["a", "b", "c"])
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "x", "10"])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
LITERALS = st.sampled_from(["`0`", "`1`", "`true`", "`[]`", "'x'", "`null`", "`2.5`"])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, NAMES).map(".".join),
        st.tuples(inner, st.sampled_from(["[]", "[*]", "[0]", "[-1]", "[1:]", "[::-1]", ".*"])).map("".join),
        pair.map(lambda two: f"{two[0]}[?{two[1]}]"),
        st.tuples(pair, NAMES).map(lambda three: f"{three[0][0]}[].{{{three[1]}: {three[0][1]}}}"),
        st.tuples(pair, st.sampled_from(["||", "&&", "==", "!=", "<", ">=", "|"])).map(
            lambda three: f"({three[0][0]} {three[1]} {three[0][1]})"
        ),
        inner.map(lambda one: f"!{one}"),
        inner.map(lambda one: f"[{one}, a]"),
        st.tuples(st.sampled_from(["length", "type", "to_array", "to_string", "sort", "max", "keys"]), inner).map(
            lambda two: f"{two[0]}({two[1]})"
        ),
        inner.map(lambda one: f"map(&{one}, to_array(b))"),
        inner.map(lambda one: f"sort_by(to_array(a), &{one})"),
    )  # fmt: skip


EXPRESSIONS = st.recursive(NAMES | LITERALS, _grow, max_leaves=6)


def _result(run: Any) -> Any:
    try:
        return ("value", run())
    except (EvalError, JMESPathError, TypeError):
        return ("error", None)


@given(EXPRESSIONS, st.dictionaries(NAMES, TREES, max_size=3))
@settings(max_examples=400, deadline=None)
def test_equal_to_the_library_on_free_trees(source: str, tree: dict[str, Any]) -> None:
    """On values without a type an expression is what jmespath says, errors included."""
    try:
        expr = compile_expr(source, {"a": ANY, "b": ANY, "c": ANY})
    except ValueError:
        return  # Refused at load: a literal where only a list can stand.

    ours = _result(lambda: expr.evaluate(tree))

    # repr, since Python takes 1 for True.
    assert repr(ours) == repr(_result(lambda: jmespath.compile(source).search(tree)))


SHOP = make_shop()
TEXT = st.sampled_from(["", "x", "y"])
ORDERS = st.fixed_dictionaries(
    {
        "id": TEXT,
        "customerId": TEXT,
        "total": st.fixed_dictionaries({"currencyCode": TEXT, "units": st.just("3")}),
        "items": st.lists(
            st.fixed_dictionaries({"productId": TEXT, "quantity": st.integers(0, 2)}), max_size=3
        ),
        "status": st.sampled_from(["ORDER_STATUS_OPEN", "ORDER_STATUS_PAID"]),
        "gift": st.booleans(),
        "weight": st.floats(0, 2),
        "labels": st.dictionaries(TEXT, TEXT, max_size=2),
    }
)
TYPED = [
    "orders.orders[].items[].productId",
    "orders.orders[*].items[0].quantity",
    "orders.orders[?status=='ORDER_STATUS_PAID' && gift].{id: id, n: length(items)}",
    "orders.orders[].{id: id, total: total.units, items: items[?quantity > `0`].productId}",
    "sum(orders.orders[].items[].quantity)",
    "max_by(orders.orders, &weight).id",
    "orders.orders[].labels.*",
    "orders.orders[].labels | [0].x || 'none'",
    "sort(orders.orders[].customerId)[::-1]",
]


@given(st.sampled_from(TYPED), st.lists(ORDERS, max_size=3))
@settings(deadline=None)
def test_equal_to_the_library_where_every_field_is_set(source: str, orders: list[Any]) -> None:
    """A typed expression changes nothing but the reading of unset fields."""
    expr = compile_expr(source, {"orders": SHOP.list_orders.output})
    tree = {"orders": {"orders": orders}}

    assert repr(expr.evaluate(tree)) == repr(jmespath.compile(source).search(tree))
