"""Readers that take nothing, in front of a real worker: little is held for them, here and in the kernel."""

import pytest

from tests.support.slow_readers import slow_readers


@pytest.mark.rule("transcoding.138")
@pytest.mark.parametrize("framing", ["array", "sse", "socket down"])
async def test_a_service_waits_for_readers_that_take_nothing(framing: str) -> None:
    """What is on its way fills every buffer there is, and ends far below what a kernel would take by itself."""
    figures = await slow_readers(5, framing)

    assert 0 < figures.sent_kib_each < 1024
