"""One stream's messages, and every way in which the wait for the next may end."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from bff.core.errors import ClientError, DeniedError, GatewayError, UpstreamError
from bff.core.status import Code
from bff.pipeline.feed import END, QUIET, Feed
from tests.support.virtual_loop import run_virtual


class Service:
    """Messages after given waits; knows how far it was read and that it was closed."""

    def __init__(self, *waits_s: float, error: UpstreamError | None = None) -> None:
        self._waits_s = waits_s
        self._error = error
        self.made = 0
        self.closed = False

    async def messages(self) -> AsyncGenerator[bytes, None]:
        try:
            for wait_s in self._waits_s:
                await asyncio.sleep(wait_s)
                self.made += 1
                yield b"m%d" % self.made
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True

    def feed(self, *, idle_s: float = 300.0, max_duration_s: float = 3600.0) -> Feed:
        return Feed(
            self.messages(), upstream="orders", idle_s=idle_s, max_duration_s=max_duration_s
        )


def now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.rule("transcoding.138")
def test_a_message_is_made_when_it_is_asked_for() -> None:
    async def main() -> None:
        service = Service(0, 0, 0)
        feed = service.feed()
        assert await feed.take() == b"m1"
        await asyncio.sleep(100)
        assert service.made == 1
        assert [await feed.take(), await feed.take(), await feed.take()] == [b"m2", b"m3", END]
        await feed.close()

    run_virtual(main())


@pytest.mark.rule("transcoding.140")
def test_what_is_said_on_the_other_side_is_no_silence() -> None:
    async def main() -> None:
        feed = Service(1000).feed(idle_s=10)
        loop = asyncio.get_running_loop()
        for at_s in (4, 12, 20):
            loop.call_at(loop.time() + at_s, feed.stir)
        began_s = now_s()
        with pytest.raises(UpstreamError) as caught:
            await feed.take()
        assert (caught.value.reason, now_s() - began_s) == ("TIMEOUT", 30)
        await feed.close()

    run_virtual(main())


def test_the_first_fault_is_how_it_ends() -> None:
    async def main() -> None:
        service = Service(1000)
        feed = service.feed()
        taking = asyncio.get_running_loop().create_task(feed.take())
        await asyncio.sleep(1)
        feed.fail(ClientError("INVALID_JSON"))
        feed.finish()
        with pytest.raises(ClientError):
            await taking
        await feed.close()
        assert service.closed

    run_virtual(main())


@pytest.mark.rule("transcoding.129")
def test_a_quiet_time_does_not_disturb_the_wait() -> None:
    async def main() -> None:
        service = Service(40)
        feed = service.feed()
        words = [await feed.take(15), await feed.take(15), await feed.take(15)]
        assert (words, now_s()) == ([QUIET, QUIET, b"m1"], 1040)
        await feed.close()

    run_virtual(main())


@pytest.mark.rule("transcoding.140")
def test_too_long_a_silence_ends_it() -> None:
    async def main() -> None:
        service = Service(5, 200)
        feed = service.feed(idle_s=100)
        assert await feed.take() == b"m1"
        assert await feed.take(60) is QUIET
        with pytest.raises(UpstreamError) as caught:
            await feed.take(60)
        assert (caught.value.code, now_s()) == (Code.DEADLINE_EXCEEDED, 1105)
        await feed.close()
        assert service.closed

    run_virtual(main())


@pytest.mark.rule("transcoding.140")
def test_a_stream_lives_no_longer_than_it_may_however_lively_it_is() -> None:
    async def main() -> None:
        feed = Service(*[1.0] * 100).feed(max_duration_s=10)
        taken = [await feed.take() for _ in range(9)]
        with pytest.raises(UpstreamError) as caught:
            await feed.take()
        assert (caught.value.reason, len(taken), now_s()) == ("TIMEOUT", 9, 1010)
        await feed.close()

    run_virtual(main())


@pytest.mark.rule("transcoding.140")
def test_it_ends_when_the_gateway_leaves() -> None:
    async def main() -> None:
        service = Service(1, 1000)
        feed = service.feed()
        await feed.take()
        asyncio.get_running_loop().call_later(5, feed.finish)
        with pytest.raises(GatewayError) as caught:
            await feed.take()
        assert (caught.value.code, now_s()) == (Code.UNAVAILABLE, 1006)
        await feed.close()
        assert service.closed

    run_virtual(main())


@pytest.mark.rule("transcoding.137")
def test_it_ends_with_the_credential_of_its_caller() -> None:
    async def main() -> None:
        feed = Feed(
            Service(1, 1000).messages(),
            upstream="orders",
            idle_s=300,
            max_duration_s=3600,
            expires_in_s=60,
        )
        await feed.take()
        with pytest.raises(DeniedError) as caught:
            await feed.take()
        assert (caught.value.code, now_s()) == (Code.UNAUTHENTICATED, 1060)
        await feed.close()

    run_virtual(main())


def test_an_error_of_the_service_is_raised_as_it_is() -> None:
    async def main() -> None:
        error = UpstreamError("ABORTED", code=Code.ABORTED)
        feed = Service(0, error=error).feed()
        await feed.take()
        with pytest.raises(UpstreamError) as caught:
            await feed.take()
        assert caught.value is error
        await feed.close()

    run_virtual(main())


@pytest.mark.rule("transcoding.139")
@pytest.mark.parametrize("after_s", [0.0, 3.0, 7.0, 15.0])
def test_a_reader_that_is_cut_leaves_no_task_and_no_call(after_s: float) -> None:
    """The virtual loop fails the test for every task that is left."""

    async def read(feed: Feed) -> None:
        try:
            while await feed.take(2) is not END:
                pass
        finally:
            await feed.close()

    async def main() -> None:
        service = Service(5, 5, 5, 1000)
        reader = asyncio.ensure_future(read(service.feed()))
        await asyncio.sleep(after_s)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert service.closed

    run_virtual(main())


def test_one_timer_serves_many_messages() -> None:
    """A hundred messages arm the loop's clock as often as one."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        armed: list[float] = []
        call_at = loop.call_at

        def counted(when: float, *rest: object) -> asyncio.TimerHandle:
            armed.append(when)
            return call_at(when, *rest)  # type: ignore[arg-type]  # passed on as it came

        gate = asyncio.Event()

        async def messages() -> AsyncGenerator[bytes, None]:
            for _ in range(100):
                await asyncio.sleep(0)
                yield b"m"
            await gate.wait()

        feed = Feed(messages(), upstream="orders", idle_s=300, max_duration_s=3600)
        loop.call_at = counted  # type: ignore[method-assign,assignment]  # what is counted
        for _ in range(100):
            await feed.take(15)
        assert len(armed) == 1
        await feed.close()

    run_virtual(main())
