"""The accepted version on disk: replaced whole or not at all."""

from pathlib import Path

import pytest

from bff.control.accepted import take_back, write_accepted


def test_the_version_before_can_be_had_back(tmp_path: Path) -> None:
    accepted = tmp_path / "accepted"
    for content in (b"first", b"second", b"third"):
        write_accepted(accepted, content)

    take_back(accepted)

    assert accepted.read_bytes() == b"second"


def test_a_write_that_fails_leaves_what_stands_and_nothing_half(tmp_path: Path) -> None:
    """As on a full disk: here the last step fails, since something stands in its way."""
    accepted = tmp_path / "accepted"
    accepted.mkdir()
    (accepted / "in the way").touch()

    with pytest.raises(OSError, match="accepted"):
        write_accepted(accepted, b"new")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["accepted"]
