"""The catalog service: `python -m sample_services.catalog`. Anybody may read it."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sample_services import seed
from sample_services.generated.sample.catalog.v1 import catalog_pb2
from sample_services.money import to_cents_range, to_money
from sample_services.paging import page_size_of, read_token, write_token
from sample_services.refusal import invalid, not_found
from sample_services.serving import Caller, Streaming, Unary, main
from sample_services.store import Database

__all__ = ["Catalog"]

_MAX_BATCH = 100
_MAX_QUERY_CHARS = 200

_TABLES = """
CREATE TABLE products (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL,
    price_cents INTEGER NOT NULL, stock INTEGER NOT NULL, rating REAL NOT NULL,
    tags TEXT NOT NULL, category INTEGER NOT NULL, handling_s INTEGER NOT NULL,
    thumbnail BLOB NOT NULL, words TEXT NOT NULL
)"""


class Catalog:
    """`sample.catalog.v1.CatalogService` over one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.unary: Mapping[str, Unary] = {
            "GetProduct": self._get_product,
            "BatchGetProducts": self._batch_get_products,
            "SearchProducts": self._search_products,
        }
        self.streaming: Mapping[str, Streaming] = {}

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open `catalog.sqlite` in the folder, filled if it is new."""
        return cls(await Database.open(folder / "catalog.sqlite", _fill))

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()

    async def _get_product(self, request: Any, _caller: Caller) -> Any:
        if not request.product_id:
            raise invalid("product_id", "is required")
        found = await self._database.run(lambda db: _read(db, [request.product_id]))
        if not found:
            raise not_found("product", request.product_id)
        return found[0]

    async def _batch_get_products(self, request: Any, _caller: Caller) -> Any:
        keys = list(request.ids)
        if not 1 <= len(keys) <= _MAX_BATCH:
            raise invalid("ids", f"must be 1 to {_MAX_BATCH} ids")
        return catalog_pb2.BatchGetProductsResponse(
            products=await self._database.run(lambda db: _read(db, keys))
        )

    async def _search_products(self, request: Any, _caller: Caller) -> Any:
        size = page_size_of(request.page_size)
        conditions, values = _conditions(request)
        after = read_token(request.page_token, [conditions, values]) or 0
        rows = await self._database.run(
            lambda db: db.execute(
                f"SELECT * FROM products WHERE number > ? {conditions} ORDER BY number LIMIT ?",
                # One more than the page tells whether there is a next one.
                (after, *values, size + 1),
            ).fetchall()
        )
        page = rows[:size]
        token = write_token(page[-1]["number"], [conditions, values]) if len(rows) > size else ""
        return catalog_pb2.SearchProductsResponse(
            products=[_to_message(row) for row in page], next_page_token=token
        )


def _conditions(request: Any) -> tuple[str, list[str | int]]:
    """The search as SQL that starts with AND, and its values."""
    if len(request.query) > _MAX_QUERY_CHARS:
        raise invalid("query", f"must be at most {_MAX_QUERY_CHARS} characters")
    parts: list[str] = []
    values: list[str | int] = []
    for word in request.query.lower().split():
        parts.append("AND instr(words, ?) > 0")
        values.append(word)
    if request.category:
        parts.append("AND category = ?")
        values.append(request.category)
    if request.HasField("min_price"):
        # A bound between two cents is rounded into the range it leaves open.
        parts.append("AND price_cents >= ?")
        values.append(to_cents_range(request.min_price, "min_price")[1])
    if request.HasField("max_price"):
        parts.append("AND price_cents <= ?")
        values.append(to_cents_range(request.max_price, "max_price")[0])
    return " ".join(parts), values


def _read(db: sqlite3.Connection, keys: Sequence[str]) -> list[Any]:
    """The products that exist, in the order of the keys; a key given twice is answered twice."""
    numbers = [number for key in keys if (number := seed.number_of(key, "p-")) is not None]
    marks = ", ".join("?" * len(numbers))
    rows = db.execute(f"SELECT * FROM products WHERE number IN ({marks})", numbers)
    by_number = {row["number"]: row for row in rows}
    return [_to_message(by_number[number]) for number in numbers if number in by_number]


def _to_message(row: sqlite3.Row) -> Any:
    product = catalog_pb2.Product(
        product_id=f"p-{row['number']}",
        name=row["name"],
        description=row["description"],
        price=to_money(row["price_cents"]),
        stock=row["stock"],
        rating=row["rating"],
        tags=json.loads(row["tags"]),
        category=row["category"],
        thumbnail=row["thumbnail"],
    )
    product.handling_time.FromSeconds(row["handling_s"])
    return product


def _fill(db: sqlite3.Connection) -> None:
    db.execute(_TABLES)
    db.executemany(
        "INSERT INTO products VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                row.number,
                row.name,
                row.description,
                row.price_cents,
                row.stock,
                row.rating,
                json.dumps(row.tags),
                row.category,
                row.handling_s,
                row.thumbnail,
                " ".join((row.name, row.description, *row.tags)).lower(),
            )
            for row in seed.products()
        ),
    )


if __name__ == "__main__":
    main(
        name="catalog",
        descriptor=catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"],
        opener=Catalog.open,
    )
