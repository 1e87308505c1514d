"""The base of every model and the value types they share.

A `Block` looks at its keys before pydantic does: unknown keys, keys that are not built, keys without
a value are noted with their place and taken out, so that one fault gives one problem.
"""

import contextlib
import ipaddress
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from msgspec import Struct
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainValidator,
    Strict,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from bff.config import units
from bff.config.not_built import NOT_BUILT, NOT_BUILT_VALUES, LaterValue
from bff.config.secret_refs import SECRET_HINT, SecretRef, is_secret_ref
from bff.core.problems import nearest

__all__ = [
    "Address",
    "Block",
    "Cidr",
    "Duration",
    "Finding",
    "KeyPath",
    "Named",
    "OneOf",
    "RateValue",
    "Reading",
    "Secret",
    "Seq",
    "Share",
    "Size",
    "Template",
    "Unit",
    "effective",
    "keys_of",
    "refuse",
    "shown",
    "split_words",
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


def refuse(message: str, *, hint: str = "", code: str = "BFF-C015") -> PydanticCustomError:
    """The error that a validator raises; its words are shown as they are."""
    return PydanticCustomError("bff", "{text}", {"text": message, "hint": hint, "code": code})


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
        if cls.short and isinstance(data, str):
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


def _later(model: type[Block], table: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
    rows: dict[str, T] = {}
    for parent in model.__mro__:
        rows |= table.get(parent.__name__, {})
    return rows


def _is_usable(
    model: type[Block], known: dict[str, str], data: dict[str, Any], key: str, reading: Reading
) -> bool:
    value = data[key]
    if key not in known:
        later = _later(model, NOT_BUILT)
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
    row = _later(model, NOT_BUILT_VALUES).get(key)
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
    text = str(value).lower() if isinstance(value, bool) else value
    if isinstance(text, str) and (text in row.words or text.startswith(row.starts)):
        return f": {text[:60]}"
    return None


# --- value types -----------------------------------------------------------------------------


class Unit(Struct, frozen=True):
    """What a number means, for the reference: duration, size, share or rate."""

    name: str


def _with_unit(parse: Callable[[object], T]) -> Callable[[Any], T]:
    def read(value: Any) -> T:
        try:
            return parse(value)
        except units.UnitError as error:
            raise refuse(error.message, hint=error.hint, code="BFF-C014") from error

    return read


_parse_rate = _with_unit(units.parse_rate)


def _read_rate(value: Any) -> units.Rate:
    return value if isinstance(value, units.Rate) else _parse_rate(value)


def _read_secret(value: Any) -> SecretRef:
    if isinstance(value, SecretRef):
        return value
    if isinstance(value, str) and value.startswith("store:"):
        raise refuse("secrets of a store are not built in this version", code="BFF-C016")
    if not is_secret_ref(value):
        # The text may be the secret itself, so the message does not repeat it.
        raise refuse("expected a reference to a secret", hint=SECRET_HINT, code="BFF-C017")
    return SecretRef(value)


def _check_address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or (":" in bare and bare == host) or any(c.isspace() for c in text):
        raise refuse(f"expected an address such as 127.0.0.1:8080, got {text!r}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        raise refuse(f"the port must be 0 to 65535, got {port[:12]!r}")
    return text


def _check_cidr(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        hint = ""
        with contextlib.suppress(ValueError):
            hint = f"write {ipaddress.ip_network(text, strict=False)}"
        raise refuse(
            f"expected a network such as 10.0.0.0/8, got {text[:60]!r}", hint=hint
        ) from error
    return text


def _check_template(text: str) -> str:
    if text.startswith("/"):
        return text
    raise refuse(f"a path template starts with /, got {text[:60]!r}", hint=f"write /{text[:60]}")


def _without_x(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: block for name, block in value.items() if not name.startswith("x-")}


def shown(value: object) -> str:
    """A value as a message names it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a block"
    if isinstance(value, list | tuple):
        return "a list"
    return f"the text {value[:60]!r}" if isinstance(value, str) else f"the number {value}"


def _need_list(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return value
    hint = f"write [{value}]" if isinstance(value, str) and len(value) <= 60 else ""
    raise refuse(f"expected a list, got {shown(value)}", hint=hint, code="BFF-C012")


Duration = Annotated[float, BeforeValidator(_with_unit(units.parse_duration_s)), Unit("duration")]
Size = Annotated[int, BeforeValidator(_with_unit(units.parse_size_bytes)), Unit("size")]
Share = Annotated[float, BeforeValidator(_with_unit(units.parse_share)), Unit("share")]
RateValue = Annotated[units.Rate, PlainValidator(_read_rate), Unit("rate")]
Secret = Annotated[SecretRef, PlainValidator(_read_secret), Unit("secret")]
Address = Annotated[str, AfterValidator(_check_address), Unit("address")]
Cidr = Annotated[str, AfterValidator(_check_cidr), Unit("cidr")]
Template = Annotated[str, AfterValidator(_check_template), Unit("path template")]
# YAML gives lists; models keep tuples, which cannot change.
Seq = Annotated[tuple[T, ...], Strict(strict=False), BeforeValidator(_need_list)]
# Blocks by a name of the team's choice; names that start with x- are notes.
Named = Annotated[dict[str, T], BeforeValidator(_without_x)]


class OneOf:
    """Marks `X | Literal[words]`: a word is taken as it is, anything else is read as X.

    Without it pydantic would report the faults of every branch.
    """

    def __init__(self, what: str = "a block") -> None:
        self.what = what

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Words first, then the other branch; errors of that branch keep their true path."""
        words, others = split_words(source)
        inner = handler.generate_schema(others[0]) if others else None
        takes_text = any(_is_text(other) for other in others)

        def read(value: Any, go_on: ValidatorFunctionWrapHandler) -> Any:
            if value is None and type(None) in get_args(source):
                return None
            if isinstance(value, str) and value in words:
                return value
            if inner is None or (isinstance(value, str) and not takes_text):
                wanted = ", ".join([*map(str, words), *([self.what] if others else [])])
                near = nearest(value, map(str, words)) if isinstance(value, str) else ""
                hint = f"did you mean `{near}`?" if near else ""
                message = f"expected one of {wanted}; got {shown(value)}"
                raise refuse(message, hint=hint, code="BFF-C013")
            return go_on(value)

        return core_schema.no_info_wrap_validator_function(read, inner or core_schema.any_schema())


def split_words(union: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """The words and the other branches of `X | Literal[..] | None`."""
    words: list[str] = []
    others: list[Any] = []
    for branch in get_args(union):
        if get_origin(branch) is Literal:
            words += get_args(branch)
        elif branch is not type(None):
            others.append(branch)
    return tuple(words), tuple(others)


def _is_text(branch: Any) -> bool:
    """Whether this branch is itself written as text (a figure with unit, a plain text)."""
    if get_origin(branch) is not Annotated:
        return branch is str
    first, *marks = get_args(branch)
    return first is str or any(isinstance(mark, Unit) for mark in marks)


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
