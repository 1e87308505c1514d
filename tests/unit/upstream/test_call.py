"""A call through all layers, over channels that do what they are told."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from bff.core.errors import UpstreamError
from bff.core.events import AttemptEnded, BreakerMoved, Event
from bff.core.exchange import UpstreamCall
from bff.core.status import Code
from bff.upstream.call import (
    Endpoint,
    Operation,
    RetrySettings,
    UpstreamSettings,
    UpstreamStack,
)
from bff.upstream.upstream import Repeat
from tests.support.upstream_fakes import Answer, FakeChannel, FakeClock, Half, fault, of_service

NOW_S = 1_000.0
LATER_S = NOW_S + 10.0


class Lab:
    """A stack over fake channels; endpoint n answers by `scripts[n]`."""

    def __init__(self, *scripts: Iterable[Answer], takes_s: float = 0.0, **settings: Any) -> None:
        self.clock = FakeClock(NOW_S)
        self.events: list[Event] = []
        self.notes: list[UpstreamCall] = []
        self.channels = [
            FakeChannel(*script, clock=self.clock, takes_s=takes_s) for script in scripts
        ]
        made = iter(self.channels)
        self.stack = UpstreamStack(
            UpstreamSettings(
                name="orders",
                endpoints=tuple(Endpoint(f"10.0.0.{n}:1") for n in range(len(scripts))),
                **{"balance": "round_robin", **settings},
            ),
            clock=self.clock,
            random=Half(),
            emit=self.events.append,
            connect=lambda _endpoint: next(made),
            sleep=self.clock.sleep,
        )

    async def call(self, operation: Operation, deadline_s: float = LATER_S) -> bytes:
        reply = await self.stack.unary(operation, b"asked", (("k", "v"),), deadline_s, self.notes)
        return reply.message

    def attempts(self) -> list[AttemptEnded]:
        return [event for event in self.events if isinstance(event, AttemptEnded)]


def get(repeat: Repeat = "always", **more: Any) -> Operation:
    return Operation(
        name="orders.Get", path="/shop.v1.Orders/Get", upstream="orders", repeat=repeat, **more
    )


async def test_a_good_call_is_sent_once_and_noted() -> None:
    lab = Lab([b"one"])

    assert await lab.call(get()) == b"one"

    (sent,) = lab.channels[0].sent
    assert sent[:3] == ("/shop.v1.Orders/Get", b"asked", (("k", "v"),))
    assert lab.notes == [
        UpstreamCall(operation="orders.Get", upstream="orders", code="OK", ms=0.0, attempts=1)
    ]
    assert lab.attempts() == [AttemptEnded("orders", "orders.Get", "first", "OK", "service", 0.0)]


@pytest.mark.rule("upstreams.8")
@pytest.mark.parametrize(
    ("timeout_s", "per_try_s", "until_s"),
    [
        (None, None, LATER_S - 0.005),
        (2.0, None, NOW_S + 1.995),
        (20.0, None, LATER_S - 0.005),
        (2.0, 0.5, NOW_S + 0.5),
    ],
    ids=["deadline", "timeout", "longer-timeout", "per-try"],
)
async def test_an_attempt_gets_the_least_of_its_times(
    timeout_s: float | None, per_try_s: float | None, until_s: float
) -> None:
    lab = Lab([b""])

    await lab.call(get(timeout_s=timeout_s, retry=RetrySettings(per_try_s=per_try_s)))

    assert lab.channels[0].sent[0][3] == pytest.approx(until_s)


@pytest.mark.rule("upstreams.8")
async def test_below_five_milliseconds_nothing_is_sent() -> None:
    lab = Lab([b""])

    with pytest.raises(UpstreamError) as caught:
        await lab.call(get(), NOW_S + 0.0049)

    assert (caught.value.reason, caught.value.origin) == ("NO_TIME", "local")
    assert lab.channels[0].sent == []
    assert lab.attempts() == []
    assert (lab.notes[0].code, lab.notes[0].attempts) == ("DEADLINE_EXCEEDED", 0)


@pytest.mark.rule("upstreams.9")
async def test_a_retry_goes_elsewhere_later_and_says_which_one_it_is() -> None:
    lab = Lab([of_service(Code.UNAVAILABLE)], [b"two"])

    assert await lab.call(get()) == b"two"

    assert lab.clock.now == pytest.approx(NOW_S + 0.0125)  # the middle of 0..25 ms
    assert lab.channels[1].sent[0][2] == (("k", "v"), ("grpc-previous-rpc-attempts", "1"))
    assert [attempt.kind for attempt in lab.attempts()] == ["first", "retry"]
    assert lab.notes[0].attempts == 2


@pytest.mark.rule("upstreams.9")
@pytest.mark.parametrize(("repeat", "sent"), [("always", 3), ("idempotent", 3), ("never", 1)])
async def test_what_may_have_been_seen_is_repeated_for_safe_operations_alone(
    repeat: Repeat, sent: int
) -> None:
    lab = Lab([fault()])

    with pytest.raises(UpstreamError):
        await lab.call(get(repeat))

    assert len(lab.channels[0].sent) == sent


@pytest.mark.rule("upstreams.9")
async def test_unsafe_calls_go_to_each_endpoint_once_while_none_can_be_connected() -> None:
    lab = Lab([fault(sent="never")], [fault(sent="never")], [b"three"])

    assert await lab.call(get("never")) == b"three"

    assert [len(channel.sent) for channel in lab.channels] == [1, 1, 1]
    assert lab.clock.now == NOW_S
    assert lab.stack.describe()["retry_budget"] == 10.2
    assert lab.channels[2].sent[0][2] == (("k", "v"),)


@pytest.mark.rule("upstreams.6")
async def test_an_endpoint_that_refused_is_avoided_for_a_while() -> None:
    lab = Lab([fault(sent="never")], [b"two"])
    await lab.call(get())
    await lab.call(get())
    assert len(lab.channels[0].sent) == 1

    lab.clock.now += 0.2
    for _ in range(2):
        await lab.call(get())

    assert len(lab.channels[0].sent) == 2


@pytest.mark.rule("upstreams.6")
async def test_a_sole_endpoint_that_refused_is_asked_again() -> None:
    lab = Lab([fault(sent="never"), b"one"])
    with pytest.raises(UpstreamError):
        await lab.call(get())

    assert await lab.call(get()) == b"one"
    assert lab.stack.describe()["endpoints"][0]["connect_failures"] == 0


async def test_without_endpoints_there_is_a_reason() -> None:
    lab = Lab()

    with pytest.raises(UpstreamError) as caught:
        await lab.call(get())

    assert (caught.value.reason, caught.value.upstream) == ("NO_ENDPOINT", "orders")


@pytest.mark.rule("upstreams.15")
async def test_after_retries_the_last_word_of_the_service_is_shown() -> None:
    lab = Lab([of_service(Code.UNAVAILABLE)], [fault()], [fault()])

    with pytest.raises(UpstreamError) as caught:
        await lab.call(get())

    assert (caught.value.origin, caught.value.reason) == ("service", "UNAVAILABLE")


@pytest.mark.rule("upstreams.9")
@pytest.mark.parametrize("left_s", [0.015, 1.0])
async def test_pushback_past_the_deadline_forbids_the_retry(left_s: float) -> None:
    lab = Lab([of_service(Code.UNAVAILABLE, pushback_ms=500), b"late"])

    if left_s < 0.5:
        with pytest.raises(UpstreamError):
            await lab.call(get(), NOW_S + left_s)
    else:
        assert await lab.call(get(), NOW_S + left_s) == b"late"
        assert lab.clock.now == NOW_S + 0.5


@pytest.mark.rule("upstreams.9")
async def test_without_budget_there_is_no_retry_but_one_a_second() -> None:
    lab = Lab([of_service(Code.UNAVAILABLE)], budget=0.0)
    operation = get(breaker=None)

    for _ in range(30):
        lab.clock.now = NOW_S
        with pytest.raises(UpstreamError):
            await lab.call(operation)

    assert len(lab.channels[0].sent) == 30 + 10 + 1


@pytest.mark.rule("upstreams.10")
async def test_an_open_breaker_refuses_with_retry_after_and_sends_nothing() -> None:
    lab = Lab([of_service(Code.INTERNAL)])
    for _ in range(20):
        with pytest.raises(UpstreamError):
            await lab.call(get())

    with pytest.raises(UpstreamError) as caught:
        await lab.call(get())

    error = caught.value
    assert (error.reason, error.code, error.origin, error.sent) == (
        "BREAKER_OPEN",
        Code.UNAVAILABLE,
        "local",
        "never",
    )
    assert error.retry_after_s == 1.0
    assert len(lab.channels[0].sent) == 20
    assert [event for event in lab.events if isinstance(event, BreakerMoved)] == [
        BreakerMoved("orders", "orders.Get", "closed", "open", 20, 20, "too many calls failed")
    ]


@pytest.mark.rule("upstreams.10")
async def test_a_breaker_outlives_a_version_that_leaves_it_alone_and_no_other() -> None:
    lab = Lab([of_service(Code.INTERNAL)])
    for _ in range(20):
        with pytest.raises(UpstreamError):
            await lab.call(get())

    with pytest.raises(UpstreamError, match="BREAKER_OPEN"):
        await lab.call(get(timeout_s=3.0))
    with pytest.raises(UpstreamError, match="INTERNAL"):
        await lab.call(get(breaker=None))


@pytest.mark.rule("upstreams.10")
async def test_breakers_are_per_operation() -> None:
    lab = Lab([of_service(Code.INTERNAL)])
    for _ in range(20):
        with pytest.raises(UpstreamError):
            await lab.call(get())
    other = Operation(name="orders.List", path="/shop.v1.Orders/List", upstream="orders")

    with pytest.raises(UpstreamError, match="INTERNAL"):
        await lab.call(other)


@pytest.mark.rule("upstreams.10")
@pytest.mark.parametrize(("left_s", "state"), [(0.5, "closed"), (5.0, "open")])
async def test_a_clients_short_hint_trips_nothing(left_s: float, state: str) -> None:
    lab = Lab([fault(Code.DEADLINE_EXCEEDED, reason="TIMEOUT")])

    for _ in range(20):
        with pytest.raises(UpstreamError):
            await lab.call(get(timeout_s=2.0), lab.clock.now + left_s)

    assert lab.stack.describe()["breakers"]["orders.Get"]["state"] == state


async def _hang(_deadline_s: float) -> bytes:
    await asyncio.Event().wait()
    return b""


@pytest.mark.rule("upstreams.10")
async def test_a_caller_that_leaves_frees_its_slot_and_its_probe() -> None:
    lab = Lab([*[of_service(Code.INTERNAL)] * 20, _hang, b"back"], limit=1)
    for _ in range(20):
        with pytest.raises(UpstreamError):
            await lab.call(get())
    lab.clock.now += 1.5

    probe = asyncio.create_task(lab.call(get()))
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe

    assert await lab.call(get()) == b"back"
    figures = lab.stack.describe()
    assert (figures["running"], figures["bulkhead"]["in_flight"]) == (0, 0)
    assert figures["endpoints"][0]["in_flight"] == 0
    assert lab.notes[20].code == "CANCELLED"


@pytest.mark.rule("upstreams.11")
async def test_a_full_bulkhead_refuses_without_sending() -> None:
    lab = Lab([_hang], limit=1, bulkhead_wait_s=0.0)
    first = asyncio.create_task(lab.call(get()))
    await asyncio.sleep(0)

    with pytest.raises(UpstreamError) as caught:
        await lab.call(get())

    assert (caught.value.reason, caught.value.origin, caught.value.status) == (
        "BULKHEAD_FULL",
        "local",
        503,
    )
    assert caught.value.retry_after_s == 1
    assert len(lab.channels[0].sent) == 1
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_layers_that_are_off_are_absent() -> None:
    lab = Lab([fault(sent="never")], [b"not asked"], limit=None)
    off = get(retry=None, breaker=None)

    with pytest.raises(UpstreamError, match="UPSTREAM_UNAVAILABLE"):
        await lab.call(off)

    assert lab.channels[1].sent == []
    assert lab.stack.describe()["bulkhead"] is None
    assert lab.stack.describe()["breakers"] == {}


async def test_a_stream_holds_its_slot_to_the_end() -> None:
    lab = Lab([b"1", b"2"], limit=1)
    parts = lab.stack.stream(get(), b"asked", (), None, lab.notes)

    assert await anext(parts) == b"1"
    assert lab.stack.describe()["bulkhead"]["in_flight"] == 1
    assert [part async for part in parts] == [b"2"]

    assert lab.stack.describe()["bulkhead"]["in_flight"] == 0
    assert (lab.notes[0].code, lab.attempts()[0].code) == ("OK", "OK")


@pytest.mark.rule("upstreams.9")
async def test_a_stream_is_redirected_before_its_first_message_and_never_after() -> None:
    lab = Lab([fault(sent="never")], [b"1", fault(sent="refused")], [b"no"])
    parts = lab.stack.stream(get(), b"asked", (), LATER_S)

    assert await anext(parts) == b"1"
    with pytest.raises(UpstreamError):
        await anext(parts)

    assert [len(channel.sent) for channel in lab.channels] == [1, 1, 0]


async def test_closing_a_stream_closes_the_channels_stream() -> None:
    lab = Lab([b"1", b"2"])
    parts = lab.stack.stream(get(), b"asked", (), LATER_S, lab.notes)
    await anext(parts)

    await parts.aclose()

    assert lab.channels[0].streams_closed == 1
    assert lab.stack.describe()["running"] == 0
    assert lab.notes[0].code == "CANCELLED"


async def test_close_waits_for_calls_in_flight_and_takes_no_new_ones() -> None:
    held = asyncio.Event()

    async def hold(_deadline_s: float) -> bytes:
        await held.wait()
        return b"done"

    lab = Lab([hold])
    running = asyncio.create_task(lab.call(get()))
    await asyncio.sleep(0)
    closing = asyncio.create_task(lab.stack.close())
    await asyncio.sleep(0)

    with pytest.raises(UpstreamError):
        await lab.call(get())
    assert not lab.channels[0].closed
    held.set()

    assert await running == b"done"
    await closing
    assert lab.channels[0].closed


def test_settings_are_equal_when_nothing_changed() -> None:
    def settings(**more: Any) -> UpstreamSettings:
        return UpstreamSettings(name="orders", endpoints=(Endpoint("10.0.0.1:1"),), **more)

    assert settings() == settings()
    assert settings() != settings(limit=10)
    assert settings() != UpstreamSettings(name="orders", endpoints=(Endpoint("10.0.0.1:1", 2.0),))
