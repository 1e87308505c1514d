"""The value types that models share: figures with units, addresses, secrets, words beside blocks."""

import contextlib
import ipaddress
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from msgspec import Struct
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    Strict,
    ValidatorFunctionWrapHandler,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from bff.config import units
from bff.config.secret_refs import SECRET_HINT, SecretRef, is_secret_ref
from bff.core.problems import nearest

__all__ = [
    "Address",
    "Cidr",
    "Duration",
    "Named",
    "OneOf",
    "RateValue",
    "Secret",
    "Seq",
    "Share",
    "Size",
    "Template",
    "Timeout",
    "Unit",
    "refuse",
    "shown",
    "split_words",
]

T = TypeVar("T")


def refuse(message: str, *, hint: str = "", code: str = "BFF-C015") -> PydanticCustomError:
    """The error that a validator raises; its words are shown as they are."""
    return PydanticCustomError("bff", "{text}", {"text": message, "hint": hint, "code": code})


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
        hint = _meant_address(text)
        raise refuse(f"expected an address such as 127.0.0.1:8080, got {text!r}", hint=hint)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        raise refuse(f"the port must be 0 to 65535, got {port[:12]!r}")
    return text


def _meant_address(text: str) -> str:
    _, scheme, rest = text.partition("://")
    if scheme:
        return f"write {rest.rstrip('/')}; the scheme is told by `tls`" if ":" in rest else ""
    if text.startswith(":") and text[1:].isdigit():
        return f"write 127.0.0.1{text}, or 0.0.0.0{text} for every interface"
    return "" if ":" in text or not text else f"write its port too: {text}:50051"


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
# A time to wait: above zero.
Timeout = Annotated[Duration, Field(gt=0)]
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
