"""Other names of enum values: without the enum's prefix, in any letter case. Clashes are told at load."""

import re
from collections.abc import Iterator

from bff.core.schema import EnumType, MessageType

__all__ = ["check_enums", "names_of", "short_names"]

# OrderState -> ORDER_STATE, HTTPMethod -> HTTP_METHOD.
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def short_names(enum: EnumType) -> dict[str, str]:
    """Each value's name without `ORDER_STATE_`, the prefix that the enum's own name makes.

    A name without the prefix, or of which nothing sound would be left, stays. Raises ValueError if
    two values of different numbers would share a name.
    """
    prefix = _WORD_START.sub("_", enum.full_name.rpartition(".")[2]).upper() + "_"
    shortened: dict[str, str] = {}
    for value in enum.values:
        rest = value.name.removeprefix(prefix)
        shortened[value.name] = rest if _NAME.fullmatch(rest) else value.name
    numbers = {value.name: value.number for value in enum.values}
    owners = dict(numbers)
    for name, short in shortened.items():
        if owners.setdefault(short, numbers[name]) != numbers[name]:
            raise ValueError(f"{enum.full_name}: two values would be called {short}")
    return shortened


def names_of(enum: EnumType, *, no_prefix: bool, any_case: bool) -> dict[str, str]:
    """Every text that names a value, and the value's full name; `any_case`: upper-case texts.

    Raises ValueError for a clash.
    """
    names = {value.name: value.name for value in enum.values}
    if no_prefix:
        for name, short in short_names(enum).items():
            names.setdefault(short, name)
    if not any_case:
        return names
    numbers = {value.name: value.number for value in enum.values}
    folded: dict[str, str] = {}
    for text, name in names.items():
        if numbers[folded.setdefault(text.upper(), name)] != numbers[name]:
            raise ValueError(f"{enum.full_name}: two values are called {text}, but for letter case")
    return folded


def check_enums(message: MessageType, *, no_prefix: bool, any_case: bool) -> None:
    """Raise ValueError if an enum anywhere in this message has a clash of names."""
    for enum in _enums(message):
        names_of(enum, no_prefix=no_prefix, any_case=any_case)


def _enums(message: MessageType) -> Iterator[EnumType]:
    todo, seen = [message], {message.full_name}
    while todo:
        for field in todo.pop().fields:
            if field.enum is not None:
                yield field.enum
            if field.message is not None and field.message.full_name not in seen:
                seen.add(field.message.full_name)
                todo.append(field.message)
