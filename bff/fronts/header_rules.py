"""What a request's header fields may be, and what those say that the door acts on (RFC 9110, RFC 9112).

Judged once for each set of fields: a connection that repeats them is not judged again.
"""

import re
from collections.abc import Callable

from msgspec import Struct

from bff.core.deadline import TIMEOUT_FIELDS
from bff.core.errors import ClientError
from bff.core.headers import Headers
from bff.fronts.caps import DoorCaps
from bff.fronts.codings import CODINGS, Inflater
from bff.fronts.exchange import CLOSE

__all__ = ["HARD_DEADLINE_S", "Judged", "judge_headers", "missing_host"]

# No request may take longer, whatever route and client say; streams have times of their own.
HARD_DEADLINE_S = 30.0
_LEAST_DEADLINE_S = 0.05
_MOST_DIGITS = 19
_MAX_NAME_BYTES = 128
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?").fullmatch
# Given twice, two readers could take different ones.
_SINGLE = frozenset(
    {
        b"host",
        b"authorization",
        b"content-type",
        b"content-length",
        b"x-api-key",
        b"origin",
        b"idempotency-key",
        b"accept-version",
        *TIMEOUT_FIELDS,
    }
)
_TIMEOUTS = frozenset(TIMEOUT_FIELDS)
# Understood in few forms only.
_JUDGED = frozenset({b"transfer-encoding", b"expect", b"content-encoding"})
# What a 415 names that may be sent (RFC 9110 15.5.16).
_TAKEN_TYPES = ((b"accept", b"application/json"),)
_TAKEN_CODINGS = ((b"accept-encoding", b"gzip, br, zstd, identity"),)


class Judged(Struct, frozen=True, kw_only=True):
    """What a set of header fields says, for as long as these caps hold; `hint_s` is the least of its timeouts.

    `host` is empty where there is none.
    """

    caps: DoorCaps
    size_bytes: int
    host: str
    declared_bytes: int
    announces_body: bool
    coding: Callable[[], Inflater] | None
    hint_s: float | None


def judge_headers(headers: Headers, caps: DoorCaps) -> Judged:
    """Sizes, names, doubles; then what Host, Content-Length and the client's timeouts say. Raises ClientError."""
    raw = headers.raw
    if len(raw) > caps.header_fields:
        raise ClientError("HEADERS_TOO_LARGE", headers=CLOSE)
    size = 0
    seen: dict[bytes, bytes] = {}
    codings: list[Callable[[], Inflater]] = []
    for name, value in raw:
        size += len(name) + len(value)
        if len(value) > caps.header_value_bytes or len(name) > _MAX_NAME_BYTES:
            raise ClientError("HEADERS_TOO_LARGE", headers=CLOSE)
        if name in _SINGLE:
            if name in seen:
                raise _given_twice(name)
            seen[name] = value
        elif name in _JUDGED or b"_" in name:
            codings += _judge_field(name, value)
    if size > caps.headers_bytes:
        raise ClientError("HEADERS_TOO_LARGE", headers=CLOSE)
    if len(codings) > 1:
        # Coded twice, or by a list of fields that two readers could take in two ways.
        raise _unknown_coding()
    host = _read_singles(seen)
    length = seen.get(b"content-length", b"")
    return Judged(
        caps=caps,
        size_bytes=size,
        host=host.decode("ascii").lower(),
        # More digits say no more: any such number is beyond every cap, and thousands are no int.
        declared_bytes=int(length[:_MOST_DIGITS]) if length.isdigit() else 0,
        announces_body=length != b"0" if length else headers.get(b"transfer-encoding") is not None,
        coding=codings[0] if codings else None,
        hint_s=None if _TIMEOUTS.isdisjoint(seen) else _least_hint_s(seen),
    )


def _read_singles(seen: dict[bytes, bytes]) -> bytes:
    """Judge the fields that may stand once; returns Host, empty if there is none."""
    for name, value in seen.items():
        if not value.isascii():
            raise _bad_header(name, "has characters that are not ASCII")
    host = seen.get(b"host")
    if host is None:
        return b""
    if not _HOST(host):
        raise _bad_header(b"host", "is missing or not valid")
    return host


def missing_host() -> ClientError:
    """Of a request without Host; HTTP/1.0 alone may leave it out (RFC 9112 3.2)."""
    return _bad_header(b"host", "is missing or not valid")


def _least_hint_s(seen: dict[bytes, bytes]) -> float:
    """The least of what the client says that it waits; very short ones are raised to what a call needs."""
    least_s = HARD_DEADLINE_S
    for name, (parse, form) in TIMEOUT_FIELDS.items():
        hint = seen.get(name)
        if hint is None:
            continue
        seconds = parse(hint.decode("ascii"))
        if seconds is None:
            raise _bad_header(name, f"is not {form}")
        least_s = min(least_s, max(seconds, _LEAST_DEADLINE_S))
    return least_s


def _judge_field(name: bytes, value: bytes) -> tuple[Callable[[], Inflater], ...]:
    """Fields that we understand in few forms only; the coding that the body has to be freed of, if it names one."""
    if b"_" in name:
        raise _bad_header(name, "has an underscore in its name")
    if name == b"transfer-encoding" and value.lower() != b"chunked":
        raise ClientError("TRANSFER_CODING", headers=CLOSE)
    if name == b"expect" and value.lower() != b"100-continue":
        raise ClientError("EXPECTATION", headers=CLOSE)
    if name == b"content-encoding" and value.lower() != b"identity":
        coding = CODINGS.get(value.lower())
        if coding is None:
            raise _unknown_coding()
        return (coding,)
    return ()


def _given_twice(name: bytes) -> ClientError:
    if name == b"content-type":
        # A body of two types is of none that we read, so the reply says which would be.
        return ClientError(
            "UNSUPPORTED_MEDIA_TYPE",
            "The header content-type is given twice.",
            metadata={"header": "content-type"},
            headers=(*_TAKEN_TYPES, *CLOSE),
        )
    return _bad_header(name, "is given twice")


def _unknown_coding() -> ClientError:
    return ClientError(
        "UNSUPPORTED_MEDIA_TYPE",
        "This content coding is not supported.",
        headers=(*_TAKEN_CODINGS, *CLOSE),
    )


def _bad_header(name: bytes, what: str) -> ClientError:
    shown = name.decode("latin-1")
    return ClientError(
        "INVALID_HEADER",
        f"The header {shown} {what}.",
        metadata={"header": shown},
        headers=CLOSE,
    )
