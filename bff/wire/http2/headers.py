"""Header blocks (RFC 7541): ours are encoded without a table, the peer's decoded once per distinct block.

We announce SETTINGS_HEADER_TABLE_SIZE 0, so no block of the peer depends on another and bytes alone
name their fields. hpack decodes; nothing here encodes with a dynamic table or Huffman codes.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import hpack
from hpack.exceptions import HPACKError, OversizedHeaderListError
from msgspec import Struct

from bff.core.errors import GatewayBug
from bff.wire.http2.frames import ConnectionFault, ErrorCode

__all__ = [
    "ABSENT",
    "BLOCK_MAX_BYTES",
    "BROKEN",
    "FIELD_EXTRA_BYTES",
    "FIRST_BLOCK",
    "LIST_MAX_BYTES",
    "Block",
    "BlockDecoder",
    "BlockMemo",
    "MemoDecoder",
    "RequestBlock",
    "RequestBlocks",
    "TableDecoder",
    "measured",
]

# Bounds of a decoded list of the peer's; name + value + 32 each (RFC 9113 6.5.2).
LIST_MAX_BYTES = 32 * 1024
# Encoded, over all its frames.
BLOCK_MAX_BYTES = 64 * 1024
_FIELDS_MAX = 100
_FIELD_OVERHEAD_BYTES = 32
# Above it the rest of a block that needs the table is not decoded, and the connection ends.
_TABLE_LIST_MAX_BYTES = 256 * 1024
# The table-size update to 0 (RFC 7541 6.3) that a connection's first block begins with.
FIRST_BLOCK = b"\x20"

# `Block.grpc_code` where there is none, or one that is no status.
ABSENT, BROKEN = -1, -2

_MEMO_BLOCK_MAX_BYTES = 1024
_MEMO_GENERATION = 2_048

# Entries of the static table (RFC 7541 appendix A) whose names requests use.
_STATIC_NAMES = {
    ":path": 4, ":authority": 1, "accept-language": 17, "authorization": 23, "content-type": 31,
    "user-agent": 58, "via": 60,
}  # fmt: skip
# A table of a peer or proxy must never hold these values (RFC 7541 7.1.3).
_NEVER_INDEXED = frozenset({"authorization", "cookie", "proxy-authorization"})
# Each costs 8 KiB: its encoded beginning for every length of a value.
_NAMES_MAX = 256
_TIMEOUTS_MAX = 4_096
# Values below it have a length of one octet (RFC 7541 5.1, 5.2).
_SHORT_CHARS = 127
_PATHS_MAX = 4_096
# name, value (8 digits and a unit at most) and 32, as a list is measured.
_TIMEOUT_LIST_BYTES = 12 + 9 + 32
# What a field's size in a list is above its encoded octets, at most: a name of the static table
# (15 characters) shrinks to one octet, and 32 are added.
FIELD_EXTRA_BYTES = 45
_NAME = re.compile(r"[0-9a-z_.-]+")
_WIRE_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_GRPC_TYPE = re.compile(rb"application/grpc(?:[+;\s]|$)", re.IGNORECASE)
_BAD_VALUE = re.compile(rb"[\x00\r\n]")
_CONNECTION_FIELDS = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te"}
)


# Requests


class RequestBlock(Struct, frozen=True):
    """The fields that all requests of one operation share: encoded, and their size as a list.

    The size covers `grpc-timeout`, which each request adds.
    """

    encoded: bytes
    list_bytes: int


class RequestBlocks:
    """Encodes request headers; what an operation's requests share is encoded once."""

    def __init__(self, *, scheme: str, authority: str, user_agent: str, accept: str) -> None:
        self._scheme = scheme
        self._authority = authority
        self._rest = (
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", user_agent),
            ("grpc-accept-encoding", accept),
        )
        # Public to be looked into without a call: operation -> block, milliseconds -> field.
        self.known: dict[str, RequestBlock] = {}
        self.timeouts: dict[int, bytes] = {}
        self._names: dict[str, tuple[str, ...]] = {}

    def of(self, path: str) -> RequestBlock:
        """The shared block of this operation; paths come from configuration, their number is bounded."""
        found = self.known.get(path)
        if found is not None:
            return found
        if len(self.known) >= _PATHS_MAX:
            self.known.clear()
        fields = ((":path", path), (":authority", self._authority), *self._rest)
        whole = ((":method", "POST"), (":scheme", self._scheme), *fields)
        size = sum(len(name) + len(value) + _FIELD_OVERHEAD_BYTES for name, value in whole)
        size += _TIMEOUT_LIST_BYTES
        # `:method: POST` and `:scheme` are whole entries of the static table.
        start = b"\x83\x87" if self._scheme == "https" else b"\x83\x86"
        literals = (_encoded_name(name) + _string(value.encode()) for name, value in fields)
        block = self.known[path] = RequestBlock(start + b"".join(literals), size)
        return block

    def timeout(self, milliseconds: int) -> bytes:
        """`grpc-timeout` (>= 1): at most 8 digits, else in seconds. Few differ: deadlines are configured."""
        if milliseconds < 100_000_000:
            text = b"%dm" % milliseconds
        else:
            text = b"%dS" % min(milliseconds // 1000, 99_999_999)
        if len(self.timeouts) >= _TIMEOUTS_MAX:
            self.timeouts.clear()
        field = self.timeouts[milliseconds] = _encoded_name("grpc-timeout") + _string(text)
        return field

    def of_metadata(self, metadata: Sequence[tuple[str, Any]]) -> bytes:
        """Literals without indexing. Raises GatewayBug for names or values that are no metadata.

        Text is put together as text, with one judgement of all values at once: 1.5 us for six
        fields where each by itself costs 2.4.
        """
        names = self._names
        parts: list[str] = []
        add = parts.append
        try:
            for name, value in metadata:
                add(names[name][len(value)])
                add(value)
            text = "".join(parts)
        except (KeyError, IndexError, TypeError):
            return self._of_each(metadata)
        # A field value must not begin or end with a space (RFC 9113 8.2.1).
        values = f"|{'|'.join(parts[1::2])}|"
        if values.isascii() and values.isprintable() and "| " not in values and " |" not in values:
            return text.encode("latin-1")
        return self._of_each(metadata)

    def _of_each(self, metadata: Sequence[tuple[str, str | bytes]]) -> bytes:
        """As `of_metadata`, field by field: new names, long values, octets."""
        parts = []
        for name, value in metadata:
            if name not in self._names:
                self._learn_name(name)
            if type(value) is str and value.isascii() and value.isprintable():
                raw = value.strip().encode()
            else:
                raw = _binary(name, value)
            parts.append(_encoded_name(name) + _string(raw))
        return b"".join(parts)

    def _learn_name(self, name: str) -> None:
        if _NAME.fullmatch(name) is None:
            raise GatewayBug(f"{name!r} is no name of metadata")
        if len(self._names) >= _NAMES_MAX:
            self._names.clear()
        start = _encoded_name(name).decode("latin-1")
        self._names[name] = tuple(start + chr(size) for size in range(_SHORT_CHARS))


def measured(block: bytes) -> int:
    """The size as a list (RFC 9113 6.5.2) of a block of ours: it needs no table but the static one."""
    pairs = _decoded(_decoder(table_bytes=0, list_max_bytes=2**31), block)
    return sum(len(name) + len(value) + _FIELD_OVERHEAD_BYTES for name, value in pairs)


def _binary(name: str, value: str | bytes) -> bytes:
    """The value of a `-bin` entry, unpadded (gRPC over HTTP/2)."""
    if isinstance(value, bytes) and name.endswith("-bin"):
        return b64encode(value).rstrip(b"=")
    raise GatewayBug(f"the value of {name!r} is no metadata")


def _encoded_name(name: str) -> bytes:
    """The beginning of a literal that is not indexed (RFC 7541 6.2.2, 6.2.3)."""
    pattern = 0x10 if name in _NEVER_INDEXED else 0x00
    index = _STATIC_NAMES.get(name, 0)
    return _integer(index, 4, pattern) + (b"" if index else _string(name.encode()))


def _string(raw: bytes) -> bytes:
    return _integer(len(raw), 7, 0) + raw


def _integer(value: int, prefix_bits: int, pattern: int) -> bytes:
    """RFC 7541 5.1."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes((pattern | value,))
    out = bytearray((pattern | most,))
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


# Replies


class Block(Struct, frozen=True, kw_only=True):
    """A decoded block and what a reply needs of it, worked out once.

    `status` is `:status`, or 0. `grpc_code` is ABSENT, BROKEN or a number that may be above 16.
    `content_length` is -1 without one, -2 if it is no number. `flaw` says why it is malformed
    (RFC 9113 8.1.1) wherever it stands; a list over our bounds keeps no pairs.
    `is_plain_start` and `is_plain_end`: what a reply with OK and nothing unusual begins and ends with.
    """

    pairs: tuple[tuple[bytes, bytes], ...] = ()
    flaw: str = ""
    is_too_large: bool = False
    has_pseudo: bool = False
    status: int = 0
    is_grpc: bool = False
    grpc_code: int = ABSENT
    encoding: bytes = b""
    content_length: int = -1
    is_plain_start: bool = False
    is_plain_end: bool = False


class BlockDecoder(Protocol):
    """Decodes one connection's blocks, in order.

    `memo` holds blocks that mean the same wherever they stand; None while blocks depend on others.
    """

    memo: "BlockMemo | None"

    def decode(self, raw: bytes) -> Block:
        """The block's fields. Raises ConnectionFault; of a block over its bound only a part need be given."""
        ...


class BlockMemo:
    """Blocks that have been seen, for all connections of a worker: kept on second sight, in two generations."""

    def __init__(self) -> None:
        # None stands for a block that was seen once.
        self.fresh: dict[bytes, Block | None] = {}
        self._aged: dict[bytes, Block | None] = {}
        self._decoder = _decoder(table_bytes=0, list_max_bytes=LIST_MAX_BYTES)

    def __len__(self) -> int:
        """Entries held, those seen once included; at most 4,096."""
        return len(self.fresh) + len(self._aged)

    def learn(self, raw: bytes) -> Block:
        """Decode a block that `fresh` does not have."""
        if len(raw) > BLOCK_MAX_BYTES:
            return Block(is_too_large=True)
        if len(raw) > _MEMO_BLOCK_MAX_BYTES:
            return self._decode(raw)
        if len(self.fresh) >= _MEMO_GENERATION:
            self._aged, self.fresh = self.fresh, {}
        known = raw in self.fresh or raw in self._aged
        block = self._aged.pop(raw, None) or self._decode(raw)
        self.fresh[raw] = block if known else None
        return block

    def _decode(self, raw: bytes) -> Block:
        try:
            return _judged(_decoded(self._decoder, raw))
        except OversizedHeaderListError:
            return Block(is_too_large=True)
        except HPACKError as error:
            raise _compression_fault(error) from error


class MemoDecoder:
    """The decoder of a connection that announced a table of size 0."""

    def __init__(self, memo: BlockMemo) -> None:
        self._memo = memo
        # Set once the first block was judged.
        self.memo: BlockMemo | None = None

    def decode(self, raw: bytes) -> Block:
        """As `BlockDecoder.decode`; the first block must take the size 0 over (RFC 7541 4.2)."""
        if self.memo is None:
            if raw[:1] == FIRST_BLOCK:
                self.memo = self._memo
            else:
                _check_untouched(raw)
        return self._memo.fresh.get(raw) or self._memo.learn(raw)


class TableDecoder:
    """The decoder of a connection with a table of 4,096 octets: each block is decoded."""

    def __init__(self) -> None:
        self.memo: BlockMemo | None = None
        self._decoder = _decoder(table_bytes=4096, list_max_bytes=_TABLE_LIST_MAX_BYTES)

    def decode(self, raw: bytes) -> Block:
        """As `BlockDecoder.decode`."""
        if len(raw) > BLOCK_MAX_BYTES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block over its bound")
        try:
            pairs = _decoded(self._decoder, raw)
        except OversizedHeaderListError as error:
            # The table is no longer the peer's.
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from error
        except HPACKError as error:
            raise _compression_fault(error) from error
        size = sum(len(name) + len(value) + _FIELD_OVERHEAD_BYTES for name, value in pairs)
        return Block(is_too_large=True) if size > LIST_MAX_BYTES else _judged(pairs)


def _check_untouched(raw: bytes) -> None:
    """Refuse a block without the update that puts something into the table.

    grpc's C core writes the end of a call that it gives up by hand, without the update, though it be
    the first block of a connection: such a block needs no table, and is taken.
    """
    decoder = _decoder(table_bytes=4096, list_max_bytes=LIST_MAX_BYTES)
    try:
        _decoded(decoder, raw)
    except HPACKError:
        # Refused, or found too large, by the decoder that has no table.
        return
    if decoder.header_table.dynamic_entries:
        raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "no update of the table's size")


