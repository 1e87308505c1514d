"""The rules of joining a list of things with the entities that they name. Pure.

Aggregates and GraphQL share them. Keys are de-duplicated in order of first appearance, asked for in
chunks, and matched by key, never by position (unless the mapping says so).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from bff.core.exchange import Json
from bff.core.schema import LONG_KINDS, Field, MessageType

__all__ = [
    "Key",
    "Matched",
    "attach",
    "attached_type",
    "chunks_of",
    "distinct_keys",
    "holders_of",
    "match_by_index",
    "match_by_key",
    "zero_key",
]

# Text, or a number of 32 bits; 64-bit numbers are text in a tree.
Key = str | int


class Matched(Struct, frozen=True):
    """Entities by key, and the keys that had more than one."""

    found: Mapping[Key, Json]
    doubled: tuple[Key, ...] = ()


def distinct_keys(values: Iterable[Json], *, zero: Json = "") -> list[Key]:
    """The keys worth asking for, each once, in order of first appearance.

    Null, empty text and `zero` (the default of the key's field) name nothing. Values that are no
    scalar are left out: they cannot be keys.
    """
    seen = dict.fromkeys(
        value for value in values if isinstance(value, str | int) and value not in ("", zero)
    )
    return list(seen)


def chunks_of(keys: Sequence[Key], size: int) -> list[list[Key]]:
    """Consecutive pieces of at most `size` (>= 1) keys."""
    return [list(keys[start : start + size]) for start in range(0, len(keys), size)]


def match_by_key(
    asked: Iterable[Key],
    entities: Iterable[Json],
    key_of: Callable[[Json], Json],
    *,
    many: bool = False,
) -> Matched:
    """Entities by their own key; those that nobody asked for are ignored.

    With `many` each key has the list of its entities in the reply's order; otherwise a second one
    makes the key doubled, and the first stays.
    """
    wanted = set(asked)
    found: dict[Key, Json] = {}
    doubled: dict[Key, None] = {}
    for entity in entities:
        key = key_of(entity)
        if key not in wanted:
            continue
        if many:
            found.setdefault(key, []).append(entity)
        elif key in found:
            doubled[key] = None
        else:
            found[key] = entity
    return Matched(found, tuple(doubled))


def match_by_index(asked: Sequence[Key], entities: Sequence[Json]) -> Matched | None:
    """Reply i belongs to key i; None if their numbers differ."""
    if len(asked) != len(entities):
        return None
    return Matched(dict(zip(asked, entities, strict=True)))


def zero_key(field: Field) -> Json:
    """What a key field reads as when it is unset."""
    if field.kind in LONG_KINDS:
        return "0"
    return "" if field.kind in {"string", "bytes", "enum"} else 0


def holders_of(tree: Json, path: Sequence[str]) -> list[dict[str, Json]]:
    """The objects at a path of names, through lists on the way."""
    level = [tree]
    for name in path:
        below = (part.get(name) for part in level if isinstance(part, dict))
        level = []
        for part in below:
            if isinstance(part, list):
                level.extend(part)
            elif part is not None:
                level.append(part)
    return [part for part in level if isinstance(part, dict)]


def attach(
    tree: Json, path: Sequence[str], name: str, entity_for: Callable[[dict[str, Json]], Json]
) -> Json:
    """The tree with `name` added to each object at the path.

    What lies on the way is copied, the rest is shared: the tree may be in use elsewhere.
    """
    if isinstance(tree, list):
        return [attach(part, path, name, entity_for) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if not path:
        return {**tree, name: entity_for(tree)}
    if path[0] not in tree:
        return tree
    return {**tree, path[0]: attach(tree[path[0]], path[1:], name, entity_for)}


def attached_type(
    message: MessageType, path: Sequence[str], name: str, entity: MessageType, *, many: bool = False
) -> MessageType:
    """The type that `attach` makes: copies along the path, the last with one more field.

    Raises ValueError if the name is a field there already, or the path leads through no message.
    """
    copied = MessageType(
        full_name=message.full_name,
        package=message.package,
        fields=message.fields,
        by_name=dict(message.by_name),
        oneofs=message.oneofs,
        comment=message.comment,
    )
    if path:
        field = message.by_name.get(path[0])
        if field is None or field.message is None or field.is_map:
            raise ValueError(f"{message.full_name}.{path[0]} leads to no message")
        added = _like(field, attached_type(field.message, path[1:], name, entity, many=many))
    else:
        if name in message.by_name:
            raise ValueError(f"{message.full_name} has a field '{name}' of its own")
        added = Field(
            name=name,
            json_name=name,
            number=0,
            kind="message",
            message=entity,
            repeated=many,
            has_presence=not many,
        )
    copied.by_name.update({added.name: added, added.json_name: added})
    copied.fields = (*(one for one in message.fields if one.name != added.name), added)
    return copied


def _like(field: Field, message: MessageType) -> Field:
    return Field(
        name=field.name,
        json_name=field.json_name,
        number=field.number,
        kind=field.kind,
        repeated=field.repeated,
        message=message,
        has_presence=field.has_presence,
        oneof=field.oneof,
    )
