"""One measurement of each kind: a case under closed load, a pair of two in turns, a rate kept by the clock."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from benchmarks.canned import Canned
from benchmarks.cases import Case, OpenCase, Settings
from benchmarks.contenders import Contender
from benchmarks.figures import OpenRun, Pair, SingleRun
from benchmarks.load import Figures, Target, load, open_load, sample
from benchmarks.processes import cpu_s, memory_mb, tree_of

__all__ = ["Rounds"]

# The first requests pay for connections, caches and lazy imports; they are not measured.
_FIRST_WARM_UP = 2_000
_WARM_UP = 200
# A reply that takes longer needs fewer requests to tell as much.
_SIZE_SHARE = {"large": 0.25, "aggregate": 0.5, "graphql": 0.5}
# Blocks of a pair in one run: short enough that a disturbance of the machine meets both of a pair.
_PAIRS = 6
_OPEN_S = 2.0
_OPEN_LEAST_S = 0.2


class _Cost(Struct, frozen=True, kw_only=True):
    """What so many requests took, and what they showed."""

    figures: Figures
    cpu_us: float
    wall_s: float
    cpu_s: float


class Rounds:
    """Measures one after the other and keeps what was found."""

    def __init__(
        self,
        settings: Settings,
        log: Path,
        core: int,
        say: Callable[[str], None],
        *,
        pairs: int = _PAIRS,
    ) -> None:
        self._pairs = pairs
        self._settings = settings
        self._log = log
        self._core = core
        self._say = say
        self._warm: set[tuple[str, str, str]] = set()
        self.runs: list[SingleRun] = []
        self.pairs: list[Pair] = []
        self.open_runs: list[OpenRun] = []

    async def measure(self, case: Case, contender: Contender, canned: Canned, number: int) -> None:
        """Check replies, warm up, load, and note the CPU of the contender's tree between the ends."""
        target = _target(contender, canned)
        body_bytes = await asyncio.to_thread(sample, target, canned.tree)
        wanted = self._wanted(case)
        await self._warm_up(case, contender, target, body_bytes, wanted)
        cost = await self._spend(case, contender, target, body_bytes, wanted)
        await asyncio.to_thread(sample, target, canned.tree)
        self._keep(case, contender, number, body_bytes, cost)

    async def measure_pair(
        self, case: Case, far: Contender, near: Contender, canned: Canned, number: int
    ) -> None:
        """Blocks of requests to one and to the other, in the order ABBA, so that no drift favours one."""
        sides = {far.mode: far, near.mode: near}
        targets = {mode: _target(contender, canned) for mode, contender in sides.items()}
        bodies = {}
        for mode, contender in sides.items():
            bodies[mode] = await asyncio.to_thread(sample, targets[mode], canned.tree)
            await self._warm_up(case, contender, targets[mode], bodies[mode], self._wanted(case))
        block = max(1, self._wanted(case) // self._pairs)
        costs: list[dict[str, _Cost]] = []
        for turn in range(self._pairs):
            order = (near, far) if turn % 2 else (far, near)
            costs.append(
                {
                    side.mode: await self._spend(
                        case, side, targets[side.mode], bodies[side.mode], block
                    )
                    for side in order
                }
            )
        self.pairs += [
            Pair(
                number=number,
                requests=block,
                near_us=round(cost[near.mode].cpu_us, 1),
                far_us=round(cost[far.mode].cpu_us, 1),
            )
            for cost in costs
        ]
        self._keep(case, far, number, bodies[far.mode], _sum([cost[far.mode] for cost in costs]))

    async def measure_open(
        self, case: OpenCase, target: Target, body_bytes: int, number: int, *, grpc: bool
    ) -> None:
        """Send at the rate for two seconds, fewer where few requests are wanted."""
        requests = min(
            round(case.rate * _OPEN_S),
            max(self._settings.requests, round(case.rate * _OPEN_LEAST_S)),
        )
        figures = await open_load(
            target,
            rate=case.rate,
            requests=requests,
            body_bytes=body_bytes,
            core=self._core,
            log=self._log,
            grpc=grpc,
        )
        run = OpenRun(
            contender=case.entry.name if case.entry else "upstream",
            mode=case.entry.mode if case.entry else "",
            rate=case.rate,
            number=number,
            requests=figures.requests,
            p50_us=figures.p50_us,
            p99_us=figures.p99_us,
        )
        self.open_runs.append(run)
        self._say(f"run {number} {case.name:34} p50 {run.p50_us:6} us  p99 {run.p99_us:6} us")

    def _wanted(self, case: Case) -> int:
        share = case.entry.share * _SIZE_SHARE.get(case.size, 1.0)
        # One at a time, half of the time is waiting.
        return max(1, round(self._settings.requests * share * (0.5 if case.connections < 4 else 1)))

    async def _warm_up(
        self, case: Case, contender: Contender, target: Target, body_bytes: int, wanted: int
    ) -> None:
        key = (contender.name, contender.mode, case.size)
        requests = _WARM_UP if key in self._warm else min(_FIRST_WARM_UP, wanted)
        self._warm.add(key)
        await self._spend(case, contender, target, body_bytes, requests)

    async def _spend(
        self, case: Case, contender: Contender, target: Target, body_bytes: int, requests: int
    ) -> _Cost:
        """Load; the CPU of the contender's tree up to the last request that left."""
        tree = tree_of(contender.child.pid)
        ends: list[tuple[float, float]] = []
        before_s, began_s = cpu_s(tree), time.perf_counter()
        figures = await load(
            target,
            requests=requests,
            connections=case.connections,
            body_bytes=body_bytes,
            core=self._core,
            log=self._log,
            generator=self._settings.generator,
            at_end=lambda: ends.append((cpu_s(tree), time.perf_counter())),
        )
        ((after_s, ended_s),) = ends
        return _Cost(
            figures=figures,
            cpu_us=(after_s - before_s) / figures.requests * 1e6,
            wall_s=ended_s - began_s,
            cpu_s=after_s - before_s,
        )

    def _keep(
        self, case: Case, contender: Contender, number: int, body_bytes: int, cost: _Cost
    ) -> None:
        run = SingleRun(
            contender=contender.name,
            mode=contender.mode,
            size=case.size,
            number=number,
            requests=cost.figures.requests,
            cpu_us=round(cost.cpu_us, 1),
            wall_s=round(cost.wall_s, 3),
            busy=round(cost.cpu_s / cost.wall_s, 2),
            p50_us=cost.figures.p50_us,
            p99_us=cost.figures.p99_us,
            body_bytes=body_bytes,
            memory_mb=memory_mb(tree_of(contender.child.pid)),
            connections=case.connections,
            is_varied=case.is_varied,
        )
        self.runs.append(run)
        self._say(
            f"run {number} {case.name:34} {run.cpu_us:8.1f} us  "
            f"{run.requests / run.wall_s:7.0f} requests/s  busy {run.busy:.2f}"
        )


def _target(contender: Contender, canned: Canned) -> Target:
    return Target(
        port=contender.port,
        path=canned.rest_path,
        authorization=contender.authorization,
        body=canned.body,
    )


def _sum(costs: list[_Cost]) -> _Cost:
    """Of the blocks of one side; of latencies the worst block's stands."""
    requests = sum(cost.figures.requests for cost in costs)
    total_s = sum(cost.cpu_s for cost in costs)
    figures = Figures(
        requests=requests,
        bytes=sum(cost.figures.bytes for cost in costs),
        errors=0,
        p50_us=max(cost.figures.p50_us for cost in costs),
        p99_us=max(cost.figures.p99_us for cost in costs),
    )
    return _Cost(
        figures=figures,
        cpu_us=total_s / requests * 1e6,
        wall_s=sum(cost.wall_s for cost in costs),
        cpu_s=total_s,
    )
