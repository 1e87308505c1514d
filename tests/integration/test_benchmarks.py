"""The parts of the benchmark that a figure stands on, as real processes: upstream, generator, CPU of a tree."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest

from benchmarks.__main__ import settings_of
from benchmarks.canned import Canned
from benchmarks.cases import Case
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.h2_probe import probe
from benchmarks.load import Target, load, open_load, sample
from benchmarks.messages import ASKED, canned_replies, compile_protos
from benchmarks.processes import Child, ProcessFailed, cpu_s, free_port, tree_of
from benchmarks.rounds import Rounds
from benchmarks.upstream import messages_of, write_replies


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def replies(folder: Path) -> Sequence[Canned]:
    return canned_replies(compile_protos(folder).read_bytes())


@pytest.fixture
async def upstream(folder: Path, replies: Sequence[Canned]) -> AsyncIterator[int]:
    write_replies(folder, replies)
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.h2_server", str(folder), "--port", str(port)]
    async with Child("upstream", command, core=0, log=folder / "upstream.log") as child:
        await child.wait_for_port(port)
        yield port


@pytest.fixture
async def gateway(
    folder: Path, upstream: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Child]:
    monkeypatch.setenv("PYTHONPATH", str(folder))
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.naive", "--port", str(port)]
    command += ["--upstream", f"127.0.0.1:{upstream}"]
    async with Child(str(port), command, core=0, log=folder / "naive.log") as child:
        await child.wait_for_port(port)
        yield child


def test_replies_have_the_sizes_that_the_table_names(replies: Sequence[Canned]) -> None:
    sizes = {canned.size: round(canned.json_bytes, -2) for canned in replies}
    (posted,) = (canned.body for canned in replies if canned.size == "post")

    assert list(sizes) == list(ASKED)
    assert [sizes[size] for size in ("small", "medium", "large", "post")] == [
        400,
        1_700,
        15_600,
        400,
    ]
    assert round(len(posted), -2) == 1_700


async def test_grpcio_reads_every_canned_reply(upstream: int, replies: Sequence[Canned]) -> None:
    """Many at once, so that the windows of the connection are used up and given back."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{upstream}") as channel:
        for path, message in messages_of(replies).items():
            call = channel.unary_unary(path, bytes, bytes)
            answers = await asyncio.gather(*(call(b"", timeout=20) for _ in range(50)))

            assert set(answers) == {message}


async def test_the_probe_counts_whole_batches(upstream: int, replies: Sequence[Canned]) -> None:
    measured = await asyncio.to_thread(probe, upstream, replies[2].grpc_path, calls=100)

    assert measured.calls == 128


async def test_the_own_generator_sends_as_many_requests_as_told(
    gateway: Child, replies: Sequence[Canned], folder: Path
) -> None:
    target = Target(port=int(gateway.name), path=replies[1].rest_path)
    body_bytes = await asyncio.to_thread(sample, target, replies[1].tree)
    ends: list[float] = []

    figures = await load(
        target,
        requests=150,
        connections=8,
        body_bytes=body_bytes,
        core=0,
        log=folder / "load.log",
        generator="own",
        at_end=lambda: ends.append(cpu_s(tree_of(gateway.pid))),
    )

    assert (figures.requests, figures.errors, len(ends)) == (150, 0, 1)


async def test_replies_of_another_size_fail_the_run(
    gateway: Child, replies: Sequence[Canned], folder: Path
) -> None:
    target = Target(port=int(gateway.name), path=replies[0].rest_path)

    with pytest.raises(RuntimeError, match="requests failed"):
        await load(
            target,
            requests=20,
            connections=2,
            body_bytes=7,
            core=0,
            log=folder / "load.log",
            generator="own",
            at_end=lambda: None,
        )


async def test_a_sample_compares_the_whole_tree(gateway: Child, replies: Sequence[Canned]) -> None:
    target = Target(port=int(gateway.name), path=replies[0].rest_path)

    with pytest.raises(RuntimeError, match="not the order"):
        await asyncio.to_thread(sample, target, {**replies[0].tree, "revision": "1"})


async def test_a_tree_has_grandchildren_and_a_process_that_ended_is_missed(tmp_path: Path) -> None:
    # The inner one ends with the outer: its input is the outer's pipe.
    inner = "print(1, flush=True); input()"
    script = (
        "import subprocess as s, sys;"
        f"s.Popen([sys.executable, '-c', {inner!r}], stdin=s.PIPE).wait()"
    )
    command = [sys.executable, "-c", script]
    async with Child("parent", command, core=0, log=tmp_path / "log", read_stdout=True) as child:
        assert child.process.stdout is not None
        await asyncio.wait_for(child.process.stdout.readline(), 20)

        tree = tree_of(child.pid)

        assert (len(tree), child.pid in tree) == (2, True)
        assert cpu_s(tree) >= 0

    with pytest.raises(ProcessFailed, match="ended while it was measured"):
        cpu_s(frozenset({child.pid}))


async def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    async with Child("broken", command, core=0, log=tmp_path / "log") as child:
        with pytest.raises(ProcessFailed, match="no such thing"):
            await child.wait_for_port(free_port())


async def test_the_rival_answers_everything_with_what_is_compared(
    gateway: Child, replies: Sequence[Canned]
) -> None:
    """One order in three sizes, a posted one, the screen, and the same by GraphQL."""
    for canned in replies:
        target = Target(port=int(gateway.name), path=canned.rest_path, body=canned.body)

        assert await asyncio.to_thread(sample, target, canned.tree) > 0


@pytest.mark.parametrize("grpc_method", [False, True], ids=["gateway", "service"])
async def test_an_open_loop_answers_for_every_request_that_was_due(
    gateway: Child, upstream: int, replies: Sequence[Canned], folder: Path, *, grpc_method: bool
) -> None:
    canned = replies[1]
    target = Target(port=int(gateway.name), path=canned.rest_path)
    body_bytes = await asyncio.to_thread(sample, target, canned.tree)
    if grpc_method:
        target = Target(port=upstream, path=canned.grpc_path)

    figures = await open_load(
        target,
        rate=400,
        requests=80,
        body_bytes=body_bytes,
        core=0,
        log=folder / "load.log",
        grpc=grpc_method,
    )

    assert figures.requests == 80
    assert 0 < figures.p50_us <= figures.p99_us


async def test_a_pair_takes_turns_block_by_block(
    gateway: Child, replies: Sequence[Canned], folder: Path
) -> None:
    """The same gateway on both sides, so that what differs is the measure alone."""
    near, far = (
        Contender(name="naive", mode=mode, port=int(gateway.name), authorization="", child=gateway)
        for mode in ("policies", "redis")
    )
    settings, _ = settings_of(["--requests", "200", "--generator", "own", "--connections", "4"])
    entry = next(entry for entry in CONTENDERS if entry.pair == "policies")
    case = Case(entry=entry, size="medium", connections=4)
    rounds = Rounds(settings, folder / "load.log", 0, lambda _: None, pairs=2)

    await rounds.measure_pair(case, far, near, replies[1], 3)

    assert [(pair.number, pair.requests) for pair in rounds.pairs] == [(3, 100), (3, 100)]
    assert all(pair.near_us > 0 and pair.far_us > 0 for pair in rounds.pairs)
    (run,) = rounds.runs
    assert (run.mode, run.requests) == ("redis", 200)
    assert run.cpu_us == pytest.approx(sum(pair.far_us for pair in rounds.pairs) / 2, abs=0.2)
