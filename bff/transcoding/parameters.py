"""Query parameters: which field a key names, its setter, and what conflicts with what."""

import re
from collections.abc import Callable, Sequence

from bff.core.schema import Field, MessageType
from bff.transcoding.json_codec import Codec
from bff.transcoding.near_names import one_edit_away
from bff.transcoding.query_text import Faults, decode_text
from bff.transcoding.scalars import Unfit
from bff.transcoding.setters import Part, Setter, compile_setter, is_leaf, leads_on
from bff.transcoding.switches import STRICT, Switches

__all__ = ["MAX_CACHED", "MAX_DEPTH", "ParameterTable"]

MAX_DEPTH = 16
# Setters of deeper keys and maps are kept as they are met, so that a client cannot make us grow.
MAX_CACHED = 256

_MAP_KEY = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")


class _Refused(Exception):
    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        self.text = text


class _Reading:
    """One query as far as it is read.

    `held` has each field that is set, and its part; None for what the path says already.
    `overruled` holds places of the path that the query took over (`query_wins`).
    """

    __slots__ = ("_captured", "_members", "_switches", "held", "overruled")

    def __init__(
        self,
        captured: dict[tuple[int, ...], bytes | None],
        members: dict[tuple[tuple[int, ...], str], int],
        switches: Switches,
    ) -> None:
        self.held: dict[object, Part | None] = {}
        self.overruled: set[tuple[int, ...]] = set()
        self._switches = switches
        self._captured = captured
        self._members = members

    def take(self, setter: Setter, map_key: str, text: str) -> None:
        path = setter.path
        identity: object = path
        if setter.entry is None:
            value = setter.encode(text)
            octets = setter.whole(value)
        else:
            value, octets = setter.entry(map_key, text)
            identity = (path, value)
        if setter.field.repeated:
            identity = (path, len(self.held))
        elif identity in self.held and self._switches.query_duplicate == "reject":
            raise _Refused("INVALID_PARAMETER", "is given more than once")
        for where, oneof, number in setter.oneofs:
            if self._members.setdefault((where, oneof), number) != number:
                self._change_member(where, oneof, number)
        if path in self._captured and not self._overrules(path, value):
            self.held[identity] = None
        else:
            self.held[identity] = (path, octets)

    def _overrules(self, path: tuple[int, ...], value: bytes) -> bool:
        """Whether the value holds against the path's. Raises where a difference is refused."""
        differs = self._captured[path] not in {value, None}
        self.overruled.discard(path)
        if differs and self._switches.same_field == "reject":
            raise _Refused("FIELD_CONFLICT", "differs from the value in the path")
        wins = differs and self._switches.same_field == "query_wins"
        if wins:
            self.overruled.add(path)
        return wins

    def _change_member(self, where: tuple[int, ...], oneof: str, number: int) -> None:
        """Let the last member of a oneof hold, where the route says so."""
        old = (*where, self._members[where, oneof])
        depth = len(old)
        from_path = any(path[:depth] == old for path in self._captured)
        if self._switches.query_oneof == "reject" or from_path:
            raise _Refused("INVALID_PARAMETER", "excludes another field that is given")
        self._members[where, oneof] = number
        gone = [key for key, part in self.held.items() if part and part[0][:depth] == old]
        for key in gone:
            del self.held[key]


