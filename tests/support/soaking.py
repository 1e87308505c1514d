"""What the soaks share: many tasks that spend a number of goes, and a look at what is there."""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["There", "print_figures", "rss_kib", "spend", "there_now"]


class There(Struct, frozen=True, kw_only=True):
    """Tasks, open files and KiB of resident memory of this process, after a collection."""

    tasks: int
    files: int
    rss_kib: int


async def spend(
    numbers: Iterator[int],
    most: int,
    go: Callable[[int], Awaitable[str]],
    ends: Counter[str],
    *,
    at_once: int,
) -> None:
    """At most so many of the numbers, each by one `go`; its word for how that ended is counted."""
    left = most

    async def spender() -> None:
        nonlocal left
        while left > 0 and (number := next(numbers, None)) is not None:
            left -= 1
            ends[await go(number)] += 1

    await asyncio.gather(*(spender() for _ in range(at_once)))


def there_now() -> There:
    """Looked at now."""
    gc.collect()
    return There(
        tasks=len(asyncio.all_tasks()),
        files=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - names alone are wanted
        rss_kib=rss_kib([os.getpid()]),
    )


def rss_kib(pids: Iterable[int]) -> int:
    """Resident memory of these processes together."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def print_figures(figures: Any) -> None:
    """As JSON that people read."""
    print(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode())
