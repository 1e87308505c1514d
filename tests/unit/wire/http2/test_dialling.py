"""What waiting calls are told when a connection does not come about."""

import pytest

from bff.wire.http2.dialling import fault_of_dial


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (TimeoutError(), "not connected: TimeoutError: no answer in time"),
        (
            ConnectionRefusedError(111, "refused"),
            "not connected: ConnectionRefusedError: [Errno 111] refused",
        ),
    ],
    ids=["silence", "refusal"],
)
def test_an_operator_reads_why(error: Exception, detail: str) -> None:
    """An error without words gets some."""
    assert fault_of_dial(error).detail == detail
