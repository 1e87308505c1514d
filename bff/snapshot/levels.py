"""What gateway, service file, wildcard and route say about one entry: the nearest wins, or all hold."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Literal, TypeVar

from bff.config.blocks import Block, effective
from bff.config.documents import Placed
from bff.config.gateway import GatewayFile
from bff.config.policies import Caps, Policies
from bff.config.presets import SwitchInForce, SwitchValue, blocks_in_force
from bff.config.switches import Metadata, Stream
from bff.snapshot.bindings import Entry
from bff.snapshot.policies import AuthLevel, LimitLevel
from bff.snapshot.switches import SwitchLevel

__all__ = ["Levels", "Merged", "MetadataLevel", "gateway_switch_level"]

M = TypeVar("M", bound=Block)
R = TypeVar("R")
# A block, the document it stands in, and where.
MetadataLevel = tuple[Metadata | None, Placed[Any], tuple[str | int, ...]]


def gateway_switch_level(gateway: Placed[GatewayFile]) -> SwitchLevel:
    """The switches that hold where nothing nearer speaks."""
    return gateway.value.transcoding, gateway, ("transcoding",)


class Merged:
    """What blocks of several levels come to: one result for all entries under the same blocks.

    It lives no longer than the document, whose blocks are told apart by their identity.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Any] = {}

    def of(self, what: object, blocks: Sequence[object], make: Callable[[], R]) -> R:
        """What `make` gives for these blocks, `what` being its name."""
        key = (what, *map(id, blocks))
        found: R | None = self._known.get(key)
        if found is None:
            found = self._known[key] = make()
        return found


class Levels:
    """The levels of one entry, far to near."""

    def __init__(self, gateway: Placed[GatewayFile], entry: Entry, merged: Merged) -> None:
        self._merged = merged
        self._gateway = gateway
        self._entry = entry
        self._file = entry.file
        self._values = (gateway.value, entry.file.value, entry.wildcard, entry.route)

    # Where the nearest wins

    def nearest(self, key: str) -> Any:
        """The value of the nearest level that writes this key, or None."""
        for level in reversed(self._values):
            value = getattr(level, key, None)
            if value is not None:
                return value
        return None

    def caps(self) -> Caps:
        """The caps in force."""
        blocks = self._blocks("caps")
        return self._merged.of(Caps, blocks, lambda: effective(Caps, *blocks))

    def metadata(self) -> Metadata:
        """Which header fields cross in force."""
        return self._with_preset(Metadata, "metadata", ("prefix", "trailers"))

    def stream(self) -> Stream:
        """The settings of streams in force."""
        return self._with_preset(Stream, "stream", ("default", "wrap"))

    def _with_preset(self, model: type[M], name: str, keys: Sequence[str]) -> M:
        """The block in force, with what the preset fixes of it."""
        blocks = self._blocks(name)

        def make() -> M:
            fixed = {key: self._beside(f"{name}.{key}") for key in keys}
            return effective(model, *blocks).model_copy(update=fixed)

        return self._merged.of(model, (*blocks, *self._blocks("transcoding")), make)

    def _beside(self, name: str) -> SwitchValue:
        return next(each.value for each in self.beside_switches if each.name == name)

    def log_share(self) -> float:
        """The share of good requests that the access log shows, 0 to 1."""
        for level in reversed(self._values):
            block = getattr(level, "telemetry", None)
            if block is not None and "log" in block.model_fields_set:
                return float({"all": 1.0, "errors": 0.0}.get(block.log, block.log))
        return 1.0

    def identity(self, upstream: str) -> Sequence[str] | Literal["none"]:
        """Names of providers: the nearest `identity`, of route, file, upstream, gateway."""
        return (
            self._entry.route.identity
            or self._file.value.identity
            or self._gateway.value.upstreams[upstream].identity
            or self._gateway.value.identity
        )

    # Where all hold, or each is read with its place

    def auth(self) -> list[AuthLevel]:
        """The blocks `auth` that are written."""
        file, wildcard, route = self._file, self._entry.wildcard, self._entry.route
        levels: list[AuthLevel] = [(self._gateway.value.auth, self._gateway, ("auth",))]
        if file.value.auth is not None:
            levels.append((file.value.auth, file, ("auth",)))
        if wildcard is not None and wildcard.auth is not None:
            index = file.value.routes.index(wildcard)
            levels.append((wildcard.auth, file, ("routes", index, "auth")))
        if route.auth is not None:
            levels.append((route.auth, file, ("routes", self._entry.index, "auth")))
        return levels

    def metadata_levels(self) -> list[MetadataLevel]:
        """The blocks `metadata`, None where a level has none."""
        return [
            (each.metadata, placed, (*path, "metadata")) for each, placed, path in self._placed()
        ]

    def switches(self) -> list[SwitchLevel]:
        """The blocks `transcoding`, None where a level has none."""
        return [
            (each.transcoding, placed, (*path, "transcoding"))
            for each, placed, path in self._placed()
        ]

    @cached_property
    def beside_switches(self) -> tuple[SwitchInForce, ...]:
        """What the preset fixes of the blocks `stream` and `metadata`, unless a nearer word does."""
        keys = ("transcoding", "stream", "metadata")
        blocks = [block for key in keys for block in self._blocks(key)]
        return self._merged.of(
            "beside",
            blocks,
            lambda: blocks_in_force(
                [
                    ({key: getattr(each, key) for key in keys}, partial(_place, placed, path))
                    for each, placed, path in self._placed()
                ]
            ),
        )

    def limits(self) -> list[LimitLevel]:
        """The lists `limit`."""
        file, wildcard, route = self._file, self._entry.wildcard, self._entry.route
        return [
            (self._gateway.value.limit, self._gateway, ("limit",)),
            (file.value.limit, file, ("limit",)),
            (wildcard.limit if wildcard else (), file, ("routes",)),
            (route.limit, file, ("routes", self._entry.index, "limit")),
        ]

    def _placed(self) -> Iterator[tuple[Policies, Placed[Any], tuple[str | int, ...]]]:
        """Each level, the document it stands in, and where."""
        file, wildcard = self._file, self._entry.wildcard
        yield self._gateway.value, self._gateway, ()
        yield file.value, file, ()
        if wildcard is not None:
            yield wildcard, file, ("routes", file.value.routes.index(wildcard))
        yield self._entry.route, file, ("routes", self._entry.index)

    def _blocks(self, key: str) -> list[Any]:
        return [getattr(level, key, None) for level in self._values]


def _place(placed: Placed[Any], path: tuple[str | int, ...], name: str) -> str:
    return str(placed.where(*path, *name.split(".")))
