"""Configurations as text: load them from a folder, and read the problems as people would."""

from pathlib import Path
from textwrap import dedent

from bff.config.documents import Document
from bff.config.load import load
from bff.core.errors import ConfigError
from bff.core.problems import Problem

# The least that a service document needs around it.
SHOP = """
gateway: {protos: [protos]}
upstreams: {orders: {endpoints: ["127.0.0.1:50051"]}}
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    """The files in a folder of their own, which is given back."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return folder


def loaded(folder: Path, *documents: str) -> Document:
    """The documents of one file, loaded."""
    text = "\n---\n".join(dedent(document) for document in documents)
    return load(write(folder, {"gateway.yaml": text}))


def problems(folder: Path, *documents: str) -> list[Problem]:
    """What loading these documents finds; empty if it succeeds."""
    try:
        loaded(folder, *documents)
    except ConfigError as error:
        return error.problems
    return []


def lines(found: list[Problem]) -> list[str]:
    """Problems as `line:column code path: message; hint`."""
    return [
        f"{p.where.line}:{p.where.column} {p.code} {p.path}: {p.message}; {p.hint}" for p in found
    ]
