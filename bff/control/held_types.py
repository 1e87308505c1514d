"""What a node holds of services that give their types themselves: the newest, and the last good.

Newest is what a service answered last; good is what an accepted version was made of, and what lies
on disk. They differ while new types are refused. A service that is down changes neither.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from bff.config.documents import Document
from bff.control.stored_types import StoredTypes
from bff.snapshot.type_sources import Fetch, Reflected, Sources, fetch_now, reflected_sources
from bff.transcoding.reflection import ReflectionError
from bff.transcoding.sources import SourceSet

__all__ = ["HeldTypes", "Refreshed"]

# Services that are asked side by side.
_PARALLEL: Final = 4
_STATE: Final = Path("state")

Result = Literal["changed", "unchanged", "failed"]


class Refreshed(Struct, frozen=True, kw_only=True):
    """How asking again went. `is_news` is False where the same was said the time before."""

    origin: str
    result: Result
    why: str = ""
    is_news: bool = True


class HeldTypes:
    """The types of every running service of a configuration. All methods but those of the plan block.

    `end` is called when nobody wants types any more, to end what `fetch` has under way.
    """

    def __init__(self, *, fetch: Fetch = fetch_now, end: Callable[[], None] = lambda: None) -> None:
        self.end = end
        self._fetch = fetch
        # Of the version that is served, and of the one that is judged.
        self._plan: dict[str, Reflected] = {}
        self._judged: dict[str, Reflected] = {}
        self._newest: dict[str, SourceSet] = {}
        self._good: dict[str, SourceSet] = {}
        # Why the last fetch failed, and why the newest types were refused.
        self._faults: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._on_disk: dict[str, str] = {}
        self._store = StoredTypes(_STATE)
        self.origins: frozenset[str] = frozenset()

    # For a version that is judged

    def gather(self, document: Document) -> None:
        """Ask the services of this document that nothing is known of yet; look on disk for all of them.

        Raises ConfigError for the files of a service's TLS.
        """
        sources = reflected_sources(document)
        self._judged = {source.key: source for source in sources}
        self._store = StoredTypes(_state_folder(document))
        for source in sources:
            stored = None if source.key in self._good else self._store.read(source.key)
            if stored is not None:
                self._good[source.key] = stored
                self._on_disk[source.key] = stored.digest
        unknown = [source for source in sources if source.key not in self._newest]
        # After a failure what is good goes on; the node asks again in its own time.
        unknown = [s for s in unknown if s.key not in self._good or s.key not in self._faults]
        if unknown:
            with ThreadPoolExecutor(_PARALLEL) as pool:
                list(pool.map(self._ask, unknown))

    def newest(self, source: Reflected) -> SourceSet:
        """What the service said last, else what is good (for `read_sources`). Raises ReflectionError."""
        return self._held(source, self._newest, self._good)

    def last_good(self, source: Reflected) -> SourceSet:
        """What is good, else what the service said (for `read_sources`). Raises ReflectionError."""
        return self._held(source, self._good, self._newest)

    def _held(self, source: Reflected, *places: dict[str, SourceSet]) -> SourceSet:
        for place in places:
            if source.key in place:
                return place[source.key]
        raise ReflectionError(self._faults.get(source.key, "not asked yet"))

    def has_newer(self) -> bool:
        """Whether `newest` and `last_good` give different types."""
        return any(self._is_newer(key) for key in self._judged)

    def refuse(self, why: str) -> None:
        """Note that the newest types do not fit the mappings."""
        self._refused = {key: why for key in self._judged if self._is_newer(key)}

    def _is_newer(self, key: str) -> bool:
        newest, good = self._newest.get(key), self._good.get(key)
        return newest is not None and good is not None and newest.digest != good.digest

    def accept(self, sources: Sources) -> str:
        """Keep what a version that went live was made of. Says why it cannot be written, or nothing."""
        self.origins = sources.origins
        self._plan = self._judged
        why = ""
        for key, source in sources.reflected.items():
            self._good[key] = source
            if not self._is_newer(key):
                self._refused.pop(key, None)
            if self._on_disk.get(key) == source.digest:
                continue
            try:
                self._store.write(key, source)
            except OSError as error:
                why = f"{self._store.folder}: {error.strerror or error}"
            else:
                self._on_disk[key] = source.digest
        return why

    def unreached(self) -> list[tuple[str, str]]:
        """Origins that are judged by what is stored, each with why."""
        return [
            (source.origin, self._faults[key])
            for key, source in self._judged.items()
            if key in self._faults and key in self._good
        ]

    # For what goes on while serving

    def plan(self) -> dict[str, float]:
        """How often each source is asked again, in seconds, by key."""
        return {key: source.every_s for key, source in self._plan.items()}

    def failing(self) -> frozenset[str]:
        """Keys of sources whose last fetch failed."""
        return frozenset(self._faults)

    def refresh(self, key: str) -> Refreshed:
        """Ask a service again."""
        source = self._plan.get(key)
        if source is None:
            return Refreshed(origin=key, result="unchanged", is_news=False)
        fault, before = self._faults.get(key), self._newest.get(key) or self._good.get(key)
        self._ask(source)
        why = self._faults.get(key, "")
        if why:
            return Refreshed(origin=source.origin, result="failed", why=why, is_news=why != fault)
        if before is not None and before.digest == self._newest[key].digest:
            return Refreshed(origin=source.origin, result="unchanged", is_news=fault is not None)
        return Refreshed(origin=source.origin, result="changed")

    def stale(self) -> dict[str, str]:
        """By origin: why what is served of a source may not be what the service has now."""
        found: dict[str, str] = {}
        for key, source in self._plan.items():
            why = self._faults.get(key) or self._refused.get(key)
            if why:
                found[source.origin] = why
        return found

    def absent(self) -> frozenset[str]:
        """Origins of which nothing is held, so that their routes are not there."""
        return frozenset(
            source.origin
            for key, source in self._plan.items()
            if key not in self._good and key not in self._newest
        )

    @property
    def sources(self) -> Sequence[str]:
        """The origins of all, each once."""
        return tuple(dict.fromkeys(source.origin for source in self._plan.values()))

    def _ask(self, source: Reflected) -> None:
        try:
            self._newest[source.key] = self._fetch(source)
        except ReflectionError as error:
            self._faults[source.key] = str(error)
        else:
            self._faults.pop(source.key, None)
            if not self._is_newer(source.key):
                self._refused.pop(source.key, None)


def _state_folder(document: Document) -> Path:
    written = document.gateway.value.control.state
    return _STATE if written is None else document.gateway.resolve(written, "control", "state")
