"""How clients say how long they wait, and how services are told what is left of it."""

import pytest

from bff.core.deadline import TIMEOUT_FIELDS

READ = {
    "grpc-timeout": {
        "1H": 3600.0,
        "2M": 120.0,
        "3S": 3.0,
        "10m": 0.01,
        "5u": 5e-6,
        "7n": 7e-9,
        "99999999S": 99_999_999.0,
        "0S": 0.0,
    },
    "connect-timeout-ms": {"1": 0.001, "1500": 1.5, "9999999999": 9_999_999.999, "0": 0.0},
    "x-server-timeout": {"1.5": 1.5, "30": 30.0, "0.25": 0.25, "0": 0.0},
}
REFUSED = {
    "grpc-timeout": [
        *("", "10", "123456789S", "-1S", "1.5", "1.5S", "10s", "10 m", "10mm", "S", "٣S", "+1S")
    ],
    "connect-timeout-ms": ["", "12345678901", "-1", "1.5", "10m", " 5", "1e3", "٣", "+1"],
    "x-server-timeout": [
        "",
        "-1",
        "1.",
        ".5",
        "1s",
        "1e3",
        "inf",
        "nan",
        "123456789",
        "+1",
        "1.5 ",
    ],
}


@pytest.mark.rule("transcoding.147")
@pytest.mark.parametrize(
    ("name", "text", "seconds"),
    [(name, text, seconds) for name, texts in READ.items() for text, seconds in texts.items()],
)
def test_a_timeout_is_read_in_its_unit(name: str, text: str, seconds: float) -> None:
    parse, _ = TIMEOUT_FIELDS[name.encode()]

    assert parse(text) == pytest.approx(seconds)


@pytest.mark.rule("transcoding.147")
@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in REFUSED.items() for text in texts]
)
def test_what_is_no_timeout_is_not_guessed_at(name: str, text: str) -> None:
    parse, _ = TIMEOUT_FIELDS[name.encode()]

    assert parse(text) is None
