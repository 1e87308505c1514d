"""Running plans in virtual time: order, failures, deadlines, joins, and what the client is told."""

from typing import Any

import pytest

from bff.aggregate.merge import answer_of
from bff.aggregate.outcome import Outcome
from bff.aggregate.plan import OnError
from bff.aggregate.specs import JoinSpec, SourceSpec
from bff.core.errors import ClientError, GatewayError, UpstreamError
from bff.core.status import Code
from tests.support.aggregates import HOME_REPLY, Services, down, home_specs, plan_of, run
from tests.support.shop_types import make_shop

SHOP = make_shop()
HOME = plan_of(home_specs(SHOP), HOME_REPLY)

ORDERS = {
    "orders": [
        {"id": "o-1", "items": [{"productId": "p-1", "quantity": 2}, {"productId": "p-2"}]},
        {"id": "o-2", "items": [{"productId": "p-1"}, {"productId": "p-3"}]},
    ]
}


def products(request: dict[str, Any]) -> Any:
    """All products but p-3, the other way round."""
    made = [{"productId": key, "name": f"name of {key}"} for key in request["ids"] if key != "p-3"]
    return {"products": made[::-1]}


def home(**changes: Any) -> Services:
    takes_s = changes.pop("takes_s", None)
    answers = {"profile": {"displayName": "Ada"}, "orders": ORDERS, "products": products}
    return Services({**answers, **changes}, takes_s)


def header(outcome: Outcome) -> str:
    _, headers = answer_of(HOME, outcome, domain="api.example.com")
    return dict(headers)[b"aggregate-status"].decode()


def test_the_complete_screen() -> None:
    services = home()

    body, headers = answer_of(HOME, run(HOME, services), domain="api.example.com")

    assert list(body.items()) == [
        ("name", "Ada"),
        (
            "orders",
            [
                {
                    "id": "o-1",
                    "items": [
                        {"quantity": 2, "name": "name of p-1"},
                        {"quantity": 0, "name": "name of p-2"},
                    ],
                },
                {
                    "id": "o-2",
                    "items": [
                        {"quantity": 0, "name": "name of p-1"},
                        {"quantity": 0, "name": None},
                    ],
                },
            ],
        ),
        (
            "products",
            [
                {"productId": "p-1", "name": "name of p-1"},
                {"productId": "p-2", "name": "name of p-2"},
            ],
        ),
    ]
    assert headers == [
        (b"aggregate-status", b"complete"),
        (b"cache-control", b"private, no-cache"),
    ]


@pytest.mark.rule("aggregation.5.2")
def test_keys_are_distinct_in_order_and_in_chunks() -> None:
    services = home()

    run(HOME, services)

    assert services.requests("products") == [{"ids": ["p-1", "p-2"]}, {"ids": ["p-3"]}]


@pytest.mark.rule("aggregation.2.1")
def test_sources_run_side_by_side_and_followers_at_once() -> None:
    """The screen takes as long as its longest chain, not as long as its sources together."""
    services = home(takes_s={"profile": 0.1, "orders": 0.05, "products": 0.02})

    outcome = run(HOME, services)

    started = {entry[0]: round(entry[2] - 1000, 3) for entry in services.log}
    assert started == {"profile": 0, "orders": 0, "products": 0.05}
    assert round(max(result.ended_s for result in outcome.results) - 1000, 3) == 0.1


@pytest.mark.rule("aggregation.5.2")
def test_the_services_trees_are_not_changed() -> None:
    before = repr(ORDERS)

    run(HOME, home())

    assert repr(ORDERS) == before


