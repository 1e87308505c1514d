"""Cutting variables out of a split path, and decoding them once: all but `%2F` in longer values.

Prepared per route when the trie is filled; a request only calls what was prepared.
"""

from collections.abc import Callable
from operator import itemgetter
from urllib.parse import unquote_to_bytes

from bff.core.errors import ClientError

__all__ = ["Capture", "Span", "prepare_capture", "prepare_raw_capture"]

# First item of the split path, the one after the last (None: all that is left), several segments?
Span = tuple[int, int | None, bool]
Capture = Callable[[list[str]], tuple[str, ...]]


def prepare_raw_capture(spans: tuple[Span, ...]) -> Capture | None:
    """For paths without escapes and verbs: cut, do not decode. The door has refused dot segments."""
    if not spans:
        return None
    if len(spans) > 1 and not any(multi for _, _, multi in spans):
        return itemgetter(*(start for start, _, _ in spans))

    def cut(segments: list[str]) -> tuple[str, ...]:
        return tuple(["/".join(segments[start:stop]) for start, stop, _ in spans])

    return cut


def prepare_capture(spans: tuple[Span, ...]) -> Capture:
    def cut(segments: list[str]) -> tuple[str, ...]:
        return tuple([_decode_value(segments[start:stop], multi) for start, stop, multi in spans])

    return cut


def _decode_value(segments: list[str], multi: bool) -> str:
    """A variable's text, decoded once; a value of several segments keeps encoded slashes as sent.

    Raises ClientError BAD_PATH. Dot segments are judged here too, since an encoded slash or a verb
    may have hidden one from the door ("..:cancel").
    """
    text = "/".join(segments)
    if "%" in text:
        text = _decode_but_slash(text) if multi else _decode_octets(text)
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


def _holds_dot_segment(text: str) -> bool:
    parts = text.replace("%2F", "/").replace("%2f", "/").split("/")
    return any(part.partition(";")[0] in {".", ".."} for part in parts)
