"""The links of a node to its workers: what each says of itself, and what all of them are asked."""

import asyncio
import contextlib
from collections.abc import Callable
from itertools import count

from bff.control.link import Drain, Hello, Link, LinkClosed, Loaded, Reload, WorkerState
from bff.telemetry.logs import EventLog

__all__ = ["Worker", "WorkerLinks"]

_RELOAD_TIMEOUT_S = 60.0


class Worker:
    """One worker as the node knows it."""

    def __init__(self, link: Link, pid: int) -> None:
        self.link = link
        self.pid = pid
        self.state = WorkerState(ready=False, version="", routes=0)
        self.answers: dict[int, asyncio.Future[Loaded]] = {}


class WorkerLinks:
    """The workers that live now. `told` is called when one says how it is, `gone` with the pid of one that ended."""

    def __init__(
        self, *, told: Callable[[], None], gone: Callable[[int], None], log: EventLog
    ) -> None:
        self._told = told
        self._gone = gone
        self._log = log
        self._workers: dict[int, Worker] = {}
        self._asks = count(1)

    @property
    def workers(self) -> list[Worker]:
        """In the order of their coming."""
        return list(self._workers.values())

    @property
    def ready(self) -> list[Worker]:
        """Those that serve."""
        return [worker for worker in self._workers.values() if worker.state.ready]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one worker's link for as long as the worker lives."""
        link = Link(reader, writer)
        try:
            hello = await link.receive()
            if not isinstance(hello, Hello):
                return
            worker = Worker(link, hello.pid)
            self._workers[hello.pid] = worker
            try:
                await self._listen(worker)
            finally:
                self._forget(worker)
        except LinkClosed:
            return
        finally:
            await link.close()

    async def _listen(self, worker: Worker) -> None:
        while True:
            message = await worker.link.receive()
            match message:
                case WorkerState():
                    worker.state = message
                    self._told()
                case Loaded():
                    waiting = worker.answers.pop(message.ask, None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
                case _:
                    return

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker.pid]
        for waiting in worker.answers.values():
            # Not cancelled: that would end whoever waits for the reload, the watch on files too.
            if not waiting.done():
                waiting.set_exception(LinkClosed())
        self._gone(worker.pid)

    async def reload(self) -> list[Loaded]:
        """Tell all workers to swap, and what each made of it; one that does not answer counts as failed."""
        return await asyncio.gather(*(self._reload(worker) for worker in self.workers))

    async def _reload(self, worker: Worker) -> Loaded:
        number = next(self._asks)
        waiting: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        worker.answers[number] = waiting
        try:
            async with asyncio.timeout(_RELOAD_TIMEOUT_S):
                await worker.link.send(Reload(number))
                answer = await waiting
        except (LinkClosed, TimeoutError):
            return Loaded(number, ok=False, version="", problems=("a worker did not answer",))
        finally:
            worker.answers.pop(number, None)
        if not answer.ok:
            problems = "; ".join(answer.problems)
            self._log.note("worker_refused_config", pid=worker.pid, problems=problems)
        return answer

    async def drain(self) -> None:
        """Tell all workers to ask their clients to leave."""
        for worker in self.workers:
            with contextlib.suppress(LinkClosed):
                await worker.link.send(Drain())
