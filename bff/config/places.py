"""Every key of the language and where it belongs: one walk over the models, for hints and the reference."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import Struct

from bff.config.aggregates import AggregateFile
from bff.config.blocks import Block
from bff.config.gateway import GatewayFile
from bff.config.routes import ServiceFile

__all__ = ["KINDS", "Place", "blocks_of", "places", "where_key_belongs"]

# Kind of document -> its model.
KINDS: dict[str, type[Block]] = {
    "gateway": GatewayFile,
    "service": ServiceFile,
    "aggregate": AggregateFile,
}


class Place(Struct, frozen=True):
    """A block of the language: kind of document, path (`upstreams.NAME.retry`; empty = top), model."""

    kind: str
    path: str
    model: type[Block]

    def __str__(self) -> str:
        """As a hint names it."""
        return f"`{self.path}`" if self.path else f"the top of a {self.kind} file"


def blocks_of(annotation: Any) -> Iterator[tuple[str, type[Block]]]:
    """Blocks within a field's type, each with what stands between: `` , `[]` or `.NAME`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Block):
        yield "", annotation
    elif origin is Annotated:
        yield from blocks_of(args[0])
    elif origin in (Union, types.UnionType):
        for branch in args:
            yield from blocks_of(branch)
    elif origin is tuple:
        yield from (("[]" + rest, model) for rest, model in blocks_of(args[0]))
    elif origin is dict:
        yield from ((".NAME" + rest, model) for rest, model in blocks_of(args[1]))


def _walk(kind: str, path: str, model: type[Block]) -> Iterator[Place]:
    yield Place(kind, path, model)
    for name, field in model.model_fields.items():
        key = field.alias or name
        for between, inner in blocks_of(field.annotation):
            yield from _walk(kind, f"{path}.{key}{between}" if path else key + between, inner)


def places() -> list[Place]:
    """Every block of the language, in the order of the models."""
    return [place for kind, model in KINDS.items() for place in _walk(kind, "", model)]


def where_key_belongs(key: str) -> str:
    """A hint that names the few blocks which know `key`, or an empty text."""
    found = [
        str(place)
        for place in places()
        if key in {field.alias or name for name, field in place.model.model_fields.items()}
    ]
    return f"`{key}` belongs under {' or '.join(found)}" if 0 < len(found) <= 3 else ""
