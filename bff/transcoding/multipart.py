"""multipart/form-data (RFC 7578) as parts with names; bounded in number and in header octets."""

import re
from typing import Any

from msgspec import Struct
from python_multipart.exceptions import ParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from bff.core.errors import ClientError

__all__ = ["Part", "PartReader", "media_type", "read_parts"]

_MAX_PARTS = 64
_MAX_HEADER_BYTES = 8 * 1024
_MAX_HEADERS = 16
# RFC 2046 5.1.1.
_MAX_BOUNDARY_BYTES = 70


class Part(Struct):
    """One part; it `is_file` if it came with a filename, of which folders are dropped (RFC 7578 4.2)."""

    name: str
    content: bytes
    content_type: bytes = b""
    is_file: bool = False
    filename: bytes = b""


def media_type(content_type: bytes | None) -> bytes:
    """The media type without parameters, in lower case; empty for none."""
    return (content_type or b"").partition(b";")[0].strip().lower()


def read_parts(body: bytes, content_type: bytes) -> list[Part]:
    """All parts in order. Raises ClientError INVALID_PARAMETER, TOO_MANY_PARAMETERS."""
    reader = PartReader(content_type)
    parts: list[Part] = []
    for each in reader.feed(body):
        if isinstance(each, Part):
            parts.append(each)
        else:
            parts[-1].content = each
    reader.finish()
    return parts


class PartReader:
    """Reads a body as it comes, and holds no content. Raises as `read_parts`."""

    def __init__(self, content_type: bytes) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= _MAX_BOUNDARY_BYTES:
            raise _refusal("The multipart body has no boundary.")
        self._reading = _Reading()
        self._has_begun = False
        self._parser = MultipartParser(
            boundary,
            self._reading.callbacks(),  # type: ignore[arg-type]  # a TypedDict of the same functions
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER_BYTES,
        )

    def feed(self, octets: bytes) -> list[Part | bytes]:
        """What begins or goes on in these: a part, still empty, then its content until the next one."""
        if not self._has_begun:
            # The parser drops what stands behind a leading line break, but only within one read.
            octets = octets.lstrip(b"\r\n")
            self._has_begun = bool(octets)
        try:
            self._parser.write(octets)
        except ParseError as error:
            raise _refusal("The multipart body does not parse.") from error
        return self._reading.take()

    def finish(self) -> None:
        """The body is over; its last boundary has been there."""
        if not self._reading.ended:
            raise _refusal("The multipart body has no end.")


class _Reading:
    """Takes the parser's callbacks together to parts and their content."""

    def __init__(self) -> None:
        self.ended = False
        self._news: list[Part | bytes] = []
        self._count = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._field = b""
        self._value = b""
        self._content: list[bytes] = []

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_end,
            "on_end": self._finish,
        }

    def take(self) -> list[Part | bytes]:
        self._on_end()
        news, self._news = self._news, []
        return news

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise ClientError("TOO_MANY_PARAMETERS", metadata={"limit": str(_MAX_PARTS)})
        self._headers, self._header_bytes = {}, 0

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]
        self._weigh(end - start)

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._weigh(end - start)

    def _weigh(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise _refusal("A part of the multipart body has too large headers.")

    def _on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _on_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"")
        if kind != b"form-data" or not name:
            raise _refusal("A part of the multipart body has no name.")
        try:
            text = name.decode()
        except UnicodeDecodeError as error:
            raise _refusal("A name in the multipart body is not UTF-8.") from error
        self._news.append(
            Part(
                text,
                b"",
                self._headers.get(b"content-type", b""),
                b"filename" in options,
                re.split(rb"[/\\]", options.get(b"filename", b""))[-1],
            )
        )

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])

    def _on_end(self) -> None:
        # The parser gives content in many bits where it is full of line breaks.
        if self._content:
            self._news.append(b"".join(self._content))
            self._content = []

    def _finish(self) -> None:
        self.ended = True


def _refusal(text: str) -> ClientError:
    return ClientError("INVALID_PARAMETER", text)
