"""Plans: what is found wrong at load, and what a right one knows."""

import re
from typing import Any

import pytest

from bff.aggregate.plan import OnError, Plan
from bff.aggregate.specs import JoinSpec, SourceSpec
from tests.support.aggregates import HOME_REPLY, home_specs, plan_of, try_plan
from tests.support.shop_types import Shop, make_shop


def user(shop: Shop, name: str, **more: Any) -> SourceSpec:
    return SourceSpec(name=name, input=shop.get_user.input, output=shop.get_user.output, **more)


def faults_of(specs: list[SourceSpec], reply: Any = None) -> list[str]:
    plan, faults = try_plan(specs, reply)
    assert (plan is None) is bool(faults)
    said = [
        f"{one.path}:{one.column}: {one.message}; {one.hint}".removesuffix("; ") for one in faults
    ]
    # Packages make the lines of these tables too long to read.
    return [re.sub(r"shop\.\w+\.v1\.", "", one) for one in said]


@pytest.mark.rule("aggregation.2.1")
def test_a_circle_is_printed() -> None:
    shop = make_shop()
    specs = [
        user(shop, "a", bind={"user_id": "b.user_id"}, on_error=OnError("null")),
        user(shop, "b", bind={"user_id": "c.user_id"}, on_error=OnError("null")),
        user(shop, "c", bind={"user_id": "a.user_id"}, on_error=OnError("null")),
    ]

    assert faults_of(specs) == ["sources.a:1: a -> b -> c -> a; sources wait for each other"]


@pytest.mark.rule("aggregation.2.3")
def test_every_fault_is_found_at_once() -> None:
    shop = make_shop()
    specs = [
        user(shop, "auth"),
        user(shop, "profile", bind={"user_idd": "auth.sub"}),
        user(shop, "friend", bind={"user_id": "profil.user_id"}),
        user(shop, "level", bind={"user_id": 5}),
    ]

    assert faults_of(specs) == [
        "sources.auth:1: 'auth' is a reserved name",
        "sources.profile.with.user_idd:1: GetUserRequest has no field 'user_idd'; did you mean 'user_id'?",
        "sources.friend.with.user_id:1: there is no 'profil' here; did you mean 'profile'?",
        "sources.level.with.user_id:1: 5 is an integer, GetUserRequest.user_id a string; write \"'5'\"",
    ]


@pytest.mark.rule("aggregation.2.5")
def test_a_required_source_cannot_need_an_optional_one() -> None:
    shop = make_shop()
    optional = user(shop, "profile", on_error=OnError("null"))

    needing = [optional, user(shop, "friend", bind={"user_id": "profile.user_id"})]
    total = [optional, user(shop, "friend", bind={"user_id": "profile.user_id || 'x'"})]

    (fault,) = faults_of(needing)
    assert fault.startswith(
        "sources.friend:1: the required source friend needs the optional one profile; give friend an on_error"
    )
    assert faults_of(total) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"keys": "orders.orders[].item[].product_id"}, "keys:17: Order has no field 'item'; did you mean 'items'?"),
        ({"into": "keys"}, "into:1: BatchGetProductsRequest has no field 'keys'"),
        ({"entities": "product"}, "entities:1: BatchGetProductsResponse has no field 'product'"),
        ({"entity_key": "id"}, "entity_key:1: Product has no field 'id'"),
        ({"attach": "quantity"}, "as:1: Order.Item has a field 'quantity' of its own"),
        ({"keys": "query.ids"}, "as:1: only a plain path into a source has objects to attach to"),
    ],
    ids=["keys", "into", "entities", "entity-key", "as-clashes", "as-without-holder"],
)  # fmt: skip
@pytest.mark.rule("aggregation.5.1")
def test_a_wrong_join_is_told(change: dict[str, Any], fault: str) -> None:
    written = {
        "keys": "orders.orders[].items[].product_id", "into": "ids", "entities": "products",
        "entity_key": "product_id", "attach": "product", **change,
    }  # fmt: skip
    shop = make_shop()
    profile, orders, _ = home_specs(shop)
    products = SourceSpec(
        name="products", input=shop.batch_products.input, output=shop.batch_products.output,
        join=JoinSpec(**written), on_error=OnError("omit"),
    )  # fmt: skip

    (found,) = faults_of([profile, orders, products])
    assert found.startswith(f"sources.products.join.{fault}")


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (
            {"...": ["profile"], "userId": "'x'"},
            "reply.userId:1: the reply has 'userId' twice, here and at reply['...'].profile",
        ),
        ({"problems": "profile"}, "reply.problems:1: the reply has 'problems' twice, here and at problems"),
        ({"...": ["profil"]}, "reply['...']:1: 'profil' is no source with a type; did you mean 'profile'?"),
        ({"x": "profile.nam"}, "reply.x:9: User has no field 'nam'"),
    ],
    ids=["spread-clashes", "problems-clashes", "unknown-spread", "unknown-field"],
)  # fmt: skip
@pytest.mark.rule("aggregation.6.1")
def test_a_wrong_reply_is_told(reply: Any, fault: str) -> None:
    assert faults_of([user(make_shop(), "profile")], reply) == [fault]


@pytest.mark.rule("aggregation.16.1")
def test_sources_and_depth_are_capped() -> None:
    shop = make_shop()
    many = [user(shop, f"s{number}") for number in range(9)]
    deep = [
        user(shop, f"s{number}", bind={"user_id": f"s{number - 1}.user_id"} if number else {})
        for number in range(5)
    ]

    assert faults_of(many) == ["sources:1: 9 sources; at most 8 are allowed"]
    assert faults_of(deep) == [
        "sources:1: sources depend on each other 5 deep; at most 4 are allowed"
    ]


@pytest.fixture
def home() -> Plan:
    return plan_of(home_specs(make_shop()), HOME_REPLY)


def test_a_plan_knows_where_each_source_shows(home: Plan) -> None:
    places = {source.name: source.places for source in home.sources}

    assert places == {
        "profile": ("name",),
        "orders": ("orders",),
        "products": ("products", "orders[].items[].name"),
    }


def test_a_plan_knows_its_reserve(home: Plan) -> None:
    assert home.reserve_s == pytest.approx(0.016)


def test_a_source_waits_for_what_a_join_attached() -> None:
    """A source that reads `product` beside an order's key waits for the join that puts it there."""
    shop = make_shop()
    reader = user(
        shop,
        "maker",
        bind={"user_id": "orders.orders[0].items[0].product.name"},
        on_error=OnError("null"),
    )

    plan = plan_of([*home_specs(shop), reader], None)

    assert plan.sources[3].waits_for == {"orders", "products"}
