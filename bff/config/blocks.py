"""The base of every model.

A `Block` looks at its keys before pydantic does: unknown keys, keys that are not built, keys without
a value are noted with their place and taken out, so that one fault gives one problem.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator

from bff.config.not_built import NOT_BUILT, NOT_BUILT_VALUES, LaterValue

__all__ = [
    "Block",
    "Finding",
    "KeyPath",
    "Reading",
    "effective",
    "keys_of",
    "later_keys",
    "later_values",
]

KeyPath = tuple[str | int, ...]
T = TypeVar("T")


class Finding(Struct, frozen=True, kw_only=True):
    """A fault noted while a block was read. `at_key` points at the key itself, not at its value."""

    path: KeyPath
    message: str
    code: str
    hint: str = ""
    at_key: bool = True
    # For unknown keys: what the block does know; the translator makes the hint of it.
    known: tuple[str, ...] = ()


class Reading:
    """What the reading of one document notes. `paths` gives the path of each mapping by its identity."""

    def __init__(self, paths: dict[int, KeyPath]) -> None:
        self._paths = paths
        self.findings: dict[KeyPath, Finding] = {}

    def note(
        self, block: dict[str, Any], key: str, message: str, *, code: str, **more: Any
    ) -> None:
        """Keep a finding about `key` of `block`; the same place twice counts once."""
        path = (*self._paths.get(id(block), ()), key)
        self.findings[path] = Finding(path=path, message=message, code=code, **more)


class Block(BaseModel):
    """A mapping with known keys. A Python keyword has a trailing underscore as attribute (`with_`)."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )
    # The key that a bare text stands for: `listen: 127.0.0.1:8080` is `{address: ..}`.
    short: ClassVar[str] = ""
    # Keys whose value may be null.
    null_ok: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _look_at_keys(cls, data: Any, info: ValidationInfo) -> Any:
        if cls.short and isinstance(data, str | int | float):
            return {cls.short: data}
        reading = info.context
        if not isinstance(data, dict) or not isinstance(reading, Reading):
            return data
        known = keys_of(cls)
        return {
            key: value
            for key, value in data.items()
            if not key.startswith("x-") and _is_usable(cls, known, data, key, reading)
        }


def keys_of(model: type[Block]) -> dict[str, str]:
    """Config key -> attribute name, in the order of the model."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def later_keys(model: type[Block]) -> dict[str, str]:
    """Keys of this block whose feature is not built, each with the feature's name."""
    return _rows(model, NOT_BUILT)


def later_values(model: type[Block]) -> dict[str, LaterValue]:
    """Keys of this block of which some values are not built."""
    return _rows(model, NOT_BUILT_VALUES)


def _rows(model: type[Block], table: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
    rows: dict[str, T] = {}
    for parent in model.__mro__:
        rows |= table.get(parent.__name__, {})
    return rows


def _is_usable(
    model: type[Block], known: dict[str, str], data: dict[str, Any], key: str, reading: Reading
) -> bool:
    value = data[key]
    if key not in known:
        later = later_keys(model)
        if feature := later.get(key):
            _note_not_built(reading, data, key, f"`{key}` ({feature})")
        else:
            every = (*known, *later)
            reading.note(data, key, f"unknown key `{key}`", code="BFF-C010", known=every)
        return False
    if value is None and key not in model.null_ok:
        hint = "write a value or remove the key"
        reading.note(data, key, f"`{key}` has no value", code="BFF-C012", hint=hint)
        return False
    row = later_values(model).get(key)
    part = _not_built_part(row, value) if row else None
    if row and part is not None:
        _note_not_built(reading, data, key, f"`{key}{part}` ({row.feature})")
        return False
    return True


def _note_not_built(reading: Reading, data: dict[str, Any], key: str, what: str) -> None:
    message = f"{what} is not built in this version; remove it"
    reading.note(data, key, message, code="BFF-C016")


def _not_built_part(row: LaterValue, value: Any) -> str | None:
    """How the message continues after the key, or None if this value is no matter of the row."""
    if type(value).__name__ in row.shapes:
        return ""
    if isinstance(value, list):
        later = [item for item in value if isinstance(item, str) and item in row.words]
        return f": [{', '.join(later)}]" if later else None
    text = str(value).lower() if isinstance(value, bool) else value
    if isinstance(text, str) and (text in row.words or text.startswith(row.starts)):
        return f": {text[:60]}"
    return None


B = TypeVar("B", bound=Block)


def effective(model: type[B], *levels: Block | None) -> B:
    """One block from those of several levels, far to near (gateway, service, route).

    The nearest that writes a key decides it; what no level writes has the model's default. Keys
    that the model does not have are left out; blocks within are merged in the same way.
    """
    values: dict[str, Any] = {}
    for level in levels:
        for name in level.model_fields_set if level is not None else ():
            if name not in model.model_fields:
                continue
            value, before = getattr(level, name), values.get(name)
            if isinstance(value, Block) and isinstance(before, Block):
                value = effective(type(value), before, value)
            values[name] = value
    return model.model_construct(set(values), **values)
