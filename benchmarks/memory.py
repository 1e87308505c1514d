"""What routes cost in memory and in time to load: the whole process tree, before, during and after a reload.

`python -m benchmarks.memory --routes 10000 --workers 2` starts a gateway on mappings made for it, with no
service behind, reads /proc, changes one route, sends SIGHUP, and prints Markdown. PSS counts pages
that processes share once in all. `--mappings FOLDER` measures a configuration of your own, in its
own folder and without the reload.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from benchmarks.machine import describe_machine
from benchmarks.processes import tree_of

__all__ = ["Shape", "main", "write_routes"]

# `rules`: one method under many paths, so that nothing but routes counts. `methods`: ten methods a
# service, each with its own request and one path, as a fleet of services has them.
Shape = Literal["rules", "methods"]
_ROOT = Path(__file__).resolve().parent.parent
_LIMIT_S = 300.0
_POLL_S = 0.05
# A worker ends its last look over what a reload left within this.
_SETTLE_S = 3.0
_PER_SERVICE = 10
_GATEWAY = """\
format: 1
gateway: {protos: [protos], listen: 127.0.0.1:0, admin: 127.0.0.1:0, drain: {grace: 10ms, finish: 1s}}
upstreams: {fleet: {endpoints: ["127.0.0.1:9"]}}
auth:
  issuers: {main: {issuer: "https://id.example", audience: [fleet], jwks: "http://127.0.0.1:9/jwks"}}
