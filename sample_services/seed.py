"""What the made-up shop is filled with: the same users, products and orders on every start.

Pure: numbers in, rows out. Prices follow from the product's number alone, so that catalog and
orders agree on them without asking each other.
"""

import random
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

__all__ = [
    "ADMIN_ID",
    "ORDERS",
    "PREMIUM_ID",
    "PRODUCTS",
    "START_UNIX_S",
    "USERS",
    "OrderRow",
    "ProductRow",
    "UserRow",
    "number_of",
    "orders",
    "price_cents",
    "products",
    "users",
]

USERS = 200
PRODUCTS = 500
ORDERS = 2_000
PREMIUM_ID = "u-1"
ADMIN_ID = "u-2"
GUEST_NUMBER = 3  # u-3 is registered, but entitled to no more than a guest

START_UNIX_S = 1_735_689_600  # 2025-01-01T00:00:00Z; order n was placed 4 h after order n - 1
_STEP_S = 4 * 3600

_FIRST = (
    "Ada", "Ben", "Chloe", "Dmitri", "Elif", "Femi", "Greta", "Hugo",
    "Ines", "Jonas", "Kaya", "Lena", "Marco", "Nadia", "Omar", "Paula",
)  # fmt: skip
_LAST = (
    "Weber", "Rossi", "Novak", "Dubois", "Yilmaz", "Okafor",
    "Jansen", "Silva", "Kowalski", "Larsen", "Moreau", "Fischer",
)  # fmt: skip
_CITIES = (
    ("Berlin", "10115", "DE"),
    ("Lyon", "69002", "FR"),
    ("Utrecht", "3511 AB", "NL"),
    ("Porto", "4000-322", "PT"),
    ("Krakow", "31-008", "PL"),
    ("Graz", "8010", "AT"),
)
_LANGUAGES = ("de", "fr", "nl", "pt", "pl", "en")

_KINDS = ("Light", "Sturdy", "Small", "Classic", "Folding", "Quiet", "Bright", "Handmade")
# By category number of catalog.proto; index 0 is CATEGORY_UNSPECIFIED and stays empty.
_THINGS: Sequence[Sequence[str]] = (
    (),
    ("Cookbook", "Atlas", "Novel", "Notebook"),
    ("Headphones", "Lamp", "Keyboard", "Radio"),
    ("Teapot", "Pan", "Bread Knife", "Scale"),
    ("Watering Can", "Hammock", "Bird Feeder", "Rake"),
    ("Puzzle", "Kite", "Wooden Train", "Marble Run"),
)

_PLACED, _PAID, _SHIPPED, _DELIVERED, _CANCELLED = 1, 2, 3, 4, 5
# The way an order went to be what it is, as statuses of orders.proto.
_HISTORY = {
    _PLACED: (_PLACED,),
    _PAID: (_PLACED, _PAID),
    _SHIPPED: (_PLACED, _PAID, _SHIPPED),
    _DELIVERED: (_PLACED, _PAID, _SHIPPED, _DELIVERED),
    _CANCELLED: (_PLACED, _CANCELLED),
}
# Those that tests and demos name: u-1 owns o-1 (paid), o-81 (delivered), o-161 (shipped), ...
_KNOWN_STATUS = {1: _PAID, 2: _SHIPPED, 81: _DELIVERED, 161: _SHIPPED, 241: _PLACED}
_KNOWN_OWNER_EVERY = 80


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    """A user; `tier` is a number of UserTier, `created_unix_s` seconds since 1970."""

    number: int
    email: str
    display_name: str
    tier: int
    phone: str | None
    created_unix_s: int
    street: str
    city: tuple[str, str, str]
    language: str


