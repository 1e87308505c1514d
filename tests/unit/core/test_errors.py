"""What an error says of itself: the code that is shown, and whether the request may be sent again."""

import pytest

from bff.core.errors import ClientError, GatewayError, Origin, UpstreamError
from bff.core.status import REASONS, Code


@pytest.mark.rule("edge.16")
@pytest.mark.parametrize(
    ("reason", "code", "origin", "shown"),
    [
        ("REPLY_TOO_LARGE", Code.RESOURCE_EXHAUSTED, "local", Code.INTERNAL),
        ("UPSTREAM_PROTOCOL", Code.UNAUTHENTICATED, "wire", Code.INTERNAL),
        ("UPSTREAM_PROTOCOL", Code.UNKNOWN, "wire", Code.INTERNAL),
        ("TIMEOUT", Code.DEADLINE_EXCEEDED, "wire", Code.DEADLINE_EXCEEDED),
        ("RESOURCE_EXHAUSTED", Code.RESOURCE_EXHAUSTED, "service", Code.RESOURCE_EXHAUSTED),
        ("DATA_LOSS", Code.DATA_LOSS, "service", Code.DATA_LOSS),
    ],
)
def test_a_fault_of_ours_shows_its_reasons_own_code(
    reason: str, code: Code, origin: Origin, shown: Code
) -> None:
    """Only a service's own word is shown as it is; retries and breakers read the attempt's status."""
    error = UpstreamError(reason, code=code, origin=origin)

    assert error.told_code is shown
    assert error.code is code


@pytest.mark.rule("edge.16")
@pytest.mark.parametrize("reason", REASONS)
def test_only_what_may_pass_later_is_retryable(reason: str) -> None:
    """What is too large stays so, though it shares its code with limits, which do pass."""
    row = REASONS[reason]
    may_pass = row.code in {
        Code.UNAVAILABLE,
        Code.DEADLINE_EXCEEDED,
        Code.RESOURCE_EXHAUSTED,
        Code.ABORTED,
    }

    assert GatewayError(reason).is_retryable is (may_pass and row.status not in {413, 431})


def test_a_request_that_is_too_large_is_never_retryable() -> None:
    assert not ClientError("BODY_TOO_LARGE").is_retryable
    assert ClientError("RATE_LIMITED").is_retryable
