"""The run itself: upstream, identity and contenders up; then round after round, contenders interleaved.

Interleaving means that a disturbance of the machine hits all of them alike.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.canned import Canned
from benchmarks.cases import (
    Case,
    OpenCase,
    Settings,
    cases_of,
    entries_of,
    open_cases_of,
)
from benchmarks.contenders import Bench, Contender
from benchmarks.figures import LaneRun, Report
from benchmarks.h2_probe import probe
from benchmarks.identity import identity_provider
from benchmarks.lane import lane_round
from benchmarks.load import Target, sample
from benchmarks.machine import describe_machine
from benchmarks.messages import canned_replies, compile_protos
from benchmarks.rounds import Rounds
from benchmarks.startup import first_answers
from benchmarks.upstream import cores, start_upstream

__all__ = ["run_bench"]

_PROBE_CALLS = 50_000
_OURS = "ours"
Running = dict[tuple[str, str], Contender]


async def run_bench(settings: Settings, say: Callable[[str], None]) -> Report:
    """Measure. Everything that was started is ended, however this ends.

    A rival that does not start or fails while it is measured becomes a note; so it stays optional.
    Raises RuntimeError (ProcessFailed among them), OSError or TimeoutError if ours fails.
    """
    machine = describe_machine()
    started_utc, began_s = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    on = cores()
    notes = [] if on["gateway"] != on["load"] else ["One core for all: figures are too high"]
    first_answer_s = await _first_answers(settings, notes, say)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-bench-")))
        # Compiled on disk, so that this process runs no compiler while others are measured.
        descriptor_set = await asyncio.to_thread(compile_protos, folder)
        replies = {one.size: one for one in canned_replies(descriptor_set.read_bytes())}
        port = await start_upstream(stack, folder, list(replies.values()), on["load"])
        middle = replies["medium"]
        probed = await asyncio.to_thread(probe, port, middle.grpc_path, calls=_PROBE_CALLS)
        say(f"canned upstream: {round(probed.calls_per_s):,} calls/s")
        bench = Bench(
            folder=folder,
            descriptor_set=descriptor_set,
            upstream_port=port,
            gateway_core=on["gateway"],
            load_core=on["load"],
            identity=stack.enter_context(identity_provider()),
            replies=replies,
        )
        running = await _start_all(stack, bench, settings, notes, say)
        rounds = Rounds(settings, folder / "load.log", on["load"], say)
        lane: list[LaneRun] = []
        for number in range(1, settings.runs + 1):
            spent_s = time.perf_counter() - began_s
            say(f"-- run {number} of {settings.runs}, {spent_s:.0f} s so far")
            await _cases(rounds, cases_of(settings), running, replies, number, notes, say)
            await _open(rounds, open_cases_of(settings), running, middle, number, port, notes, say)
            if "lane" in settings.parts:
                lane += await lane_round(port, middle.grpc_path, on["gateway"], folder, say=say)
    return Report(
        started_utc=started_utc,
        command=settings.command,
        machine=machine,
        generator=settings.generator,
        connections=settings.connections,
        upstream_calls_per_s=round(probed.calls_per_s),
        cores=on,
        runs=rounds.runs,
        notes=notes,
        pairs=rounds.pairs,
        open_runs=rounds.open_runs,
        lane=lane,
        first_answer_s=first_answer_s,
        took_s=round(time.perf_counter() - began_s),
    )


async def _first_answers(
    settings: Settings, notes: list[str], say: Callable[[str], None]
) -> list[float]:
    """While nothing else runs yet."""
    if "startup" not in settings.parts:
        return []
    try:
        found = await asyncio.to_thread(first_answers, settings.runs)
    except (RuntimeError, OSError) as error:
        say(str(error))
        notes.append(f"the first answer could not be measured here: {_first_line(str(error))}")
        return []
    say(f"first answers of bff serve: {', '.join(f'{took_s:.2f}' for took_s in found)} s")
    return [round(took_s, 3) for took_s in found]


async def _start_all(
    stack: AsyncExitStack,
    bench: Bench,
    settings: Settings,
    notes: list[str],
    say: Callable[[str], None],
) -> Running:
    """Every contender that is wanted, by name and mode; a rival that cannot run here becomes a note."""
    running: Running = {}
    for entry in entries_of(settings):
        try:
            contender = await stack.enter_async_context(entry.start(bench, entry.mode))
        except (RuntimeError, OSError) as error:
            if entry.name == _OURS:
                raise
            say(str(error))
            why = _first_line(str(error).replace(f"{bench.folder}/", ""))
            notes.append(f"{entry.name} ({entry.mode}) could not run here: {why}")
            continue
        running[entry.name, entry.mode] = contender
    return running


async def _cases(
    rounds: Rounds,
    cases: Sequence[Case],
    running: Running,
    replies: Mapping[str, Canned],
    number: int,
    notes: list[str],
    say: Callable[[str], None],
) -> None:
    """One round; a rival that fails is asked no more."""
    for case in cases:
        entry = case.entry
        contender = running.get((entry.name, entry.mode))
        if contender is None:
            continue
        partner = running.get((entry.name, entry.pair)) if entry.pair else None
        canned = contender.own.get(case.size, replies[case.size])
        if partner is not None:
            await rounds.measure_pair(case, contender, partner, canned, number)
            continue
        with _or_note(f"{case.name} in run {number}", contender, running, notes, say):
            await rounds.measure(case, contender, canned, number)


async def _open(
    rounds: Rounds,
    cases: Sequence[OpenCase],
    running: Running,
    middle: Canned,
    number: int,
    upstream_port: int,
    notes: list[str],
    say: Callable[[str], None],
) -> None:
    """One round of latencies; a rival that fails is asked no more."""
    for case in cases:
        if case.entry is None:
            upstream = Target(port=upstream_port, path=middle.grpc_path)
            await rounds.measure_open(case, upstream, 0, number, grpc=True)
            continue
        contender = running.get((case.entry.name, case.entry.mode))
        if contender is None:
            continue
        target = Target(
            port=contender.port, path=middle.rest_path, authorization=contender.authorization
        )
        with _or_note(f"{case.name} in run {number}", contender, running, notes, say):
            body_bytes = await asyncio.to_thread(sample, target, middle.tree)
            await rounds.measure_open(case, target, body_bytes, number, grpc=False)


@contextmanager
def _or_note(
    what: str,
    contender: Contender,
    running: Running,
    notes: list[str],
    say: Callable[[str], None],
) -> Iterator[None]:
    """What fails of a rival is noted, and it runs no more; of ours it ends the benchmark."""
    try:
        yield
    except (RuntimeError, OSError, TimeoutError) as error:
        if contender.name == _OURS:
            raise
        say(str(error))
        notes.append(f"{what} failed: {_first_line(str(error))}")
        del running[contender.name, contender.mode]


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