def _compression_fault(error: HPACKError) -> ConnectionFault:
    # Its class says enough: its text may show a buffer as Python prints one, with an address of memory.
    return ConnectionFault(ErrorCode.COMPRESSION_ERROR, type(error).__name__)


def _decoder(*, table_bytes: int, list_max_bytes: int) -> hpack.Decoder:
    decoder = hpack.Decoder(list_max_bytes)
    decoder.header_table_size = table_bytes
    decoder.max_allowed_table_size = table_bytes
    return decoder


def _decoded(decoder: hpack.Decoder, raw: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((bytes(name), bytes(value)) for name, value in decoder.decode(raw, raw=True))


def _judged(pairs: tuple[tuple[bytes, bytes], ...]) -> Block:
    if len(pairs) > _FIELDS_MAX:
        return Block(is_too_large=True)
    statuses = [value for name, value in pairs if name == b":status"]
    flaw = _flaw(pairs, statuses)
    has_pseudo = any(name[:1] == b":" for name, _ in pairs)
    status = int(statuses[0]) if statuses and _is_status(statuses[0]) else 0
    is_grpc = _GRPC_TYPE.match(_first(pairs, b"content-type")) is not None
    grpc_code = _one(pairs, b"grpc-status", _grpc_code, ABSENT)
    content_length = _one(pairs, b"content-length", _length, -1)
    return Block(
        pairs=pairs,
        flaw=flaw,
        has_pseudo=has_pseudo,
        status=status,
        is_grpc=is_grpc,
        grpc_code=grpc_code,
        encoding=_first(pairs, b"grpc-encoding"),
        content_length=content_length,
        is_plain_start=not flaw and status == 200 and is_grpc and content_length == -1,
        is_plain_end=not flaw and not has_pseudo and grpc_code == 0,
    )


def _flaw(pairs: tuple[tuple[bytes, bytes], ...], statuses: list[bytes]) -> str:
    """Why the block is malformed (RFC 9113 8.2, 8.3), or nothing."""
    if len(statuses) > 1 or not all(_is_status(status) for status in statuses):
        return ":status is doubled or no number"
    regular = False
    for name, value in pairs:
        if name[:1] == b":":
            if regular or name != b":status":
                return "a pseudo field out of place"
            continue
        regular = True
        if _WIRE_NAME.fullmatch(name) is None or name in _CONNECTION_FIELDS:
            return "a field name that HTTP/2 forbids"
        if _BAD_VALUE.search(value) is not None:
            return "a field value that HTTP/2 forbids"
    return ""


def _is_status(value: bytes) -> bool:
    return len(value) == 3 and value.isdigit() and b"100" <= value <= b"999"


def _first(pairs: tuple[tuple[bytes, bytes], ...], wanted: bytes) -> bytes:
    return next((value for name, value in pairs if name == wanted), b"")


def _one(
    pairs: tuple[tuple[bytes, bytes], ...],
    wanted: bytes,
    read: Callable[[bytes], int],
    absent: int,
) -> int:
    """The number that all fields of this name agree on; BROKEN if they do not."""
    found = {read(value) for name, value in pairs if name == wanted}
    if not found:
        return absent
    return found.pop() if len(found) == 1 else BROKEN


def _grpc_code(value: bytes) -> int:
    if not value.isdigit():
        return BROKEN
    digits = value.lstrip(b"0")
    # More than two digits are above 16, whatever they are.
    return int(digits[:3] or b"0")


def _length(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) <= 18 else BROKEN
