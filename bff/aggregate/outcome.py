"""How the sources of one request ended, and what the client is told of it.

`Aggregate-Status` (an RFC 9651 dictionary), the `problems` list, and the status of a reply that
cannot be made.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from bff.aggregate.plan import Plan, Source
from bff.core.errors import GatewayError
from bff.core.exchange import Json
from bff.core.joining import Key
from bff.core.status import Code

__all__ = [
    "AGGREGATE_STATUS",
    "Outcome",
    "RequiredSourceError",
    "SourceResult",
    "State",
    "fail",
    "is_complete",
    "problems_of",
    "status_text",
]

AGGREGATE_STATUS = b"aggregate-status"
# A problem has at most 512 bytes; the paths are what could make it longer.
_MAX_PATHS = 8
_MAX_PATH_CHARS = 160

State = Literal["ok", "skipped", "failed", "omitted", "null", "default", "partial"]

# The client did nothing wrong when these come from a call whose input another service made.
_CLIENT_FAULTS = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.ABORTED,
        Code.CANCELLED,
    }
)
_BAD_GATEWAY = 502
_STATE_TITLES: dict[str, str] = {
    "default": "A stand-in is shown for a part.",
    "partial": "Some entries of a part are missing.",
}
_CODE_TITLES: dict[Code, str] = {
    Code.DEADLINE_EXCEEDED: "A part did not answer in time.",
    Code.PERMISSION_DENIED: "This caller may not see a part.",
    Code.NOT_FOUND: "A part was not found.",
    Code.RESOURCE_EXHAUSTED: "A part was asked for too often.",
}


class SourceResult(Struct, kw_only=True):
    """How a source ended. Times are monotonic seconds, 0 where it was not called."""

    name: str
    state: State
    reason: str = ""
    error: GatewayError | None = None
    value: Json = None
    missing_keys: tuple[Key, ...] = ()
    calls: int = 0
    started_s: float = 0.0
    ended_s: float = 0.0

    @property
    def delivered(self) -> bool:
        """True where the client sees something that was meant to be shown."""
        return self.state in {"ok", "skipped", "default", "partial"}


class Outcome(Struct, kw_only=True):
    """A request's sources in declared order, and the scope in which the reply is made."""

    results: tuple[SourceResult, ...]
    scope: Mapping[str, Json]

    @property
    def complete(self) -> bool:
        """True where nothing that was asked for is missing."""
        return all(is_complete(result) for result in self.results)


class RequiredSourceError(GatewayError):
    """A required source failed, and its own status would tell the client the wrong thing.

    Either the mapping names another status, or the failing call was fed by another service, so that
    the client cannot mend it (502).
    """

    def __init__(self, cause: GatewayError, *, status: int, code: Code, public: str) -> None:
        super().__init__(
            cause.reason,
            public,
            detail=cause.detail,
            metadata=cause.metadata,
            retry_after_s=cause.retry_after_s,
        )
        self._status = status
        self._code = code

    @property
    def status(self) -> int:
        """The status chosen for this source."""
        return self._status

    @property
    def code(self) -> Code:
        """INTERNAL where the fault is ours or a service's, else the service's own."""
        return self._code


def is_complete(result: SourceResult) -> bool:
    """A source that had nothing to do is complete."""
    return result.state in {"ok", "skipped"}


def fail(source: Source, error: GatewayError, results: Sequence[SourceResult]) -> GatewayError:
    """The error of a reply that cannot be made because of this source, with its name and header."""
    status = source.statuses.get(error.code)
    if status is not None:
        error = RequiredSourceError(error, status=status, code=error.told_code, public=error.public)
    elif not source.from_inputs and error.code in _CLIENT_FAULTS:
        error = RequiredSourceError(
            error, status=_BAD_GATEWAY, code=Code.INTERNAL, public="The service failed."
        )
    error.metadata = {**error.metadata, "source": source.name}
    # What was cut off because of the failure did not fail itself; only known ends are told.
    known = [result for result in results if result.state == "failed"]
    text = status_text(known).encode()
    others = (header for header in error.headers if header[0] != AGGREGATE_STATUS)
    error.headers = (*others, (AGGREGATE_STATUS, text))
    return error


_MEMBERS: tuple[tuple[str, frozenset[str]], ...] = (
    ("missing", frozenset({"omitted", "null"})),
    ("partial", frozenset({"partial"})),
    ("default", frozenset({"default"})),
    ("failed", frozenset({"failed"})),
)


def status_text(results: Sequence[SourceResult]) -> str:
    """`complete`, or `complete=?0` with what is not: `missing=(products;reason=timeout)`."""
    parts = []
    for member, states in _MEMBERS:
        items = [
            f"{_token(result.name)};reason={result.reason.lower()}"
            for result in results
            if result.state in states
        ]
        if items:
            parts.append(f"{member}=({' '.join(items)})")
    return ", ".join(["complete=?0", *parts]) if parts else "complete"


def _token(name: str) -> str:
    # RFC 9651 3.3.4: a token starts with a letter; other names go as strings.
    return name if name[:1].isalpha() and name.isascii() else f'"{name}"'


def problems_of(plan: Plan, outcome: Outcome, *, domain: str) -> list[dict[str, Json]]:
    """One problem object (RFC 9457) for each source that is not complete, in declared order."""
    return [
        _problem(source, result, domain)
        for source, result in zip(plan.sources, outcome.results, strict=True)
        if not is_complete(result)
    ]


def _problem(source: Source, result: SourceResult, domain: str) -> dict[str, Json]:
    error = result.error
    assert error is not None
    title = _STATE_TITLES.get(result.state) or _CODE_TITLES.get(
        error.told_code, "A part is not available now."
    )
    paths = [path for path in source.places if len(path) <= _MAX_PATH_CHARS][:_MAX_PATHS]
    problem: dict[str, Json] = {
        "type": f"https://{domain}/problems/{result.reason.lower().replace('_', '-')}",
        "title": title,
        "status": error.status,
        "code": error.told_code.name,
        "reason": error.told_reason,
        "source": source.name,
        "state": result.state,
        "paths": paths,
        "retryable": error.is_retryable,
    }
    if result.missing_keys:
        problem["missing_keys"] = list(result.missing_keys[:_MAX_PATHS])
    return problem
