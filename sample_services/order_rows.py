"""Orders in SQLite: rows to messages and back. Runs in the database's thread, never awaits."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import grpc

from sample_services import seed
from sample_services.generated.sample.orders.v1 import orders_pb2
from sample_services.money import to_money
from sample_services.refusal import Refused, invalid

__all__ = ["cancel", "fill", "insert", "number_of", "read_events", "read_one", "read_page"]

_TABLES = """
CREATE TABLE orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT, customer_id TEXT NOT NULL, status INTEGER NOT NULL,
    created_unix_s INTEGER NOT NULL, payment TEXT, payment_first TEXT, payment_second TEXT,
    note TEXT, revision INTEGER NOT NULL, risk_note TEXT NOT NULL, request_id TEXT,
    UNIQUE (customer_id, request_id)
);
CREATE INDEX orders_of_customer ON orders (customer_id, number);
CREATE TABLE items (
    order_number INTEGER NOT NULL, position INTEGER NOT NULL, product_id TEXT NOT NULL,
    quantity INTEGER NOT NULL, unit_cents INTEGER NOT NULL, PRIMARY KEY (order_number, position)
) WITHOUT ROWID;
CREATE TABLE events (
    order_number INTEGER NOT NULL, revision INTEGER NOT NULL, status INTEGER NOT NULL,
    occurred_unix_s INTEGER NOT NULL, message TEXT NOT NULL, PRIMARY KEY (order_number, revision)
) WITHOUT ROWID;
CREATE TABLE prices (product_id TEXT PRIMARY KEY, cents INTEGER NOT NULL) WITHOUT ROWID
"""

_MESSAGES = {
    orders_pb2.ORDER_STATUS_PLACED: "placed",
    orders_pb2.ORDER_STATUS_PAID: "paid",
    orders_pb2.ORDER_STATUS_SHIPPED: "handed to the carrier",
    orders_pb2.ORDER_STATUS_DELIVERED: "delivered",
    orders_pb2.ORDER_STATUS_CANCELLED: "cancelled",
}
_CANCELLABLE = frozenset({orders_pb2.ORDER_STATUS_PLACED, orders_pb2.ORDER_STATUS_PAID})
_EVENT_STEP_S = 6 * 3600

_INSERT_ORDER = (
    "INSERT INTO orders (number, customer_id, status, created_unix_s, payment, payment_first,"
    " payment_second, note, revision, risk_note, request_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_ITEM = "INSERT INTO items VALUES (?, ?, ?, ?, ?)"
_INSERT_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?)"


def number_of(order: Any) -> int:
    """The 12 of the order "o-12"; what orders are sorted and paged by."""
    return int(order.id.removeprefix("o-"))


def read_one(db: sqlite3.Connection, order_id: str) -> Any | None:
    """The order of that id, or None."""
    number = seed.number_of(order_id, "o-")
    if number is None:
        return None
    rows = db.execute("SELECT * FROM orders WHERE number = ?", (number,)).fetchall()
    return _to_messages(db, rows)[0] if rows else None


def read_page(
    db: sqlite3.Connection, *, user_id: str, status: int, before: int | None, size: int
) -> tuple[list[Any], bool]:
    """The newest `size` orders older than number `before`, and whether there are more.

    `status` 0 takes any.
    """
    rows = db.execute(
        "SELECT * FROM orders WHERE customer_id = ? AND (? = 0 OR status = ?)"
        " AND (? IS NULL OR number < ?) ORDER BY number DESC LIMIT ?",
        (user_id, status, status, before, before, size + 1),
    ).fetchall()
    return _to_messages(db, rows[:size]), len(rows) > size


def read_events(db: sqlite3.Connection, order_id: str, after: int) -> tuple[list[Any], int]:
    """The events above revision `after`, and the order's status now."""
    number = seed.number_of(order_id, "o-")
    rows = db.execute(
        "SELECT * FROM events WHERE order_number = ? AND revision > ? ORDER BY revision",
        (number, after),
    ).fetchall()
    status = db.execute("SELECT status FROM orders WHERE number = ?", (number,)).fetchone()[0]
    return [_to_event(row) for row in rows], status


def insert(db: sqlite3.Connection, request: Any, now_unix_s: int) -> Any:
    """Place the order of a checked request; the same request_id again finds the first one.

    Raises Refused (INVALID_ARGUMENT) for a product that is not for sale.
    """
    request_id = request.request_id or None
    earlier = db.execute(
        "SELECT * FROM orders WHERE customer_id = ? AND request_id = ?",
        (request.customer_id, request_id),
    ).fetchall()
    if earlier:
        return _to_messages(db, earlier)[0]
    prices = [_price(db, index, item.product_id) for index, item in enumerate(request.items)]
    status = orders_pb2.ORDER_STATUS_PLACED
    number = db.execute(
        _INSERT_ORDER,
        (None, request.customer_id, status, now_unix_s, *_payment_of(request),
         request.note if request.HasField("note") else None, 1, "", request_id),
    ).lastrowid  # fmt: skip
    db.executemany(
        _INSERT_ITEM,
        [
            (number, position, item.product_id, item.quantity, cents)
            for position, (item, cents) in enumerate(zip(request.items, prices, strict=True))
        ],
    )
    db.execute(_INSERT_EVENT, (number, 1, status, now_unix_s, _MESSAGES[status]))
    return read_one(db, f"o-{number}")


