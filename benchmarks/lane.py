"""CPU of one unary call, client alone: our HTTP/2 lane beside grpcio, `python -m benchmarks.lane`.

The canned upstream is a process of its own; each client is too, on another core, and counts its own
user and system time (getrusage). Clients take turns, so that a disturbance hits all of them.
"""

import argparse
import asyncio
import random
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec
import uvloop

from benchmarks.figures import LaneRun
from benchmarks.machine import describe_machine
from benchmarks.messages import canned_replies, compile_protos
from benchmarks.processes import Child
from benchmarks.upstream import cores, start_upstream
from bff.core.events import silent
from bff.core.ports import SystemClock
from bff.wire.channel import Metadata
from bff.wire.grpcio import GrpcioChannel
from bff.wire.http2.lane import LaneChannel
from bff.wire.split import SplitChannel

__all__ = ["lane_round", "lane_table", "measure"]

CLIENTS = ("lane", "grpcio", "grpc.aio")
_AT_ONCE = (1, 32)
_WARM_UP = 1_000
_CALLS = {1: 6_000, 32: 20_000}
_DEADLINE_S = 10.0
_MESSAGE = b"\x0a\x1corder-0000000000000000000001"
_METADATA_KEPT = 4_096

Call = Callable[[Metadata], Any]


