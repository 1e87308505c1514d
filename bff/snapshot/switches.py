"""The switches that hold for a route: from gateway, service file, wildcard and route, with their places."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec import Struct, convert

from bff.config.documents import Placed
from bff.config.presets import SwitchInForce, switches_in_force
from bff.config.switches import Transcoding
from bff.snapshot.policies import AuthLevel
from bff.transcoding.switches import Switches

__all__ = ["RouteSwitches", "SwitchCompiler", "SwitchLevel", "reads_path"]

# A block, the document it stands in, and where.
SwitchLevel = tuple[Transcoding | None, Placed[Any], tuple[str | int, ...]]

_PATH = re.compile(r"\bpath\b")


class RouteSwitches(Struct, frozen=True):
    """The switches of a route, and the same with the origin of each."""

    values: Switches
    in_force: tuple[SwitchInForce, ...]


class SwitchCompiler:
    """Works out switches; routes under the same blocks share one result."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], RouteSwitches] = {}

    def compile(self, levels: Sequence[SwitchLevel]) -> RouteSwitches:
        """The switches of blocks from far to near."""
        key = tuple(id(block) for block, _, _ in levels)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _compiled(levels)
        return found


def _compiled(levels: Sequence[SwitchLevel]) -> RouteSwitches:
    in_force = switches_in_force(
        [(block, partial(_place, placed, path)) for block, placed, path in levels]
    )
    values = {switch.name: switch.value for switch in in_force}
    return RouteSwitches(convert(values, Switches), in_force)


def _place(placed: Placed[Any], path: tuple[str | int, ...], name: str) -> str:
    return str(placed.where(*path, name))


def reads_path(levels: Sequence[AuthLevel]) -> bool:
    """Whether a rule of authorization reads a variable of the path, or the path itself."""
    rules = [text for level, _, _ in levels for text in (level.when, level.tenant) if text]
    return any(_PATH.search(text) for text in rules)
