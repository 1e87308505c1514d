"""Which measurements a command line asks for, in the order in which they are taken."""

from collections.abc import Sequence

from msgspec import Struct

from benchmarks.contenders import CONTENDERS, Entry
from benchmarks.messages import ASKED

__all__ = ["PARTS", "Case", "OpenCase", "Settings", "cases_of", "entries_of", "open_cases_of"]

# What one command measures: CPU a request; the same at other numbers of connections; latency at
# fixed rates; our HTTP/2 client beside grpcio; the first answer of a gateway that starts.
PARTS = ("cpu", "connections", "open", "lane", "startup")
_VARIED = "medium"


class Settings(Struct, frozen=True, kw_only=True):
    """What to measure. `only` holds pieces of `contender/mode/size`; what is empty means all."""

    runs: int
    requests: int
    connections: int
    generator: str
    only: tuple[str, ...] = ()
    modes: frozenset[str] = frozenset()
    sizes: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset(PARTS)
    command: str = ""


class Case(Struct, frozen=True, kw_only=True):
    """One contender under closed load."""

    entry: Entry
    size: str
    connections: int
    is_varied: bool = False

    @property
    def name(self) -> str:
        """As `--only` matches and the progress shows it."""
        name = f"{self.entry.name}/{self.entry.mode}/{self.size}"
        return f"{name}@{self.connections}" if self.is_varied else name


class OpenCase(Struct, frozen=True, kw_only=True):
    """Requests that come at a fixed rate; no entry asks the upstream itself."""

    entry: Entry | None
    rate: int

    @property
    def name(self) -> str:
        """As the progress shows it."""
        whose = f"{self.entry.name}/{self.entry.mode}" if self.entry else "upstream"
        return f"{whose} at {self.rate}/s"


def cases_of(settings: Settings, entries: Sequence[Entry] = CONTENDERS) -> list[Case]:
    """Contenders take turns within what is compared: a size, a number of connections."""
    found = []
    if "cpu" in settings.parts:
        found += [
            Case(entry=entry, size=size, connections=settings.connections)
            for size in ASKED
            for entry in entries
            if size in entry.sizes and _is_wanted(settings, entry, size)
        ]
    if "connections" in settings.parts:
        numbers = sorted({number for entry in entries for number in entry.connections})
        found += [
            Case(entry=entry, size=_VARIED, connections=number, is_varied=True)
            for number in numbers
            for entry in entries
            if number in entry.connections and _is_wanted(settings, entry, _VARIED)
        ]
    return found


def open_cases_of(settings: Settings, entries: Sequence[Entry] = CONTENDERS) -> list[OpenCase]:
    """At each rate first the upstream alone, then whoever stands before it."""
    if "open" not in settings.parts:
        return []
    found = []
    for rate in sorted({rate for entry in entries for rate in entry.rates}):
        wanted = [
            OpenCase(entry=entry, rate=rate)
            for entry in entries
            if rate in entry.rates and _is_wanted(settings, entry, _VARIED)
        ]
        if wanted:
            found += [OpenCase(entry=None, rate=rate), *wanted]
    return found


def entries_of(settings: Settings, entries: Sequence[Entry] = CONTENDERS) -> list[Entry]:
    """The contenders that must run for all this, partners of a pair included."""
    needed = {(case.entry.name, case.entry.mode) for case in cases_of(settings, entries)}
    needed |= {
        (case.entry.name, case.entry.mode)
        for case in open_cases_of(settings, entries)
        if case.entry is not None
    }
    pairs = {
        (entry.name, entry.pair)
        for entry in entries
        if entry.pair is not None and (entry.name, entry.mode) in needed
    }
    return [entry for entry in entries if (entry.name, entry.mode) in needed | pairs]


def _is_wanted(settings: Settings, entry: Entry, size: str) -> bool:
    if settings.modes and entry.mode not in settings.modes:
        return False
    if settings.sizes and size not in settings.sizes:
        return False
    name = f"{entry.name}/{entry.mode}/{size}"
    return not settings.only or any(piece in name for piece in settings.only)
