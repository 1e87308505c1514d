"""What features report. `telemetry` listens; features know only `Emit` and never who hears them.

An event is cheap to make and says what happened in the past tense, with figures and no secrets.
"""

from collections.abc import Callable

from msgspec import Struct

__all__ = [
    "AttemptEnded",
    "AuthFailed",
    "BreakerMoved",
    "Emit",
    "Event",
    "FieldSkipped",
    "KeysFetched",
    "LimitDecided",
    "LimitsPassed",
    "Noted",
    "OperationEnded",
    "PartlyAnswered",
    "SourceEnded",
    "silent",
]


class Event(Struct, frozen=True):
    """The parent of all events; listeners choose by class."""


class AttemptEnded(Event, frozen=True):
    """One attempt at a service ended. `code` is a gRPC name, `kind` is first or retry."""

    upstream: str
    operation: str
    kind: str
    code: str
    origin: str
    seconds: float


class BreakerMoved(Event, frozen=True):
    """A breaker changed state; `calls` and `failed` are the figures of its window."""

    upstream: str
    operation: str
    before: str
    after: str
    calls: int
    failed: int
    why: str


class LimitsPassed(Event, frozen=True):
    """All policies of a route admitted one request; made once a route, for it comes with every request."""

    policies: tuple[str, ...]
    source: str


class LimitDecided(Event, frozen=True):
    """A policy admitted or denied; `source` is memory, store or local (store lost)."""

    policy: str
    decision: str
    source: str


class AuthFailed(Event, frozen=True):
    """A credential was refused; `cause` is for the log, the client reads only the reason."""

    provider: str
    reason: str
    cause: str


class FieldSkipped(Event, frozen=True):
    """A header field or metadata did not cross: `direction` is in or out, `cause` name or value."""

    operation: str
    direction: str
    cause: str


class KeysFetched(Event, frozen=True):
    """A key set was asked for; `result` is ok, unchanged or the fault."""

    issuer: str
    result: str


class SourceEnded(Event, frozen=True):
    """A source of an aggregate ended: `outcome` is ok or the state that the client sees."""

    route: str
    source: str
    outcome: str
    reason: str


class PartlyAnswered(Event, frozen=True):
    """A reply left with a part left out."""

    route: str


class OperationEnded(Event, frozen=True):
    """A GraphQL request ended; `outcome` is ok, partial, or where it stopped."""

    outcome: str


class Noted(Event, frozen=True):
    """Something an operator may want to know, with its name and a few figures."""

    name: str
    fields: dict[str, str | int | float | bool]


Emit = Callable[[Event], None]


def silent(_event: Event) -> None:
    """An Emit for those who need none."""
