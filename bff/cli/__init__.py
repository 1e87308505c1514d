"""The `bff` command: one file per group of commands, each imported when it is asked for."""

import contextlib
import errno
import gc
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bff import __version__
from bff.core.late_import import import_late

__all__ = ["app", "main"]

# Name of a command -> the module that has it under that name. `bff keys list` would otherwise pay
# for the whole gateway: compiler, listener, GraphQL.
_MODULES = {
    "serve": "bff.cli.serve",
    "check": "bff.cli.inspect",
    "routes": "bff.cli.inspect",
    "openapi": "bff.cli.documents",
    "sdl": "bff.cli.documents",
    "demo": "bff.cli.demo",
    "keys": "bff.cli.keys",
}


class _Commands(TyperGroup):
    """Looks a command up in the table; only help on all of them imports them all."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as typer has it
        """The names, in the order of the table."""
        return list(_MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as typer has it
        """The command of this name, or None."""
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        found = getattr(import_late(module), cmd_name)
        # No later collection looks at modules again, in this process or in forks of it.
        gc.freeze()
        if isinstance(found, typer.Typer):
            group = typer.Typer(add_completion=False)
            group.add_typer(found, name=cmd_name)
            return typer.main.get_group(group).commands[cmd_name]
        alone = typer.Typer(add_completion=False)
        alone.command(cmd_name)(found)
        return typer.main.get_command(alone)


app = typer.Typer(
    name="bff",
    cls=_Commands,
    help="A gateway for mobile and web front ends: REST and GraphQL outside, gRPC services inside.",
    no_args_is_help=True,
    # A trace is for the log of a bug report, plain and without values.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bff {__version__}")
        raise typer.Exit


@app.callback()
def _group(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Say which version this is."
        ),
    ] = False,
) -> None:
    """A gateway for mobile and web front ends: REST and GraphQL outside, gRPC services inside."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except OSError as error:
        # A full disk behind a redirection; what readers of a pipe leave unread is typer's affair.
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise
        with contextlib.suppress(OSError):
            sys.stderr.write(f"bff: the output cannot be written: {error.strerror}\n")
        # Python would try once more what is left in its buffers.
        os._exit(1)
