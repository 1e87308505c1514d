"""The reference of every key as Markdown, made from the models; `docs/mapping-reference.md` is held to it."""

import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from bff.config import units
from bff.config.blocks import Block, later_keys, later_values
from bff.config.places import blocks_of, places
from bff.config.secret_refs import SecretRef
from bff.config.values import Unit

__all__ = ["render_reference"]

_HEAD = """# Mapping reference

Every key of the mapping files, its type and its default. Generated from the models; do not edit.

Documents are told by their keys: `service:` (or `upstream:` with `routes:`) makes a service file,
`aggregate:` an aggregate; all others together are the gateway file, each block once. Durations are
written `250ms 5s 10m 1h 30d`, sizes `64KiB 1MiB`, rates `20/s 60/min 100/10s 1000/day`, shares `5%`,
secrets `env:NAME` or `file:/path`. Keys that start with `x-` have no effect.
"""
_TITLES = {"gateway": "Gateway file", "service": "Service file", "aggregate": "Aggregate"}
_WORDS = {str: "text", int: "count", float: "number", bool: "true or false", Any: "any value"}
_TEXT_OF: dict[str, Callable[[Any], str]] = {
    "duration": units.duration_text,
    "size": units.size_text,
    "share": units.share_text,
    "rate": units.rate_text,
}


def render_reference() -> str:
    """The whole reference. The same models give the same text."""
    lines = [_HEAD]
    kind = ""
    seen: set[type[Block]] = set()
    for place in places():
        if place.kind != kind:
            kind = place.kind
            lines.append(f"\n## {_TITLES[kind]}\n")
        if place.path:
            lines.append(f"\n### `{place.path}` ({kind})\n")
        if place.model in seen:
            lines.append(f"The keys are those of {place.model.__name__} above.\n")
            continue
        seen.add(place.model)
        lines += _table(place.model)
    return "\n".join(lines).rstrip() + "\n"


def _table(model: type[Block]) -> Iterator[str]:
    yield f"{model.__name__}: {(model.__doc__ or '').strip()}\n"
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        annotation = _whole(field)
        cells = (
            f"`{field.alias or name}`",
            _type(annotation),
            _default(field, annotation),
            _meaning(model, name, field),
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    for key, row in later_values(model).items():
        shown = ", ".join(f"`{word}`" for word in row.words) or "other values"
        yield f"\nNot built in this version: {shown} of `{key}` ({row.feature})."
    if later := later_keys(model):
        keys = ", ".join(f"`{key}` ({feature})" for key, feature in later.items())
        yield f"\nNot built in this version: {keys}."
    yield ""


def _meaning(model: type[Block], name: str, field: FieldInfo) -> str:
    """The field's own words, else those of a parent model, else those of its block."""
    for owner in (model, *model.__mro__):
        own = owner.model_fields.get(name) if issubclass(owner, Block) else None
        if own is not None and own.description:
            return own.description
    inner = next((block for _, block in blocks_of(field.annotation)), None)
    return (inner.__doc__ or "").partition(": ")[2] if inner else ""


def _whole(field: FieldInfo) -> Any:
    """The annotation with the marks that pydantic has taken off it."""
    marks = tuple(mark for mark in field.metadata if isinstance(mark, Unit))
    return Annotated[(field.annotation, *marks)] if marks else field.annotation


def _type(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        unit = _unit(annotation)
        return unit or _type(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(
            dict.fromkeys(_type(branch) for branch in args if branch is not type(None))
        )
    if origin is Literal:
        return ", ".join(
            f"`{str(word).lower() if isinstance(word, bool) else word}`" for word in args
        )
    if origin is tuple:
        return f"[{_type(args[0])}]"
    if origin is dict:
        return f"{{name: {_type(args[1])}}}"
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation.__name__
    if annotation is SecretRef:
        return "secret"
    return _WORDS.get(annotation, str(annotation))


def _unit(annotation: Any) -> str:
    """The unit that stands anywhere in a type; empty if there is none."""
    if get_origin(annotation) is Annotated:
        for mark in annotation.__metadata__:
            if isinstance(mark, Unit):
                return mark.name
    return next((unit for branch in get_args(annotation) if (unit := _unit(branch))), "")


def _default(field: FieldInfo, annotation: Any) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, Block):
        return "as below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    unit = _unit(annotation)
    if unit in _TEXT_OF and not isinstance(value, str):
        return f"`{_TEXT_OF[unit](value)}`"
    if isinstance(value, tuple | dict):
        return _collection(value)
    return f"`{value}`"


def _collection(value: tuple[Any, ...] | dict[str, Any]) -> str:
    if any(isinstance(item, Block) for item in value):
        return "`" + ", ".join(str(getattr(item, item.short)) for item in value) + "`"  # type: ignore[union-attr]  # blocks, as just seen
    if isinstance(value, dict):
        pairs = ", ".join(f"{name}: {units.rate_text(tier.rate)}" for name, tier in value.items())
        return f"`{{{pairs}}}`"
    return f"`[{', '.join(map(str, value))}]`"
