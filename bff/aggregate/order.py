"""Which sources wait for which: circles, and how deep they wait. Pure."""

from collections.abc import Iterable, Mapping

__all__ = ["depth_of", "find_circle"]


def find_circle(waits_for: Mapping[str, Iterable[str]]) -> list[str]:
    """A circle of names, its first one repeated at the end; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for below in sorted(waits_for.get(name, ())):
            found = walk(below, [*trail, name])
            if found:
                return found
        done.add(name)
        return []

    return next((found for name in waits_for if (found := walk(name, []))), [])


def depth_of(name: str, waits_for: Mapping[str, Iterable[str]]) -> int:
    """How many calls follow each other until this one is done; there must be no circle."""
    return 1 + max((depth_of(below, waits_for) for below in waits_for[name]), default=0)
