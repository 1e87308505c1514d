"""What a mapping says of sources and joins, types looked up and nothing judged; and what is wrong with it."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from bff.aggregate.plan import FAIL, OnError
from bff.core.exchange import Json
from bff.core.expressions import ExprError, Expression
from bff.core.schema import Field, MessageType
from bff.core.status import Code

__all__ = [
    "CheckBinding",
    "Compile",
    "CompileWhen",
    "JoinSpec",
    "PlanFault",
    "RootType",
    "Scalar",
    "SourceSpec",
]

Scalar = str | float | bool | None
# What a name in an expression may be: a message, or whatever else the compiler understands.
RootType = Any
Compile = Callable[[Scalar, Mapping[str, RootType]], Expression]
CompileWhen = Callable[
    [str, Mapping[str, RootType]], tuple[Callable[[Mapping[str, Json]], bool], frozenset[str]]
]
# Any: it takes the expressions that its own compiler makes.
CheckBinding = Callable[[Any, Field, str], ExprError | None]


class PlanFault(Struct, frozen=True):
    """What is wrong, at which key (`sources.products.join.keys`), and at which column of its text."""

    path: str
    message: str
    column: int = 1
    hint: str = ""


class JoinSpec(Struct, frozen=True, kw_only=True):
    """A `join` as written; `attach` is its `as`."""

    keys: Scalar
    into: str
    entities: str = ""
    entity_key: str = ""
    attach: str = ""
    mode: str = "one"
    match: str = "key"
    max_batch: int = 100
    parallel: int | None = None


class SourceSpec(Struct, frozen=True, kw_only=True):
    """A source as written, its operation's types looked up."""

    name: str
    input: MessageType
    output: MessageType
    bind: Mapping[str, Scalar] = {}
    join: JoinSpec | None = None
    when: str | None = None
    on_error: OnError = FAIL
    timeout_s: float | None = None
    statuses: Mapping[Code, int] = {}
