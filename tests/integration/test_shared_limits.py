"""Several worker processes, one table: the node's limits hold, whoever serves and whoever stops."""

import fcntl
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from bff.core.events import Event, Noted
from bff.core.ports import SystemClock
from bff.ratelimit.bucket import Bucket, Check
from bff.ratelimit.shared_store import STRIPES, SharedStore, create_table
from tests.support.limits import admitted_by_processes

BUCKET = Bucket(500, 1.0, 100)
TAKES = 20_000
SPAWN = multiprocessing.get_context("spawn")


def _work(path: Path, results: "Queue[list[int]]") -> None:
    store = SharedStore(path=path, clock=SystemClock(), emit=lambda _event: None)
    wide = Bucket(10_000, 1.0, 10_000_000)
    admitted = []
    for n in range(TAKES):
        verdict = store.take([Check("p", "hot", BUCKET), Check("q", f"k{n % 100}", wide)])
        if verdict.admitted:
            admitted.append(time.monotonic_ns() // 1_000)
    store.close()
    results.put(admitted)


@pytest.mark.rule("L1")
def test_four_workers_together_never_exceed_burst_and_rate(tmp_path: Path) -> None:
    path = tmp_path / "table"
    create_table(path)

    admitted, window_us = admitted_by_processes(_work, path)

    assert BUCKET.burst <= len(admitted) <= BUCKET.burst + window_us // BUCKET.token_us + 1


def _hold_all_locks(path: Path, ready: Connection) -> None:
    fd = os.open(path, os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, STRIPES, 0)
    ready.send("held")
    ready.recv()


def test_a_worker_that_stops_inside_a_lock_stops_no_other(tmp_path: Path) -> None:
    path = tmp_path / "table"
    create_table(path)
    events: list[Event] = []
    store = SharedStore(path=path, clock=SystemClock(), emit=events.append)
    ours, theirs = SPAWN.Pipe()
    child = SPAWN.Process(target=_hold_all_locks, args=(path, theirs))
    child.start()
    assert ours.recv() == "held"

    while_held = store.take([Check("p", "k", BUCKET)])
    child.kill()
    child.join(60)
    reported = len(events)
    after = store.take([Check("p", "k", BUCKET)])
    store.close()

    assert while_held.admitted
    assert after.admitted
    assert [event.name for event in events if isinstance(event, Noted)] == ["limiter_lock_held"]
    assert len(events) == reported
