"""The orders service: `python -m sample_services.orders`.

Where `x-user-id` names the caller, only the owner and administrators reach an order (`Caller`).
Rows are read and written in `order_rows`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import grpc
from google.api import httpbody_pb2

from sample_services import order_rows
from sample_services.generated.sample.orders.v1 import orders_pb2
from sample_services.invoice import write_invoice
from sample_services.order_streams import Attachments, import_orders, inspect_file, track_orders
from sample_services.paging import page_size_of, read_token, write_token
from sample_services.read_mask import parse_mask, prune
from sample_services.refusal import Refused, invalid, not_found
from sample_services.serving import Caller, Collecting, Conversing, Streaming, Unary, main
from sample_services.store import Database

__all__ = ["Orders"]

_MAX_ITEMS = 50
_MAX_QUANTITY = 99
_MAX_TEXT_CHARS = 500
_ENDED = frozenset({orders_pb2.ORDER_STATUS_DELIVERED, orders_pb2.ORDER_STATUS_CANCELLED})


class Orders:
    """`sample.orders.v1.OrderService` over one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # One event for each running watcher, by order; bounded by the calls that may run.
        self._watchers: dict[str, set[asyncio.Event]] = {}
        files = Attachments(database, self._reach)
        self.unary: Mapping[str, Unary | Collecting] = {
            "GetOrder": self._get_order,
            "ListOrders": self._list_orders,
            "PlaceOrder": self._place_order,
            "CancelOrder": self._cancel_order,
            "GetInvoice": self._get_invoice,
            "ImportOrders": partial(import_orders, self._place_order),
            "UploadAttachment": files.upload,
            "InspectFile": inspect_file,
        }
        self.streaming: Mapping[str, Streaming | Conversing] = {
            "WatchOrder": self._watch_order,
            "TrackOrders": partial(track_orders, self._watch_order),
            "DownloadAttachment": files.download,
        }

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open `orders.sqlite` in the folder, filled if it is new."""
        return cls(await Database.open(folder / "orders.sqlite", order_rows.fill))

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()

    async def _reach(self, order_id: str, caller: Caller) -> Any:
        """The order, if there is one and the caller may reach it."""
        if not order_id:
            raise invalid("order_id", "is required")
        order = await self._database.run(lambda db: order_rows.read_one(db, order_id))
        if order is None:
            raise not_found("order", order_id)
        _check_owner(caller, order.customer_id)
        return order

    async def _get_order(self, request: Any, caller: Caller) -> Any:
        return await self._reach(request.order_id, caller)

    async def _list_orders(self, request: Any, caller: Caller) -> Any:
        if not request.user_id:
            raise invalid("user_id", "is required")
        _check_owner(caller, request.user_id)
        mask = parse_mask(request.read_mask, orders_pb2.Order.DESCRIPTOR)
        size = page_size_of(request.page_size)
        question = [request.user_id, request.status]
        before = read_token(request.page_token, question)
        page, has_more = await self._database.run(
            lambda db: order_rows.read_page(
                db, user_id=request.user_id, status=request.status, before=before, size=size
            )
        )
        token = write_token(order_rows.number_of(page[-1]), question) if has_more else ""
        if request.HasField("read_mask"):
            for order in page:
                prune(order, mask)
        return orders_pb2.ListOrdersResponse(orders=page, next_page_token=token)

    async def _place_order(self, request: Any, caller: Caller) -> Any:
        _check_placing(request)
        _check_owner(caller, request.customer_id)
        now_unix_s = int(datetime.now(UTC).timestamp())
        return await self._database.run(lambda db: order_rows.insert(db, request, now_unix_s))

    async def _cancel_order(self, request: Any, caller: Caller) -> Any:
        if len(request.reason) > _MAX_TEXT_CHARS:
            raise invalid("reason", f"must be at most {_MAX_TEXT_CHARS} characters")
        await self._reach(request.order_id, caller)
        now_unix_s = int(datetime.now(UTC).timestamp())
        order = await self._database.run(
            lambda db: order_rows.cancel(db, request.order_id, request.reason, now_unix_s)
        )
        for changed in self._watchers.get(request.order_id, ()):
            changed.set()
        return orders_pb2.CancelOrderResponse(order=order)

    async def _watch_order(self, request: Any, caller: Caller) -> AsyncIterator[Any]:
        if request.after_revision < 0:
            raise invalid("after_revision", "must be 0 or more")
        order = await self._reach(request.order_id, caller)
        changed = asyncio.Event()
        watchers = self._watchers.setdefault(order.id, set())
        watchers.add(changed)
        revision = request.after_revision
        try:
            while True:
                # Cleared before reading: a change while we read is then seen in the next round.
                changed.clear()
                events, status = await self._database.run(
                    partial(order_rows.read_events, order_id=order.id, after=revision)
                )
                for event in events:
                    yield event
                    revision = event.revision
                if status in _ENDED:
                    return
                await changed.wait()
        finally:
            watchers.discard(changed)
            if not watchers:
                self._watchers.pop(order.id, None)

    async def _get_invoice(self, request: Any, caller: Caller) -> Any:
        order = await self._reach(request.order_id, caller)
        return httpbody_pb2.HttpBody(content_type="application/pdf", data=write_invoice(order))


def _check_owner(caller: Caller, customer_id: str) -> None:
    if not caller.may_act_for(customer_id):
        raise Refused(
            grpc.StatusCode.PERMISSION_DENIED,
            "only the customer and administrators may do this",
            reason="NOT_YOUR_ORDER",
        )


def _check_placing(request: Any) -> None:
    """Raise Refused (INVALID_ARGUMENT) with every field that is wrong."""
    wrong: dict[str, str] = {}
    if not request.customer_id:
        wrong["customer_id"] = "is required"
    if not 1 <= len(request.items) <= _MAX_ITEMS:
        wrong["items"] = f"must be 1 to {_MAX_ITEMS}"
    for index, item in enumerate(request.items):
        if not 1 <= item.quantity <= _MAX_QUANTITY:
            wrong[f"items[{index}].quantity"] = f"must be 1 to {_MAX_QUANTITY}"
    if request.HasField("card") and not _is_card(request.card):
        wrong["card"] = "needs a brand and the last four digits"
    if len(request.note) > _MAX_TEXT_CHARS:
        wrong["note"] = f"must be at most {_MAX_TEXT_CHARS} characters"
    if wrong:
        raise Refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            "the order cannot be placed as it is written",
            reason="FIELD_INVALID",
            fields=wrong,
        )


def _is_card(card: Any) -> bool:
    digits: str = card.last_four
    return bool(card.brand) and len(digits) == 4 and digits.isascii() and digits.isdigit()


if __name__ == "__main__":
    main(
        name="orders",
        descriptor=orders_pb2.DESCRIPTOR.services_by_name["OrderService"],
        opener=Orders.open,
    )
