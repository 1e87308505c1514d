"""Where the microseconds of one request go: a sampler looks at the worker under load, and rooms add up.

`make profile`, or `python -m benchmarks.profile [--mode policies] [--size medium]`. py-spy reads the
stack of the running worker from outside, so nothing in the gateway is slowed by being watched. What
has no Python frame of its own (kernel, uvloop, llhttp, Rust) is counted where it was called from.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.contenders import CONTENDERS, Bench
from benchmarks.identity import identity_provider
from benchmarks.load import Target, load, sample
from benchmarks.messages import ASKED, canned_replies, compile_protos
from benchmarks.processes import cpu_s, tree_of
from benchmarks.upstream import cores, start_upstream

__all__ = ["main", "room_of"]

RESULT = Path(__file__).resolve().parent / "results" / "profile.md"
_SAMPLE_S = 10
_SAMPLES_PER_S = 400
_REQUESTS = 20_000
_WARM_UP = 3_000
# The innermost frame of ours decides; the first that fits counts.
_ROOMS = (
    ("bff/fronts/http1", "listener: socket, llhttp, reply head"),
    ("bff/fronts/workers", "listener: socket, llhttp, reply head"),
    ("bff/fronts/exchange", "listener: socket, llhttp, reply head"),
    ("bff/fronts/door", "door: ids, path, address, flood bucket"),
    ("bff/fronts/header_rules", "door: ids, path, address, flood bucket"),
    ("bff/fronts/canonical", "door: ids, path, address, flood bucket"),
    ("bff/fronts/address", "door: ids, path, address, flood bucket"),
    ("bff/transcoding/json_codec", "codec: wire to JSON"),
    ("bff/transcoding/route_trie", "match"),
    ("bff/transcoding/", "bind: path, query, body"),
    ("bff/auth/", "authenticate, authorize"),
    ("bff/ratelimit/", "take tokens"),
    ("bff/wire/", "lane: HTTP/2 to the service"),
    ("bff/upstream/", "upstream: slots, retry, breaker, balance"),
    ("bff/telemetry/", "telemetry: access log, metrics"),
    ("bff/app", "telemetry: access log, metrics"),
    ("bff/pipeline/", "line: stages and what is between"),
    ("bff/core/", "line: stages and what is between"),
    ("bff/snapshot/", "line: stages and what is between"),
)
_LOOP = "loop: uvloop, epoll, tasks"


def room_of(frames: Iterable[str]) -> str:
    """The room of one sample; `frames` are `name (file)`, the outermost first."""
    for frame in reversed(list(frames)):
        for part, room in _ROOMS:
            # The worker's own loop is below all of it.
            if part in frame and "Workers." not in frame:
                return room
    return _LOOP


async def _profile(mode: str, size: str) -> str:
    spy = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-profile-")))
        on = cores()
        descriptor_set = await asyncio.to_thread(compile_protos, folder)
        replies = canned_replies(descriptor_set.read_bytes())
        bench = Bench(
            folder=folder,
            descriptor_set=descriptor_set,
            upstream_port=await start_upstream(stack, folder, replies, on["load"]),
            gateway_core=on["gateway"],
            load_core=on["load"],
            identity=stack.enter_context(identity_provider()),
            replies={canned.size: canned for canned in replies},
        )
        entry = next(each for each in CONTENDERS if (each.name, each.mode) == ("ours", mode))
        contender = await stack.enter_async_context(entry.start(bench, entry.mode))
        canned = next(each for each in replies if each.size == size)
        target = Target(
            port=contender.port,
            path=canned.rest_path,
            authorization=contender.authorization,
            body=canned.body,
        )
        body_bytes = await asyncio.to_thread(sample, target, canned.tree)
        tree = tree_of(contender.child.pid)

        async def send(requests: int) -> float:
            ends: list[float] = []
            await load(
                target, requests=requests, connections=32, body_bytes=body_bytes, core=on["load"],
                log=folder / "load.log", generator="own", at_end=lambda: ends.append(cpu_s(tree)),
            )  # fmt: skip
            return ends[0]

        await send(_WARM_UP)
        idle = {pid: cpu_s(frozenset([pid])) for pid in tree}
        before_s = cpu_s(tree)
        cpu_us = (await send(_REQUESTS) - before_s) / _REQUESTS * 1e6
        worker = max(tree, key=lambda pid: cpu_s(frozenset([pid])) - idle[pid])
        raw = folder / "samples"
        watching = await asyncio.create_subprocess_exec(
            spy, "record", "--pid", str(worker), "--format", "raw", "--threads", "--output", str(raw),
            "--duration", str(_SAMPLE_S), "--rate", str(_SAMPLES_PER_S),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        while watching.returncode is None:
            await send(_WARM_UP)
        return _table(raw.read_text(), cpu_us, mode, size)


def _table(raw: str, cpu_us: float, mode: str, size: str) -> str:
    """Shares of the main thread's samples, and the microseconds that they are of a request."""
    rooms: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        # Threads that write lines or resolve names only wait while they are sampled.
        if any("run_node" in frame for frame in frames):
            rooms[room_of(frames)] += int(count)
    total = sum(rooms.values()) or 1
    lines = [
        f"# Where a request's {cpu_us:.0f} us go",
        "",
        f"{mode}, reply size {size}, 32 connections; {total} samples of the worker's loop thread.",
        "",
        "| room | share | us |",
        "|---|---:|---:|",
    ]
    for room, samples in rooms.most_common():
        part = samples / total
        lines.append(f"| {room} | {part:.0%} | {part * cpu_us:.1f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--mode", default="policies", choices=["plain", "policies", "redis"])
    parser.add_argument("--size", default="medium", choices=ASKED)
    given = parser.parse_args()
    text = asyncio.run(_profile(given.mode, given.size))
    print(text)
    RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
