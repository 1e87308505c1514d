"""Deadlines: absolute, monotonic, in seconds; and their texts in header fields, of gRPC and of clients."""

import re
from collections.abc import Callable

__all__ = [
    "TIMEOUT_FIELDS",
    "left_s",
    "parse_connect_timeout",
    "parse_grpc_timeout",
    "parse_server_timeout",
]

_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_MILLISECONDS = re.compile(r"[0-9]{1,10}")
_SECONDS = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,9})?")


def left_s(deadline_s: float, now_s: float) -> float:
    """Seconds until the deadline; never negative."""
    return max(0.0, deadline_s - now_s)


def parse_grpc_timeout(text: str) -> float | None:
    """Seconds of a `grpc-timeout` value, or None if it is not one (1-8 digits and a unit)."""
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _UNITS_S[found[2]] if found else None


def parse_connect_timeout(text: str) -> float | None:
    """Seconds of a `connect-timeout-ms` value (Connect protocol: 1-10 digits), or None if it is not one."""
    return int(text) / 1000 if _MILLISECONDS.fullmatch(text) else None


def parse_server_timeout(text: str) -> float | None:
    """Seconds of an `x-server-timeout` value, with a fraction or without, or None if it is not one."""
    return float(text) if _SECONDS.fullmatch(text) else None


# Header fields by which a client says how long it waits: their reader, and what they look like.
TIMEOUT_FIELDS: dict[bytes, tuple[Callable[[str], float | None], str]] = {
    b"grpc-timeout": (parse_grpc_timeout, "a timeout such as 500m"),
    b"connect-timeout-ms": (parse_connect_timeout, "a number of milliseconds such as 500"),
    b"x-server-timeout": (parse_server_timeout, "a number of seconds such as 1.5"),
}