def main() -> int:
    """Measure all, or be one client of such a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--client", choices=CLIENTS, help="be this client, and print what it cost")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--path", default="")
    parser.add_argument("--only", choices=CLIENTS)
    given = parser.parse_args()
    if given.client:
        cost = uvloop.run(
            measure(given.client, given.port, given.path, at_once=given.at_once, calls=given.calls)
        )
        print(msgspec.json.encode(cost).decode())
        return 0
    machine = describe_machine()
    costs = asyncio.run(_run(given.runs, [given.only] if given.only else CLIENTS))
    print(f"{machine.cpu}, Python {machine.python}, commit {machine.commit}")
    print("\n".join(lane_table(costs)))
    return 0


async def measure(client: str, port: int, path: str, *, at_once: int, calls: int) -> LaneRun:
    """What `calls` calls cost in this process, `at_once` of them in flight."""
    metadata = _metadata()
    async with AsyncExitStack() as stack:
        call = await _open(stack, client, f"127.0.0.1:{port}", path)
        await _spend(call, metadata, at_once=at_once, calls=_WARM_UP)
        before = resource.getrusage(resource.RUSAGE_SELF)
        await _spend(call, metadata, at_once=at_once, calls=calls)
        after = resource.getrusage(resource.RUSAGE_SELF)
    return LaneRun(
        client=client,
        at_once=at_once,
        calls=calls,
        user_us=(after.ru_utime - before.ru_utime) / calls * 1e6,
        system_us=(after.ru_stime - before.ru_stime) / calls * 1e6,
    )


def _metadata() -> Sequence[Metadata]:
    """What a request of a known caller carries; ids differ from call to call, made before the clock runs."""
    chance = random.Random(5)
    return [
        (
            ("x-request-id", f"{chance.getrandbits(96):024x}"),
            ("traceparent", f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01"),
            ("x-forwarded-for", f"192.0.2.{chance.randrange(200)}"),
            ("x-user-id", f"user-{chance.randrange(500)}"),
            ("x-tenant-id", f"tenant-{chance.randrange(20)}"),
            ("x-scopes", "orders.read orders.write"),
        )
        for _ in range(_METADATA_KEPT)
    ]


async def _open(stack: AsyncExitStack, client: str, address: str, path: str) -> Call:
    clock = SystemClock()
    if client == "grpc.aio":
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        ask: Any = channel.unary_unary(path, None, None)
        return lambda metadata: ask(_MESSAGE, metadata=metadata, timeout=_DEADLINE_S)
    if client == "grpcio":
        reference = GrpcioChannel(address, tls=None, authority=None, clock=clock)
        stack.push_async_callback(reference.close)
        unary = reference.unary
    else:
        lane = LaneChannel(
            address, tls=None, authority=None, clock=clock, random=random.Random(1), emit=silent
        )
        both = SplitChannel(lane, lambda: _no_streams(address))
        stack.push_async_callback(both.close)
        unary = both.unary
    now_s = clock.now_s
    return lambda metadata: unary(path, _MESSAGE, metadata, now_s() + _DEADLINE_S)


def _no_streams(address: str) -> Any:
    raise RuntimeError(f"nothing streams from {address}")


async def _spend(call: Call, metadata: Sequence[Metadata], *, at_once: int, calls: int) -> None:
    """Callers that each ask, wait, and ask again, as the requests of a gateway do."""
    each = calls // at_once

    async def caller(number: int) -> None:
        for turn in range(each):
            await call(metadata[(number * each + turn) % _METADATA_KEPT])

    await asyncio.gather(*(caller(number) for number in range(at_once)))


async def _run(runs: int, clients: Sequence[str]) -> list[LaneRun]:
    costs: list[LaneRun] = []
    on = cores()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-lane-")))
        descriptor_set = await asyncio.to_thread(compile_protos, folder)
        replies = canned_replies(descriptor_set.read_bytes())
        port = await start_upstream(stack, folder, replies, on["load"])
        path = next(canned.grpc_path for canned in replies if canned.size == "medium")
        for _ in range(runs):
            costs += await lane_round(port, path, on["gateway"], folder, clients)
    return costs


async def lane_round(
    port: int,
    path: str,
    core: int,
    folder: Path,
    clients: Sequence[str] = CLIENTS,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> list[LaneRun]:
    """Each client once alone and once with 32 calls in flight, against an upstream that listens already."""
    costs = []
    for at_once in _AT_ONCE:
        for client in clients:
            cost = await _one(client, at_once, port, path, core, folder)
            say(f"{client}, {at_once} at once: {cost.total_us:.1f} us a call")
            costs.append(cost)
    return costs


async def _one(client: str, at_once: int, port: int, path: str, core: int, folder: Path) -> LaneRun:
    command = [sys.executable, "-m", "benchmarks.lane", "--client", client, "--port", str(port)]
    command += ["--path", path, "--at-once", str(at_once), "--calls", str(_CALLS[at_once])]
    child = Child(client, command, core=core, log=folder / "client.log", read_stdout=True)
    async with asyncio.timeout(240.0), child:
        assert child.process.stdout is not None
        said = await child.process.stdout.read()
        await child.process.wait()
        if child.process.returncode:
            raise RuntimeError(f"{client} failed: {child.said()}")
    return msgspec.json.decode(said, type=LaneRun)


def lane_table(costs: Sequence[LaneRun]) -> list[str]:
    """Medians over the runs, as a table of Markdown."""
    lines = [
        "| client | calls at once | CPU us a call | user | system | of grpcio | of grpc.aio |",
        "|---|---|---|---|---|---|---|",
    ]
    for at_once in _AT_ONCE:
        found = {one.client for one in costs}
        middle = {
            client: statistics.median(
                one.total_us for one in costs if (one.client, one.at_once) == (client, at_once)
            )
            for client in CLIENTS
            if client in found
        }
        for client, total_us in middle.items():
            mine = [one for one in costs if (one.client, one.at_once) == (client, at_once)]
            user_us = statistics.median(one.user_us for one in mine)
            system_us = statistics.median(one.system_us for one in mine)
            shares = [
                f"{total_us / middle[other]:.2f}" if other in middle else "-"
                for other in ("grpcio", "grpc.aio")
            ]
            lines.append(
                f"| {client} | {at_once} | {total_us:.1f} | {user_us:.1f} | {system_us:.1f} "
                f"| {' | '.join(shares)} |"
            )
    return lines


if __name__ == "__main__":
    sys.exit(main())