@pytest.mark.parametrize(
    ("on_error", "state", "key"),
    [
        (OnError("omit"), "omitted", "absent"),
        (OnError("null"), "null", None),
        (OnError("default", {"products": [{"name": "?"}]}), "default", [{"name": "?"}]),
    ],
    ids=["omit", "null", "default"],
)
@pytest.mark.rule("aggregation.3.2")
def test_an_optional_failure_shows_as_its_on_error_says(
    on_error: OnError, state: str, key: Any
) -> None:
    plan = plan_of(home_specs(SHOP, products=on_error), HOME_REPLY)

    outcome = run(plan, home(products=down()))
    body, headers = answer_of(plan, outcome, domain="api.example.com")

    member = "default" if state == "default" else "missing"
    assert body.get("products", "absent") == key
    assert body["orders"][0]["items"][0] == {"quantity": 2, "name": None}
    assert body["problems"] == [
        {
            "type": "https://api.example.com/problems/unavailable",
            "title": "A stand-in is shown for a part."
            if state == "default"
            else "A part is not available now.",
            "status": 503,
            "code": "UNAVAILABLE",
            "reason": "UNAVAILABLE",
            "source": "products",
            "state": state,
            "paths": ["products", "orders[].items[].name"],
            "retryable": True,
        }
    ]
    assert dict(headers) == {
        b"aggregate-status": f"complete=?0, {member}=(products;reason=unavailable)".encode(),
        b"cache-control": b"no-store",
    }


@pytest.mark.rule("aggregation.2.5")
def test_a_source_that_reads_a_missing_one_is_not_called() -> None:
    services = home(orders=down())

    outcome = run(HOME, services)

    assert services.asked == ["profile", "orders"]
    assert header(outcome) == (
        "complete=?0, missing=(orders;reason=unavailable products;reason=dependency)"
    )


@pytest.mark.rule("aggregation.6.3")
def test_a_required_failure_cancels_the_rest_and_names_its_source() -> None:
    services = home(profile=down(), takes_s={"profile": 0.01, "orders": 0.5})

    with pytest.raises(UpstreamError) as caught:
        run(HOME, services)

    assert services.cancelled == ["orders"]
    assert (caught.value.status, caught.value.metadata) == (503, {"source": "profile"})
    assert caught.value.headers == (
        (b"aggregate-status", b"complete=?0, failed=(profile;reason=unavailable)"),
    )


def chain(first: Any, second: Any, **more: Any) -> Any:
    """A profile, and a friend who is found through it; both required."""
    types: dict[str, Any] = {"input": SHOP.get_user.input, "output": SHOP.get_user.output}
    plan = plan_of(
        [
            SourceSpec(name="profile", bind={"user_id": "auth.sub"}, **types, **more),
            SourceSpec(name="friend", bind={"user_id": "profile.user_id"}, **types),
        ],
        None,
    )
    return run(plan, Services({"profile": first, "friend": second}))


