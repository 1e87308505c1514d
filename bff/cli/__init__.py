"""The `bff` command: one file per group of commands."""

import typer

from bff.cli.demo import demo
from bff.cli.documents import openapi, sdl
from bff.cli.inspect import check, routes
from bff.cli.keys import keys
from bff.cli.serve import serve

__all__ = ["app", "main"]

app = typer.Typer(
    name="bff",
    help="A gateway for mobile and web front ends: REST and GraphQL outside, gRPC services inside.",
    no_args_is_help=True,
    # A trace is for the log of a bug report, plain and without values.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (serve, check, routes, openapi, sdl, demo):
    app.command()(command)
app.add_typer(keys, name="keys")


def main() -> None:
    """Run the command line."""
    app()
