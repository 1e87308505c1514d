"""`bff demo`: the sample services, an identity provider and a gateway in one command, with a guided tour.

The services live beside the package in the repository, so this command works in a clone of it.
"""

import subprocess
import sys
from pathlib import Path

import typer

import bff
from bff.cli.report import errors

__all__ = ["demo"]


def demo() -> None:
    """Services, identity provider and gateway in one command, with a guided tour of real requests."""
    root = Path(bff.__file__).resolve().parent.parent
    if not (root / "sample_services" / "demo.py").exists():
        errors.print("the demo needs the repository: clone it and run `make demo`", style="red")
        raise typer.Exit(2)
    # A process of its own: the samples are no part of this package, and this package none of theirs.
    command = [sys.executable, "-m", "sample_services.demo"]
    raise typer.Exit(subprocess.run(command, cwd=root, check=False).returncode)  # noqa: S603 - our own words
