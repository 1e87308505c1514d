"""Slots, the queue for them, and callers that leave at the worst moment."""

import asyncio

import pytest

from bff.upstream.bulkhead import Bulkhead

LONG_S = 60.0


async def queued(bulkhead: Bulkhead) -> "asyncio.Task[bool]":
    task = asyncio.create_task(bulkhead.enter(LONG_S))
    await asyncio.sleep(0)
    return task


@pytest.mark.rule("upstreams.11")
async def test_waiters_get_slots_in_order() -> None:
    bulkhead = Bulkhead(2)
    assert bulkhead.try_enter()
    assert bulkhead.try_enter()
    first, second = await queued(bulkhead), await queued(bulkhead)

    bulkhead.leave()

    assert await first
    assert not second.done()
    bulkhead.leave()
    assert await second
    assert bulkhead.in_flight == 2


@pytest.mark.rule("upstreams.11")
async def test_a_newcomer_cannot_take_the_slot_that_a_waiter_was_given() -> None:
    bulkhead = Bulkhead(1)
    bulkhead.try_enter()
    waiter = await queued(bulkhead)

    bulkhead.leave()

    assert not bulkhead.try_enter()
    assert await waiter


@pytest.mark.rule("upstreams.11")
async def test_a_full_queue_refuses_at_once() -> None:
    bulkhead = Bulkhead(1)
    bulkhead.try_enter()
    waiter = await queued(bulkhead)

    assert not await bulkhead.enter(LONG_S)

    bulkhead.leave()
    assert await waiter


@pytest.mark.rule("upstreams.11")
async def test_who_waited_in_vain_leaves_no_trace() -> None:
    bulkhead = Bulkhead(1)
    bulkhead.try_enter()

    assert not await bulkhead.enter(0.0)

    assert bulkhead.waiting == 0
    bulkhead.leave()
    assert bulkhead.in_flight == 0


@pytest.mark.rule("upstreams.11")
async def test_a_caller_that_leaves_in_the_turn_of_its_slot_gives_it_on() -> None:
    bulkhead = Bulkhead(1)
    bulkhead.try_enter()
    first = await queued(bulkhead)

    bulkhead.leave()  # hands the slot over ...
    first.cancel()  # ... to a caller that is gone before it runs
    with pytest.raises(asyncio.CancelledError):
        await first

    assert bulkhead.in_flight == 0
    assert bulkhead.try_enter()
