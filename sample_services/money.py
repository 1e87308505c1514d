"""Cents of EUR, as the tables hold them, to and from `sample.type.v1.Money`."""

from typing import Any

from sample_services.generated.sample.type.v1 import money_pb2
from sample_services.refusal import invalid

__all__ = ["CURRENCY", "to_cents_range", "to_money"]

CURRENCY = "EUR"
_NANOS_PER_CENT = 10_000_000
_MAX_UNITS = 10**12  # far above any price, far below what SQLite's integers end at


def to_money(cents: int) -> Any:
    """Money of `cents` >= 0."""
    units, rest = divmod(cents, 100)
    return money_pb2.Money(currency_code=CURRENCY, units=units, nanos=rest * _NANOS_PER_CENT)


def to_cents_range(money: Any, field: str) -> tuple[int, int]:
    """The whole cents just below and just above the amount; equal where it is whole cents.

    Raises Refused (INVALID_ARGUMENT, naming `field`) for another currency, a negative amount, one
    above 10^12 units, or nanos out of range.
    """
    if money.currency_code not in {"", CURRENCY}:
        raise invalid(f"{field}.currency_code", f"must be {CURRENCY}")
    if not 0 <= money.units <= _MAX_UNITS:
        raise invalid(f"{field}.units", f"must be 0 to {_MAX_UNITS}")
    if not 0 <= money.nanos < 100 * _NANOS_PER_CENT:
        raise invalid(f"{field}.nanos", "must be 0 to 999999999")
    cents, rest = divmod(money.nanos, _NANOS_PER_CENT)
    floor = money.units * 100 + cents
    return floor, floor + (1 if rest else 0)
