"""From a reply as written to its keys, and where among them each source is shown."""

from collections.abc import Mapping, Sequence

from bff.aggregate.plan import Attachment, ReplyKey, Spread
from bff.aggregate.scope import Scope, leads_through
from bff.aggregate.specs import Scalar
from bff.core.expressions import Origin
from bff.core.problems import did_you_mean
from bff.core.schema import MessageType

__all__ = ["Reply", "ReplyMaker", "places_of"]

# By the reply's key: an expression, or under "..." the names of sources whose fields are spread.
Reply = Mapping[str, Scalar | Sequence[object]]


class ReplyMaker:
    """Makes the reply's keys; a name that would stand there twice is a fault."""

    def __init__(self, scope: Scope, *, problems_key: str | None) -> None:
        self._scope = scope
        self._shown: list[ReplyKey | Spread] = []
        # Where each name of the reply comes from.
        self._owners: dict[str, str] = {problems_key: "problems"} if problems_key else {}

    def make(self, reply: Reply) -> list[ReplyKey | Spread]:
        """The keys in the order in which they are written."""
        for name, written in reply.items():
            if isinstance(written, Sequence) and not isinstance(written, str):
                for source in written:
                    if isinstance(source, str):
                        self._spread(source)
                    else:
                        self._scope.fault(
                            f"reply.{name}", "a list names the sources that are spread"
                        )
                continue
            self._claim(name, f"reply.{name}")
            expr = self._scope.compile(f"reply.{name}", written)
            if expr is not None:
                sources = self._scope.sources_read(expr)
                only = bool(expr.roots) and expr.roots <= self._scope.names
                self._shown.append(
                    ReplyKey(name=name, expr=expr, sources=sources, only_sources=only)
                )
        return self._shown

    def _spread(self, source: str) -> None:
        message = self._scope.roots.get(source) if source in self._scope.names else None
        if not isinstance(message, MessageType):
            hint = did_you_mean(source, self._scope.names)
            self._scope.fault("reply['...']", f"'{source}' is no source with a type", hint)
            return
        for field in message.fields:
            self._claim(field.json_name, f"reply['...'].{source}")
        self._shown.append(Spread(source))

    def _claim(self, name: str, path: str) -> None:
        if name in self._owners:
            self._scope.fault(
                path, f"the reply has '{name}' twice, here and at {self._owners[name]}"
            )
        self._owners[name] = path


def places_of(
    source: str, shown: Sequence[ReplyKey | Spread], attachments: Sequence[Attachment]
) -> tuple[str, ...]:
    """Where the reply shows a source: the shortest paths only."""
    places: list[str] = []
    for key in shown:
        if isinstance(key, Spread):
            places += [key.source] if key.source == source else []
            continue
        places += [
            key.name + output.place
            for output in key.expr.outputs
            if any(_shows(path, source, attachments) for path in output.reads)
        ]
    shortest: list[str] = []
    for place in sorted(places, key=len):
        if not any(_is_under(place, above) for above in shortest):
            shortest.append(place)
    return tuple(shortest)


def _shows(path: Origin, source: str, attachments: Sequence[Attachment]) -> bool:
    owners = [one.join for one in attachments if leads_through(path, one)]
    return source in owners if owners else path[0] == source


def _is_under(place: str, above: str) -> bool:
    return place == above or place.startswith((f"{above}.", f"{above}[]"))
