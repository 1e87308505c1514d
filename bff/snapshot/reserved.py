"""Paths of the public side that are the gateway's own while a feature is on; no rule may stand there.

A wildcard that would cover them too is no fault: the gateway's own paths are literals, which win.
"""

from collections.abc import Sequence

from bff.config.documents import Document
from bff.transcoding.path_template import Template, TemplateError, parse_template

__all__ = ["ReservedPaths", "reserved_paths"]

# Literal segments, whether all that lies below is reserved too, and whose they are.
_Reserved = tuple[tuple[str, ...], bool, str]


class ReservedPaths:
    """Asked for each rule when a version is compiled."""

    def __init__(self, rows: Sequence[_Reserved]) -> None:
        self._rows = tuple(rows)

    def owner_of(self, template: Template) -> str | None:
        """Which feature a template's path belongs to, as words; None where it is free."""
        for path, and_below, owner in self._rows:
            begin = template.segments[: len(path)]
            fits = and_below or len(template.segments) == len(path)
            is_there = tuple(each.text for each in begin if each.kind == "literal") == path
            if fits and is_there:
                return owner
        return None


def reserved_paths(document: Document) -> ReservedPaths:
    """What the features of this document serve themselves."""
    gateway = document.gateway.value
    rows: list[_Reserved] = []
    if any(file.value.graphql is not None for file in document.services):
        rows += _row(gateway.graphql.path, "GraphQL (`graphql.path`)", and_below=True)
    if gateway.gateway.openapi != "off":
        rows += _row(gateway.gateway.openapi, "the OpenAPI document (`gateway.openapi`)")
    return ReservedPaths(rows)


def _row(path: str, owner: str, *, and_below: bool = False) -> list[_Reserved]:
    try:
        segments = parse_template(path).segments
    except TemplateError:
        # Told where the feature itself is compiled.
        return []
    return [(tuple(each.text for each in segments), and_below, owner)]
