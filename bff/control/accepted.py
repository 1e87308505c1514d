"""The version that a node has accepted, kept in its private folder: what every worker loads.

Workers never read the mapping files: a save that was refused, or one that nobody has judged yet,
must not reach a worker that happens to start just then, and no two workers may differ.
"""

import os
import pickle
from pathlib import Path

from msgspec import Struct

from bff.config.documents import Document
from bff.snapshot.type_sources import Sources

__all__ = ["Accepted", "pack", "read_accepted", "take_back", "write_accepted"]


class Accepted(Struct, frozen=True, kw_only=True, eq=False):
    """A checked document, its descriptors, and its OpenAPI document: rendered once for all workers."""

    document: Document
    sources: Sources
    openapi: bytes


def pack(document: Document, sources: Sources, openapi: bytes) -> bytes:
    """An accepted version as octets. Secrets are in it as references only."""
    return pickle.dumps((document, sources, openapi))


def write_accepted(path: Path, content: bytes) -> None:
    """Replace the accepted version in one step. Raises OSError, and then the one before stands."""
    partial = path.with_suffix(".partial")
    try:
        partial.touch(mode=0o600)
        partial.write_bytes(content)
        if path.exists():
            _before(path).unlink(missing_ok=True)
            os.link(path, _before(path))
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def take_back(path: Path) -> None:
    """Let the version before the last `write_accepted` stand again; it takes no room on a full disk."""
    _before(path).rename(path)


def read_accepted(path: Path) -> Accepted:
    """What `pack` was given."""
    # Written by the node into a folder that only its user may enter, and read by its own children.
    document, sources, openapi = pickle.loads(path.read_bytes())  # noqa: S301 - see above
    return Accepted(document=document, sources=sources, openapi=openapi)


def _before(path: Path) -> Path:
    return path.with_suffix(".before")
