"""Read masks: which part of a reply a client asks for by a parameter, and the reply cut down to it (AIP-157).

A mask's text is compiled against the reply's type; the few texts that clients use are kept. Paths go
by JSON or proto names, through messages, lists (every item; `*` may say so, AIP-161) and maps (one
key, or `*` for each).
"""

from collections.abc import Iterator

from msgspec import Struct

from bff.core.errors import ClientError, Violation
from bff.core.exchange import Json
from bff.core.schema import Field, MessageType
from bff.transcoding.near_names import one_edit_away
from bff.transcoding.query_text import Faults, split_query
from bff.transcoding.setters import CLOSED_MESSAGES
from bff.transcoding.switches import STRICT, Switches

__all__ = ["Mask", "ReadMask", "prune"]

_ALL = "*"
# As deep as keys of the query go.
_MAX_STEPS = 16
_MAX_PATHS = 100
_MAX_CHARS = 4096
# Texts that are kept compiled; those beyond are compiled each time.
_MOST_KEPT = 256


class Node(Struct):
    """What is kept of one value: some keys of an object or a map, `*` for each; None: all of it."""

    keys: "dict[str, Node | None]" = {}


class Mask(Struct, frozen=True):
    """A compiled mask: what the reply keeps, and the paths by proto names, as a service reads them."""

    root: Node
    paths: tuple[str, ...]


class _Place(Struct, frozen=True):
    """Where a path has come to: a message (None: nothing is below), a list of it, or a map to it."""

    message: MessageType | None
    is_list: bool = False
    is_map: bool = False


class ReadMask:
    """The mask parameter of one route. `response_body` is the field of the reply that clients see."""

    def __init__(
        self,
        *,
        parameter: str,
        message: MessageType,
        response_body: str = "",
        proto_names: bool = False,
        max_parameters: int = 256,
        switches: Switches = STRICT,
    ) -> None:
        self.parameter = parameter
        self._start = _Place(message)
        self._before = ""
        if response_body:
            field = message.by_name[response_body]
            self._start = _place_of(field)
            self._before = f"{field.name}."
        self._proto_names = proto_names
        self._max_parameters = max_parameters
        self._switches = switches
        self._kept: dict[str, Mask | None] = {}

    def of(self, query: bytes) -> Mask | None:
        """The mask that a query asks for; None for everything.

        Raises ClientError INVALID_PARAMETER for a path that the reply does not have.
        """
        if not query:
            return None
        pairs = split_query(query, self._max_parameters, Faults(), self._switches)
        texts = [text for key, text in pairs if key == self.parameter]
        if not texts:
            return None
        if len(texts) > 1 and self._switches.query_duplicate == "reject":
            raise self._refused("is given more than once")
        text = texts[-1]
        if text in self._kept:
            return self._kept[text]
        mask = self._compile(text)
        if len(self._kept) < _MOST_KEPT:
            self._kept[text] = mask
        return mask

    def _compile(self, text: str) -> Mask | None:
        if not text.strip():
            return None
        written = [path.strip() for path in text.split(",")]
        if len(written) > _MAX_PATHS or len(text) > _MAX_CHARS:
            raise self._refused(f"has more than {_MAX_PATHS} paths or {_MAX_CHARS} characters")
        root = Node({})
        paths = []
        whole = False
        for path in written:
            if path == _ALL:
                whole = True
                continue
            steps = path.split(".")
            if len(steps) > _MAX_STEPS:
                raise self._refused(f"has a path of more than {_MAX_STEPS} steps")
            resolved = list(self._resolve(path, steps))
            _add(root, [shown for shown, _ in resolved])
            paths.append(self._before + ".".join(name for _, name in resolved))
        return None if whole else Mask(_spread(root), tuple(dict.fromkeys(paths)))

    def _resolve(self, path: str, steps: list[str]) -> Iterator[tuple[str, str]]:
        """Each step as it stands in the reply's JSON, and as the service names it."""
        place = self._start
        for step in steps:
            if place.is_list and step == _ALL:
                place = _Place(place.message)
                continue
            if place.is_map and step:
                # It may become metadata, which can be nothing else.
                if not step.isascii() or not step.isprintable():
                    raise self._refused("has a key that is not printable ASCII")
                yield step, step
                place = _Place(place.message)
                continue
            message = None if place.is_map else place.message
            field = None if message is None else message.by_name.get(step)
            if field is None:
                raise self._unknown(path, step, place)
            yield (field.name if self._proto_names else field.json_name), field.name
            place = _place_of(field)

    def _unknown(self, path: str, step: str, place: _Place) -> ClientError:
        known = tuple(place.message.by_name) if place.message is not None else ()
        near = one_edit_away(step, known)
        text = "has a path that the reply does not have"
        return self._refused(f"{text}; did you mean {near}?" if near else text, path=path[:200])

    def _refused(self, text: str, **more: str) -> ClientError:
        return ClientError(
            "INVALID_PARAMETER",
            metadata={"parameter": self.parameter, **more},
            violations=(Violation(self.parameter, text),),
        )


def prune(value: Json, node: Node | None) -> Json:
    """What a mask keeps of a JSON value, in the value's own order."""
    if node is None:
        return value
    if isinstance(value, list):
        return [prune(each, node) for each in value]
    if not isinstance(value, dict):
        return value
    keys = node.keys
    if _ALL in keys:
        others = keys[_ALL]
        return {key: prune(each, keys.get(key, others)) for key, each in value.items()}
    return {key: prune(each, keys[key]) for key, each in value.items() if key in keys}


def _place_of(field: Field) -> _Place:
    message = field.message
    if message is not None and message.full_name in CLOSED_MESSAGES:
        message = None
    return _Place(message, is_list=field.repeated, is_map=field.is_map)


def _add(root: Node, steps: list[str]) -> None:
    """Put a path into the tree; one that is there as a whole already takes its parts in."""
    node = root
    for step in steps[:-1]:
        if step in node.keys:
            inner = node.keys[step]
            if inner is None:
                return
        else:
            inner = node.keys[step] = Node({})
        node = inner
    node.keys[steps[-1]] = None


def _spread(node: Node) -> Node:
    """The tree with what `*` of a map keeps put beside what single keys keep."""
    for key, inner in node.keys.items():
        if inner is not None:
            node.keys[key] = _spread(inner)
    if _ALL in node.keys:
        others = node.keys[_ALL]
        node.keys = {key: _union(inner, others) for key, inner in node.keys.items()}
    return node


def _union(one: Node | None, other: Node | None) -> Node | None:
    if one is None or other is None:
        return None
    keys = {**one.keys, **other.keys}
    for key in one.keys.keys() & other.keys.keys():
        keys[key] = _union(one.keys[key], other.keys[key])
    return Node(keys)
