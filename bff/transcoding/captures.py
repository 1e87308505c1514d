"""Cutting variables out of a split path, and decoding them once: of longer values, what the route says.

Prepared per route when the trie is filled; a request only calls what was prepared.
"""

import re
from collections.abc import Callable
from operator import itemgetter
from typing import Literal
from urllib.parse import unquote_to_bytes

from bff.core.errors import ClientError

__all__ = ["Capture", "Cuts", "PathDecoding", "Span", "prepare_capture", "prepare_raw_capture"]

# What is decoded in values of several segments; a value of one segment is decoded as a whole.
PathDecoding = Literal["except_slash", "except_reserved", "all"]
# First item of the split path, the one after the last (None: all that is left; below zero: counted
# from the end), several segments?
Span = tuple[int, int | None, bool]
Capture = Callable[[list[str]], tuple[str, ...]]

# RFC 6570 1.5, reserved: `:/?#[]@!$&'()*+,;=`. No UTF-8 sequence holds one of these octets.
_RESERVED_ESCAPE = re.compile(
    "(%(?:3A|2F|3F|23|5B|5D|40|21|24|26|27|28|29|2A|2B|2C|3B|3D))", re.IGNORECASE
)


def prepare_raw_capture(spans: tuple[Span, ...]) -> Capture | None:
    """For paths without escapes and verbs: cut, do not decode. The door has refused dot segments."""
    if not spans:
        return None
    if len(spans) > 1 and not any(multi for _, _, multi in spans):
        return itemgetter(*(start for start, _, _ in spans))

    def cut(segments: list[str]) -> tuple[str, ...]:
        return tuple(["/".join(segments[start:stop]) for start, stop, _ in spans])

    return cut


def prepare_capture(spans: tuple[Span, ...], decoding: PathDecoding = "except_slash") -> Capture:
    """Cut a matched path's values and decode them once; `decoding` is for those of several segments."""
    decode = _DECODERS[decoding]

    def cut(segments: list[str]) -> tuple[str, ...]:
        return tuple(
            [
                _decode_value(segments[start:stop], decode if multi else _decode_octets)
                for start, stop, multi in spans
            ]
        )

    return cut


def _decode_value(segments: list[str], decode: Callable[[str], str]) -> str:
    """A variable's text, decoded once.

    Raises ClientError BAD_PATH. Dot segments are judged here too, since an encoded slash or a verb
    may have hidden one from the door ("..:cancel").
    """
    text = "/".join(segments)
    if "%" in text:
        text = decode(text)
    if "." in text and _holds_dot_segment(text):
        raise ClientError("BAD_PATH", detail="dot segment in a path value")
    return text


def _decode_octets(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise ClientError("BAD_PATH", detail="a path value is not UTF-8") from error


def _decode_but_slash(text: str) -> str:
    # No UTF-8 sequence holds 0x2F, so the parts between encoded slashes decode by themselves.
    upper = [_decode_small(part) for part in text.split("%2F")]
    return "%2F".join(upper)


def _decode_small(text: str) -> str:
    return "%2f".join([_decode_octets(part) for part in text.split("%2f")])


def _decode_but_reserved(text: str) -> str:
    # The parts at odd places are the escapes themselves.
    parts = _RESERVED_ESCAPE.split(text)
    return "".join(
        [part if index % 2 else _decode_octets(part) for index, part in enumerate(parts)]
    )


class Cuts:
    """What cuts and decodes the values of paths: one pair of functions for all routes of one shape."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[tuple[tuple[Span, ...], PathDecoding], tuple[Capture | None, Capture]] = {}

    def of(self, spans: tuple[Span, ...], decoding: PathDecoding) -> tuple[Capture | None, Capture]:
        """The function for paths without escapes and verbs, as `prepare_raw_capture`, and the one for all."""
        made = self._made.get((spans, decoding))
        if made is None:
            made = prepare_raw_capture(spans), prepare_capture(spans, decoding)
            self._made[spans, decoding] = made
        return made


_DECODERS: dict[PathDecoding, Callable[[str], str]] = {
    "except_slash": _decode_but_slash,
    "except_reserved": _decode_but_reserved,
    "all": _decode_octets,
}


def _holds_dot_segment(text: str) -> bool:
    parts = text.replace("%2F", "/").replace("%2f", "/").split("/")
    return any(part.partition(";")[0] in {".", ".."} for part in parts)
