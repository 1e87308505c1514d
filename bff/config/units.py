"""Units of the configuration language: durations, sizes, rates, shares; to numbers and back to text.

The only place that knows how they are written. A bare number where a unit is needed is an error
that says how to write it.
"""

import re

from msgspec import Struct

__all__ = [
    "Rate",
    "UnitError",
    "duration_text",
    "parse_duration_s",
    "parse_rate",
    "parse_share",
    "parse_size_bytes",
    "rate_text",
    "share_text",
    "size_text",
]

_DURATIONS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZES_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_PERIODS_S = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "hour": 3600.0, "h": 3600.0}
_PERIODS_S |= {"day": 86_400.0, "d": 86_400.0}
# 12 digits hold any sensible figure and keep every product exact in a double.
_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(_NUMBER + r"(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB)")
_SHARE = re.compile(_NUMBER + "%")
_RATE = re.compile(
    r"([0-9]{1,12})/(?:(s|sec|min|m|hour|h|day|d)|([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d))"
)
_DECIMAL_SIZE = re.compile(r"([0-9]{1,12})\s*(k|kb|kib|m|mb|mib|g|gb|gib)", re.IGNORECASE)


# As other programs write it.
_FOREIGN_UNIT = re.compile(
    r"\s*(?:(milli\w*|msecs?|ms)|(seconds?|secs?|s)|(minutes?|mins?|m)|(hours?|hrs?|h)|(days?|d))",
    re.IGNORECASE,
)
_FOREIGN_RATE = re.compile(
    r"([0-9]{1,12})\s*(?:/|per|r/)\s*(?:(seconds?|secs?|s)|(minutes?|mins?|m)|(hours?|hrs?|h)|(days?|d))",
    re.IGNORECASE,
)


class UnitError(ValueError):
    """A text that is no such figure; `hint` says how to write it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Rate(Struct, frozen=True):
    """`count` per `period_s` seconds; both above zero."""

    count: int
    period_s: float


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a block" if isinstance(value, dict) else "a list"
    return repr(value)[:40] if isinstance(value, str) else str(value)[:40]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_duration_s(value: object) -> float:
    """Seconds of `250ms 5s 10m 1h 30d`. Raises UnitError."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found:
        return float(found[1]) * _DURATIONS_S[found[2]]
    hint = f"write {value}s or {value}ms" if _is_number(value) else _meant_duration(value)
    raise UnitError(f"expected a duration such as 250ms, got {_shown(value)}", hint)


def _meant_duration(value: object) -> str:
    """The hint for `4 sec`, `1m30s` and the like; empty where they do not read as a duration."""
    if not isinstance(value, str):
        return ""
    total_s, at = 0.0, 0
    while at < len(value):
        number = re.compile(_NUMBER).match(value, at)
        unit = number and _FOREIGN_UNIT.match(value, number.end())
        if not number or not unit:
            return ""
        total_s += float(number[1]) * list(_DURATIONS_S.values())[(unit.lastindex or 1) - 1]
        at = unit.end()
    return f"write {duration_text(total_s)}" if total_s else ""


def parse_size_bytes(value: object) -> int:
    """Bytes of `512B 64KiB 1MiB 1GiB`. Raises UnitError."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found:
        return int(found[1]) * _SIZES_BYTES[found[2]]
    hint = ""
    if _is_number(value):
        hint = f"write {value}B, or use KiB or MiB"
    elif isinstance(value, str) and (near := _DECIMAL_SIZE.fullmatch(value)):
        hint = f"write {near[1]}{near[2][0].upper()}iB"
    raise UnitError(f"expected a size such as 64KiB, got {_shown(value)}", hint)


def parse_share(value: object) -> float:
    """A share 0..1 of `5%`. Raises UnitError."""
    found = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if found and float(found[1]) <= 100:
        return float(found[1]) / 100
    hint = f"write {value}%" if _is_number(value) else ""
    if found:
        hint = "a share is at most 100%"
    raise UnitError(f"expected a share such as 5%, got {_shown(value)}", hint)


def parse_rate(value: object) -> Rate:
    """Count and period of `20/s 60/min 100/10s 1000/day`. Raises UnitError."""
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        if isinstance(value, str) and value.endswith(("/week", "/month", "/w", "/year")):
            raise UnitError(
                f"expected a rate such as 60/min, got {_shown(value)}",
                "a rate is per s, min, hour or day; week and month are for quotas",
            )
        hint = f"write {value}/min or {value}/s" if _is_number(value) else ""
        if isinstance(value, str) and (near := _FOREIGN_RATE.fullmatch(value)):
            hint = f"write {near[1]}/{('s', 'min', 'hour', 'day')[(near.lastindex or 2) - 2]}"
        raise UnitError(f"expected a rate such as 60/min, got {_shown(value)}", hint)
    period_s = _PERIODS_S[found[2]] if found[2] else float(found[3]) * _DURATIONS_S[found[4]]
    if not int(found[1]) or not period_s:
        raise UnitError(f"a rate must be above zero, got {_shown(value)}")
    return Rate(int(found[1]), period_s)


def _plain(number: float) -> str:
    return f"{number:.9f}".rstrip("0").rstrip(".")


def duration_text(seconds: float) -> str:
    """Seconds as a person writes them: the largest unit that divides them."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _DURATIONS_S[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return "0s" if not seconds else f"{_plain(seconds * 1000)}ms"


def size_text(size_bytes: int) -> str:
    """Bytes as a person writes them."""
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _SIZES_BYTES[unit] == 0:
            return f"{size_bytes // _SIZES_BYTES[unit]}{unit}"
    return f"{size_bytes}B"


def share_text(share: float) -> str:
    """A share as percent."""
    return f"{_plain(share * 100)}%"


def rate_text(rate: Rate) -> str:
    """A rate as a person writes it."""
    names = {1.0: "s", 60.0: "min", 3600.0: "hour", 86_400.0: "day"}
    return f"{rate.count}/{names.get(rate.period_s) or duration_text(rate.period_s)}"
