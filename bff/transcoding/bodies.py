"""Request bodies as parts of the request: a message beside path and query, or the value of one field."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import structs

from bff.core.errors import ClientError, Violation
from bff.core.schema import Field, MessageType
from bff.transcoding.json_codec import Codec
from bff.transcoding.json_parser import to_octets
from bff.transcoding.leaf import Leaf
from bff.transcoding.parameters import MAX_CACHED, ParameterTable
from bff.transcoding.scalars import delimited, tag
from bff.transcoding.setters import Part, Setter, assemble, is_leaf
from bff.transcoding.switches import STRICT, Switches

__all__ = ["ReadBody", "compile_body"]

# Body octets, the parts of the path, those of the query, the path's texts: all parts together.
ReadBody = Callable[[bytes, list[Part], list[Part], Sequence[str]], list[Part]]


def compile_body(
    codec: Codec,
    message: MessageType,
    body: str,
    captures: tuple[Setter, ...],
    table: ParameterTable,
    switches: Switches,
) -> ReadBody:
    """The reader of a route's body: `*`, or the name of a field. Raises ValueError for no field."""
    if body == "*":
        return _MessageBody(codec, message, (), captures, table, switches).read
    field = message.by_name.get(body)
    if field is None:
        raise ValueError(f"no field {body} in {message.full_name}")
    if field.message is None or field.repeated or field.is_map or is_leaf(field):
        return _ValueBody(codec, message, field, switches).read
    return _MessageBody(codec, field.message, (field.number,), captures, table, switches).read


def _conflict(name: str, with_what: str) -> ClientError:
    return ClientError(
        "FIELD_CONFLICT",
        metadata={"field": name},
        violations=(Violation(name, f"differs from the value in the {with_what}"),),
    )


class _MessageBody:
    """A body that is a message: the request itself, or one field of it.

    The path's values are compared with it, and then set in it.
    """

    def __init__(
        self,
        codec: Codec,
        message: MessageType,
        prefix: tuple[int, ...],
        captures: tuple[Setter, ...],
        table: ParameterTable,
        switches: Switches,
    ) -> None:
        self._parse = codec.parser(message.full_name, switches)
        self._read = codec.reader(message.full_name, switches)
        self._codec = codec
        self._full_name = message.full_name
        self._prefix = prefix
        self._head = tag(prefix[0], 2) if prefix else b""
        self._table = table
        self._same_field = switches.same_field
        # Without these the query has no place inside the body's message.
        self._merges = (switches.query_body_field if prefix else switches.query_star_body) in {
            "merge",
            "bind",
        }
        # Places of the query inside the body's message, as they are met.
        self._met: dict[tuple[int, ...], tuple[Setter, Leaf]] = {}
        depth = len(prefix)
        self._leaves = tuple(
            (index, setter, codec.leaf(message.full_name, tuple(setter.name.split(".")[depth:])))
            for index, setter in enumerate(captures)
            if setter.path[:depth] == prefix
        )

    def read(
        self, body: bytes, parts: list[Part], asked: list[Part], captures: Sequence[str]
    ) -> list[Part]:
        if self._leaves or (asked and self._merges):
            octets, outer = self._merge(body, parts, asked, captures)
        else:
            octets, outer = self._read(body), asked
        if not self._prefix:
            return [((0,), octets)]
        rest = [part for part in parts if part[0][:1] != self._prefix]
        return [*rest, *outer, (self._prefix, self._head + delimited(octets))]

    def _merge(
        self, body: bytes, parts: list[Part], asked: list[Part], captures: Sequence[str]
    ) -> tuple[bytes, list[Part]]:
        """The body's message with what path and query set in it, and the query's other parts."""
        found: Any = self._parse(body)
        for index, setter, leaf in self._leaves:
            value, own = setter.parse(captures[index]), leaf.get(found)
            differs = own is not None and setter.encode_value(own) != setter.encode_value(value)
            excluded = setter.oneofs and leaf.is_excluded(found)
            if (differs or excluded) and self._same_field == "reject":
                raise _conflict(setter.name, "path")
            if self._same_field != "reject":
                holds = self._path_holds(setter, parts, has_other=bool(differs or excluded))
            else:
                holds = own is None
            if holds:
                leaf.set(found, value)
        inner, outer = self._beside(found, asked) if asked and self._merges else ([], asked)
        octets = to_octets(found)
        if inner:
            inner.sort(key=itemgetter(0))
            octets = assemble(inner) + octets
        return octets, outer

    def _path_holds(self, setter: Setter, parts: list[Part], *, has_other: bool) -> bool:
        """Whether the path's value goes into the body's message, on routes where one may win."""
        overruled = all(path != setter.path for path, _ in parts)
        return not overruled and not (has_other and self._same_field == "body_wins")

    def _beside(self, found: Any, asked: list[Part]) -> tuple[list[Part], list[Part]]:
        """The query's parts that belong inside this message and hold, and those outside of it.

        Lists and maps of both stand one after the other, the query's first.
        """
        depth = len(self._prefix)
        inner: list[Part] = []
        outer: list[Part] = []
        for path, octets in asked:
            if path[:depth] != self._prefix:
                outer.append((path, octets))
            elif self._query_holds(found, path, octets):
                inner.append((path[depth:], octets))
        return inner, outer

    def _meet(self, path: tuple[int, ...]) -> tuple[Setter, Leaf]:
        setter = self._table.setter_at(path)
        names = tuple(setter.name.split(".")[len(self._prefix) :])
        met = setter, self._codec.leaf(self._full_name, names)
        # Bounded as the setters of deep keys are: types that hold themselves have no end of places.
        if len(self._met) < MAX_CACHED:
            self._met[path] = met
        return met

    def _query_holds(self, found: Any, path: tuple[int, ...], octets: bytes) -> bool:
        setter, leaf = self._met.get(path) or self._meet(path)
        if setter.field.repeated or setter.field.is_map:
            return True
        own, excluded = leaf.get(found), setter.oneofs and leaf.is_excluded(found)
        if own is None and not excluded:
            return True
        if own is not None and setter.whole(setter.encode_value(own)) == octets:
            return False
        if self._same_field == "reject":
            raise _conflict(setter.name, "body")
        if self._same_field != "query_wins":
            return False
        leaf.clear(found)
        return True


