"""The codings in which a request body may come (RFC 9110 8.4.1), each inflated step by step.

gzip (RFC 1952), Brotli (RFC 7932) and Zstandard (RFC 8878 in the bounds of RFC 9659). Pure: octets in,
octets out; whoever reads the body counts them.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import brotli
import zstandard

__all__ = ["CODINGS", "BrokenCodingError", "Inflater"]

_STEP_BYTES: Final = 64 * 1024
# Each member copies what stands behind it, so thousands of tiny ones would cost the square of their number.
_MOST_MEMBERS: Final = 64
# What a decoder has to offer and an encoder may ask for (RFC 9659 3); frames that want more are refused.
_WINDOW_BYTES: Final = 8 * 1024 * 1024
# Inflating has no bound of its own in this library: a block of 4 octets may say 128 KiB, so a slice
# says 2 MiB at most. Smaller slices cost more calls (half a microsecond each).
_ZSTD_SLICE_BYTES: Final = 64


class BrokenCodingError(Exception):
    """These octets are not what the coding allows; the text says why."""


class Inflater(Protocol):
    """Takes a coded body apart as it comes."""

    @property
    def is_whole(self) -> bool:
        """Whether a body may end here."""
        ...

    def take(self, octets: bytes) -> Iterator[bytes]:
        """What these octets hold, in parts of 64 KiB at most, each made when it is asked for.

        Raises BrokenCodingError for what the coding does not allow.
        """
        ...


class _Gzip:
    """One member after the other (RFC 1952 2.2)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._members = 1

    @property
    def is_whole(self) -> bool:
        return self._member.eof

    def take(self, octets: bytes) -> Iterator[bytes]:
        plain = b""
        # A full step may have left more inside than what is still to be read.
        while octets or len(plain) == _STEP_BYTES:
            member = self._member
            if member.eof:
                if not octets:
                    return
                self._members = _counted(self._members)
                member = self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                plain = member.decompress(octets, _STEP_BYTES)
            except zlib.error as error:
                raise BrokenCodingError(str(error)) from error
            octets = member.unused_data if member.eof else member.unconsumed_tail
            if plain:
                yield plain


class _Brotli:
    """One stream; nothing may stand behind it (RFC 7932 9.2)."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    @property
    def is_whole(self) -> bool:
        return bool(self._stream.is_finished())

    def take(self, octets: bytes) -> Iterator[bytes]:
        # Asked again until it says nothing: it keeps what it had no room for.
        while plain := self._inflate(octets):
            octets = b""
            yield from _split(plain)

    def _inflate(self, octets: bytes) -> bytes:
        try:
            # Goes over the limit by half of it.
            plain: bytes = self._stream.process(octets, output_buffer_limit=_STEP_BYTES)
        except brotli.error as error:
            raise BrokenCodingError(str(error)) from error
        return plain


class _Zstd:
    """One frame after the other, skippable ones among them (RFC 8878 3.1)."""

    def __init__(self) -> None:
        self._frames = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._count = 0

    @property
    def is_whole(self) -> bool:
        return self._frame is None

    def take(self, octets: bytes) -> Iterator[bytes]:
        for start in range(0, len(octets), _ZSTD_SLICE_BYTES):
            left = octets[start : start + _ZSTD_SLICE_BYTES]
            while left:
                frame = self._frame
                if frame is None:
                    self._count = _counted(self._count)
                    frame = self._frame = self._frames.decompressobj(write_size=_STEP_BYTES)
                try:
                    plain = frame.decompress(left)
                except zstandard.ZstdError as error:
                    raise BrokenCodingError(str(error)) from error
                left = b""
                if frame.eof:
                    left, self._frame = frame.unused_data, None
                yield from _split(plain)


def _counted(members: int) -> int:
    if members == _MOST_MEMBERS:
        raise BrokenCodingError("too many members")
    return members + 1


def _split(plain: bytes) -> Iterator[bytes]:
    for start in range(0, len(plain), _STEP_BYTES):
        yield plain[start : start + _STEP_BYTES]


# By the name in Content-Encoding; x-gzip is gzip (RFC 9110 8.4.1.3).
CODINGS: Final[dict[bytes, Callable[[], Inflater]]] = {
    b"gzip": _Gzip,
    b"x-gzip": _Gzip,
    b"br": _Brotli,
    b"zstd": _Zstd,
}
