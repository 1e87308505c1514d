"""The octets of a query as keys and texts, and the list of everything that is wrong with one."""

import re
from urllib.parse import unquote_to_bytes

from bff.core.errors import ClientError, Violation
from bff.transcoding.scalars import Unfit
from bff.transcoding.switches import STRICT, Switches

__all__ = ["Faults", "decode_text", "split_query"]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


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


def split_query(
    query: bytes, limit: int, faults: Faults, switches: Switches = STRICT
) -> list[tuple[str, str]]:
    """Decoded keys and texts in order: split at `&`, then at the first `=`; `+` is a space.

    Raises ClientError TOO_MANY_PARAMETERS above `limit`. What cannot be decoded goes to `faults`.
    """
    is_strict = switches.query_flag == "empty" and switches.query_plus == "space"
    if is_strict and b"%" not in query and b"+" not in query and query.isascii():
        pairs = _split_plain(query.decode("ascii"), faults)
    else:
        pairs = _split_encoded(query, faults, switches)
    if len(pairs) > limit:
        raise ClientError("TOO_MANY_PARAMETERS", metadata={"limit": str(limit)})
    if switches.nul == "reject":
        for name, value in pairs:
            if "\0" in name or "\0" in value:
                faults.add("INVALID_PARAMETER", name.replace("\0", "?"), "holds U+0000")
    return pairs


def _split_plain(query: str, faults: Faults) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for part in query.split("&"):
        key, _, text = part.partition("=")
        if key:
            pairs.append((key, text))
        elif part:
            faults.add("INVALID_PARAMETER", "", "has no name")
    return pairs


def _split_encoded(query: bytes, faults: Faults, switches: Switches) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    if switches.query_plus == "literal":
        query = query.replace(b"+", b"%2B")
    for part in query.split(b"&"):
        key, equals, text = part.partition(b"=")
        if not part or (not equals and switches.query_flag == "skip"):
            continue
        try:
            pair = (decode_text(key), decode_text(text))
        except Unfit as error:
            faults.add("INVALID_PARAMETER", key.decode("ascii", "replace"), str(error))
            continue
        if key:
            pairs.append(pair)
        else:
            faults.add("INVALID_PARAMETER", "", "has no name")
    return pairs


def decode_text(octets: bytes) -> str:
    """One key or value: `+` is a space, then escapes. Raises Unfit."""
    if _BAD_ESCAPE.search(octets):
        raise Unfit("has a bad percent-encoding")
    try:
        return unquote_to_bytes(octets.replace(b"+", b" ")).decode()
    except UnicodeDecodeError as error:
        raise Unfit("is not UTF-8") from error