class _ValueBody:
    """A body that is the value of a list, map or scalar field."""

    def __init__(
        self, codec: Codec, message: MessageType, field: Field, switches: Switches
    ) -> None:
        # It is read inside an object that is ours and does not count.
        depth = min(switches.json_depth + 1, STRICT.json_depth)
        self._read = codec.reader(message.full_name, structs.replace(switches, json_depth=depth))
        self._name = field.json_name
        self._head = b"{" + msgspec.json.encode(field.json_name) + b":"
        self._path = (field.number,)
        self._is_many = field.repeated or field.is_map
        self._same_field = switches.same_field

    def read(
        self, body: bytes, parts: list[Part], asked: list[Part], _captures: Sequence[str]
    ) -> list[Part]:
        # One JSON value and nothing else: `1,"other":2` must not become a second field.
        try:
            msgspec.json.decode(body)
        except (ValueError, RecursionError) as error:
            raise ClientError("INVALID_JSON") from error
        try:
            octets = self._read(self._head + body + b"}")
        except ClientError as error:
            raise self._as_sent(error) from error
        kept = [part for part in asked if self._is_many or part[0] != self._path]
        if len(kept) < len(asked):
            return self._beside(parts, asked, kept, octets)
        return [*parts, *kept, (self._path, octets)]

    def _beside(
        self, parts: list[Part], asked: list[Part], kept: list[Part], octets: bytes
    ) -> list[Part]:
        """All parts where the query sets this very field too."""
        differs = (self._path, octets) not in asked
        if differs and octets and self._same_field == "reject":
            raise _conflict(self._name, "body")
        if self._same_field == "query_wins" or not octets:
            return [*parts, *asked]
        return [*parts, *kept, (self._path, octets)]

    def _as_sent(self, error: ClientError) -> ClientError:
        """The error with paths as the client wrote them, without our wrapping."""
        violations = tuple(
            Violation(each.field.removeprefix(self._name), each.description)
            for each in error.violations
        )
        first = violations[0].field if violations else ""
        metadata = {"field": first} if first else {}
        return ClientError(
            error.reason, detail=error.detail, metadata=metadata, violations=violations
        )
