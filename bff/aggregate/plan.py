"""The plan of an aggregate: its sources, what each waits for, and what the reply reads.

Values only; `aggregate.build` makes them at load, `aggregate.run` carries them out.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from bff.core.exchange import Json
from bff.core.expressions import Expression
from bff.core.status import Code

__all__ = [
    "FAIL",
    "MAX_DEPTH",
    "MAX_KEYS",
    "MAX_SOURCES",
    "Attachment",
    "Binding",
    "Join",
    "OnError",
    "Plan",
    "ReplyKey",
    "Source",
    "Spread",
]

MAX_SOURCES = 8
MAX_DEPTH = 4
MAX_KEYS = 200

OnErrorKind = Literal["fail", "omit", "null", "default"]


class OnError(Struct, frozen=True):
    """What the client sees of a source that failed; `value` only with `default`."""

    kind: OnErrorKind = "fail"
    value: Json = None


FAIL = OnError()


class Binding(Struct, frozen=True, kw_only=True):
    """One field of the request: its path in JSON names, and where the value comes from.

    `from_client` is True where the expression reads only the request, so that a value which does
    not fit is the client's fault. `required` fields left null mean that there is nothing to ask.
    """

    path: tuple[str, ...]
    expr: Expression
    required: bool = False
    from_client: bool = False


class Join(Struct, frozen=True, kw_only=True):
    """A list join. Names are JSON names.

    `into` takes the keys: all of a chunk if `batch`, else one. `entities` is where the reply holds
    them, empty if the reply itself is the entity; `entity_key` their key, absent means `entity_zero`.
    `index` matches by position instead.
    """

    keys: Expression
    into: str
    batch: bool
    entities: tuple[str, ...] = ()
    entity_key: str = ""
    zero: Json = ""
    index: bool = False
    many: bool = False
    max_batch: int = 100
    parallel: int = 4
    max_keys: int = MAX_KEYS


class Attachment(Struct, frozen=True, kw_only=True):
    """A join's entity, put under `name` into the objects at `path` of another source's value.

    `key` is the name of the key in those objects.
    """

    join: str
    root: str
    path: tuple[str, ...]
    key: str
    name: str


class Source(Struct, frozen=True, kw_only=True):
    """One source of the plan.

    `waits_for` are sources that must settle before it; `hard` those without which one of its
    bindings is null for certain. `attachments` are those its expressions read. `from_inputs` is
    True where no other source feeds it (its failure is told as it is). `places` are the reply's
    paths that show it, `statuses` its own HTTP statuses by code.
    """

    name: str
    bindings: tuple[Binding, ...] = ()
    join: Join | None = None
    when: Callable[[Mapping[str, Json]], bool] | None = None
    on_error: OnError = FAIL
    timeout_s: float | None = None
    statuses: Mapping[Code, int] = {}
    waits_for: frozenset[str] = frozenset()
    hard: frozenset[str] = frozenset()
    attachments: tuple[Attachment, ...] = ()
    from_inputs: bool = True
    places: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        """True where the reply cannot be made without it."""
        return self.on_error.kind == "fail"


class ReplyKey(Struct, frozen=True, kw_only=True):
    """One key of the reply; `sources` are those it reads, `only_sources` is True if it reads nothing else."""

    name: str
    expr: Expression
    sources: frozenset[str]
    only_sources: bool


class Spread(Struct, frozen=True):
    """A message's fields, put into the reply as they are."""

    source: str


class Plan(Struct, frozen=True, kw_only=True):
    """A whole aggregate. `sources` stand in the declared order.

    `attachments` are all there are, in the order in which they apply. `problems_key` is
    None where only the header tells.
    """

    sources: tuple[Source, ...]
    reply: tuple[ReplyKey | Spread, ...]
    attachments: tuple[Attachment, ...] = ()
    deadline_s: float
    status: int = 200
    problems_key: str | None = "problems"

    @property
    def reserve_s(self) -> float:
        """Kept at the end for shaping and writing the reply."""
        return max(0.010, 0.02 * self.deadline_s)
