"""Coverage-guided fuzzing, `make fuzz SECONDS=60`: each target in a process of its own, corpus in `.fuzz/`.

An input that breaks a target is written beside the corpus as `crash-*`; `python -m tests.fuzz NAME
FILE` runs it again. Needs atheris (requirements-fuzz.lock).
"""

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import atheris

from tests.fuzz.targets import TARGETS

__all__ = ["main"]

_FOLDER = Path(__file__).resolve().parents[2] / ".fuzz"
_INPUT_MAX_BYTES = 4_096


def main() -> int:
    """All targets in turn, or one of them in this process."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("file", nargs="?", type=Path, help="one input, instead of fuzzing")
    given = parser.parse_args()
    if given.target:
        _run_one(given.target, given.seconds, given.file)
    failed = []
    for name in TARGETS:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(given.seconds), name]
        # An exit code that is not 0: the target raised, leaked or hung.
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "no findings")
    return 1 if failed else 0


def _run_one(name: str, seconds: int, file: Path | None) -> None:
    """Ends the process, as libFuzzer does."""
    target = TARGETS[name]
    with atheris.instrument_imports(include=["bff"]):
        module = import_module(target.module)
    corpus = _FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(getattr(module, target.seeds)):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}", f"-max_len={_INPUT_MAX_BYTES}", "-timeout=20", "-rss_limit_mb=2048",
        f"-artifact_prefix={_FOLDER}/{name}-", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    where = [str(file)] if file else [str(corpus)]
    atheris.Setup([sys.argv[0], *options, *where], getattr(module, target.function))
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
