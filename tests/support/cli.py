"""The `bff` command in this process, for commands that end by themselves."""

from typer.testing import CliRunner, Result

from bff.cli import app

__all__ = ["run_bff"]


def run_bff(*arguments: str) -> Result:
    """Run it to its end; has `exit_code`, `stdout` and `stderr`."""
    return CliRunner().invoke(app, arguments)
