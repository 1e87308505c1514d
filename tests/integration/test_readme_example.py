"""README's "Add your service in ten minutes", done as it is written: its files, its commands, its outputs.

Only the three ports are others, so that several runs do not meet.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from bff.fronts.listen_ports import free_port

ROOT = Path(__file__).parents[2]
_GUARD_S = 60.0
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"(?:#|//) ((?:mappings|protos)/\S+|\w+\.py)$")

# What the reader starts in a terminal of its own, and the port that shows that it is there.
_SERVERS = {"python stock_service.py": "50061", "bff serve": "8090"}

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the README asks with curl")


class Example:
    """The section's blocks in order, carried out in a folder."""

    def __init__(self, folder: Path) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        start = text.index("## Add your service in ten minutes")
        section = text[start : text.index("\n## ", start + 1)]
        self._ports = {port: str(free_port("127.0.0.1")) for port in ("50061", "8090", "9911")}
        for written, free in self._ports.items():
            section = section.replace(f"127.0.0.1:{written}", f"127.0.0.1:{free}")
        self.blocks: list[tuple[str, str]] = _FENCE.findall(section)
        self.folder = folder
        self.is_serving = False
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
            child.wait(_GUARD_S)

    def address(self, written: str) -> tuple[str, int]:
        """Where what the README has at this port listens here."""
        return "127.0.0.1", int(self._ports[written])

    def write(self, text: str) -> Path:
        """Put a file where its first line says."""
        place = _PLACE.match(text.splitlines()[0])
        assert place, text
        path = self.folder / place[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end, in the activated environment."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=_activated(),
            capture_output=True,
            text=True,
            timeout=_GUARD_S,
            check=False,
        )

    def start(self, command: str) -> None:
        """Start what the reader starts in a terminal of its own."""
        log = (self.folder / f"log-{len(self._children)}").open("wb")
        with log:
            child = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=_activated(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._children.append(child)

    def do(self, block: str) -> None:
        """Carry out a block of shell: to its end, or in the background if it serves."""
        for start, port in _SERVERS.items():
            if block.startswith(start):
                self.start(block.strip())
                _wait_until(lambda port=port: _is_listening(self.address(port)), self.logs)  # type: ignore[misc]  # bound now
                self.is_serving = True
                return
        done = self.run(block)
        assert done.returncode == 0, done.stderr

    def logs(self) -> str:
        """What the started commands said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("log-*")))


def _activated() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # noqa: TID251 - a child's environment
    return {**os.environ, "PATH": path, "COLUMNS": "120"}  # noqa: TID251 - as above


def _is_listening(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def _wait_until(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    pause = threading.Event()
    for _ in range(int(_GUARD_S / 0.1)):
        if holds():
            return
        pause.wait(0.1)
    raise AssertionError(f"it never came true; {what()}")


def shown_commands(block: str) -> Iterator[tuple[str, str]]:
    """Command lines of a console block, each with the output below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def looks_like(shown: str, real: str) -> bool:
    """True if an output is the one shown: `..` stands for anything, and versions differ."""
    pattern = re.escape("\n".join(line.rstrip() for line in shown.strip().splitlines()))
    pattern = pattern.replace(r"\.\.", ".*")
    pattern = re.sub(r"version\\? [0-9a-f]{12}", "version [0-9a-f]{12}", pattern)
    trimmed = "\n".join(line.rstrip() for line in real.strip().splitlines())
    return re.fullmatch(pattern, trimmed) is not None


def test_output_with_another_value_is_not_taken_for_the_one_shown() -> None:
    assert looks_like('{"a":1,..}', '{"a":1,"b":2}')
    assert looks_like("version a0118850ccb8", "version 59c7d77c4159")
    assert not looks_like('{"a":1,..}', '{"a":2,"b":2}')


def test_a_reader_who_follows_the_readme_gets_what_it_shows(tmp_path: Path) -> None:
    """Files are written, commands run and outputs compared in the order of the README."""
    differences = []
    compared = 0
    with Example(tmp_path) as example:
        for kind, block in example.blocks:
            if kind in {"proto", "python", "yaml"}:
                example.write(block)
                if example.is_serving:
                    _wait_until(lambda: "config_applied" in example.logs(), example.logs)
            elif kind == "sh":
                example.do(block)
            elif kind == "console":
                for command, shown in shown_commands(block):
                    real = example.run(command).stdout
                    compared += 1
                    if not looks_like(shown, real):
                        differences.append((command, shown, real))

    assert differences == []
    assert compared >= 6


def test_what_the_readme_says_of_warnings_and_mistakes_is_so(tmp_path: Path) -> None:
    """Three warnings with the first mapping; the mistake that it names is told in its words."""
    example = Example(tmp_path)
    first_mapping, service, changed = (block for kind, block in example.blocks if kind == "yaml")
    types = next(block for kind, block in example.blocks if kind == "proto")
    told = next(block for kind, block in example.blocks if kind == "text")

    for text in (types, first_mapping, service):
        example.write(text)
    sound = example.run("bff check mappings/")
    example.write(changed.replace("deadline:", "dedline:"))
    faulty = example.run("bff check mappings/")

    assert sound.returncode == 0
    assert sound.stderr.count("warning[") == 3
    assert faulty.returncode == 1
    assert faulty.stderr.startswith(told)
