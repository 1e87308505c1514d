"""The node's process: the listener below it, admin pages, the watch on files, the drain.

This process serves no traffic, so it answers while every worker is busy. Its child is the listener,
whose children are the workers; each worker opens a link back here. When this process
ends, its children do.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from bff.control.held_types import HeldTypes
from bff.control.watch import watch_files
from bff.core.late_import import import_late
from bff.core.ports import SystemClock
from bff.fronts.listener_process import end_listener, listener_process
from bff.node.node import Checked, Node, NodeSettings
from bff.telemetry.line_writer import LineWriter
from bff.telemetry.logs import EventLog

__all__ = ["run_node"]

# The admin pages and what they need: loaded while the workers start.
_ADMIN = "bff.fronts.admin_server"


def run_node(
    settings: NodeSettings,
    *,
    load_app: Callable[[str, str], object],
    check: Callable[[], Checked],
    held: HeldTypes,
    first: Checked,
    on_ready: Callable[[], None],
    accepted: Path,
) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code.

    `load_app` gets the link's socket path and the folder for tables of metrics; `accepted` is the
    file that workers load. For `check`, `held` and `first` see `Node`.

    The listener is forked before any loop, thread or channel exists here.
    """
    with tempfile.TemporaryDirectory(prefix="bff-node-") as folder:
        link_path = str(Path(folder) / "link")
        metrics_folder = Path(folder) / "metrics"
        metrics_folder.mkdir()
        listening = listener_process(
            settings.listener, partial(load_app, link_path, str(metrics_folder))
        )
        # The link must exist before the first worker wants it.
        link_socket = socket.socket(socket.AF_UNIX)
        link_socket.bind(link_path)
        link_socket.listen(128)
        # A collection writes into every object that it looks at, and so would copy, in each child,
        # pages that they all share.
        gc.collect()
        gc.freeze()
        listening.start()
        try:
            import_late(_ADMIN)
            make_node = partial(
                Node,
                settings,
                check=check,
                held=held,
                first=first,
                metrics_folder=metrics_folder,
                accepted=accepted,
            )
            return asyncio.run(_supervise(settings, link_socket, listening, make_node, on_ready))
        finally:
            end_listener(listening, settings.listener.finish_s)


async def _supervise(
    settings: NodeSettings,
    link_socket: socket.socket,
    listening: BaseProcess,
    make_node: Callable[..., Node],
    on_ready: Callable[[], None],
) -> int:
    lines = LineWriter(fd=2, count_dropped=lambda _reason, _lines: None)
    lines.start()
    log = EventLog(write=lines.write, clock=SystemClock())
    node = make_node(log=log)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # As for many servers: look at the files again. (A closed terminal says it too; that is harmless.)
    look_again = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, look_again.set)
    gone = asyncio.Event()
    loop.add_reader(listening.sentinel, gone.set)
    links = await asyncio.start_unix_server(node.links.accept, sock=link_socket)
    pages = import_late(_ADMIN)
    admin = pages.AdminServer(
        pages.admin_app(view=node.view, metrics=node.metrics),
        settings.admin_host,
        settings.admin_port,
    )
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(admin.serve())
        watching = tasks.create_task(_watch(node, settings.watched))
        hearing = tasks.create_task(_reload_on(look_again, node))
        refreshing = tasks.create_task(node.types.run(node.reload))
        code = await _until_end(node, stop, gone, listening, on_ready)
        watching.cancel()
        hearing.cancel()
        refreshing.cancel()
        # Its thread would be waited for.
        node.types.end()
        admin.should_exit = True
        await serving
    loop.remove_reader(listening.sentinel)
    links.close()
    if code:
        log.note("listener_ended", exit_code=listening.exitcode or 0)
    else:
        log.note("drain_ended")
    await lines.close()
    return code


async def _until_end(
    node: Node,
    stop: asyncio.Event,
    gone: asyncio.Event,
    listening: BaseProcess,
    on_ready: Callable[[], None],
) -> int:
    """Wait for start, then for the end, then drain. A second signal skips the grace."""
    started = asyncio.ensure_future(node.wait_started())
    stopping = asyncio.ensure_future(stop.wait())
    dying = asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait((started, stopping, dying), return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            on_ready()
            await asyncio.wait((stopping, dying), return_when=asyncio.FIRST_COMPLETED)
        if dying.done():
            return 70
        await node.drain()
        stop.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(node.grace_s):
                await stop.wait()
        listening.terminate()
        await gone.wait()
    finally:
        for task in (started, stopping, dying):
            task.cancel()
    return 0


async def _reload_on(asked: asyncio.Event, node: Node) -> None:
    while True:
        await asked.wait()
        asked.clear()
        await node.reload(asked=True)


async def _watch(node: Node, watched: tuple[Path, ...]) -> None:
    if watched:
        async for _changes in watch_files(watched):
            await node.reload()
