"""What a request's fields say, judged together."""

import pytest

from bff.core.headers import Headers
from bff.fronts.caps import DoorCaps
from bff.fronts.header_rules import judge_headers


@pytest.mark.parametrize(
    ("length", "declared"),
    [(b"0", 0), (b"12", 12), (b"0012", 12), (b"9" * 5_000, 10**19 - 1), (b"x", 0)],
)
def test_a_length_of_any_number_of_digits_is_a_number(length: bytes, declared: int) -> None:
    """Python refuses to read more than 4,300 of them."""
    fields = [(b"host", b"a"), (b"content-length", length)]

    assert judge_headers(Headers(fields), DoorCaps()).declared_bytes == declared
