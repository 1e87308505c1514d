"""Models: aggregates - one request made of several calls."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bff.config.blocks import Block
from bff.config.policies import AggregateCaps, AuthRules, Expression
from bff.config.values import Named, OneOf, Seq, Timeout, refuse, shown

__all__ = ["AggregateFile", "Join", "OnErrorDefault", "Source", "SourceJoin"]

_VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _check_verb_and_path(text: str) -> str:
    verb, space, path = text.partition(" ")
    if verb not in _VERBS or not space or not path.startswith("/"):
        raise refuse(f"expected METHOD /path, such as GET /v1/home, got {text[:60]!r}")
    return text


def _check_reply(value: Any) -> Any:
    if isinstance(value, str | dict):
        return value
    raise refuse(f"expected an expression or a block of them, got {shown(value)}", code="BFF-C012")


def _check_value(value: Any) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    hint = "a string is JMESPath; text is \"'text'\""
    raise refuse(
        f"expected an expression, a number or a boolean, got {shown(value)}",
        hint=hint,
        code="BFF-C012",
    )


# A string is JMESPath; numbers and booleans are literals.
Value = Annotated[Any, BeforeValidator(_check_value)]


def _null_word(value: Any) -> Any:
    # YAML reads a bare `null` as nothing; here it is a word.
    return "null" if value is None else value


class Join(Block):
    """`join`: many keys, one call, answers matched by key."""

    null_ok = frozenset({"missing"})
    keys: Expression
    """Where the keys are."""
    into: str
    """Field of the request that takes them."""
    entities: str
    """Field of the reply that holds the answers."""
    entity_key: str
    """Field of an answer that holds its key."""
    mode: Literal["one"] = "one"
    match: Literal["key"] = "key"
    max_batch: Annotated[int, Field(ge=1)] = 100
    """Keys in one call."""
    parallel: Annotated[int, Field(ge=1)] = 4
    """Calls at once."""
    missing: Annotated[Literal["null", "drop"], BeforeValidator(_null_word)] = "null"
    """What stands for a key without an answer."""


class SourceJoin(Join):
    """`join` of a source."""

    as_: Annotated[str | None, Field(alias="as")] = None
    """Name under which the answer is attached to the object that holds the key."""


class OnErrorDefault(Block):
    """`on_error: {default: VALUE}`."""

    null_ok = frozenset({"default"})
    default: Any
    """What stands for the source's reply."""


class Source(Block):
    """`sources.NAME`: one call."""

    null_ok = frozenset({"on_error"})
    rpc: str
    """The operation."""
    with_: Annotated[dict[str, Value], Field(alias="with")] = Field(default_factory=dict)
    """Field of the request to expression."""
    when: Expression | None = None
    """CEL: the source is called only if it holds."""
    timeout: Timeout | None = None
    on_error: Annotated[
        OnErrorDefault | Literal["fail", "omit", "null"], OneOf(), BeforeValidator(_null_word)
    ] = "fail"
    """What the reply is without this source."""
    join: SourceJoin | None = None


class AggregateFile(Block):
    """An aggregate document."""

    aggregate: Annotated[str, AfterValidator(_check_verb_and_path)]
    """METHOD /path."""
    sources: Annotated[Named[Source], Field(min_length=1)]
    """The calls."""
    reply: Annotated[Any, BeforeValidator(_check_reply)] = None
    """Expression, or key to expression; unset = one key per source."""
    status: Annotated[int, Field(ge=200, le=299)] = 200
    problems: str = "problems"
    """Name of the list of what is missing; `none` = only the header."""
    progressive: Literal[True] = True
    deadline: Timeout | None = None
    auth: AuthRules | None = None
    limit: Annotated[Seq[str] | Literal["none"], OneOf("a list of policies")] = ()
    caps: AggregateCaps | None = None
