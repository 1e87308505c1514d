"""Lines leave without ever holding up the one who writes them."""

import fcntl
import os
from collections.abc import Iterator

import pytest

from bff.telemetry.line_writer import LineWriter


class Drops:
    def __init__(self) -> None:
        self.by_reason: dict[str, int] = {}

    def count(self, reason: str, lines: int) -> None:
        self.by_reason[reason] = self.by_reason.get(reason, 0) + lines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


async def test_lines_arrive_whole_and_in_order(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    drops = Drops()
    writer = LineWriter(fd=fd, count_dropped=drops.count)
    writer.start()
    lines = [b"%d:%s\n" % (n, b"x" * (n % 90)) for n in range(1_000)]

    for line in lines:
        writer.write(line)
    await writer.close()

    assert os.read(reader, 1_000_000) == b"".join(lines)
    assert drops.by_reason == {}


@pytest.mark.rule("control.OB1")
async def test_a_blocked_pipe_costs_lines_and_no_time(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4_096)
    drops = Drops()
    writer = LineWriter(fd=fd, count_dropped=drops.count, capacity=200)
    writer.start()

    for _ in range(1_000):
        writer.write(b"y" * 99 + b"\n")
        writer.flush()

    # The pipe holds 4,096 bytes, so at least 1,000 - 200 - 41 of the lines had no place to go.
    assert 1_000 - 200 - 41 <= drops.by_reason["queue_full"] <= 800
    os.close(reader)
    await writer.close()


@pytest.mark.rule("control.OB1")
async def test_a_reader_that_is_gone_is_counted_and_not_raised(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    os.close(reader)
    drops = Drops()
    writer = LineWriter(fd=fd, count_dropped=drops.count)
    writer.start()

    for _ in range(5):
        writer.write(b"z\n")
    await writer.close()

    assert drops.by_reason == {"write_failed": 5}


async def test_what_is_written_to_a_pipe_at_once_stays_in_one_piece(pipe: tuple[int, int]) -> None:
    """Two workers share the pipe; every line of both must come out whole."""
    reader, fd = pipe
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1_048_576)
    writers = [LineWriter(fd=fd, count_dropped=Drops().count) for _ in range(2)]
    for writer in writers:
        writer.start()

    for n in range(2_000):
        for name, writer in zip((b"a", b"b"), writers, strict=True):
            writer.write(name * (50 + n % 100) + b"\n")
    for writer in writers:
        await writer.close()

    lines = os.read(reader, 1_048_576).splitlines()
    assert len(lines) == 4_000
    assert all(len(set(line)) == 1 for line in lines)
