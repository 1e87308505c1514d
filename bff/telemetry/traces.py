"""Trace context (W3C Trace Context, level 2): strict reading, new ids, the header's text. No spans yet."""

import re

__all__ = ["parse_traceparent", "traceparent"]

# 3.2.2: version, trace-id, parent-id, flags; lower-case hex only.
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


def parse_traceparent(value: bytes) -> tuple[str, str, bool] | None:
    """(trace id, span id, sampled) of a `traceparent` value, or None if it is to be ignored.

    A version above 00 may go on after the flags, if a dash comes first; `ff` is no version and ids of
    zeros are none (3.2.2.1 to 3.2.2.5).
    """
    found = _TRACEPARENT.fullmatch(value)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == b"ff" or (version == b"00" and rest is not None):
        return None
    if trace_id == b"0" * 32 or span_id == b"0" * 16:
        return None
    return trace_id.decode(), span_id.decode(), bool(int(flags, 16) & _SAMPLED)


def traceparent(trace_id: str, span_id: str, sampled: bool) -> str:
    """The `traceparent` value to send on."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"
