"""The smaller tables of the page: numbers of connections, latency at fixed rates, the client alone."""

from benchmarks.figures import LaneRun, OpenRun, Report, spread

__all__ = ["connection_lines", "lane_lines", "open_lines"]

_NAMES = {"ours": "this gateway", "envoy": "Envoy", "upstream": "the service itself"}


def connection_lines(report: Report) -> list[str]:
    """CPU a request by connections, each with one request at a time."""
    runs = [run for run in report.runs if run.is_varied]
    if not runs:
        return []
    numbers = sorted({run.connections for run in runs})
    names = [name for name in _NAMES if any(run.contender == name for run in runs)]
    lines = [
        "CPU microseconds per request, policies on, 1.7 KB, by connections that each wait for their reply.",
        "",
        f"| connections | {' | '.join(_NAMES[name] for name in names)} | ratio |",
        f"|---:|{'---:|' * (len(names) + 1)}",
    ]
    for number in numbers:
        medians = {}
        for name in names:
            found = spread(
                run.cpu_us for run in runs if (run.contender, run.connections) == (name, number)
            )
            if found is not None:
                medians[name] = found.median
        cells = [f"{medians[name]:.0f}" if name in medians else "-" for name in names]
        both = "ours" in medians and "envoy" in medians
        cells.append(f"{medians['ours'] / medians['envoy']:.2f}x" if both else "-")
        lines.append(f"| {number} | {' | '.join(cells)} |")
    return lines


def open_lines(report: Report) -> list[str]:
    """Latency by rate; what is added is what lies above the service's own."""
    if not report.open_runs:
        return []
    lines = [
        "Microseconds from the time at which a request was due to its whole reply, policies on, 1.7 KB, at rates far",
        "below saturation; median over the runs of each run's p50 and p99. In brackets what is above the service's own",
        "latency, asked over gRPC by the same generator.",
        "",
        "| requests/s | | p50 | p99 |",
        "|---:|---|---:|---:|",
    ]
    for rate in sorted({run.rate for run in report.open_runs}):
        own = _percentiles(report.open_runs, "upstream", rate)
        for name in ("upstream", "ours", "envoy"):
            found = _percentiles(report.open_runs, name, rate)
            if found is None:
                continue
            cells = [f"{figure:.0f}" for figure in found]
            if own is not None and name != "upstream":
                cells = [
                    f"{cell} (+{figure - below:.0f})"
                    for cell, figure, below in zip(cells, found, own, strict=True)
                ]
            lines.append(f"| {rate:,} | {_NAMES[name]} | {' | '.join(cells)} |")
    return lines


def _percentiles(runs: list[OpenRun], contender: str, rate: int) -> tuple[float, float] | None:
    mine = [run for run in runs if (run.contender, run.rate) == (contender, rate)]
    p50, p99 = spread(run.p50_us for run in mine), spread(run.p99_us for run in mine)
    return None if p50 is None or p99 is None else (p50.median, p99.median)


def lane_lines(report: Report) -> list[str]:
    """The cost of one unary call in the client's process."""
    if not report.lane:
        return []
    lines = [
        "CPU microseconds of one unary call in the client's process, reply of 1.7 KB as JSON: our HTTP/2",
        "client (lane), and grpcio's two.",
        "",
        "| client | calls at once | CPU | user | system | of grpcio's |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for at_once in sorted({run.at_once for run in report.lane}):
        runs = [run for run in report.lane if run.at_once == at_once]
        other = spread(run.total_us for run in runs if run.client == "grpcio")
        for client in dict.fromkeys(run.client for run in runs):
            total, user, system = _medians([run for run in runs if run.client == client])
            share = f"{total / other.median:.2f}x" if other else "-"
            lines.append(
                f"| {client} | {at_once} | {total:.1f} | {user:.1f} | {system:.1f} | {share} |"
            )
    return lines


def _medians(runs: list[LaneRun]) -> tuple[float, float, float]:
    columns = (
        spread(run.total_us for run in runs),
        spread(run.user_us for run in runs),
        spread(run.system_us for run in runs),
    )
    total, user, system = (column.median if column else 0.0 for column in columns)
    return total, user, system
