"""`bff keys`: make and list API keys. A secret is shown once and stored nowhere."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bff.auth.api_keys import create_key
from bff.auth.key_file import format_record, parse_key_file
from bff.cli.report import console, errors, print_problems
from bff.config.secret_refs import SecretRef, is_secret_ref
from bff.core.errors import ConfigError

__all__ = ["keys"]

keys = typer.Typer(no_args_is_help=True, help="API keys: create, list.")

_File = Annotated[Path, typer.Option("--file", help="The key file that auth.api_keys names.")]


@keys.command("create")
def create(
    sub: Annotated[str, typer.Option(help="Who the key stands for.")],
    file: _File = Path("mappings/keys.yaml"),
    pepper: Annotated[
        str, typer.Option(help="auth.api_keys.pepper, as env:NAME or file:/path.")
    ] = "env:BFF_KEY_PEPPER",
    tier: Annotated[str, typer.Option(help="A name of `tiers`.")] = "",
    tenant: Annotated[str, typer.Option()] = "",
    scope: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
) -> None:
    """Make a key, append its record to the file, and print its text: the only time it is seen."""
    if not is_secret_ref(pepper):
        errors.print("--pepper is env:NAME or file:/path", style="red")
        raise typer.Exit(2)
    try:
        secret = SecretRef(pepper).resolve().encode()
        text, record = create_key(
            pepper=secret, sub=sub, tier=tier, tenant=tenant, scopes=tuple(scope or ())
        )
        if file.exists():
            parse_key_file(file.read_text(encoding="utf-8"), file=str(file))
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(2) from None
    except ValueError as error:
        errors.print(str(error), style="red")
        raise typer.Exit(2) from None
    except OSError as error:
        _refuse_file(file, error)
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else "keys:\n"
        file.write_text(before.rstrip("\n") + "\n" + format_record(record), encoding="utf-8")
    except OSError as error:
        _refuse_file(file, error)
    typer.echo(text)
    errors.print(f"{record.id} written to {file}; the key above is not stored", style="green")


@keys.command("list")
def list_keys(file: _File = Path("mappings/keys.yaml")) -> None:
    """List the keys of a file: ids and what they may do, never secrets."""
    try:
        records = parse_key_file(file.read_text(encoding="utf-8"), file=str(file))
    except OSError as error:
        _refuse_file(file, error)
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(1) from None
    for record in records:
        scopes = " ".join(record.scopes)
        console.print(f"{record.id}  {record.sub}  {record.tier or '-'}  {scopes}")


def _refuse_file(file: Path, error: OSError) -> NoReturn:
    errors.print(f"{file}: {error.strerror}; --file names another", style="red")
    raise typer.Exit(2)
