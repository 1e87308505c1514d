"""Framings of server streams: which octets stand around each message. Pure; nothing is awaited.

A framer gives octets for the start, each message, the end, and an error after the start. The pieces
of one stream, joined, are one well-formed document of its media type.
"""

from typing import Protocol

from bff.core.media import media_ranges

__all__ = [
    "ArrayFramer",
    "EventFramer",
    "Framer",
    "NdjsonFramer",
    "choose_framing",
    "framer_for",
]


class Framer(Protocol):
    """Octets of one stream, in order: start, messages, then end or error."""

    content_type: bytes

    def start(self) -> bytes:
        """Before the first message."""
        ...

    def message(self, json: bytes) -> bytes:
        """One message; `json` is compact, so it holds no line break."""
        ...

    def end(self) -> bytes:
        """After the last message of a stream that ended well."""
        ...

    def error(self, json: bytes) -> bytes:
        """Instead of the end; `json` is what stands under `error`."""
        ...


class ArrayFramer:
    """One JSON array. Its opening bracket goes with the first octets, so that `start` may be sent early."""

    __slots__ = ("_is_first",)

    content_type = b"application/json"

    def __init__(self) -> None:
        self._is_first = True

    def start(self) -> bytes:
        return b"["

    def message(self, json: bytes) -> bytes:
        if self._is_first:
            self._is_first = False
            return json
        return b"," + json

    def end(self) -> bytes:
        return b"]"

    def error(self, json: bytes) -> bytes:
        return self.message(b'{"error":' + json + b"}") + b"]"


class NdjsonFramer:
    """One message a line; the end needs no octets."""

    __slots__ = ()

    content_type = b"application/x-ndjson"

    def start(self) -> bytes:
        return b""

    def message(self, json: bytes) -> bytes:
        return json + b"\n"

    def end(self) -> bytes:
        return b""

    def error(self, json: bytes) -> bytes:
        return b'{"error":' + json + b"}\n"


class EventFramer:
    """Server-sent events (WHATWG HTML 9.2). `event: end` tells the client to close, not to come back."""

    __slots__ = ("_retry",)

    content_type = b"text/event-stream"
    # Sent while the stream is idle; a comment, which the client drops.
    heartbeat = b": hb\n\n"

    def __init__(self, retry_ms: int | None = None) -> None:
        self._retry = b"" if retry_ms is None else b"retry: %d\n\n" % retry_ms

    def start(self) -> bytes:
        return self._retry

    def message(self, json: bytes, *, event_id: str = "", event: str = "") -> bytes:
        """One event. An id or a name that would break the line format is left out."""
        lines = b""
        if event_id and not _breaks(event_id):
            lines = b"id: " + event_id.encode() + b"\n"
        if event and not _breaks(event):
            lines += b"event: " + event.encode() + b"\n"
        return lines + b"data: " + json + b"\n\n"

    def end(self) -> bytes:
        return b"event: end\ndata: {}\n\n"

    def error(self, json: bytes) -> bytes:
        return b'event: error\ndata: {"error":' + json + b"}\n\n"


def _breaks(text: str) -> bool:
    return "\n" in text or "\r" in text or "\0" in text


_FRAMERS: dict[str, type[ArrayFramer | NdjsonFramer | EventFramer]] = {
    "array": ArrayFramer,
    "ndjson": NdjsonFramer,
    "sse": EventFramer,
}
_FRAMING_OF: dict[str, str] = {
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/event-stream": "sse",
}
_ANY = frozenset({"*/*", "application/*", "application/json"})


def framer_for(framing: str) -> Framer:
    """A new framer for one stream: array, ndjson or sse."""
    return _FRAMERS[framing]()


def choose_framing(accept: bytes | None, default: str) -> str:
    """The framing that Accept likes best (RFC 9110 12.5.1): array, ndjson or sse.

    Ties, ranges such as `*/*`, `application/json` and fields that name no framing give `default`.
    """
    if accept is None or accept in {b"*/*", b"application/json"}:
        return default
    best, best_quality = default, 0.0
    # The default goes first among equals.
    liked = {default: 0.0}
    for name, _, quality in media_ranges(accept):
        framing = _FRAMING_OF.get(name, default if name in _ANY else "")
        if framing:
            liked[framing] = max(liked.get(framing, 0.0), quality)
    for framing, quality in liked.items():
        if quality > best_quality:
            best, best_quality = framing, quality
    return best
