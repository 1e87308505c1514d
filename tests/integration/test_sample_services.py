"""Users, catalog and orders do what their protos promise."""

from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2, status_pb2

from sample_services.generated.sample.catalog.v1 import catalog_pb2
from sample_services.generated.sample.orders.v1 import orders_pb2
from sample_services.generated.sample.type.v1 import money_pb2
from sample_services.generated.sample.users.v1 import users_pb2
from tests.support.samples import SampleServices, refusal


@pytest.fixture(scope="module")
def shop() -> Iterator[SampleServices]:
    """Of their own: what others place and book would stand among what is listed here."""
    with SampleServices() as running:
        yield running


Metadata = tuple[tuple[str, str], ...]

NOBODY: Metadata = ()
PREMIUM: Metadata = (("x-user-id", "u-1"),)
ADMIN: Metadata = (("x-user-id", "u-2"), ("x-scopes", "orders.read,admin"))


def details(error: grpc.aio.AioRpcError) -> tuple[str, list[str]]:
    """The ErrorInfo's reason and the fields of the BadRequest."""
    trailers: Any = error.trailing_metadata()
    carried = trailers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(carried)
    assert status.code == error.code().value[0]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for packed in status.details:
        packed.Unpack(info if packed.Is(info.DESCRIPTOR) else bad)
    return info.reason, [violation.field for violation in bad.field_violations]


# Users


async def test_a_user_is_returned_with_all_its_parts(samples: SampleServices) -> None:
    async with samples.stub("users") as users:
        user = await users.GetUser(users_pb2.GetUserRequest(user_id="u-1"))

    assert (user.user_id, user.tier) == ("u-1", users_pb2.USER_TIER_PREMIUM)
    assert user.addresses[0].country_code
    assert user.preferences["newsletter"] == "weekly"
    assert user.HasField("created_at")


