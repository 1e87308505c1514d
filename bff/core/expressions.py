"""What a compiled expression is to those who use one.

`transform` makes them; aggregates, GraphQL and the configuration see only this.
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from bff.core.exchange import Json

__all__ = ["EvalError", "ExprError", "Expression", "Origin", "Output"]

# A path of JSON names from a root name; lists on the way leave no mark.
Origin = tuple[str, ...]


class ExprError(ValueError):
    """An expression that cannot be compiled; `column` counts from 1 within its text, `hint` is the fix."""

    def __init__(self, message: str, column: int = 1, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.column = column
        self.hint = hint


class EvalError(ValueError):
    """An expression met a value that it cannot take."""


class Output(Struct, frozen=True):
    """A place in the result (`""` or `[].items[].name`) and the paths from the roots that it reads."""

    place: str
    reads: frozenset[Origin]


class Expression(Protocol):
    """A compiled expression: what it reads is known before it runs.

    `roots` are the first names it reads; `reads` the full paths; `needs` the roots without which it
    is null (`a || 'x'` reads `a` and needs nothing). `path` is set where it is nothing but a path,
    `literal` where it is a constant. `outputs` says which place of the result reads what.
    """

    @property
    def source(self) -> str: ...
    @property
    def roots(self) -> frozenset[str]: ...
    @property
    def reads(self) -> frozenset[Origin]: ...
    @property
    def needs(self) -> frozenset[str]: ...
    @property
    def outputs(self) -> tuple[Output, ...]: ...
    @property
    def path(self) -> Origin | None: ...
    @property
    def literal(self) -> bool: ...

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """The value in this scope; absent roots read as null. Raises EvalError."""
        ...
