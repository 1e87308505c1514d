"""Which failed attempt may be repeated, where, and after what wait. Pure.

What decides is first if the service can have seen the request, then if the operation bears a
second time, then the code.
"""

from typing import Literal

from msgspec import Struct

from bff.core.errors import UpstreamError
from bff.core.ports import Random
from bff.core.status import Code
from bff.upstream.upstream import Repeat, RetrySettings

__all__ = ["Choice", "History", "choose", "wait_before_s"]

# stop: the caller gets the error; elsewhere: at once at an endpoint not tried yet, unpaid;
# again: after a wait, paid from the budget.
Choice = Literal["stop", "elsewhere", "again"]

_FIRST_WAIT_S = 0.025
_WAIT_MAX_S = 0.25


class History(Struct):
    """One call so far: all tries, those that the service may have seen, whether one was refused unseen."""

    tries: int = 0
    attempts: int = 0
    refused: bool = False


def choose(
    error: UpstreamError,
    *,
    repeat: Repeat,
    settings: RetrySettings,
    history: History,
    other_endpoint: bool,
    per_try_ended: bool,
) -> Choice:
    """What follows on `error`, the outcome of the latest attempt, which `history` counts already.

    `other_endpoint`: there is one not tried yet. `per_try_ended`: only the time of this attempt was
    over, not that of the call.
    """
    if error.origin == "local":
        return "stop"
    if error.sent == "never":
        return "elsewhere" if other_endpoint else "stop"
    if error.sent == "refused" and not history.refused:
        # Not looked at by the service, so a sole endpoint may be asked again: it drained a connection.
        return "elsewhere"
    if repeat == "never" or history.attempts >= settings.attempts:
        return "stop"
    return "again" if _is_listed(error, settings, per_try_ended=per_try_ended) else "stop"


def wait_before_s(error: UpstreamError, *, retry: int, random: Random) -> float | None:
    """Seconds before retry number `retry` (from 1), or None if the service forbids it.

    Full jitter: callers that failed together must not come back together.
    """
    pushback_ms = error.pushback_ms
    if pushback_ms is not None:
        return None if pushback_ms < 0 else pushback_ms / 1000
    return random.uniform(0.0, min(_WAIT_MAX_S, _FIRST_WAIT_S * 2 ** (retry - 1)))


def _is_listed(error: UpstreamError, settings: RetrySettings, *, per_try_ended: bool) -> bool:
    code = error.code
    if code is Code.DEADLINE_EXCEEDED:
        return per_try_ended and error.origin == "wire"
    if code not in settings.codes:
        return False
    return code is not Code.RESOURCE_EXHAUSTED or error.pushback_ms is not None
