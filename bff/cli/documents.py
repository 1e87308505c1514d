"""`bff openapi` and `bff sdl`: the contract that clients get, printed from the mapping."""

from pathlib import Path
from typing import Annotated

import typer

from bff.cli.offline import compile_offline, print_if_partial
from bff.cli.report import errors, print_problems
from bff.core.errors import ConfigError
from bff.snapshot.compiler import Compiled

__all__ = ["openapi", "sdl"]

_Mappings = Annotated[Path, typer.Argument(help="Folder of mapping files, or one file.")]


def openapi(mappings: _Mappings = Path("mappings")) -> None:
    """Print the OpenAPI 3.1 document of the mapped routes."""
    typer.echo(_compiled(mappings).openapi.decode())


def sdl(mappings: _Mappings = Path("mappings")) -> None:
    """Print the GraphQL schema in SDL."""
    text = _compiled(mappings).sdl
    if not text:
        errors.print("no service file has root fields of GraphQL: there is no schema", style="red")
        raise typer.Exit(1)
    typer.echo(text)


def _compiled(mappings: Path) -> Compiled:
    try:
        compiled = compile_offline(mappings)[1]
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(1) from None
    print_if_partial(compiled)
    return compiled
