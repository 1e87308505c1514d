"""What is wrong with a configuration, and where: file, line, column, the fix. Collected, never thrown one by one."""

from collections.abc import Iterable
from difflib import get_close_matches

from msgspec import Struct

__all__ = ["Problem", "Where", "did_you_mean", "nearest", "printable"]


class Where(Struct, frozen=True):
    """A place in a file; line and column count from 1. Line 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """As editors and terminals link it: file:line:column."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Problem(Struct, frozen=True):
    """One finding. `code` is stable (`BFF-C014`), `path` the value's place (`routes[2].rpc`), `hint` the fix."""

    where: Where
    message: str
    hint: str = ""
    path: str = ""
    code: str = ""
    severity: str = "error"
    line_text: str = ""

    def __str__(self) -> str:
        """The finding on one line."""
        path = f"{self.path}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return printable(f"{self.where}: {path}{self.message}{hint}")


def printable(text: str) -> str:
    """The text with control characters as escapes: no file that is judged may write to a terminal."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like this one, or an empty string if none is close enough to suggest."""
    by_fold = {candidate.replace("_", "").lower(): candidate for candidate in known}
    found = get_close_matches(name.replace("_", "").lower(), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint for a name that is not known; an empty string if none is close enough to suggest."""
    found = nearest(name, known)
    return f"did you mean '{found}'?" if found else ""
