"""From the start of `bff serve` to its first answer, beside the time of small commands.

`python -m benchmarks.startup`: the sample services run already; a fresh gateway on their mappings is
started again and again, and asked for one product until it answers 200. Prints a Markdown table.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.processes import free_port

__all__ = [
    "FIRST_ANSWER_GOAL_S",
    "first_answer_s",
    "first_answers",
    "main",
    "moved",
    "sample_services",
]

FIRST_ANSWER_GOAL_S = 1.5
_ROOT = Path(__file__).resolve().parent.parent
# Open to guests, so that no token is needed.
_PATH = "/v1/products/p-1"
_LIMIT_S = 60.0
_POLL_S = 0.01
_WRITTEN = {"users": "127.0.0.1:50051", "catalog": "127.0.0.1:50052", "orders": "127.0.0.1:50053"}
_ISSUER = "http://127.0.0.1:8089"
_COMMANDS = (("--help",), ("keys", "list", "--help"), ("check", "mappings"))


@contextmanager
def sample_services() -> Iterator[Mapping[str, str]]:
    """The samples on free ports; their addresses by name. Raises RuntimeError if they do not start."""
    command = [sys.executable, "-m", "sample_services", "--stop-with-stdin"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the sample services did not start; they said why above")
            yield json.loads(line)
        finally:
            process.stdin.close()
            process.wait(_LIMIT_S)


def moved(target: Path, services: Mapping[str, str], port: int) -> Path:
    """A copy of the sample mappings for these services, listening on this port; returns its folder."""
    folder = target / "mappings"
    shutil.copytree(_ROOT / "mappings", folder)
    file = folder / "gateway.yaml"
    text = file.read_text(encoding="utf-8")
    changes = {written: services[name] for name, written in _WRITTEN.items()}
    changes |= {
        _ISSUER: services["identity"],
        "listen: 127.0.0.1:8080": f"listen: 127.0.0.1:{port}",
        "admin: 127.0.0.1:9901": "admin: 127.0.0.1:0",
        "../protos": str(_ROOT / "protos"),
    }
    for before, after in changes.items():
        if before not in text:
            raise RuntimeError(f"{before} is no longer in mappings/gateway.yaml")
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")
    return folder


def first_answers(runs: int) -> list[float]:
    """Seconds from the start of a gateway on the sample mappings to its first 200, so many times."""
    with sample_services() as services, tempfile.TemporaryDirectory(prefix="bff-start-") as folder:
        port = free_port()
        mappings = moved(Path(folder), services, port)
        first_answer_s(mappings, port)  # writes the byte code
        return [first_answer_s(mappings, port) for _ in range(runs)]


def first_answer_s(mappings: Path, port: int) -> float:
    """Start a gateway, ask until it answers, end it. Raises RuntimeError if it ends before or takes a minute."""
    command = [sys.executable, "-m", "bff", "serve", str(mappings)]
    began_s = time.perf_counter()
    with subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_env()
    ) as process:
        try:
            while not _answers(port):
                if time.perf_counter() - began_s > _LIMIT_S or _has_ended(process):
                    break
            else:
                return time.perf_counter() - began_s
        finally:
            process.terminate()
            said = process.communicate(timeout=_LIMIT_S)[1]
    raise RuntimeError(f"no answer from the gateway: {said[-1000:].decode('utf-8', 'replace')}")


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Give it a moment to end, which is also the pace of the questions."""
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", _PATH)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _command_s(words: Sequence[str]) -> float:
    began_s = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bff", *words],
        cwd=_ROOT,
        capture_output=True,
        check=True,
        env=_env(),
    )
    return time.perf_counter() - began_s


def _env() -> dict[str, str]:
    """As an installed gateway runs: with byte code from the disk."""
    kept = dict(os.environ)  # noqa: TID251 - what a child is given, not a setting of ours
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    machine = describe_machine()
    rows: dict[str, list[float]] = {}
    title = f"`bff serve`, first 200 (goal {FIRST_ANSWER_GOAL_S} s)"
    rows[title] = first_answers(runs)
    for words in _COMMANDS:
        rows[f"`bff {' '.join(words)}`"] = [_command_s(words) for _ in range(runs)]
    print("| what | median s | least - most |")
    print("|---|---:|---:|")
    for what, found in rows.items():
        print(f"| {what} | {statistics.median(found):.2f} | {min(found):.2f} - {max(found):.2f} |")
    print(
        f"\n{machine.cpu}, {machine.cores} cores, {machine.python}, commit {machine.commit}, "
        f"load average at start {machine.load_average[0]:.2f}, {runs} runs"
    )


if __name__ == "__main__":
    main()
