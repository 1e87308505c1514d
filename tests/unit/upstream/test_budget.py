"""What retries a budget pays for."""

import pytest

from bff.upstream.budget import Budget


def spent(budget: Budget, now_s: float, asked: int) -> int:
    return sum(budget.spend(now_s) for _ in range(asked))


@pytest.mark.rule("upstreams.9")
def test_it_starts_with_ten_and_then_pays_one_a_second() -> None:
    budget = Budget(0.2)

    assert spent(budget, 100.0, 50) == 11
    assert spent(budget, 100.9, 50) == 0
    assert spent(budget, 101.0, 50) == 1


@pytest.mark.rule("upstreams.9")
def test_five_first_attempts_earn_one_retry() -> None:
    budget = Budget(0.2)
    spent(budget, 100.0, 50)

    for _ in range(5):
        budget.earn()

    assert spent(budget, 100.5, 50) == 1


@pytest.mark.rule("upstreams.9")
def test_no_more_than_a_hundred_is_kept() -> None:
    budget = Budget(0.2)

    for _ in range(10_000):
        budget.earn()

    assert spent(budget, 100.0, 1_000) == 101
