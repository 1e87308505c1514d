"""What one client's stream makes of wire octets: JSON in a framing, events, or the octets of a file."""

from collections.abc import Callable
from math import inf
from typing import Protocol

from msgspec import Struct

from bff.core.exchange import StreamCutError
from bff.transcoding.streaming import EventFramer, Framer

__all__ = ["UNBUFFERED", "EventFields", "EventFraming", "Framing", "JsonFraming", "RawFraming"]

Fields = tuple[tuple[bytes, bytes], ...]
_OCTETS = b"application/octet-stream"
# For proxies that hold replies back until they have some kilobytes (nginx and those of its kind).
UNBUFFERED: Fields = ((b"x-accel-buffering", b"no"),)


class Framing(Protocol):
    """One stream's octets. `needs_first`: its content type is only known with its first message.

    After `quiet_s` seconds without a message `heartbeat` is sent. `fields` are header fields of the
    reply beside those of every stream.
    """

    needs_first: bool
    quiet_s: float
    heartbeat: bytes
    fields: Fields

    def content_type(self, first: bytes | None) -> bytes:
        """The reply's media type."""
        ...

    def start(self) -> bytes:
        """Before the first message."""
        ...

    def message(self, wire: bytes) -> bytes:
        """One message of the service."""
        ...

    def end(self) -> bytes:
        """After the last message."""
        ...

    def error(self, json: bytes) -> bytes:
        """Instead of the end. Raises StreamCutError where the framing has no word for it."""
        ...


class JsonFraming:
    """A JSON array, or a document a line; `write` makes JSON of wire octets."""

    needs_first = False
    quiet_s = inf
    heartbeat = b""
    fields = UNBUFFERED

    def __init__(self, framer: Framer, write: Callable[[bytes], bytes]) -> None:
        self._framer = framer
        self._write = write

    def content_type(self, _first: bytes | None) -> bytes:
        """Of the framer."""
        return self._framer.content_type

    def start(self) -> bytes:
        """Of the framer."""
        return self._framer.start()

    def message(self, wire: bytes) -> bytes:
        """Written, then framed."""
        return self._framer.message(self._write(wire))

    def end(self) -> bytes:
        """Of the framer."""
        return self._framer.end()

    def error(self, json: bytes) -> bytes:
        """Of the framer."""
        return self._framer.error(json)


class EventFields(Struct, kw_only=True, eq=False):
    """What server-sent events carry beside messages: readers of wire octets, and one for `Last-Event-ID`.

    `resume` gives octets to put behind those of the request, where the last value of a field counts.
    It raises Unfit for a text that the field cannot have.
    """

    event_id: Callable[[bytes], str] | None = None
    event: Callable[[bytes], str] | None = None
    resume: Callable[[str], bytes] | None = None
    heartbeat_s: float = 15.0
    retry_ms: int = 3000


class EventFraming:
    """Server-sent events (WHATWG HTML 9.2), kept alive by comments while nothing comes."""

    needs_first = False
    heartbeat = EventFramer.heartbeat
    fields = UNBUFFERED

    def __init__(self, write: Callable[[bytes], bytes], fields: EventFields) -> None:
        self._framer = EventFramer(fields.retry_ms)
        self._write = write
        self._event_id = fields.event_id
        self._event = fields.event
        self.quiet_s = fields.heartbeat_s

    def content_type(self, _first: bytes | None) -> bytes:
        """Of the framer."""
        return self._framer.content_type

    def start(self) -> bytes:
        """How long a client waits before it comes back."""
        return self._framer.start()

    def message(self, wire: bytes) -> bytes:
        """One event, with the id and name that the message's fields give."""
        return self._framer.message(
            self._write(wire),
            event_id="" if self._event_id is None else self._event_id(wire),
            event="" if self._event is None else self._event(wire),
        )

    def end(self) -> bytes:
        """Tells the client to close."""
        return self._framer.end()

    def error(self, json: bytes) -> bytes:
        """An event of its own name."""
        return self._framer.error(json)


class RawFraming:
    """The contents of google.api.HttpBody messages one after another, nothing between them."""

    needs_first = True
    quiet_s = inf
    heartbeat = b""
    # A file is read as a whole; what stands between may gather it.
    fields: Fields = ()

    def __init__(self, read: Callable[[bytes], tuple[str, bytes]]) -> None:
        self._read = read

    def content_type(self, first: bytes | None) -> bytes:
        """That of the first message."""
        return _OCTETS if first is None else self._read(first)[0].encode()

    def start(self) -> bytes:
        """Nothing."""
        return b""

    def message(self, wire: bytes) -> bytes:
        """The content as it is."""
        return self._read(wire)[1]

    def end(self) -> bytes:
        """Nothing."""
        return b""

    def error(self, json: bytes) -> bytes:
        """No octets of a file say that it is cut short, so the connection has to."""
        raise StreamCutError
