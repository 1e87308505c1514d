"""Which failed attempt may be repeated, for which operation."""

import pytest

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.upstream.retry import Choice, History, choose, wait_before_s
from bff.upstream.upstream import Repeat, RetrySettings
from tests.support.upstream_fakes import Half, fault, of_service

LISTED = RetrySettings(codes=frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.ABORTED}))

NEVER_SENT = fault(sent="never")
REFUSED = fault(sent="refused")
LOST = fault()
DOWN = of_service(Code.UNAVAILABLE)
MISSING = of_service(Code.NOT_FOUND)
BUSY = of_service(Code.RESOURCE_EXHAUSTED)
BUSY_BACK = of_service(Code.RESOURCE_EXHAUSTED, pushback_ms=10)
LATE = fault(Code.DEADLINE_EXCEEDED, reason="TIMEOUT")
LOCAL = fault(reason="BREAKER_OPEN", origin="local", sent="never")


@pytest.mark.rule("upstreams.9")
@pytest.mark.parametrize(
    ("repeat", "error", "choice"),
    [
        ("always", NEVER_SENT, "elsewhere"),
        ("idempotent", NEVER_SENT, "elsewhere"),
        ("never", NEVER_SENT, "elsewhere"),
        ("always", REFUSED, "elsewhere"),
        ("never", REFUSED, "elsewhere"),
        ("always", LOST, "again"),
        ("idempotent", LOST, "again"),
        ("never", LOST, "stop"),
        ("always", DOWN, "again"),
        ("idempotent", DOWN, "again"),
        ("never", DOWN, "stop"),
        ("always", MISSING, "stop"),
        ("always", BUSY, "stop"),
        ("always", BUSY_BACK, "again"),
        ("never", BUSY_BACK, "stop"),
        ("always", of_service(Code.ABORTED), "again"),
        ("always", of_service(Code.INTERNAL), "stop"),
        ("always", LATE, "stop"),
        ("always", LOCAL, "stop"),
    ],
)
def test_choice(repeat: Repeat, error: UpstreamError, choice: Choice) -> None:
    history = History(tries=1, attempts=error.sent != "never")

    chosen = choose(
        error,
        repeat=repeat,
        settings=LISTED,
        history=history,
        other_endpoint=True,
        per_try_ended=False,
    )

    assert chosen == choice


@pytest.mark.rule("upstreams.9")
def test_a_deadline_is_repeated_if_it_was_that_of_the_attempt_alone() -> None:
    chosen = choose(
        LATE,
        repeat="always",
        settings=LISTED,
        history=History(tries=1, attempts=1),
        other_endpoint=False,
        per_try_ended=True,
    )

    assert chosen == "again"


@pytest.mark.rule("upstreams.9")
@pytest.mark.parametrize(
    ("error", "history", "other"),
    [
        (DOWN, History(tries=3, attempts=3), True),
        (NEVER_SENT, History(tries=1), False),
        (REFUSED, History(tries=2, attempts=3, refused=True), True),
    ],
    ids=["attempts-used-up", "no-other-endpoint", "refused-twice"],
)
def test_it_ends(error: UpstreamError, history: History, other: bool) -> None:
    chosen = choose(
        error,
        repeat="always",
        settings=LISTED,
        history=history,
        other_endpoint=other,
        per_try_ended=False,
    )

    assert chosen == "stop"


@pytest.mark.rule("upstreams.9")
@pytest.mark.parametrize(
    ("retry", "most_s"), [(1, 0.025), (2, 0.05), (3, 0.1), (4, 0.2), (5, 0.25)]
)
def test_wait_has_full_jitter_and_doubles_to_a_quarter_second(retry: int, most_s: float) -> None:
    assert wait_before_s(DOWN, retry=retry, random=Half([0.0])) == 0.0
    assert wait_before_s(DOWN, retry=retry, random=Half([1.0])) == pytest.approx(most_s)


@pytest.mark.rule("upstreams.9")
def test_pushback_replaces_the_wait_and_a_negative_one_forbids_the_retry() -> None:
    asked = of_service(Code.UNAVAILABLE, pushback_ms=1500)
    forbidden = of_service(Code.UNAVAILABLE, pushback_ms=-1)

    assert wait_before_s(asked, retry=1, random=Half()) == 1.5
    assert wait_before_s(forbidden, retry=1, random=Half()) is None
