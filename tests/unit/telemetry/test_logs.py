"""Event lines."""

import json

from bff.core.events import BreakerMoved, KeysFetched, LimitDecided, Noted
from bff.telemetry.logs import EventLog


class StillClock:
    def now_s(self) -> float:
        return 0.0

    def unix_s(self) -> float:
        return 1_700_000_000.042


def test_a_rare_event_becomes_one_line_with_its_figures() -> None:
    lines: list[bytes] = []
    log = EventLog(write=lines.append, clock=StillClock(), worker=3)

    log.emit(BreakerMoved("orders", "/s.O/Get", "closed", "open", 20, 18, "failures"))
    log.emit(Noted("limiter_degraded", {"store": "main", "errors": 3}))

    moved, noted = [json.loads(line) for line in lines]
    assert moved == {
        "ts": "2023-11-14T22:13:20.042Z",
        "event": "breaker_moved",
        "worker": 3,
        "upstream": "orders",
        "operation": "/s.O/Get",
        "before": "closed",
        "after": "open",
        "calls": 20,
        "failed": 18,
        "why": "failures",
    }
    assert (noted["event"], noted["store"], noted["errors"]) == ("limiter_degraded", "main", 3)


def test_what_happens_per_request_writes_no_line() -> None:
    lines: list[bytes] = []
    log = EventLog(write=lines.append, clock=StillClock())

    log.emit(LimitDecided("p", "admit", "memory"))
    log.emit(KeysFetched("https://id.example", "unchanged"))

    assert lines == []


def test_a_value_cannot_forge_a_line() -> None:
    lines: list[bytes] = []
    log = EventLog(write=lines.append, clock=StillClock())

    log.emit(Noted("x", {"text": 'a\n{"event":"forged"}\ud800' + "b" * 10_000}))

    (line,) = lines
    assert line.count(b"\n") == 1
    assert len(line) < 2_000
    assert json.loads(line)["event"] == "x"
