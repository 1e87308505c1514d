"""The Connect protocol as octets: media types, calls by GET, errors, the end of a stream. Pure.

[Connect] connectrpc.com/docs/protocol; clients' streams are not built.
"""

import binascii
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterable, Sequence
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from bff.core.errors import ClientError, Violation
from bff.core.exchange import Json
from bff.core.status import Code

__all__ = [
    "CONTENT_TYPES",
    "STREAM_TYPES",
    "GetCall",
    "codec_of",
    "connect_error",
    "end_envelope",
    "read_get",
    "stream_codec_of",
]

Encoding = Literal["proto", "json"]

CONTENT_TYPES: Final[dict[Encoding, bytes]] = {
    "proto": b"application/proto",
    "json": b"application/json",
}
STREAM_TYPES: Final[dict[Encoding, bytes]] = {
    "proto": b"application/connect+proto",
    "json": b"application/connect+json",
}
_ENCODINGS: Final[dict[bytes, Encoding]] = {text: name for name, text in CONTENT_TYPES.items()}
_STREAM_ENCODINGS: Final[dict[bytes, Encoding]] = {
    text: name for name, text in STREAM_TYPES.items()
}
_END: Final = 0x02
_PARAMETERS: Final = frozenset({"message", "encoding", "base64", "compression", "connect"})
# Each may be wrong in a way of its own; more than these say nothing new.
_MOST_PARAMETERS: Final = 16
# Connect spells this code with one l.
_NAMES: Final[dict[Code, str]] = {Code.CANCELLED: "canceled"}


class GetCall(Struct, frozen=True):
    """A call by GET: the message's octets, and how they are written; `is_zipped`: as gzip."""

    message: bytes
    encoding: Encoding
    is_zipped: bool = False


def codec_of(content_type: bytes | None) -> Encoding | None:
    """How the message of a body is written; None where the media type is none of Connect's."""
    return _known(content_type, _ENCODINGS)


def stream_codec_of(content_type: bytes | None) -> Encoding | None:
    """How the messages of a stream are written; None where the media type is none of Connect's streams."""
    return _known(content_type, _STREAM_ENCODINGS)


def _known(content_type: bytes | None, encodings: dict[bytes, Encoding]) -> Encoding | None:
    media_type, _, parameters = (content_type or b"").lower().partition(b";")
    found = encodings.get(media_type.strip(b" \t"))
    charset = parameters.replace(b'"', b"").strip(b" \t")
    return found if charset in {b"", b"charset=utf-8"} else None


def read_get(query: bytes) -> GetCall:
    """The call that a query holds. Raises ClientError with every fault."""
    if query.count(b"&") >= _MOST_PARAMETERS:
        raise ClientError("TOO_MANY_PARAMETERS", metadata={"limit": str(_MOST_PARAMETERS)})
    values: dict[str, bytes] = {}
    faults: list[tuple[str, str, str]] = []
    for pair in query.split(b"&") if query else ():
        key, _, text = pair.partition(b"=")
        name = unquote_to_bytes(key).decode("latin-1")
        if name not in _PARAMETERS:
            faults.append(("UNKNOWN_PARAMETER", name, "is not known"))
        elif name in values:
            faults.append(("INVALID_PARAMETER", name, "is given more than once"))
        else:
            values[name] = unquote_to_bytes(text.replace(b"+", b" "))
    encoding: Encoding = "json" if values.get("encoding") == b"json" else "proto"
    octets = _octets(values)
    faults += [
        ("INVALID_PARAMETER", name, text)
        for name, is_wrong, text in (
            ("connect", values.get("connect") != b"v1", "must be v1"),
            (
                "encoding",
                values.get("encoding") not in {b"json", b"proto"},
                "must be json or proto",
            ),
            ("base64", values.get("base64", b"1") != b"1", "must be 1"),
            (
                "compression",
                values.get("compression", b"identity") not in {b"identity", b"gzip"},
                "must be gzip or identity",
            ),
            ("message", "message" not in values, "is missing"),
            ("message", octets is None, "is not base64"),
        )
        if is_wrong
    ]
    if faults:
        violations = tuple(Violation(name, text) for _, name, text in faults)
        raise ClientError(faults[0][0], metadata={"parameter": faults[0][1]}, violations=violations)
    return GetCall(octets or b"", encoding, values.get("compression") == b"gzip")


def _octets(values: dict[str, bytes]) -> bytes | None:
    """The message, out of base64 (URL-safe, padded or not) where it is written so."""
    text = values.get("message", b"")
    if values.get("base64") != b"1":
        return text
    bare = text.rstrip(b"=")
    if bare.translate(None, _URL_SAFE):
        return None
    try:
        return urlsafe_b64decode(bare + b"=" * (-len(bare) % 4))
    except binascii.Error:
        return None


_URL_SAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def end_envelope(error: bytes = b"", fields: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The last envelope of a stream: `error` is that of `connect_error`, `fields` are trailing metadata."""
    tree: dict[str, Json] = {"error": msgspec.Raw(error)} if error else {}
    metadata: dict[str, list[str]] = {}
    for name, value in fields:
        metadata.setdefault(name.decode(), []).append(value.decode("latin-1"))
    if metadata:
        tree["metadata"] = metadata
    payload = msgspec.json.encode(tree)
    return bytes((_END,)) + len(payload).to_bytes(4, "big") + payload


def connect_error(code: Code, message: str, details: Sequence[tuple[str, bytes]]) -> bytes:
    """An error's body; `details` are full names of messages with their octets."""
    tree: dict[str, Json] = {"code": _NAMES.get(code, code.name.lower())}
    if message:
        tree["message"] = message
    if details:
        tree["details"] = [
            {"type": kind, "value": b64encode(octets).rstrip(b"=").decode()}
            for kind, octets in details
        ]
    return msgspec.json.encode(tree)
