"""GraphQL errors as values: what a client reads when a document, a variable or a call failed."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from graphql import GraphQLError
from msgspec import Struct

from bff.core.errors import GatewayError, UpstreamError
from bff.core.exchange import Json

__all__ = [
    "FaultKind",
    "PublicText",
    "RequestFault",
    "coded",
    "error_of_call",
    "formatted",
    "in_response_order",
    "public_text_of",
]

# Where a document stopped; the HTTP front chooses a status by it. `None` elsewhere means executed.
FaultKind = Literal["limit", "parse", "validation", "operation", "variables", "method"]

# What a stranger may read of an error.
PublicText = Callable[[GatewayError], str]

_BUG_TEXT = "The gateway failed."
_MAX_MESSAGE_CHARS = 1024


class RequestFault(Struct, frozen=True):
    """A document that is not executed: errors as the client reads them."""

    kind: FaultKind
    errors: tuple[dict[str, Json], ...]


def public_text_of(error: GatewayError) -> str:
    """The error's own public sentence."""
    return error.public


def coded(message: str, code: str, **extensions: Json) -> dict[str, Json]:
    """A formatted error without a place."""
    return {"message": message, "extensions": {"code": code, "reason": code, **extensions}}


def error_of_call(error: GatewayError, public_text: PublicText) -> GraphQLError:
    """A failed call as a field's error; `grpc` and `service` only where a service was asked."""
    extensions: dict[str, Any] = {"code": error.told_code.name, "reason": error.told_reason}
    if isinstance(error, UpstreamError):
        extensions["grpc"] = {"status": int(error.told_code)}
        if error.upstream:
            extensions["service"] = error.upstream
    extensions["retryable"] = error.is_retryable
    if error.retry_after_s is not None:
        extensions["retry_after_ms"] = round(error.retry_after_s * 1000)
    return GraphQLError(public_text(error), extensions=extensions, original_error=error)


def formatted(
    errors: Iterable[GraphQLError], code: str, *, on_bug: Callable[[BaseException], None]
) -> list[dict[str, Json]]:
    """Errors as the client reads them; those without a code of their own get this one.

    An exception that is none of ours or the library's shows a fixed sentence and goes to `on_bug`.
    """
    return [_formatted(error, code, on_bug) for error in errors]


def _formatted(
    error: GraphQLError, code: str, on_bug: Callable[[BaseException], None]
) -> dict[str, Json]:
    message, extensions = error.message[:_MAX_MESSAGE_CHARS], dict(error.extensions or {})
    cause = error.original_error
    if cause is not None and not isinstance(cause, GraphQLError | GatewayError):
        on_bug(cause)
        message, extensions = _BUG_TEXT, {"code": "INTERNAL"}
    made: dict[str, Json] = {"message": message}
    if error.locations:
        made["locations"] = [
            {"line": place.line, "column": place.column} for place in error.locations
        ]
    if error.path is not None:
        made["path"] = list(error.path)
    extensions.setdefault("code", code)
    extensions.setdefault("reason", extensions["code"])
    made["extensions"] = extensions
    return made


def in_response_order(
    errors: list[dict[str, Json]], data: Json, max_errors: int
) -> list[dict[str, Json]]:
    """Errors by their position in the response; beyond the cap the last one says how many there are."""
    if len(errors) > 1:
        ranks: dict[int, Mapping[str, int]] = {}
        errors = sorted(errors, key=lambda error: _position(error.get("path") or [], data, ranks))
    if len(errors) <= max_errors:
        return errors
    left_off = len(errors) - max_errors + 1
    note = coded(f"{left_off} more errors are not listed.", "LIMIT_EXCEEDED", limit="errors")
    return [*errors[: max_errors - 1], note]


def _position(
    path: list[str | int], data: Json, ranks: dict[int, Mapping[str, int]]
) -> tuple[int, ...]:
    position = []
    for step in path:
        if isinstance(step, int):
            position.append(step)
            data = data[step] if isinstance(data, list) and step < len(data) else None
            continue
        if not isinstance(data, dict):
            break
        names = ranks.get(id(data))
        if names is None:
            names = ranks[id(data)] = {name: rank for rank, name in enumerate(data)}
        position.append(names.get(step, -1))
        data = data.get(step)
    return tuple(position)
