"""Octets in a form of their own: content codings, header blocks, the envelopes of a WebSocket, replies as JSON."""

import json
import zlib
from collections.abc import Iterable
from typing import Any

import brotli
import hpack
import zstandard
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from bff.core.errors import ClientError, GatewayError
from bff.fronts.codings import CODINGS, BrokenCodingError
from bff.transcoding.envelopes import read_envelope
from bff.transcoding.json_codec import Codec
from bff.wire.http2.frames import ConnectionFault
from bff.wire.http2.headers import BlockMemo, MemoDecoder, RequestBlocks, TableDecoder
from tests.fuzz.choices import Choices
from tests.fuzz.texts import ORACLE
from tests.support.h2_server import GRPC, OK, block
from tests.support.proto_sets import KITCHEN, compile_set

__all__ = [
    "CODING_SEEDS", "ENVELOPE_SEEDS", "HEADER_SEEDS", "METADATA_SEEDS", "REPLY_SEEDS",
    "codings", "envelopes", "header_blocks", "metadata", "replies",
]  # fmt: skip

_PLAIN = b'{"a":"' + b"x" * 300 + b'"}'


def _gzip(plain: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(plain) + packer.flush()


CODING_SEEDS = (
    b"\x00\x05" + _gzip(_PLAIN), b"\x00\x01" + _gzip(b"") + _gzip(b"b"),
    b"\x02\x09" + brotli.compress(_PLAIN), b"\x03\x03" + zstandard.compress(_PLAIN),
    b"\x03\x01" + zstandard.compress(b"a") + b"\x50\x2a\x4d\x18\1\0\0\0x" + zstandard.compress(b""),
    b"\x03\x03(\xb5/\xfd`\0\0\0\0\0\x01\0\0",
)  # fmt: skip
HEADER_SEEDS = (
    block(*GRPC), block(*OK), b"\x20\x88\x5f\x10application/grpc", b"\x3f\xe1\x1f\x40\1a\1b\xbe", b"\x20\x88\xbe",
    block((b"grpc-message", b"%C3%A4"), (b"content-length", b"7"), *OK), b"\x20\x00\x81\x1f\x82\x9c\xff",
)  # fmt: skip
METADATA_SEEDS = (b"\0\3abc\1\4x y ", b"\2\7octets!\3\0\4\2hi", b"\1\xff" + b"v" * 255)
ENVELOPE_SEEDS = (
    b'{"message":{"text":"a\\"b"}}', b'{"end":true}', b'{"message":1,"message":2}', b'{"m\\u0065ssage":null}',
    b'{"end":true,"end":true}', b' {"message" : "\\u00e4"} ',
)  # fmt: skip
# The last has an entry of a map with a field that entries do not have.
REPLY_SEEDS = (
    b"\x08\x01\x12\x02hi",
    b"\x0a\x03\x08\x96\x01",
    bytes(range(40)),
    b"\xf2\x01\x02\x18\x01",
)

_FILES = compile_set(KITCHEN)
_KIND = "kitchen.v1.Kitchen"
_WRITE = Codec(_FILES).writer(_KIND)
_MESSAGE, _POOL = ORACLE
_MOST_BYTES = 1 << 20
_STEP_BYTES = 64 * 1024
_NAMES = ("x-a", "authorization", "x-b-bin", "accept-language", "x-request.id_2")


def codings(raw: bytes) -> None:
    """A body is what the coding's own library makes of it, however it is cut; each step of it is small."""
    if len(raw) < 2:
        return
    name = list(CODINGS)[raw[0] % len(CODINGS)]
    step, packed = raw[1] + 1, raw[2:]

    whole = _inflated(name, [packed])

    cut = _inflated(name, [packed[at : at + step] for at in range(0, len(packed), step)])
    # libzstd sees that a frame holds less than it says only where it has the frame in one piece.
    assert whole == cut or (name == b"zstd" and None in (whole, cut))
    theirs = _by_library(name, packed)
    if whole is not None and theirs is not None:
        assert whole == theirs


def _inflated(name: bytes, reads: Iterable[bytes]) -> bytes | None:
    """The body; None if it is broken, breaks off, or grows beyond what is worth looking at."""
    inflater = CODINGS[name]()
    plain = b""
    try:
        for read in reads:
            for part in inflater.take(read):
                assert 0 < len(part) <= _STEP_BYTES
                plain += part
                if len(plain) > _MOST_BYTES:
                    return None
    except BrokenCodingError:
        return None
    return plain if inflater.is_whole else None


def _by_library(name: bytes, packed: bytes) -> bytes | None:
    """The same at one go; None where it says nothing for certain."""
    try:
        if name == b"br":
            return bytes(brotli.decompress(packed))
        if name == b"zstd":
            reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            return bytes(reader.read(_MOST_BYTES))
    except (brotli.error, zstandard.ZstdError):
        return None
    plain, machine = b"", zlib.decompressobj(31)
    try:
        while packed:
            plain += machine.decompress(packed, _MOST_BYTES)
            if not machine.eof:
                return None
            packed, machine = machine.unused_data, zlib.decompressobj(31)
    except zlib.error:
        return None
    return plain


def header_blocks(raw: bytes) -> None:
    """A block is fields or a fault of the connection; with the memo it is the same each time, and for each peer."""
    memo = BlockMemo()
    first = _block(MemoDecoder(memo), raw)

    assert first == _block(MemoDecoder(memo), raw) == _block(MemoDecoder(memo), raw)
    assert len(memo) <= 1
    _block(TableDecoder(), raw)
    if isinstance(first, str) or first.is_too_large:
        return
    assert sum(len(name) + len(value) + 32 for name, value in first.pairs) <= 32 * 1024
    if not first.flaw:
        assert all(name == name.lower() for name, _ in first.pairs)
        assert not any(octet in value for _, value in first.pairs for octet in b"\0\r\n")


def _block(decoder: Any, raw: bytes) -> Any:
    try:
        return decoder.decode(raw)
    except ConnectionFault as fault:
        return fault.code.name


def metadata(raw: bytes) -> None:
    """What we send, a decoder of the peer's reads as it was meant; no name or value can end a field early."""
    choices = Choices(raw)
    pairs: list[tuple[str, Any]] = []
    while choices.has_more and len(pairs) < 20:
        name, octets = choices.one_of(_NAMES), choices.octets(255)
        printable = "".join(chr(0x20 + octet % 0x5F) for octet in octets)
        pairs.append((name, octets if name.endswith("-bin") else printable))
    blocks = RequestBlocks(scheme="http", authority="a", user_agent="b", accept="identity")

    once, again = blocks.of_metadata(pairs), blocks.of_metadata(pairs)

    read = hpack.Decoder().decode(once, raw=True)
    assert read == hpack.Decoder().decode(again, raw=True)
    assert [name.decode() for name, _ in read] == [name for name, _ in pairs]
    for (name, value), (_, found) in zip(pairs, read, strict=True):
        if isinstance(value, str):
            assert found == value.strip().encode(), name


def envelopes(raw: bytes) -> None:
    """What is taken is one member and nothing beside it, to a reader of JSON that sees every member."""
    try:
        # A text frame is UTF-8 (RFC 6455 5.6).
        raw.decode()
        message = read_envelope(raw)
    except UnicodeDecodeError:
        return
    except ClientError as error:
        assert error.reason == "INVALID_JSON"  # noqa: PT017 - most inputs raise
        return
    pairs = json.loads(raw, object_pairs_hook=lambda found: ("members", found))
    if message is None:
        assert pairs == ("members", [("end", True)])
        return
    assert isinstance(pairs, tuple)
    ((name, value),) = pairs[1]
    assert name == "message"
    assert repr(json.loads(message, object_pairs_hook=lambda found: ("members", found))) == repr(
        value
    )


def replies(raw: bytes) -> None:
    """Octets of a service are JSON that google's library reads as what they say, or a fault with a name."""
    try:
        shown = _WRITE(raw)
    except GatewayError as error:
        assert error.reason in {"UPSTREAM_MESSAGE", "UNREPRESENTABLE"}  # noqa: PT017 - most inputs raise
        return
    theirs = _MESSAGE()
    try:
        theirs.ParseFromString(raw)
        text = json_format.MessageToJson(theirs, descriptor_pool=_POOL)
    except (DecodeError, json_format.Error, ValueError, TypeError):
        # Some that it refuses protobuf-py takes, and shows soundly.
        json.loads(shown)
        return
    if _lacks_entries(theirs):
        return
    # Read back, since it writes floats shorter, and null for any number of NullValue.
    assert _read(shown) == _read(text)


def _lacks_entries(message: Any) -> bool:
    """Whether it took an entry of a map for unknown because a field of the entry is; other readers show it."""
    maps = {field.number for field in message.DESCRIPTOR.fields if _is_map(field)}
    unknown: Any = UnknownFieldSet(message)
    if any(field.field_number in maps for field in unknown):
        return True
    parts: list[Any] = []
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        if _is_map(field):
            parts += [part for part in value.values() if isinstance(part, Message)]
        else:
            parts += value if field.is_repeated else [value]
    return any(map(_lacks_entries, parts))


def _is_map(field: Any) -> bool:
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def _read(text: Any) -> bytes:
    message: Any = json_format.Parse(text, _MESSAGE(), descriptor_pool=_POOL)
    return bytes(message.SerializeToString(deterministic=True))
