"""Octets of a fuzzer as choices: each takes one or two, and when there are none left it is the first."""

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Choices"]

T = TypeVar("T")


class Choices:
    """Reads choices from the front."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def has_more(self) -> bool:
        """True while a choice would read something."""
        return self._at < len(self._raw)

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1, which is at most 256."""
        found = self._raw[self._at] % bound if self.has_more else 0
        self._at += 1
        return found

    def one_of(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def octets(self, most: int) -> bytes:
        """At most so many octets, as they come."""
        size = self.below(most + 1)
        found = self._raw[self._at : self._at + size]
        self._at += size
        return found

    def rest(self) -> bytes:
        """All that is left."""
        found, self._at = self._raw[self._at :], len(self._raw)
        return found