class ParameterTable:
    """Which field each key of a route's query names, and the setter for it.

    `body` is the rule's body: its field takes no parameters, `*` leaves none at all. `captures` are
    the setters of the path, whose values `bind` is given in their order.
    """

    def __init__(
        self,
        *,
        message: MessageType,
        codec: Codec,
        body: str,
        captures: Sequence[Setter] = (),
        switches: Switches = STRICT,
    ) -> None:
        self._message = message
        self._paths = tuple(setter.path for setter in captures)
        # The members of oneofs that the path picks.
        self._picked = {
            (where, oneof): number for setter in captures for where, oneof, number in setter.oneofs
        }
        self._codec = codec
        self._switches = switches
        # With `bind` and `merge` the body leaves all of its fields to the query as well.
        taken = (
            switches.query_star_body != "bind"
            if body == "*"
            else switches.query_body_field != "merge"
        )
        self._body = body if taken else ""
        ignored = switches.query_ignore
        self._ignored = frozenset(name for name in ignored if not name.endswith("*"))
        self._ignored_starts = tuple(name[:-1] for name in ignored if name.endswith("*"))
        self._cached: dict[str, Setter] = {}
        self._setters: dict[str, Setter] = {}
        if self._body != "*":
            self._fill()
        # Keys that meet no other text on the way to their field, and what to do with theirs.
        self._plain: dict[str, tuple[tuple[int, ...], Callable[[str], bytes]]] = {}
        self._has_plain = switches.query_flag == "empty" and switches.query_plus == "space"
        for key, setter in self._setters.items():
            self._keep_plain(key, setter)

    def bind(
        self,
        pairs: list[tuple[str, str]],
        values: Sequence[bytes | None],
        faults: Faults,
    ) -> tuple[list[Part], set[tuple[int, ...]]]:
        """Parts for the query's pairs, and the places of the path that they take over.

        What conflicts with `values` of the path goes to `faults`.
        """
        captured = dict(zip(self._paths, values, strict=True))
        reading = _Reading(captured, self._picked.copy(), self._switches)
        held = reading.held
        for key, text in pairs:
            try:
                setter = self._setters.get(key)
                if setter is not None and setter.is_plain:
                    path = setter.path
                    if path not in held and path not in captured:
                        held[path] = (path, setter.whole(setter.encode(text)))
                        continue
                setter, map_key = self._find(key)
                if setter is not None:
                    reading.take(setter, map_key, text)
            except Unfit as error:
                faults.add("INVALID_PARAMETER", key, str(error))
            except _Refused as refused:
                faults.add(refused.reason, key, refused.text)
        return [part for part in reading.held.values() if part is not None], reading.overruled

    def bind_plain(self, query: bytes, limit: int) -> dict[tuple[int, ...], bytes] | None:
        """Octets by place for a query of plain keys, each given once: what most queries are.

        None where anything needs the closer look of `bind`, faults included. Raises Unfit likewise.
        """
        if not query.isascii():
            return None
        text = query.decode("ascii")
        is_encoded = "%" in text or "+" in text
        if is_encoded and self._switches.nul == "reject":
            return None
        plain = self._plain
        held: dict[tuple[int, ...], bytes] = {}
        for pair in text.split("&"):
            key, _, value = pair.partition("=")
            known = plain.get(key)
            if known is None:
                return None
            path, piece = known
            if path in held:
                return None
            if is_encoded and ("%" in value or "+" in value):
                value = decode_text(value.encode())
            held[path] = piece(value)
        return held if len(held) <= limit else None

    def paths_of(self, pairs: list[tuple[str, str]]) -> set[str]:
        """The fields that pairs name, dotted; pairs that `bind` has taken."""
        setters = (self._find(key)[0] for key, _ in pairs)
        return {setter.name for setter in setters if setter is not None}

    def setter_at(self, path: tuple[int, ...]) -> Setter:
        """The setter of a field that this table has bound, by its place."""
        message: MessageType | None = self._message
        fields: list[Field] = []
        for number in path:
            assert message is not None  # the place of a setter leads through messages
            fields.append(next(field for field in message.fields if field.number == number))
            message = fields[-1].message
        return compile_setter(fields, self._codec, self._switches)

    def _find(self, key: str) -> tuple[Setter | None, str]:
        """The setter for a key, and the key of the map entry; no setter where the key is skipped."""
        setter = self._setters.get(key)
        if setter is not None:
            return setter, ""
        is_map_text = self._body != "*" and self._switches.query_map == "bracket"
        entry = _MAP_KEY.fullmatch(key) if is_map_text else None
        if entry is not None and self._is_name(key, entry[1]):
            entry = None
        name = entry[1] if entry else key
        setter = self._cached.get(key if entry is None else f"{name}[]")
        if setter is None:
            if self._is_ignored(key):
                return None, ""
            found = self._resolve(name, is_entry=entry is not None)
            if found is None:
                return None, ""
            setter = found
            if len(self._cached) < MAX_CACHED:
                self._cached[key if entry is None else f"{name}[]"] = setter
                self._keep_plain(key, setter)
        return setter, entry[2] if entry else ""

    def _is_name(self, key: str, before: str) -> bool:
        """Whether a key that looks like one of a map, `before` being what its bracket follows, is a name.

        JSON names may hold brackets, too; a key is looked up as a whole and as a path first.
        """
        if "." not in before:
            return before not in self._message.by_name
        return _is_path(self._message, key.split("."))

    def _is_ignored(self, key: str) -> bool:
        """Whether `query_ignore` passes over a key: never where a field has the name it begins with."""
        if key not in self._ignored and not key.startswith(self._ignored_starts):
            return False
        known = self._message.by_name
        first = key.partition(".")[0]
        return first not in known and first.partition("[")[0] not in known

    def _resolve(self, key: str, *, is_entry: bool) -> Setter | None:
        """The setter for a path of names; None where such a key is skipped."""
        if self._body == "*":
            if self._switches.query_star_body == "ignore":
                return None
            raise _Refused("UNKNOWN_PARAMETER", "is not known; fields go into the body")
        fields = self._fields_of(key.split("."))
        if fields is None:
            return None
        if fields[0].name == self._body:
            if self._switches.query_body_field == "ignore":
                return None
            raise _Refused("FIELD_CONFLICT", "belongs to the body")
        if not is_leaf(fields[-1]) or fields[-1].is_map != is_entry:
            raise _Refused("INVALID_PARAMETER", "is no single value")
        return compile_setter(fields, self._codec, self._switches)

    def _fields_of(self, names: list[str]) -> list[Field] | None:
        """The fields that a path of names leads through; None where an unknown one is skipped."""
        if len(names) > MAX_DEPTH:
            raise _Refused("TOO_MANY_PARAMETERS", "goes too deep")
        message: MessageType | None = self._message
        fields: list[Field] = []
        for name in names:
            if message is None:
                is_group = fields[-1].kind == "group"
                text = "lies in a group" if is_group else "names a part of a value that has none"
                raise _Refused("INVALID_PARAMETER", text)
            field = message.by_name.get(name)
            if field is None:
                if self._switches.query_unknown == "ignore":
                    return None
                bare, bracket, _ = name.partition("[")
                if bracket and bare in message.by_name and self._switches.query_map == "bracket":
                    raise _Refused("INVALID_PARAMETER", "has brackets that are no key of a map")
                near = one_edit_away(name, tuple(message.by_name))
                text = f"is not known; did you mean {near}?" if near else "is not known"
                raise _Refused("UNKNOWN_PARAMETER", text)
            fields.append(field)
            message = field.message if leads_on(field) else None
        return fields

    def _fill(self) -> None:
        """Every key of depth 2, then of depth 1: a whole name wins over the same text as a path."""
        bindable = [field for field in self._message.fields if field.name != self._body]
        for outer in bindable:
            if outer.message is None or not leads_on(outer):
                continue
            for inner in outer.message.fields:
                self._keep((outer, inner))
        for field in bindable:
            self._keep((field,))

    def _keep_plain(self, key: str, setter: Setter) -> None:
        if self._has_plain and setter.is_plain and setter.path not in self._paths:
            self._plain[key] = (setter.path, setter.piece)

    def _keep(self, fields: tuple[Field, ...]) -> None:
        if not is_leaf(fields[-1]) or fields[-1].is_map:
            return
        setter = compile_setter(fields, self._codec, self._switches)
        message = self._message
        keys = [""]
        for field in fields:
            # JSON names win: a proto name that is another field's JSON name is not this field's key.
            names = {
                name for name in (field.name, field.json_name) if message.by_name[name] is field
            }
            keys = [f"{key}.{name}".removeprefix(".") for key in keys for name in names]
            message = field.message or message
        self._setters.update(dict.fromkeys(keys, setter))


def _is_path(message: MessageType | None, names: list[str]) -> bool:
    """Whether a path of names ends at a field."""
    for name in names:
        field = message.by_name.get(name) if message is not None else None
        if field is None:
            return False
        message = field.message if leads_on(field) else None
    return True
