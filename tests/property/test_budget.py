"""However calls and retries come, a budget never pays more than its share and its floor."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.upstream.budget import Budget
from bff.upstream.bulkhead import Bulkhead

# Runs of the same event: budgets break when many of one kind come together. A number is a pause.
RUNS = st.one_of(
    st.tuples(st.sampled_from(["first", "retry"]), st.sampled_from([1, 3, 50])).map(
        lambda run: [run[0]] * run[1]
    ),
    st.floats(0.0, 1.5).map(lambda pause_s: [pause_s]),
)
EVENTS: st.SearchStrategy[list[str | float]] = st.lists(RUNS, max_size=30).map(
    lambda runs: [event for run in runs for event in run]
)


@pytest.mark.rule("upstreams.9")
@given(EVENTS, st.sampled_from([0.0, 0.1, 0.2, 0.5]))
def test_retries_stay_within_share_start_and_floor(events: list[str | float], share: float) -> None:
    budget, now_s, first, paid = Budget(share), 100.0, 0, 0
    for event in events:
        if event == "first":
            budget.earn()
            first += 1
        elif event == "retry":
            paid += budget.spend(now_s)
        else:
            now_s += float(event)

        assert 0.0 <= budget.level <= 100.0
        assert paid <= 10 + share * first + 1 + (now_s - 100.0) + 1e-6


@pytest.mark.rule("upstreams.9")
@given(EVENTS)
def test_a_second_after_the_last_retry_one_more_is_always_paid(events: list[str | float]) -> None:
    budget, now_s = Budget(0.2), 100.0
    for event in events:
        if event == "first":
            budget.earn()
        elif event == "retry":
            budget.spend(now_s)
        else:
            now_s += float(event)

    assert budget.spend(now_s + 1.0)


@pytest.mark.rule("upstreams.11")
@settings(deadline=None)
@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["enter", "leave", "cancel"]), st.integers(0, 9)), max_size=60),
)  # fmt: skip
def test_no_slot_is_lost_or_made_whoever_leaves_when(
    limit: int, steps: list[tuple[str, int]]
) -> None:
    async def play() -> None:
        bulkhead = Bulkhead(limit)
        tasks: list[asyncio.Task[bool]] = []
        for step, which in steps:
            if step == "enter":
                tasks.append(asyncio.create_task(bulkhead.enter(60.0)))
            elif step == "leave":
                held = [task for task in tasks if _has_slot(task)]
                if held:
                    tasks.remove(held[which % len(held)])
                    bulkhead.leave()
            elif tasks:
                tasks[which % len(tasks)].cancel()
            # Every other step runs in the turn of the one before: that is where slots get lost.
            if which % 2:
                await asyncio.sleep(0)
            assert 0 <= bulkhead.in_flight <= limit
            assert bulkhead.waiting <= limit
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in [task for task in tasks if _has_slot(task)]:
            bulkhead.leave()
        assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)

    asyncio.run(play())


def _has_slot(task: "asyncio.Task[bool]") -> bool:
    return task.done() and not task.cancelled() and task.result()
