"""How the door reads a body: whole, within its cap, and given up when it comes too slowly."""

import asyncio

import pytest

from bff.core.errors import ClientError
from bff.fronts import exchange as bounds
from tests.support.door_bodies import exchange_of


@pytest.mark.parametrize("parts", [(b"",), (b"one",), (b"o", b"", b"ne"), (b"one", b"")])
async def test_a_body_in_any_parts_is_whole(parts: tuple[bytes, ...]) -> None:
    exchange = await exchange_of(*parts)

    assert await exchange.read_body(10) == b"".join(parts)
    assert not exchange.unread
    assert exchange.watchable


async def test_a_body_beyond_its_cap_is_refused_before_its_end() -> None:
    exchange = await exchange_of(b"12345", b"67890", ends=False)

    with pytest.raises(ClientError, match="BODY_TOO_LARGE"):
        await exchange.read_body(9)

    assert exchange.unread


@pytest.mark.rule("edge.2")
@pytest.mark.parametrize("parts", [(), (b"x",), (b"x", b"x", b"x")])
async def test_a_body_below_the_least_rate_is_given_up(
    monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...]
) -> None:
    """The window passes in 10 ms here; without it the wait would be as long as a whole body may take."""
    monkeypatch.setattr(bounds, "_RATE_WINDOW_S", 0.01)
    monkeypatch.setattr(bounds, "_BODY_BASE_S", 1e6)
    exchange = await exchange_of(*parts, ends=False)

    async with asyncio.timeout(20):
        with pytest.raises(ClientError, match="BODY_TIMEOUT"):
            await exchange.read_body(1_000)

    assert exchange.unread


async def test_a_slow_body_above_the_least_rate_is_read() -> None:
    """2 KiB every 2 s on the clock: half a minute in all, and never too slow."""
    exchange = await exchange_of(*[b"x" * 2_048] * 15, step_s=2.0)

    assert len(await exchange.read_body(1_000_000)) == 15 * 2_048