def cancel(db: sqlite3.Connection, order_id: str, reason: str, now_unix_s: int) -> Any:
    """Cancel an order that exists. Raises Refused (FAILED_PRECONDITION) when it is too late."""
    order = read_one(db, order_id)
    assert order is not None
    if order.status not in _CANCELLABLE:
        raise Refused(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"the order is {_MESSAGES[order.status]} already",
            reason="ORDER_NOT_CANCELLABLE",
        )
    number, revision = number_of(order), order.revision + 1
    status = orders_pb2.ORDER_STATUS_CANCELLED
    db.execute(
        "UPDATE orders SET status = ?, revision = ? WHERE number = ?", (status, revision, number)
    )
    message = f"cancelled: {reason}" if reason else "cancelled"
    db.execute(_INSERT_EVENT, (number, revision, status, now_unix_s, message))
    return read_one(db, order_id)


def fill(db: sqlite3.Connection) -> None:
    """Make the tables and the orders of `seed`."""
    # executescript would commit and so end the transaction that makes filling fast.
    for statement in _TABLES.split(";"):
        db.execute(statement)
    db.executemany(
        "INSERT INTO prices VALUES (?, ?)",
        ((f"p-{n}", seed.price_cents(n)) for n in range(1, seed.PRODUCTS + 1)),
    )
    rows = list(seed.orders())
    db.executemany(
        _INSERT_ORDER,
        (
            (row.number, row.customer_id, row.history[-1], row.created_unix_s, *row.payment,
             row.note, len(row.history), row.risk_note, None)
            for row in rows
        ),
    )  # fmt: skip
    db.executemany(
        _INSERT_ITEM,
        (
            (row.number, position, f"p-{product}", quantity, seed.price_cents(product))
            for row in rows
            for position, (product, quantity) in enumerate(row.items)
        ),
    )
    db.executemany(
        _INSERT_EVENT,
        (
            (row.number, revision, status,
             row.created_unix_s + (revision - 1) * _EVENT_STEP_S, _MESSAGES[status])
            for row in rows
            for revision, status in enumerate(row.history, start=1)
        ),
    )  # fmt: skip


def _price(db: sqlite3.Connection, index: int, product_id: str) -> int:
    row = db.execute("SELECT cents FROM prices WHERE product_id = ?", (product_id,)).fetchone()
    if row is None:
        raise invalid(f"items[{index}].product_id", f"there is no product {product_id!r}")
    cents: int = row[0]
    return cents


def _payment_of(request: Any) -> tuple[str | None, str, str]:
    kind: str | None = request.WhichOneof("payment")
    if kind == "card":
        return kind, request.card.brand, request.card.last_four
    return kind, request.voucher, ""


def _to_messages(db: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[Any]:
    marks = ", ".join("?" * len(rows))
    items: dict[int, list[sqlite3.Row]] = {}
    for item in db.execute(
        f"SELECT * FROM items WHERE order_number IN ({marks}) ORDER BY order_number, position",
        [row["number"] for row in rows],
    ):
        items.setdefault(item["order_number"], []).append(item)
    return [_to_order(row, items.get(row["number"], [])) for row in rows]


def _to_order(row: sqlite3.Row, items: Sequence[sqlite3.Row]) -> Any:
    order = orders_pb2.Order(
        id=f"o-{row['number']}",
        customer_id=row["customer_id"],
        status=row["status"],
        items=[
            orders_pb2.Order.Item(
                product_id=item["product_id"],
                quantity=item["quantity"],
                unit_price=to_money(item["unit_cents"]),
            )
            for item in items
        ],
        total=to_money(sum(item["quantity"] * item["unit_cents"] for item in items)),
        note=row["note"],
        revision=row["revision"],
        risk_note=row["risk_note"],
    )
    order.created_at.FromSeconds(row["created_unix_s"])
    if row["payment"] == "card":
        order.card.brand = row["payment_first"]
        order.card.last_four = row["payment_second"]
    elif row["payment"] == "voucher":
        order.voucher = row["payment_first"]
    return order


def _to_event(row: sqlite3.Row) -> Any:
    event = orders_pb2.OrderEvent(
        order_id=f"o-{row['order_number']}",
        revision=row["revision"],
        status=row["status"],
        message=row["message"],
    )
    event.occurred_at.FromSeconds(row["occurred_unix_s"])
    return event
