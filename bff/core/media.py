"""Accept fields (RFC 9110 12.5.1): how much a client wants a media type."""

import re
from collections.abc import Callable, Iterator

from bff.core.headers import Headers

__all__ = ["accept_of", "accepts", "media_ranges"]

_MAX_RANGES = 64
# RFC 9110 12.4.2 has three decimals at most and a digit before the point; more and none are meant well.
_QUALITY = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+").fullmatch
# Parts between commas or semicolons, none of which counts within quotes (RFC 9110 5.6.4).
_QUOTED = r'"(?:[^"\\]|\\.)*"?'
_BY_COMMA = re.compile(rf'(?:[^,"]|{_QUOTED})+').findall
_BY_SEMICOLON = re.compile(rf'(?:[^;"]|{_QUOTED})+').findall


def accept_of(headers: Headers) -> bytes | None:
    """The Accept field, of all its lines (RFC 9110 5.3); None where there is none."""
    lines = headers.all(b"accept")
    return b", ".join(lines) if lines else None


def accepts(accept: bytes, media_type: str, *, by_name: bool = False) -> float:
    """The q-value (0..1) that the field gives to a type; 0 is not acceptable.

    The most specific range decides: the type itself, `type/*`, `*/*`. A range with parameters, which
    nobody here looks at, comes behind the same without. With `by_name` wildcards do not count.
    """
    kind = media_type.partition("/")[0]
    wanted = {media_type: 5, f"{kind}/*": 3, "*/*": 1}
    if by_name:
        wanted = {media_type: 5}
    best, quality = 0, 0.0
    for name, is_bare, weight in media_ranges(accept):
        rank = wanted.get(name, 0)
        if rank and is_bare:
            rank += 1
        if rank > best:
            best, quality = rank, weight
    return quality


def media_ranges(accept: bytes) -> Iterator[tuple[str, bool, float]]:
    """Each range in lower case, whether it is without parameters, and its q-value; the first 64 of them."""
    text = accept.decode("latin-1").lower()
    is_quoted = '"' in text
    for part in _parts(text, ",", _BY_COMMA, is_quoted=is_quoted)[:_MAX_RANGES]:
        name, *parameters = _parts(part, ";", _BY_SEMICOLON, is_quoted=is_quoted) or [""]
        is_bare, weight = True, 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip(" \t") == "q":
                # What follows the weight are extensions, no parameters of the type.
                weight = _weight(value.strip(" \t"))
                break
            is_bare = is_bare and not key.strip(" \t")
        yield name.strip(" \t"), is_bare, weight


def _parts(text: str, mark: str, find: Callable[[str], list[str]], *, is_quoted: bool) -> list[str]:
    return find(text) if is_quoted else text.split(mark)


def _weight(text: str) -> float:
    return min(1.0, float(text)) if _QUALITY(text) else 0.0
