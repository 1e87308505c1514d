"""The run itself: upstream, identity and contenders up; then round after round, contenders interleaved.

Interleaving means that a disturbance of the machine hits all of them alike.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from benchmarks.contenders import CONTENDERS, Bench, Contender, Entry
from benchmarks.h2_probe import probe
from benchmarks.identity import identity_provider
from benchmarks.load import Figures, Target, load, sample
from benchmarks.machine import describe_machine
from benchmarks.messages import Canned, canned_replies, compile_protos
from benchmarks.processes import Child, cpu_s, free_port, memory_mb, tree_of
from benchmarks.report import Report, SingleRun

__all__ = ["Settings", "cores", "run_bench", "start_upstream"]

# The first requests pay for connections, caches and lazy imports; they are not measured.
_FIRST_WARM_UP = 2_000
_WARM_UP = 200
_PROBE_CALLS = 50_000
# A large reply takes longer, and as many requests would tell no more.
_SIZE_SHARE = {"small": 1.0, "medium": 1.0, "large": 0.25, "post": 1.0}


class Settings(Struct, frozen=True, kw_only=True):
    """What to measure. `only` holds parts of `contender/mode/size`; what is empty means all."""

    runs: int
    requests: int
    connections: int
    generator: str
    only: tuple[str, ...] = ()
    modes: frozenset[str] = frozenset()
    sizes: frozenset[str] = frozenset()
    command: str = ""


async def run_bench(settings: Settings, say: Callable[[str], None]) -> Report:
    """Measure. Everything that was started is ended, however this ends."""
    machine = describe_machine()
    started_utc = datetime.now(UTC).isoformat(timespec="seconds")
    on = cores()
    notes = [] if on["gateway"] != on["load"] else ["One core for all: figures are too high"]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-bench-")))
        # Compiled on disk, so that this process runs no compiler while others are measured.
        descriptor_set = await asyncio.to_thread(compile_protos, folder)
        replies = canned_replies(descriptor_set.read_bytes())
        upstream_port = await start_upstream(stack, folder, replies, on["load"])
        rate = await asyncio.to_thread(_probe, upstream_port, replies)
        say(f"canned upstream: {rate:,} calls/s")
        bench = Bench(
            folder=folder,
            descriptor_set=descriptor_set,
            upstream_port=upstream_port,
            gateway_core=on["gateway"],
            load_core=on["load"],
            identity=stack.enter_context(identity_provider()),
        )
        contenders = await _start_all(stack, bench, settings, notes, say)
        rounds = _Rounds(settings, folder / "load.log", on["load"], say)
        for number in range(1, settings.runs + 1):
            for canned in replies:
                for entry, contender in contenders:
                    if _is_wanted(settings, entry, canned.size):
                        await rounds.measure(entry, contender, canned, number)
    return Report(
        started_utc=started_utc,
        command=settings.command,
        machine=machine,
        generator=settings.generator,
        connections=settings.connections,
        upstream_calls_per_s=rate,
        cores=on,
        runs=rounds.runs,
        notes=notes,
    )


def cores() -> dict[str, int]:
    """The gateway has a core of its own; upstream and generator share another."""
    free = sorted(os.sched_getaffinity(0))
    return {"gateway": free[-1], "load": free[0]}


async def start_upstream(
    stack: AsyncExitStack, folder: Path, replies: Sequence[Canned], core: int
) -> int:
    """The canned upstream, running until the stack unwinds; its port."""
    replies_folder = folder / "replies"
    replies_folder.mkdir()
    for canned in replies:
        (replies_folder / f"{canned.size}.path").write_text(canned.grpc_path)
        (replies_folder / f"{canned.size}.message").write_bytes(canned.message)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "benchmarks.h2_server",
        str(replies_folder),
        "--port",
        str(port),
    ]
    child = Child("canned upstream", command, core=core, log=folder / "upstream.log")
    await stack.enter_async_context(child)
    await child.wait_for_port(port)
    return port


def _probe(port: int, replies: Sequence[Canned]) -> int:
    """Calls a second at the middle size."""
    middle = next(canned for canned in replies if canned.size == "medium")
    return round(probe(port, middle.grpc_path, calls=_PROBE_CALLS).calls_per_s)


async def _start_all(
    stack: AsyncExitStack,
    bench: Bench,
    settings: Settings,
    notes: list[str],
    say: Callable[[str], None],
) -> list[tuple[Entry, Contender]]:
    """Every contender that is wanted; one that cannot run here becomes a note."""
    started = []
    for entry in CONTENDERS:
        if not any(_is_wanted(settings, entry, size) for size in entry.sizes):
            continue
        try:
            contender = await stack.enter_async_context(entry.start(bench, entry.mode))
        except (RuntimeError, OSError) as error:
            say(str(error))
            first_line = str(error).replace(f"{bench.folder}/", "").partition("\n")[0]
            notes.append(f"{entry.name} ({entry.mode}) could not run here: {first_line}")
            continue
        started.append((entry, contender))
    return started


def _is_wanted(settings: Settings, entry: Entry, size: str) -> bool:
    if size not in entry.sizes:
        return False
    if settings.modes and entry.mode not in settings.modes:
        return False
    if settings.sizes and size not in settings.sizes:
        return False
    name = f"{entry.name}/{entry.mode}/{size}"
    return not settings.only or any(part in name for part in settings.only)


class _Rounds:
    """Measures one contender after the other and keeps the runs."""

    def __init__(
        self, settings: Settings, log: Path, core: int, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._log = log
        self._core = core
        self._say = say
        self._warm: set[tuple[str, str, str]] = set()
        self.runs: list[SingleRun] = []

    async def measure(
        self, entry: Entry, contender: Contender, canned: Canned, number: int
    ) -> None:
        """Warm up, check replies, load, and note the CPU of the contender's tree between the ends."""
        settings = self._settings
        target = Target(
            port=contender.port,
            path=canned.rest_path,
            authorization=contender.authorization,
            body=canned.body,
        )
        body_bytes = await asyncio.to_thread(sample, target, canned.tree)
        key = (entry.name, entry.mode, canned.size)
        wanted = max(1, round(settings.requests * entry.share * _SIZE_SHARE[canned.size]))
        warm_up = _WARM_UP if key in self._warm else min(_FIRST_WARM_UP, wanted)
        self._warm.add(key)
        tree = tree_of(contender.child.pid)
        await self._load(target, warm_up, body_bytes, tree)
        before_s = cpu_s(tree)
        began_s = time.perf_counter()
        figures, after_s, ended_s = await self._load(target, wanted, body_bytes, tree)
        await asyncio.to_thread(sample, target, canned.tree)
        run = SingleRun(
            contender=entry.name,
            mode=entry.mode,
            size=canned.size,
            number=number,
            requests=figures.requests,
            cpu_us=round((after_s - before_s) / figures.requests * 1e6, 1),
            wall_s=round(ended_s - began_s, 3),
            busy=round((after_s - before_s) / (ended_s - began_s), 2),
            p50_us=figures.p50_us,
            p99_us=figures.p99_us,
            body_bytes=body_bytes,
            memory_mb=memory_mb(tree),
        )
        self.runs.append(run)
        self._say(
            f"run {number} {'/'.join(key):24} {run.cpu_us:8.1f} us  "
            f"{run.requests / run.wall_s:7.0f} requests/s  busy {run.busy:.2f}"
        )

    async def _load(
        self, target: Target, requests: int, body_bytes: int, tree: frozenset[int]
    ) -> tuple[Figures, float, float]:
        """The generator's figures; the tree's CPU and the time when the last request had left."""
        ends: list[tuple[float, float]] = []
        settings = self._settings
        figures = await load(
            target,
            requests=requests,
            connections=settings.connections,
            body_bytes=body_bytes,
            core=self._core,
            log=self._log,
            generator=settings.generator,
            at_end=lambda: ends.append((cpu_s(tree), time.perf_counter())),
        )
        return (figures, *ends[0])
