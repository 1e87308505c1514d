"""`bff check` and `bff routes`: what a configuration says, and whether it can run. Offline."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from bff.cli.offline import compile_offline
from bff.cli.report import console, errors, print_problems, problems_json
from bff.core.errors import ConfigError
from bff.pipeline.route import CompiledRoute

__all__ = ["check", "routes"]

_PIPED_WIDTH = 240
_Mappings = Annotated[Path, typer.Argument(help="Folder of mapping files, or one file.")]
_Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def check(mappings: _Mappings = Path("mappings"), as_json: _Json = False) -> None:
    """Judge the mapping files against the protos: every problem at once. Exit 0: sound, 1: findings."""
    try:
        document, compiled = compile_offline(mappings)
    except ConfigError as error:
        if as_json:
            problems_json(error.problems)
        else:
            print_problems(error.problems)
            count = len(error.problems)
            errors.print(f"{count} problem{'s' if count != 1 else ''}", style="red")
        raise typer.Exit(1) from None
    if as_json:
        problems_json(compiled.warnings)
        return
    print_problems(compiled.warnings)
    console.print(
        f"sound: files {len(document.files)}, routes {len(compiled.routes)}, "
        f"version {compiled.tools.version}",
        style="green",
    )


def routes(mappings: _Mappings = Path("mappings"), as_json: _Json = False) -> None:
    """List every route: method, path, what it calls, who may, what it costs."""
    try:
        _, compiled = compile_offline(mappings)
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(1) from None
    ordered = sorted(compiled.routes, key=lambda route: (route.template, route.method))
    if as_json:
        console.print(msgspec.json.encode([_row(route) for route in ordered]).decode())
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    # The path is what people look for, so it is never broken; long lists are.
    for name in ("METHOD", "PATH", "CALLS", "AUTH", "LIMITS", "DEADLINE"):
        table.add_column(name, no_wrap=name in {"METHOD", "PATH", "DEADLINE"}, overflow="fold")
    for route in ordered:
        row = _row(route)
        table.add_row(*(str(row[key]) for key in row if key != "id"))
    # Piped, a line is a route: as wide as it takes.
    (console if console.is_terminal else Console(width=_PIPED_WIDTH)).print(table)


def _row(route: CompiledRoute) -> dict[str, str]:
    return {
        "id": route.id,
        "method": route.method,
        "path": route.template,
        "calls": route.operation,
        "auth": route.guard,
        "limits": " ".join(route.policies),
        "deadline": f"{route.deadline_s:g}s",
    }