class ProductRow(msgspec.Struct, frozen=True, kw_only=True):
    """A product; `category` is a number of Category, `thumbnail` a PNG."""

    number: int
    name: str
    description: str
    price_cents: int
    stock: int
    rating: float
    tags: list[str]
    category: int
    handling_s: int
    thumbnail: bytes


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order; `history` are numbers of OrderStatus, `items` are (product number, quantity)."""

    number: int
    customer_id: str
    history: tuple[int, ...]
    items: tuple[tuple[int, int], ...]
    created_unix_s: int
    payment: tuple[Literal["card", "voucher"], str, str]
    note: str | None
    risk_note: str


def number_of(key: str, prefix: str) -> int | None:
    """The 12 of "o-12" for the prefix "o-"; None for what is no id of ours ("o-012", "o-x")."""
    digits = key.removeprefix(prefix)
    # 18 digits always fit SQLite's 64 bits.
    if digits == key or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        return None
    return None if digits.startswith("0") else int(digits)


def price_cents(number: int) -> int:
    """The price of product `number` in cents of EUR: 1.95 to 199.95."""
    return 195 + (number * 7919) % 199 * 100


def users() -> Iterator[UserRow]:
    """u-1 (premium), u-2 (administrator), u-3 (guest tier), then 197 others."""
    chance = random.Random(1)
    known_tiers = {1: 3, 2: 2, GUEST_NUMBER: 1}
    for number in range(1, USERS + 1):
        first, last = chance.choice(_FIRST), chance.choice(_LAST)
        yield UserRow(
            number=number,
            email=f"{first}.{last}.{number}@example.com".lower(),
            display_name=f"{first} {last}",
            tier=known_tiers.get(number) or chance.choice((2, 2, 2, 3)),
            phone=f"+4930{1_000_000 + number}" if number % 3 else None,
            created_unix_s=START_UNIX_S - (USERS - number) * 86_400,
            street=f"{chance.choice(_LAST)} Street {chance.randint(1, 99)}",
            city=chance.choice(_CITIES),
            language=chance.choice(_LANGUAGES),
        )


def products() -> Iterator[ProductRow]:
    """p-1 to p-500, the categories in turn."""
    chance = random.Random(2)
    for number in range(1, PRODUCTS + 1):
        category = 1 + number % 5
        kind, thing = chance.choice(_KINDS), chance.choice(_THINGS[category])
        yield ProductRow(
            number=number,
            name=f"{kind} {thing} No. {number}",
            description=f"A {kind.lower()} {thing.lower()} that people keep for years.",
            price_cents=price_cents(number),
            # Every 50th is sold out, for screens that must show it.
            stock=0 if number % 50 == 0 else chance.randint(1, 400),
            rating=chance.randint(20, 50) / 10,
            tags=[kind.lower(), thing.lower().replace(" ", "-")],
            category=category,
            handling_s=chance.choice((3600, 86_400, 172_800)),
            thumbnail=_png(number * 40 % 256, category * 50, 120),
        )


def orders() -> Iterator[OrderRow]:
    """o-1 to o-2000, each newer than the one before; u-1 owns o-1, o-81, o-161, ..., u-2 o-2, ..."""
    chance = random.Random(3)
    for number in range(1, ORDERS + 1):
        drawn = chance.choice((_PLACED, _PAID, _SHIPPED, _DELIVERED, _DELIVERED, _CANCELLED))
        owner = chance.randint(3, USERS)
        turn = number % _KNOWN_OWNER_EVERY
        picks = chance.sample(range(1, PRODUCTS + 1), chance.randint(1, 5))
        yield OrderRow(
            number=number,
            customer_id=f"u-{turn if turn in {1, 2} else owner}",
            history=_HISTORY[_KNOWN_STATUS.get(number, drawn)],
            items=tuple((product, chance.randint(1, 4)) for product in picks),
            created_unix_s=START_UNIX_S + number * _STEP_S,
            payment=_payment(number),
            note="Please ring twice." if number % 7 == 0 else None,
            risk_note="address changed lately" if number % 25 == 0 else "",
        )


def _payment(number: int) -> tuple[Literal["card", "voucher"], str, str]:
    if number % 4 == 0:
        return ("voucher", f"GIFT-{number:06d}", "")
    return ("card", ("visa", "mastercard")[number % 2], f"{number * 37 % 10_000:04d}")


def _png(red: int, green: int, blue: int) -> bytes:
    """A picture of one pixel (PNG specification, 5.6: signature, IHDR, IDAT, IEND)."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes((0, red, green, blue)))
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, body) for kind, body in parts)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