@pytest.mark.parametrize(
    ("user_id", "code", "reason"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        ("u-201", grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND"),
        ("u-01", grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND"),
        ("u-" + "9" * 30, grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND"),
    ],
    ids=["empty", "unknown", "other spelling of u-1", "too large for the table"],
)
async def test_an_id_that_names_nobody_is_refused(
    samples: SampleServices, user_id: str, code: grpc.StatusCode, reason: str
) -> None:
    async with samples.stub("users") as users:
        error = await refusal(users.GetUser(users_pb2.GetUserRequest(user_id=user_id)))

    assert error.code() == code
    assert details(error)[0] == reason


async def test_a_batch_keeps_the_order_asked_for_and_leaves_out_the_unknown(
    samples: SampleServices,
) -> None:
    async with samples.stub("users") as users:
        reply = await users.BatchGetUsers(
            users_pb2.BatchGetUsersRequest(user_ids=["u-9", "u-nobody", "u-2", "u-9"])
        )

    assert [user.user_id for user in reply.users] == ["u-9", "u-2", "u-9"]


async def test_an_update_changes_the_fields_of_the_mask_only(samples: SampleServices) -> None:
    wanted = users_pb2.User(user_id="u-50", display_name="New Name", email="not taken over")
    async with samples.stub("users") as users:
        before = await users.GetUser(users_pb2.GetUserRequest(user_id="u-50"))
        await users.UpdateUser(
            users_pb2.UpdateUserRequest(
                user=wanted, update_mask=FieldMask(paths=["display_name", "phone"])
            )
        )
        after = await users.GetUser(users_pb2.GetUserRequest(user_id="u-50"))

    assert after.display_name == "New Name"
    assert not after.HasField("phone")  # named by the mask, absent in the user: cleared
    before.display_name = "New Name"
    before.ClearField("phone")
    assert after == before


@pytest.mark.parametrize(
    ("user", "paths", "field"),
    [
        ({"email": "no-at-sign"}, ["email"], "user.email"),
        ({"display_name": ""}, ["display_name"], "user.display_name"),
        ({"phone": "030 123"}, ["phone"], "user.phone"),
        ({}, ["shoe_size"], "update_mask"),
    ],
    ids=["email", "name", "phone", "unknown path"],
)
async def test_an_update_that_makes_no_sense_names_the_field(
    samples: SampleServices, user: Mapping[str, str], paths: list[str], field: str
) -> None:
    request = users_pb2.UpdateUserRequest(
        user=users_pb2.User(user_id="u-51", **user), update_mask=FieldMask(paths=paths)
    )
    async with samples.stub("users") as users:
        error = await refusal(users.UpdateUser(request))

    assert details(error) == ("FIELD_INVALID", [field])


async def test_nobody_but_the_user_and_administrators_may_update(samples: SampleServices) -> None:
    request = users_pb2.UpdateUserRequest(user=users_pb2.User(user_id="u-52", display_name="X"))
    async with samples.stub("users") as users:
        error = await refusal(users.UpdateUser(request, metadata=PREMIUM))
        done = await users.UpdateUser(request, metadata=ADMIN)

    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert done.display_name == "X"


# Catalog


async def test_products_are_returned_alone_and_in_batches(samples: SampleServices) -> None:
    async with samples.stub("catalog") as catalog:
        one = await catalog.GetProduct(catalog_pb2.GetProductRequest(product_id="p-7"))
        many = await catalog.BatchGetProducts(
            catalog_pb2.BatchGetProductsRequest(ids=["p-7", "p-501", "p-1"])
        )

    assert one.price.currency_code == "EUR"
    assert one.thumbnail.startswith(b"\x89PNG")
    assert one.handling_time.seconds > 0
    assert [product.product_id for product in many.products] == ["p-7", "p-1"]
    assert many.products[0] == one


async def test_search_pages_join_to_the_whole_without_gap_or_overlap(
    samples: SampleServices,
) -> None:
    found: list[str] = []
    token = ""
    async with samples.stub("catalog") as catalog:
        while True:
            page = await catalog.SearchProducts(
                catalog_pb2.SearchProductsRequest(
                    category=catalog_pb2.CATEGORY_TOYS, page_size=33, page_token=token
                )
            )
            found += [product.product_id for product in page.products]
            token = page.next_page_token
            if not token:
                break

    assert found == [f"p-{number}" for number in range(4, 501, 5)]


async def test_every_condition_of_a_search_holds(samples: SampleServices) -> None:
    low = money_pb2.Money(currency_code="EUR", units=50)
    high = money_pb2.Money(currency_code="EUR", units=120)
    request = catalog_pb2.SearchProductsRequest(
        query="TEAPOT keep", min_price=low, max_price=high, page_size=100
    )
    async with samples.stub("catalog") as catalog:
        page = await catalog.SearchProducts(request)

    assert page.products
    assert all("Teapot" in product.name for product in page.products)
    assert all(50 <= product.price.units < 120 for product in page.products)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_token": "no token of ours"}, "page_token"),
        ({"min_price": money_pb2.Money(currency_code="USD")}, "min_price.currency_code"),
    ],
    ids=["page size", "page token", "currency"],
)
async def test_a_search_that_makes_no_sense_names_the_field(
    samples: SampleServices, fields: Mapping[str, Any], field: str
) -> None:
    async with samples.stub("catalog") as catalog:
        error = await refusal(catalog.SearchProducts(catalog_pb2.SearchProductsRequest(**fields)))

    assert details(error) == ("FIELD_INVALID", [field])


async def test_a_page_token_does_not_continue_another_question(samples: SampleServices) -> None:
    async with samples.stub("catalog") as catalog:
        page = await catalog.SearchProducts(catalog_pb2.SearchProductsRequest(query="lamp"))
        error = await refusal(
            catalog.SearchProducts(
                catalog_pb2.SearchProductsRequest(query="atlas", page_token=page.next_page_token)
            )
        )

    assert details(error) == ("FIELD_INVALID", ["page_token"])


# Orders


async def test_an_order_agrees_with_the_catalog_and_its_own_sum(samples: SampleServices) -> None:
    async with samples.stub("orders") as orders, samples.stub("catalog") as catalog:
        order = await orders.GetOrder(orders_pb2.GetOrderRequest(order_id="o-1"))
        products = await catalog.BatchGetProducts(
            catalog_pb2.BatchGetProductsRequest(ids=[item.product_id for item in order.items])
        )

    assert (order.id, order.customer_id) == ("o-1", "u-1")
    assert order.status == orders_pb2.ORDER_STATUS_PAID
    assert [item.unit_price for item in order.items] == [p.price for p in products.products]
    cents = sum(_cents(item.unit_price) * item.quantity for item in order.items)
    assert _cents(order.total) == cents


def _cents(money: Any) -> int:
    cents: int = money.units * 100 + money.nanos // 10_000_000
    return cents


@pytest.mark.parametrize(
    ("metadata", "allowed"),
    [
        (NOBODY, True),
        (PREMIUM, True),
        (ADMIN, True),
        ((("x-user-id", "u-9"),), False),
        ((("x-user-id", "u-9"), ("x-scopes", "orders.read,not-admin")), False),
    ],
    ids=["inner call", "owner", "administrator", "other user", "other user with scopes"],
)
async def test_an_order_is_reached_by_its_owner_and_administrators(
    samples: SampleServices, metadata: Metadata, *, allowed: bool
) -> None:
    async with samples.stub("orders") as orders:
        call = orders.GetOrder(orders_pb2.GetOrderRequest(order_id="o-1"), metadata=metadata)
        if allowed:
            assert (await call).id == "o-1"
            return
        error = await refusal(call)

    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert details(error)[0] == "NOT_YOUR_ORDER"


async def test_order_pages_go_from_the_newest_to_the_oldest(samples: SampleServices) -> None:
    found: list[int] = []
    token = ""
    async with samples.stub("orders") as orders:
        while True:
            page = await orders.ListOrders(
                orders_pb2.ListOrdersRequest(user_id="u-2", page_size=10, page_token=token)
            )
            found += [int(order.id.removeprefix("o-")) for order in page.orders]
            token = page.next_page_token
            if not token:
                break

    assert found == list(range(1922, 0, -80))


async def test_a_list_takes_one_status(samples: SampleServices) -> None:
    request = orders_pb2.ListOrdersRequest(
        user_id="u-1", status=orders_pb2.ORDER_STATUS_DELIVERED, page_size=100
    )
    async with samples.stub("orders") as orders:
        page = await orders.ListOrders(request)

    assert "o-81" in {order.id for order in page.orders}
    assert {order.status for order in page.orders} == {orders_pb2.ORDER_STATUS_DELIVERED}


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["id", "status"], {"id", "status"}),
        (["items.product_id", "id"], {"id", "items.product_id"}),
        (["items.product_id", "items"], {"items.product_id", "items.quantity", "items.unit_price"}),
        (["card.brand"], {"card.brand"}),
    ],
    ids=["plain", "through a list", "whole and part", "in a oneof"],
)
async def test_a_read_mask_leaves_only_what_it_names(
    samples: SampleServices, paths: list[str], kept: set[str]
) -> None:
    request = orders_pb2.ListOrdersRequest(user_id="u-1", read_mask=FieldMask(paths=paths))
    async with samples.stub("orders") as orders:
        page = await orders.ListOrders(request)

    found: set[str] = set()
    for order in page.orders:
        for field, value in order.ListFields():
            if field.name == "items":
                found |= {f"items.{sub.name}" for item in value for sub, _ in item.ListFields()}
            elif field.name == "card":
                found |= {f"card.{sub.name}" for sub, _ in value.ListFields()}
            else:
                found.add(field.name)
    assert found == kept