@pytest.mark.parametrize(
    ("code", "own", "fed"),
    [
        (Code.NOT_FOUND, 404, 502),
        (Code.INVALID_ARGUMENT, 400, 502),
        (Code.PERMISSION_DENIED, 403, 502),
        (Code.RESOURCE_EXHAUSTED, 429, 429),
        (Code.UNAVAILABLE, 503, 503),
        (Code.DEADLINE_EXCEEDED, 504, 504),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.rule("aggregation.6.3")
def test_client_faults_become_502_where_another_source_made_the_input(
    code: Code, own: int, fed: int
) -> None:
    with pytest.raises(GatewayError) as first:
        chain(down(code.name, code), {})
    with pytest.raises(GatewayError) as second:
        chain({"userId": "u"}, down(code.name, code))

    assert (first.value.status, second.value.status) == (own, fed)
    assert second.value.metadata == {"source": "friend"}


@pytest.mark.rule("aggregation.6.3")
def test_a_source_may_have_its_own_status() -> None:
    with pytest.raises(GatewayError) as caught:
        chain(down("NOT_FOUND", Code.NOT_FOUND), {}, statuses={Code.NOT_FOUND: 410})

    assert (caught.value.status, caught.value.code) == (410, Code.NOT_FOUND)


@pytest.mark.rule("aggregation.6.3")
def test_a_screen_without_any_part_fails_as_its_first_part() -> None:
    plan = plan_of(home_specs(SHOP, profile=OnError("null")), HOME_REPLY)

    with pytest.raises(UpstreamError) as caught:
        run(plan, home(profile=down("NOT_FOUND", Code.NOT_FOUND), orders=down()))

    assert (caught.value.status, caught.value.metadata) == (404, {"source": "profile"})


@pytest.mark.rule("aggregation.4.4")
def test_the_reply_leaves_on_time_without_what_is_late() -> None:
    """Orders never answer; the screen is made at its end less the reserve, and the call is cut off."""
    services = home(takes_s={"orders": 60})

    outcome = run(HOME, services)

    orders = outcome.results[1]
    assert services.cancelled == ["orders"]
    assert (orders.state, orders.reason) == ("null", "TIMEOUT")
    assert orders.ended_s == pytest.approx(1000.8 - 0.016)


@pytest.mark.rule("aggregation.6.3")
def test_a_required_source_that_is_late_is_a_504() -> None:
    with pytest.raises(UpstreamError) as caught:
        run(HOME, home(takes_s={"profile": 60}))

    assert (caught.value.status, caught.value.reason) == (504, "TIMEOUT")


@pytest.mark.rule("aggregation.4.2")
def test_a_source_ends_at_its_own_timeout_or_the_end() -> None:
    services = home(takes_s={"orders": 0.7})

    run(HOME, services)

    ends = {entry[0]: round(entry[3] - 1000, 3) for entry in services.log}
    assert ends == {"profile": 0.784, "orders": 0.784, "products": 0.784}
    early = home()
    run(HOME, early)
    assert {entry[0]: round(entry[3] - 1000, 3) for entry in early.log}["products"] == 0.2


@pytest.mark.rule("aggregation.4.3")
def test_no_call_starts_without_time_for_it() -> None:
    services = home(takes_s={"orders": 0.04})

    outcome = run(HOME, services, left_s=0.06)

    assert services.asked == ["profile", "orders"]
    assert header(outcome) == "complete=?0, missing=(products;reason=no_time)"


@pytest.mark.rule("aggregation.5.2")
def test_some_chunks_failed_keeps_the_good_ones_of_an_optional_join() -> None:
    services = home(
        products=lambda request: down() if "p-3" in request["ids"] else products(request)
    )

    outcome = run(HOME, services)
    body, _ = answer_of(HOME, outcome, domain="d")

    assert [entity["productId"] for entity in body["products"]] == ["p-1", "p-2"]
    assert header(outcome) == "complete=?0, partial=(products;reason=unavailable)"
    assert body["problems"][0]["missing_keys"] == ["p-3"]


@pytest.mark.rule("aggregation.5.2")
def test_some_chunks_failed_fails_a_required_join() -> None:
    plan = plan_of(home_specs(SHOP, orders=OnError(), products=OnError()), HOME_REPLY)
    services = home(
        products=lambda request: down() if "p-3" in request["ids"] else products(request)
    )

    with pytest.raises(UpstreamError) as caught:
        run(plan, services)

    assert caught.value.metadata == {"source": "products"}


@pytest.mark.rule("aggregation.5.2")
def test_a_doubled_entity_is_a_failure() -> None:
    twice = {"products": [{"productId": "p-1"}, {"productId": "p-1"}]}

    outcome = run(HOME, home(products=twice))

    assert header(outcome) == "complete=?0, missing=(products;reason=duplicate_entity)"


@pytest.mark.rule("aggregation.5.2")
def test_a_join_without_keys_asks_nothing_and_is_complete() -> None:
    services = home(orders={"orders": [{"id": "o-1", "items": [{"quantity": 1}]}]})

    outcome = run(HOME, services)
    body, _ = answer_of(HOME, outcome, domain="d")

    assert services.asked == ["profile", "orders"]
    assert (header(outcome), body["products"]) == ("complete", [])


@pytest.mark.rule("aggregation.5.3")
def test_keys_beyond_the_cap_are_null() -> None:
    plan = plan_of(home_specs(SHOP), HOME_REPLY, max_keys=1)
    services = home()

    outcome = run(plan, services)
    body, headers = answer_of(plan, outcome, domain="d")

    assert services.requests("products") == [{"ids": ["p-1"]}]
    assert [item["name"] for order in body["orders"] for item in order["items"]] == [
        "name of p-1",
        None,
        "name of p-1",
        None,
    ]
    assert dict(headers)[b"aggregate-status"] == (
        b"complete=?0, partial=(products;reason=too_many_keys)"
    )


@pytest.mark.rule("aggregation.5.2")
def test_a_singular_join_asks_once_per_distinct_key() -> None:
    """`into` is one field, so each distinct customer is asked for alone; one that is gone is null."""
    specs = [
        SourceSpec(name="orders", input=SHOP.list_orders.input, output=SHOP.list_orders.output),
        SourceSpec(
            name="users",
            input=SHOP.get_user.input,
            output=SHOP.get_user.output,
            join=JoinSpec(keys="orders.orders[].customer_id", into="user_id", attach="customer"),
            on_error=OnError("null"),
        ),
    ]
    plan = plan_of(specs, {"names": "orders.orders[].{n: customer.display_name}"})
    services = Services(
        {
            "orders": {"orders": [{"customerId": key} for key in ("u-1", "u-2", "u-1", "gone")]},
            "users": lambda request: (
                down("NOT_FOUND", Code.NOT_FOUND)
                if request["userId"] == "gone"
                else {"userId": request["userId"], "displayName": request["userId"].upper()}
            ),
        }
    )

    body, headers = answer_of(plan, run(plan, services), domain="d")

    assert services.requests("users") == [{"userId": key} for key in ("u-1", "u-2", "gone")]
    assert body["names"] == [{"n": "U-1"}, {"n": "U-2"}, {"n": "U-1"}, {"n": None}]
    assert headers[0] == (b"aggregate-status", b"complete")


@pytest.mark.rule("aggregation.3.1")
def test_a_condition_that_does_not_hold_skips_and_is_complete() -> None:
    def compile_when(source: str, _roots: Any) -> Any:
        return (lambda scope: scope["auth"]["tier"] == source), frozenset({"auth"})

    specs = home_specs(SHOP)
    offers = SourceSpec(
        name="offers", input=SHOP.get_user.input, output=SHOP.get_user.output,
        when="premium", on_error=OnError("default", {"displayName": "none"}),
    )  # fmt: skip
    plan = plan_of([*specs, offers], {"offers": "offers.display_name"}, compile_when=compile_when)

    skipped = run(plan, home(), {"auth": {"sub": "u", "tier": "basic"}})
    called = home(offers={"displayName": "all"})
    shown = run(plan, called, {"auth": {"sub": "u", "tier": "premium"}})

    assert answer_of(plan, skipped, domain="d")[0] == {"offers": "none"}
    assert skipped.complete
    assert answer_of(plan, shown, domain="d")[0] == {"offers": "all"}


@pytest.mark.rule("aggregation.2.5")
def test_a_null_binding_leaves_its_field_unset() -> None:
    services = home()

    run(HOME, services, {"auth": {}})

    assert services.requests("profile") == [{}]
    assert services.requests("orders") == [{"pageSize": 5}]


@pytest.mark.rule("aggregation.2.5")
def test_a_required_field_without_a_value_is_no_input() -> None:
    specs = [
        SourceSpec(
            name="order", input=SHOP.get_order.input, output=SHOP.get_order.output,
            bind={"order_id": "query.order"},
        )
    ]  # fmt: skip
    plan = plan_of(specs, None)
    services = Services({"order": {}})

    outcome = run(plan, services)

    assert services.asked == []
    assert (outcome.results[0].state, outcome.results[0].reason) == ("skipped", "NO_INPUT")


@pytest.mark.rule("aggregation.2.5")
def test_a_value_of_the_client_that_does_not_fit_is_told_to_the_client() -> None:
    specs = [
        SourceSpec(
            name="order", input=SHOP.get_order.input, output=SHOP.get_order.output,
            bind={"order_id": "join('-', query.ids)"},
        )
    ]  # fmt: skip

    with pytest.raises(ClientError) as caught:
        run(plan_of(specs, None), Services({}), {"query": {"ids": 5}})

    assert (caught.value.status, caught.value.reason) == (400, "INVALID_PARAMETER")


@pytest.mark.rule("aggregation.6.1")
def test_a_spread_and_a_failing_function_on_a_missing_part() -> None:
    reply = {"...": ["profile"], "count": "length(orders.orders)"}
    plan = plan_of(home_specs(SHOP), reply)

    body, _ = answer_of(plan, run(plan, home(orders=down())), domain="d")

    assert {key: body[key] for key in ("displayName", "count")} == {
        "displayName": "Ada",
        "count": None,
    }
