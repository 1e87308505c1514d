"""A whole benchmark with few requests: from the command line's settings to the report."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.__main__ import settings_of
from benchmarks.bench import run_bench
from benchmarks.report import markdown


async def test_a_run_finds_what_its_options_ask_for() -> None:
    """Ours under closed load; every figure has its place."""
    settings, _ = settings_of(
        [
            "--runs=1",
            "--requests=200",
            "--connections=4",
            "--generator=own",
            "--only=ours/plain/graphql",
        ]
    )
    said: list[str] = []

    report = await run_bench(settings, said.append)

    (run,) = report.runs
    assert (run.contender, run.mode, run.size, run.requests) == ("ours", "plain", "graphql", 100)
    assert run.cpu_us > 0
    assert run.memory_mb > 0
    assert report.notes == []
    assert any(line.startswith("run 1 ours/plain/graphql") for line in said)
    assert "| this gateway |" in markdown(report)


async def test_a_rival_that_cannot_run_here_is_a_line_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing of Node is found.
    monkeypatch.setenv("PATH", str(tmp_path))
    settings, _ = settings_of(["--only", "node/plain/small", "--runs", "1", "--requests", "200"])

    report = await asyncio.wait_for(run_bench(settings, lambda _: None), 120)

    assert report.runs == []
    assert report.notes == ["node (plain) could not run here: npm is not installed"]
    assert "- node (plain) could not run here: npm is not installed" in markdown(report)
