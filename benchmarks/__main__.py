"""`python -m benchmarks`: measure, print the table, write `results/`. Exit 1 if ours could not be measured."""

import argparse
import asyncio
import shlex
import signal
import sys

from benchmarks.bench import run_bench
from benchmarks.cases import PARTS, Settings
from benchmarks.contenders import CONTENDERS
from benchmarks.figures import Report
from benchmarks.load import generator_name
from benchmarks.messages import ASKED
from benchmarks.processes import ProcessFailed
from benchmarks.report import README, show, write

__all__ = ["main", "settings_of"]

_RUNS = 5
_REQUESTS = 8_000
_CONNECTIONS = 32
_MOST_RUNS = 50
_MOST_REQUESTS = 200_000
_QUICK_RUNS = 1
_QUICK_REQUESTS = 3_000
# What one looks at while working: no slow rival, no store, no thousands of routes.
_QUICK_ONLY = ("ours/plain/", "ours/policies/", "envoy/")
_MODES = sorted({entry.mode for entry in CONTENDERS})


def main() -> int:
    """Returns the exit code; 130 if interrupted."""
    settings, is_latest = settings_of(sys.argv[1:])
    try:
        report = asyncio.run(_run(settings))
    except asyncio.CancelledError:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except (ProcessFailed, RuntimeError, TimeoutError, OSError) as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    show(report)
    for path in write(report, is_latest=is_latest):
        print(f"written: {path.relative_to(README.parent)}")
    return 0


async def _run(settings: Settings) -> Report:
    """Measure; SIGINT and SIGTERM unwind, so that every process that we started is ended."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # Once: a second one would cut the ending short, which is bounded as it is.
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return await run_bench(settings, lambda line: print(line, flush=True))


def settings_of(arguments: list[str]) -> tuple[Settings, bool]:
    """What the command line asks for, and whether that is everything. Exits with 2 where it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="CPU per request of the gateway beside Envoy and a plain FastAPI gateway.",
    )
    parser.add_argument("--runs", type=_Between(1, _MOST_RUNS), help=f"default {_RUNS}")
    parser.add_argument(
        "--requests",
        type=_Between(200, _MOST_REQUESTS),
        help=f"of one run, default {_REQUESTS}; fewer where each takes long",
    )
    parser.add_argument(
        "--connections", type=_Between(1, 512), help=f"default {_CONNECTIONS}", default=_CONNECTIONS
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="measure what has this in contender/mode/size, such as ours/policies or medium",
    )
    parser.add_argument(
        "--scenario", action="append", default=[], choices=_MODES, help="may be repeated"
    )
    parser.add_argument(
        "--size", action="append", default=[], choices=ASKED, help="may be repeated"
    )
    parser.add_argument(
        "--part",
        action="append",
        default=[],
        choices=PARTS,
        help="may be repeated; default all, or cpu where only a part of the contenders is wanted",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one short run each of ours and Envoy, under a minute; latest.md is left as it is",
    )
    parser.add_argument("--generator", choices=["wrk", "own"], default=generator_name())
    given = parser.parse_args(arguments)
    is_whole = not (given.quick or given.only or given.scenario or given.size or given.part)
    settings = Settings(
        runs=given.runs or (_QUICK_RUNS if given.quick else _RUNS),
        requests=given.requests or (_QUICK_REQUESTS if given.quick else _REQUESTS),
        connections=given.connections,
        generator=given.generator,
        only=tuple(given.only) or (_QUICK_ONLY if given.quick and not given.scenario else ()),
        modes=frozenset(given.scenario),
        sizes=frozenset(given.size),
        parts=frozenset(given.part or (PARTS if is_whole else ("cpu",))),
        command=shlex.join(["python", "-m", "benchmarks", *arguments]),
    )
    # What is shown as the state of things covers everything.
    return settings, is_whole


class _Between:
    """A whole number from `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def __call__(self, text: str) -> int:
        number = int(text)
        if not self._least <= number <= self._most:
            raise argparse.ArgumentTypeError(f"must lie in {self._least}..{self._most}")
        return number


if __name__ == "__main__":
    sys.exit(main())
