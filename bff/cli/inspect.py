"""`bff check` and `bff routes`: what a configuration says, and whether it can run. Offline."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import structs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bff.cli.offline import compile_offline, print_if_partial
from bff.cli.report import console, errors, print_problems, problems_json
from bff.config.presets import SwitchInForce
from bff.core.errors import ConfigError
from bff.pipeline.route import CompiledRoute
from bff.snapshot.compiler import Compiled
from bff.transcoding.route_trie import Found

__all__ = ["check", "routes"]

_PIPED_WIDTH = 240
# In the place of a method: an upgrade by GET, beside what plain HTTP takes at the path.
_SOCKET = "WS"
_Mappings = Annotated[Path, typer.Argument(help="Folder of mapping files, or one file.")]
_Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

_Explain = Annotated[
    str, typer.Option("--explain-preset", help='Switches of one route, such as "GET /v1/x".')
]


def check(
    mappings: _Mappings = Path("mappings"), as_json: _Json = False, explain_preset: _Explain = ""
) -> None:
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
    if explain_preset:
        _explain(compiled, explain_preset, as_json=as_json)
        return
    if as_json:
        problems_json(compiled.warnings)
        return
    print_problems(compiled.warnings)
    console.print(
        f"sound: files {len(document.files)}, routes {len(compiled.routes)}, "
        f"version {compiled.tools.version}",
        style="green",
    )


def _explain(compiled: Compiled, asked: str, *, as_json: bool) -> None:
    """The switches of one route, each with the word of the configuration that gave it."""
    switches = _switches_at(compiled, asked)
    if switches is None:
        errors.print(f"no route to a method takes {asked!r}; write it as GET /v1/x", style="red")
        raise typer.Exit(1)
    rows = [(s.name, s.text, s.origin) for s in switches]
    if as_json:
        names = ("switch", "value", "origin")
        console.print(
            msgspec.json.encode([dict(zip(names, row, strict=True)) for row in rows]).decode(),
            markup=False,
        )
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("SWITCH", "VALUE", "ORIGIN"):
        table.add_column(name, no_wrap=name != "ORIGIN", overflow="fold")
    for row in rows:
        # As texts, since a list in brackets would be markup.
        table.add_row(*map(Text, row))
    (console if console.is_terminal else Console(width=_PIPED_WIDTH)).print(table)


def _switches_at(compiled: Compiled, asked: str) -> tuple[SwitchInForce, ...] | None:
    """Of the route with this method and template, else of the one that would take this path."""
    method, _, path = asked.strip().partition(" ")
    method, path = method.upper(), path.strip()
    for route, switches in compiled.switches:
        if (route.method, route.template) == (method, path):
            return switches
    found = compiled.tools.trie.find(method, path) if path.startswith("/") else None
    taken = found.value if isinstance(found, Found) else None
    return next((switches for route, switches in compiled.switches if route is taken), None)


def routes(mappings: _Mappings = Path("mappings"), as_json: _Json = False) -> None:
    """List every route: method (WS: over WebSocket), path, what it calls, who may, what it costs."""
    try:
        _, compiled = compile_offline(mappings)
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(1) from None
    print_if_partial(compiled)
    sockets = (structs.replace(b.route, method=_SOCKET) for b in compiled.served if b.socketed)
    ordered = sorted((*compiled.routes, *sockets), key=lambda route: (route.template, route.method))
    if as_json:
        console.print(
            msgspec.json.encode([_row(route) for route in ordered]).decode(), markup=False
        )
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
