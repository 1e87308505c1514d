"""Where `:path` ends in a header block that needs no dynamic table (RFC 7541 6), and its value."""

import hpack

__all__ = ["end_of_path", "path_of"]

# Names of the static table that hold `:path`: entries 4 and 5.
_PATH_NAMES = (4, 5)
_STATIC_MAX = 61


def end_of_path(block: bytes) -> int:
    """Offset behind the field `:path`.

    Raises ValueError if there is none, it is cut, or a dynamic entry is used.
    """
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            index, at = _integer(block, at, 7)
            if index > _STATIC_MAX:
                raise ValueError("a dynamic entry though the table is empty")
            if index in _PATH_NAMES:
                return at
            continue
        if first & 0xE0 == 0x20:
            _, at = _integer(block, at, 5)
            continue
        index, at = _integer(block, at, 6 if first & 0x40 else 4)
        is_path = index in _PATH_NAMES
        if index == 0:
            start = at
            at = _behind_text(block, at)
            is_path = block[start:at] == b"\x05:path"
        at = _behind_text(block, at)
        if is_path and at <= len(block):
            return at
    raise ValueError("a request without :path")


def path_of(prefix: bytes) -> bytes:
    """The value of `:path` in the octets up to its end. Raises hpack.HPACKError if they are none."""
    fields = hpack.Decoder().decode(prefix, raw=True)
    return bytes(next((value for name, value in fields if name == b":path"), b""))


def _behind_text(block: bytes, at: int) -> int:
    size, at = _integer(block, at, 7)
    return at + size


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """The integer with this prefix (RFC 7541 5.1) and the offset behind it. Raises IndexError if cut."""
    mask = (1 << bits) - 1
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while True:
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        shift += 7
        if not octet & 0x80:
            return value, at
