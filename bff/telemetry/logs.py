"""Event lines: what an operator may want to know, one JSON object each, by structlog.

Only events that are rare by nature become lines here; what happens per request is counted by
`metrics` and told by `access_log`.
"""

from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from bff.core.events import BreakerMoved, Event, KeysFetched, Noted
from bff.core.ports import Clock

__all__ = ["EventLog"]

MAX_TEXT = 1_024

_NAMES: Mapping[type[Event], str] = {BreakerMoved: "breaker_moved", KeysFetched: "keys_fetched"}
_ROUTINE = frozenset({"ok", "unchanged"})


class EventLog:
    """`emit` hears every event and writes those worth a line through `write` (a LineWriter's)."""

    def __init__(self, *, write: Callable[[bytes], None], clock: Clock, worker: int = 0) -> None:
        self._unix_s = clock.unix_s
        encode = msgspec.json.Encoder(enc_hook=str).encode
        # Wrapped by hand: structlog.configure() would be state of the whole process.
        self._logger: Any = structlog.wrap_logger(
            _Lines(write),
            processors=[
                self._add_time,
                _cut_texts,
                structlog.processors.JSONRenderer(serializer=lambda fields, **_: encode(fields)),
            ],
            wrapper_class=structlog.BoundLogger,
            cache_logger_on_first_use=False,
            worker=worker,
        )

    def emit(self, event: Event) -> None:
        """Write the event's line, if it gets one."""
        if isinstance(event, Noted):
            self.note(event.name, **event.fields)
        elif isinstance(event, KeysFetched) and event.result in _ROUTINE:
            return
        elif (name := _NAMES.get(type(event))) is not None:
            self.note(name, **msgspec.structs.asdict(event))

    def note(self, name: str, **fields: str | float | bool) -> None:
        """Write a line of one's own; `fields` hold figures and names, never secrets."""
        self._logger.info(name, **fields)

    def _add_time(
        self, _logger: Any, _method: str, fields: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        moment = datetime.fromtimestamp(self._unix_s(), UTC)
        return {"ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **fields}


class _Lines:
    """The end of structlog's chain: a rendered line goes to the writer."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def info(self, line: bytes) -> None:
        self._write(line + b"\n")


def _cut_texts(
    _logger: Any, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = value[:MAX_TEXT].encode("utf-8", "replace").decode()
    return fields
