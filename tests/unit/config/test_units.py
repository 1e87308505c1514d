"""Figures with units."""

from collections.abc import Callable

import pytest

from bff.config.units import (
    Rate,
    UnitError,
    duration_text,
    parse_duration_s,
    parse_rate,
    parse_share,
    parse_size_bytes,
    rate_text,
    share_text,
    size_text,
)

pytestmark = pytest.mark.rule("control.CF2")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5.0),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("30d", 2_592_000.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_seconds_and_prints_as_written(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"), [("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("500B", 500)]
)
def test_a_size_is_bytes_and_prints_as_written(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("text", "rate", "printed"),
    [
        ("20/s", Rate(20, 1.0), "20/s"),
        ("60/min", Rate(60, 60.0), "60/min"),
        ("60/1m", Rate(60, 60.0), "60/min"),
        ("100/10s", Rate(100, 10.0), "100/10s"),
        ("1000/day", Rate(1000, 86_400.0), "1000/day"),
        ("5/250ms", Rate(5, 0.25), "5/250ms"),
    ],
)
def test_a_rate_is_count_and_period(text: str, rate: Rate, printed: str) -> None:
    assert parse_rate(text) == rate
    assert rate_text(rate) == printed


def test_a_share_lies_between_0_and_1() -> None:
    assert parse_share("5%") == pytest.approx(0.05)
    assert parse_share("0.5%") == pytest.approx(0.005)
    assert share_text(0.05) == "5%"


@pytest.mark.parametrize(
    ("parse", "value", "message", "hint"),
    [
        (parse_duration_s, 5, "a duration such as 250ms, got 5", "write 5s or 5ms"),
        (parse_duration_s, "5", "a duration such as 250ms, got '5'", ""),
        (parse_duration_s, "5 s", "got '5 s'", "write 5s"),
        (parse_duration_s, "4 sec", "got '4 sec'", "write 4s"),
        (parse_duration_s, "1m30s", "got '1m30s'", "write 90s"),
        (parse_duration_s, "2 minutes", "got '2 minutes'", "write 2m"),
        (parse_duration_s, "500 millis", "got '500 millis'", "write 500ms"),
        (parse_duration_s, "-5s", "got '-5s'", ""),
        (parse_duration_s, True, "got true", ""),
        (parse_duration_s, "9" * 400 + "s", "a duration", ""),
        (parse_size_bytes, 64, "a size such as 64KiB, got 64", "write 64B"),
        (parse_size_bytes, "64kb", "got '64kb'", "write 64KiB"),
        (parse_size_bytes, "1MB", "got '1MB'", "write 1MiB"),
        (parse_share, 0.05, "a share such as 5%, got 0.05", "write 0.05%"),
        (parse_share, "101%", "got '101%'", "at most 100%"),
        (parse_rate, 60, "a rate such as 60/min, got 60", "write 60/min"),
        (parse_rate, "60/minute", "got '60/minute'", "write 60/min"),
        (parse_rate, "5 per second", "got '5 per second'", "write 5/s"),
        (parse_rate, "0/s", "above zero", ""),
        (parse_rate, "60/0s", "above zero", ""),
        (parse_rate, "10/month", "got '10/month'", "for quotas"),
        (parse_rate, None, "got nothing", ""),
    ],
)
def test_what_is_no_figure_is_refused_with_a_hint(
    parse: Callable[[object], object], value: object, message: str, hint: str
) -> None:
    with pytest.raises(UnitError) as refused:
        parse(value)

    assert message in refused.value.message
    assert hint in refused.value.hint
