"""The `bff` command: one file per group of commands, each imported when it is asked for."""

import gc
from typing import Any

import typer
from typer.core import TyperGroup

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


@app.callback()
def _group() -> None:
    """Make typer see a group, though its table of commands is empty."""


def main() -> None:
    """Run the command line."""
    app()
