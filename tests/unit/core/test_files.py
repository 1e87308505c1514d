"""Files that people name: what is no regular file is refused before it is opened, and large ones are cut."""

import os
import socket
from pathlib import Path

import pytest

from bff.core.files import NotRegularError, read_regular


def test_one_octet_more_than_the_bound_is_read(tmp_path: Path) -> None:
    """So that the caller sees that it is too large."""
    (tmp_path / "a").write_bytes(b"x" * 10)

    assert read_regular(tmp_path / "a", 10) == b"x" * 10
    assert read_regular(tmp_path / "a", 5) == b"x" * 6


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
def test_what_could_wait_or_never_end_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")

    with pytest.raises(NotRegularError, match="no regular file"):
        read_regular(path, 10)


def test_a_name_that_no_file_can_have_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="NUL"):
        read_regular(Path("a\0b"), 10)
