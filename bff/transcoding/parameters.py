"""Query parameters: splitting, decoding, which field a key names, and every fault of a query at once."""

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from bff.core.errors import ClientError, Violation
from bff.core.schema import Field, MessageType
from bff.transcoding.exact_json import one_edit_away
from bff.transcoding.json_codec import Codec
from bff.transcoding.scalars import Unfit
from bff.transcoding.setters import Part, Setter, compile_setter, is_leaf

__all__ = ["IGNORED", "MAX_DEPTH", "Faults", "ParameterTable", "split_query"]

MAX_DEPTH = 16
# Setters of deeper keys and maps are kept as they are met, so that a client cannot make us grow.
_MAX_CACHED = 256
# Parameters of Google's APIs that every method takes; skipped unless a field has the name.
IGNORED = ("key", "alt", "$fields", "utm_*")

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MAP_KEY = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")


class Faults:
    """Every fault of one path and query; the first gives the reason (AIP-193 wants them together)."""

    __slots__ = ("_reason", "_violations")

    def __init__(self) -> None:
        self._reason = ""
        self._violations: list[Violation] = []

    def add(self, reason: str, name: str, text: str) -> None:
        self._reason = self._reason or reason
        self._violations.append(Violation(name[:200], text))

    def raise_if_any(self) -> None:
        """Raise ClientError with all that was added."""
        if not self._violations:
            return
        first = self._violations[0].field
        metadata = {"field" if self._reason == "INVALID_FIELD" else "parameter": first}
        raise ClientError(self._reason, metadata=metadata, violations=tuple(self._violations))


def split_query(query: bytes, limit: int, faults: Faults) -> list[tuple[str, str]]:
    """Decoded keys and texts in order: split at `&`, then at the first `=`; `+` is a space.

    Raises ClientError TOO_MANY_PARAMETERS above `limit`. What cannot be decoded goes to `faults`.
    """
    parts = [part for part in query.split(b"&") if part]
    if len(parts) > limit:
        raise ClientError("TOO_MANY_PARAMETERS", metadata={"limit": str(limit)})
    is_plain = b"%" not in query and b"+" not in query and query.isascii()
    pairs: list[tuple[str, str]] = []
    for part in parts:
        key, _, text = part.partition(b"=")
        try:
            pair = (
                (key.decode("ascii"), text.decode("ascii"))
                if is_plain
                else (_decoded(key), _decoded(text))
            )
        except Unfit as error:
            faults.add("INVALID_PARAMETER", key.decode("ascii", "replace"), str(error))
            continue
        if not key:
            faults.add("INVALID_PARAMETER", "", "has no name")
            continue
        pairs.append(pair)
    return pairs


def _decoded(octets: bytes) -> str:
    if _BAD_ESCAPE.search(octets):
        raise Unfit("has a bad percent-encoding")
    try:
        return unquote_to_bytes(octets.replace(b"+", b" ")).decode()
    except UnicodeDecodeError as error:
        raise Unfit("is not UTF-8") from error


class _Refused(Exception):
    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        self.text = text


class _Reading:
    """One query as far as it is read: its parts, and what has been set already."""

    __slots__ = ("_captured", "_members", "_seen", "parts")

    def __init__(self, captures: Sequence[Setter], values: Sequence[bytes | None]) -> None:
        self.parts: list[Part] = []
        self._seen: set[object] = set()
        self._captured = {
            setter.path: value for setter, value in zip(captures, values, strict=True)
        }
        self._members = {
            (where, oneof): number for setter in captures for where, oneof, number in setter.oneofs
        }

    def take(self, setter: Setter, map_key: str, text: str) -> None:
        identity: object = setter.path
        if setter.entry is None:
            value = setter.encode(text)
            octets = setter.whole(value)
        else:
            value, octets = setter.entry(map_key, text)
            identity = (setter.path, value)
        if identity in self._seen and not setter.field.repeated:
            raise _Refused("INVALID_PARAMETER", "is given more than once")
        self._seen.add(identity)
        for where, oneof, number in setter.oneofs:
            if self._members.setdefault((where, oneof), number) != number:
                raise _Refused("INVALID_PARAMETER", "excludes another field that is given")
        if setter.path not in self._captured:
            self.parts.append((setter.path, octets))
        elif self._captured[setter.path] not in {value, None}:
            raise _Refused("FIELD_CONFLICT", "differs from the value in the path")


