"""What a node hears of its workers: what they say, and what becomes of a reload when one ends."""

import asyncio
from typing import Any

import pytest

from bff.control.link import Hello, Loaded, Message, WorkerState
from bff.control.worker_links import WorkerLinks
from bff.telemetry.logs import EventLog
from tests.support.memory_link import Written, framed
from tests.support.upstream_fakes import FakeClock


class Node:
    """The node's end of every link, and what it was told."""

    def __init__(self) -> None:
        self.gone: list[int] = []
        self.told = asyncio.Event()
        log = EventLog(write=lambda _line: None, clock=FakeClock())
        self.links = WorkerLinks(told=self.told.set, gone=self.gone.append, log=log)


class Worker:
    """A worker's end: what it says, and what it was sent."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.sent = Written()

    async def say(self, *messages: Message) -> None:
        self.reader.feed_data(await framed(*messages))

    async def live(self, links: WorkerLinks) -> None:
        await links.accept(self.reader, self.sent)  # type: ignore[arg-type] # a link uses no more of it


READY = WorkerState(ready=True, version="abc", routes=1)


async def test_a_reload_tells_what_each_worker_made_of_it() -> None:
    node, worker = Node(), Worker()
    await worker.say(Hello(7), READY)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.live(node.links))
        await node.told.wait()

        reloading = tasks.create_task(node.links.reload())
        await worker.sent.given.wait()
        await worker.say(Loaded(1, ok=True, version="def"))

        assert await reloading == [Loaded(1, ok=True, version="def")]
        worker.reader.feed_eof()
    assert node.gone == [7]


async def test_a_worker_that_ends_in_a_reload_counts_as_one_that_failed() -> None:
    """Whoever waits for the reload goes on: the watch on files must outlive a worker."""
    node, worker = Node(), Worker()
    await worker.say(Hello(7), READY)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.live(node.links))
        await node.told.wait()

        reloading = tasks.create_task(node.links.reload())
        await worker.sent.given.wait()
        worker.reader.feed_eof()
        (answer,) = await reloading

    assert not answer.ok
    assert answer.problems == ("a worker did not answer",)


@pytest.mark.parametrize(
    "first", [READY, Loaded(1, ok=True, version="abc")], ids=["state", "answer"]
)
async def test_whoever_does_not_say_hello_is_no_worker(first: Any) -> None:
    node, worker = Node(), Worker()
    await worker.say(first)

    await worker.live(node.links)

    assert (node.links.workers, node.gone) == ([], [])
