"""What fails on the loop and tells nobody: callbacks, and tasks that no one awaits."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["nothing_stray"]


@contextmanager
def nothing_stray() -> Iterator[None]:
    """Within the block nothing may fail unheard on the running loop."""
    stray: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: stray.append(what))
    yield
    # grpcio's poller, which the whole process shares, may still know the loop of a test before.
    assert not [what for what in stray if "PollerCompletionQueue" not in what["message"]], stray