class ParameterTable:
    """Which field each key of a route's query names, and the setter for it.

    `body` is the rule's body: its field takes no parameters, `*` leaves none at all.
    """

    def __init__(
        self, *, message: MessageType, codec: Codec, body: str, ignored: Sequence[str] = IGNORED
    ) -> None:
        self._message = message
        self._codec = codec
        self._body = body
        self._ignored = frozenset(name for name in ignored if not name.endswith("*"))
        self._ignored_starts = tuple(name[:-1] for name in ignored if name.endswith("*"))
        self._cached: dict[str, Setter] = {}
        self._setters: dict[str, Setter] = {}
        if body != "*":
            self._fill()

    def bind(
        self,
        pairs: list[tuple[str, str]],
        captures: Sequence[Setter],
        values: Sequence[bytes | None],
        faults: Faults,
    ) -> list[Part]:
        """Parts for the query's pairs; what conflicts with `values` of the path goes to `faults`."""
        reading = _Reading(captures, values)
        for key, text in pairs:
            try:
                setter, map_key = self._find(key)
                if setter is not None:
                    reading.take(setter, map_key, text)
            except Unfit as error:
                faults.add("INVALID_PARAMETER", key, str(error))
            except _Refused as refused:
                faults.add(refused.reason, key, refused.text)
        return reading.parts

    def _find(self, key: str) -> tuple[Setter | None, str]:
        """The setter for a key, and the key of the map entry; no setter where the key is skipped."""
        setter = self._setters.get(key)
        if setter is not None:
            return setter, ""
        entry = None if self._body == "*" else _MAP_KEY.fullmatch(key)
        if entry is not None and entry[1] not in self._message.by_name and "." not in entry[1]:
            entry = None
        name = entry[1] if entry else key
        setter = self._cached.get(key if entry is None else f"{name}[]")
        if setter is None:
            if key in self._ignored or key.startswith(self._ignored_starts):
                return None, ""
            setter = self._resolve(name, is_entry=entry is not None)
            if len(self._cached) < _MAX_CACHED:
                self._cached[key if entry is None else f"{name}[]"] = setter
        return setter, entry[2] if entry else ""

    def _resolve(self, key: str, *, is_entry: bool) -> Setter:
        if self._body == "*":
            raise _Refused("UNKNOWN_PARAMETER", "is not known; fields go into the body")
        names = key.split(".")
        if len(names) > MAX_DEPTH:
            raise _Refused("TOO_MANY_PARAMETERS", "goes too deep")
        message: MessageType | None = self._message
        fields: list[Field] = []
        for name in names:
            if message is None or (fields and (fields[-1].repeated or fields[-1].is_map)):
                raise _Refused("INVALID_PARAMETER", "names a part of a value that has none")
            field = message.by_name.get(name)
            if field is None:
                near = one_edit_away(name, tuple(message.by_name))
                text = f"is not known; did you mean {near}?" if near else "is not known"
                raise _Refused("UNKNOWN_PARAMETER", text)
            fields.append(field)
            message = None if is_leaf(field) else field.message
        if fields[0].name == self._body:
            raise _Refused("FIELD_CONFLICT", "belongs to the body")
        if not is_leaf(fields[-1]) or fields[-1].is_map != is_entry:
            raise _Refused("INVALID_PARAMETER", "is no single value")
        return compile_setter(fields, self._codec)

    def _fill(self) -> None:
        """Every key of depth 2, then of depth 1: a whole name wins over the same text as a path."""
        bindable = [field for field in self._message.fields if field.name != self._body]
        for outer in bindable:
            if outer.message is None or is_leaf(outer) or outer.repeated or outer.is_map:
                continue
            for inner in outer.message.fields:
                self._keep((outer, inner))
        for field in bindable:
            self._keep((field,))

    def _keep(self, fields: tuple[Field, ...]) -> None:
        if not is_leaf(fields[-1]) or fields[-1].is_map:
            return
        setter = compile_setter(fields, self._codec)
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