limits: {each: {rate: 100/s, burst: 200, by: [user, route]}}
limit: [each]
"""
_TYPES = """\
syntax = "proto3";
package fleet.v1;
message Item { string id = 1; string name = 2; int64 count = 3; repeated string tags = 4; Item part = 5; }
"""


class Held(Struct, frozen=True):
    """What a process holds, in MB: resident, its share of it, and what no other process has."""

    name: str
    rss: float
    pss: float
    uss: float


def write_routes(folder: Path, shape: Shape, routes: int) -> Path:
    """Mappings and protos of so many routes below `folder`; returns a file whose limit may be changed."""
    protos = folder / "protos" / "fleet" / "v1"
    protos.mkdir(parents=True)
    (folder / "gateway.yaml").write_text(_GATEWAY)
    count = 1 if shape == "rules" else max(1, routes // _PER_SERVICE)
    (protos / "types.proto").write_text(_TYPES)
    for number in range(count):
        methods = 1 if shape == "rules" else _PER_SERVICE
        (protos / f"s{number}.proto").write_text(_proto(number, methods))
        text = _rules(routes) if shape == "rules" else _methods(number)
        (folder / f"s{number}.yaml").write_text(text)
    return folder / "s0.yaml"


def _proto(number: int, methods: int) -> str:
    lines = ['syntax = "proto3";', "package fleet.v1;", 'import "fleet/v1/types.proto";']
    lines.append(f"service S{number} {{")
    lines += [
        f"  rpc M{number}x{each}(S{number}M{each}Request) returns (Item);"
        for each in range(methods)
    ]
    lines.append("}")
    for each in range(methods):
        lines.append(
            f"message S{number}M{each}Request {{ string id = 1; int32 page = 2; Item item = 3; }}"
        )
    return "\n".join(lines) + "\n"


def _rules(routes: int) -> str:
    head = "service: fleet.v1.S0\nupstream: fleet\nroutes:\n"
    head += "  - rpc: M0x0\n    deadline: 2s\n    get: '/v1/r0/{id}'\n    also:\n"
    return head + "".join(f"      - {{get: '/v1/r{n}/{{id}}'}}\n" for n in range(1, routes))


def _methods(number: int) -> str:
    lines = [f"service: fleet.v1.S{number}\nupstream: fleet\nroutes:\n"]
    for each in range(_PER_SERVICE):
        path = f"/v1/s{number}/m{each}/{{id}}"
        rule = f"get: '{path}'" if each % 2 else f"post: '{path}', body: item"
        lines.append(f"  - {{rpc: M{number}x{each}, {rule}, deadline: 2s}}\n")
    return "".join(lines)


class Serving:
    """A gateway that serves, and what it holds."""

    def __init__(self, pid: int, admin: str) -> None:
        self.pid = pid
        self._admin = admin

    def held(self) -> list[Held]:
        """Its processes, the node first."""
        found = []
        for pid in sorted(tree_of(self.pid)):
            try:
                found.append(_held(pid, self._name(pid)))
            except OSError:
                # It ended meanwhile.
                continue
        return found

    def versions(self) -> list[str]:
        """Which version each worker serves."""
        url = f"{self._admin}/readyz?verbose"
        with urllib.request.urlopen(url, timeout=_LIMIT_S) as reply:  # noqa: S310 - our own child's
            shown: dict[str, Any] = json.load(reply)
        return [worker["version"] for worker in shown["workers"]]

    def _name(self, pid: int) -> str:
        if pid == self.pid:
            return "node"
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return "listener" if int(parent) == self.pid else "worker"


def _held(pid: int, name: str) -> Held:
    sums = {"Rss": 0, "Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key in sums:
            sums[key] = int(rest.split()[0])
    private = sums["Private_Clean"] + sums["Private_Dirty"]
    return Held(name, sums["Rss"] / 1000, sums["Pss"] / 1000, private / 1000)


@contextmanager
def _serve(mappings: Path, workers: int) -> Iterator[tuple[Serving, float]]:
    """The gateway, and the seconds until every worker took traffic."""
    with tempfile.TemporaryDirectory(prefix="bff-memory-") as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "bff", "serve", str(mappings)]
        command += ["--workers", str(workers), "--ready-file", str(ready)]
        began_s = time.perf_counter()
        with subprocess.Popen(
            command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                while not ready.exists():
                    if process.poll() is not None or time.perf_counter() - began_s > _LIMIT_S:
                        assert process.stderr is not None
                        raise RuntimeError(process.stderr.read().decode()[-2000:])
                    time.sleep(_POLL_S)  # noqa: TID251 - a benchmark may poll
                took_s = time.perf_counter() - began_s
                yield Serving(process.pid, json.loads(ready.read_bytes())["admin"]), took_s
            finally:
                process.terminate()
                process.wait(_LIMIT_S)


def _reload(serving: Serving, file: Path) -> tuple[float, float]:
    """Change one route and have it taken over; seconds it took, and the most the tree held (PSS, MB)."""
    before = set(serving.versions())
    text = file.read_text()
    was, now = ("2s", "3s") if "deadline: 2s" in text else ("3s", "2s")
    file.write_text(text.replace(f"deadline: {was}", f"deadline: {now}", 1))
    began_s = time.perf_counter()
    os.kill(serving.pid, signal.SIGHUP)
    most = 0.0
    while set(serving.versions()) & before:
        most = max(most, sum(each.pss for each in serving.held()))
        if time.perf_counter() - began_s > _LIMIT_S:
            raise RuntimeError("the change was not taken over")
        time.sleep(_POLL_S)  # noqa: TID251 - as above
    took_s = time.perf_counter() - began_s
    time.sleep(_SETTLE_S)  # noqa: TID251 - nothing tells that a process has given memory back
    return took_s, max(most, sum(each.pss for each in serving.held()))


def _print_held(title: str, held: list[Held]) -> None:
    for each in held:
        print(f"| {title} | {each.name} | {each.rss:.0f} | {each.pss:.0f} | {each.uss:.0f} |")
    print(f"| {title} | **tree** | | **{sum(each.pss for each in held):.0f}** | |")


def _check_s(mappings: Path) -> float:
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "bff", "check", str(mappings)]
    subprocess.run(command, cwd=_ROOT, capture_output=True, check=True)
    return time.perf_counter() - began_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shape", choices=("rules", "methods"), default="rules")
    parser.add_argument("--reloads", type=int, default=2)
    parser.add_argument("--mappings", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bff-routes-") as folder:
        mappings, file, reloads = chosen.mappings, None, 0
        if mappings is None:
            mappings, reloads = Path(folder), chosen.reloads
            file = write_routes(mappings, chosen.shape, chosen.routes)
        times = [f"check {_check_s(mappings):.1f} s"]
        print("| when | process | RSS MB | PSS MB | private MB |\n|---|---|---:|---:|---:|")
        with _serve(mappings, chosen.workers) as (serving, took_s):
            times.append(f"serve {took_s:.1f} s")
            time.sleep(_SETTLE_S)  # noqa: TID251 - as above
            _print_held("start", serving.held())
            for number in range(1, reloads + 1):
                assert file is not None
                took_s, most = _reload(serving, file)
                times.append(f"reload {number} {took_s:.1f} s, most {most:.0f} MB")
                _print_held(f"reload {number}", serving.held())
    machine = describe_machine()
    print(f"\n{'; '.join(times)}. {machine.cpu}, {machine.python}, commit {machine.commit}")


if __name__ == "__main__":
    main()
