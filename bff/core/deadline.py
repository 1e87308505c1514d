"""Deadlines: absolute, monotonic, in seconds; and their text in `grpc-timeout` (gRPC over HTTP/2)."""

import re

__all__ = ["grpc_timeout_text", "left_s", "parse_grpc_timeout"]

_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")


def left_s(deadline_s: float, now_s: float) -> float:
    """Seconds until the deadline; never negative."""
    return max(0.0, deadline_s - now_s)


def grpc_timeout_text(seconds: float) -> str:
    """`grpc-timeout` for what is left, rounded down to milliseconds, at most 8 digits.

    Raises ValueError below 1 ms: such a call must not be sent.
    """
    milliseconds = int(seconds * 1000)
    if milliseconds < 1:
        raise ValueError("less than 1 ms is left")
    return (
        f"{milliseconds}m" if milliseconds < 10**8 else f"{min(milliseconds // 1000, 10**8 - 1)}S"
    )


def parse_grpc_timeout(text: str) -> float | None:
    """Seconds of a `grpc-timeout` value, or None if it is not one (1-8 digits and a unit)."""
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _UNITS_S[found[2]] if found else None