@pytest.mark.parametrize("path", ["prize", "items.colour", "id.length", ""])
async def test_a_read_mask_that_leads_nowhere_is_refused(
    samples: SampleServices, path: str
) -> None:
    request = orders_pb2.ListOrdersRequest(user_id="u-1", read_mask=FieldMask(paths=[path]))
    async with samples.stub("orders") as orders:
        error = await refusal(orders.ListOrders(request))

    assert details(error) == ("FIELD_INVALID", ["read_mask"])


def _purchase(**fields: Any) -> Any:
    items = [orders_pb2.PlaceOrderRequest.Item(product_id="p-1", quantity=2)]
    card = orders_pb2.Card(brand="visa", last_four="4242")
    return orders_pb2.PlaceOrderRequest(
        **({"customer_id": "u-77", "items": items, "card": card} | fields)
    )


async def test_an_order_is_placed_once_for_one_request_id(samples: SampleServices) -> None:
    async with samples.stub("orders") as orders:
        first = await orders.PlaceOrder(_purchase(request_id="again"))
        second = await orders.PlaceOrder(_purchase(request_id="again"))
        third = await orders.PlaceOrder(_purchase())
        read = await orders.GetOrder(orders_pb2.GetOrderRequest(order_id=first.id))

    assert first.status == orders_pb2.ORDER_STATUS_PLACED
    assert first.card.last_four == "4242"
    assert first == second == read
    assert third.id != first.id


