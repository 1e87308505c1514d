"""Packages by npm: asked for only if the lock changed, and a clear word if they cannot be had."""

from pathlib import Path

import pytest

from benchmarks.node_rival import installed


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A rival's program with its lock."""
    folder = tmp_path / "source" / "node"
    folder.mkdir(parents=True)
    (folder / "package-lock.json").write_text("{}")
    (folder / "server.mjs").write_text("// the program")
    return folder.parent


def put_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program of that name, found before any other."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    npm = programs / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")


async def test_packages_are_installed_once_for_one_lock(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_npm(tmp_path, monkeypatch, "echo asked >> asked")

    for lock in ("{}", "{}", '{"packages": {}}'):
        (source / "node" / "package-lock.json").write_text(lock)
        folder = await installed("node", source=source, cache=tmp_path / "cache")

    assert (folder / "server.mjs").read_text() == "// the program"
    assert (folder / "asked").read_text().split() == ["asked", "asked"]


async def test_without_npm_it_says_so(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RuntimeError, match=r"^npm is not installed$"):
        await installed("node", source=source, cache=tmp_path / "cache")


async def test_what_npm_said_last_is_told_and_it_is_asked_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_npm(tmp_path, monkeypatch, "echo much; echo the registry is away >&2; exit 1")
    with pytest.raises(RuntimeError, match=r"^npm failed: the registry is away$"):
        await installed("node", source=source, cache=tmp_path / "cache")

    put_npm(tmp_path, monkeypatch, "echo asked >> asked")
    folder = await installed("node", source=source, cache=tmp_path / "cache")

    assert (folder / "asked").exists()