async def test_placing_tells_every_wrong_field_at_once(samples: SampleServices) -> None:
    wrong = _purchase(
        customer_id="",
        items=[orders_pb2.PlaceOrderRequest.Item(product_id="p-1", quantity=0)],
        card=orders_pb2.Card(brand="visa", last_four="12"),
    )
    async with samples.stub("orders") as orders:
        error = await refusal(orders.PlaceOrder(wrong))

    assert details(error) == ("FIELD_INVALID", ["customer_id", "items[0].quantity", "card"])


async def test_an_unknown_product_is_not_sold_and_nothing_is_kept(samples: SampleServices) -> None:
    items = [orders_pb2.PlaceOrderRequest.Item(product_id="p-9999", quantity=1)]
    listing = orders_pb2.ListOrdersRequest(user_id="u-78")
    async with samples.stub("orders") as orders:
        before = await orders.ListOrders(listing)
        error = await refusal(orders.PlaceOrder(_purchase(customer_id="u-78", items=items)))
        after = await orders.ListOrders(listing)

    assert details(error) == ("FIELD_INVALID", ["items[0].product_id"])
    assert after == before


async def test_a_shipped_order_cannot_be_cancelled(samples: SampleServices) -> None:
    async with samples.stub("orders") as orders:
        error = await refusal(orders.CancelOrder(orders_pb2.CancelOrderRequest(order_id="o-2")))

    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert details(error)[0] == "ORDER_NOT_CANCELLABLE"


async def test_a_watcher_sees_the_past_then_the_change_and_the_end(
    samples: SampleServices,
) -> None:
    async with samples.stub("orders") as orders:
        placed = await orders.PlaceOrder(_purchase())
        watch = orders.WatchOrder(orders_pb2.WatchOrderRequest(order_id=placed.id))
        events = aiter(watch)
        past = await anext(events)
        await orders.CancelOrder(
            orders_pb2.CancelOrderRequest(order_id=placed.id, reason="changed my mind")
        )
        change = await anext(events)
        rest = [event async for event in events]

    assert (past.revision, past.status) == (1, orders_pb2.ORDER_STATUS_PLACED)
    assert (change.revision, change.message) == (2, "cancelled: changed my mind")
    assert rest == []


async def test_a_watch_is_taken_up_after_a_revision(samples: SampleServices) -> None:
    async with samples.stub("orders") as orders:
        watch = orders.WatchOrder(orders_pb2.WatchOrderRequest(order_id="o-81", after_revision=2))
        revisions = [event.revision async for event in watch]

    assert revisions == [3, 4]


async def test_an_invoice_is_a_pdf_that_tells_the_total(samples: SampleServices) -> None:
    async with samples.stub("orders") as orders:
        order = await orders.GetOrder(orders_pb2.GetOrderRequest(order_id="o-1"))
        body = await orders.GetInvoice(orders_pb2.GetInvoiceRequest(order_id="o-1"))

    assert body.content_type == "application/pdf"
    assert body.data.startswith(b"%PDF-1.4\n")
    assert f"Total {order.total.units}.".encode() in body.data
    table_at = int(body.data.split()[-2])
    assert body.data[table_at:].startswith(b"xref\n")
