"""The frames of RFC 9113 as bytes: packing, the fixed ones, error codes, SETTINGS. Pure."""

import struct
from enum import IntEnum

from msgspec import Struct

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "DEFAULT_WINDOW_BYTES",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADERS",
    "MAX_WINDOW_BYTES",
    "MESSAGE_HEAD_BYTES",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FLAG",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "SETTINGS_ACK",
    "WINDOW_UPDATE",
    "ConnectionFault",
    "ErrorCode",
    "PeerSettings",
    "frame",
    "goaway_frame",
    "ping_frame",
    "read_head",
    "read_message_head",
    "read_settings",
    "rst_frame",
    "settings_frame",
    "window_update_frame",
]

# The client's connection preface (RFC 9113 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Frame types (section 6). Plain ints: they are compared for each frame.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
# Flags.
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY_FLAG = 0x4, 0x8, 0x20

DEFAULT_WINDOW_BYTES = 65_535
MAX_WINDOW_BYTES = 2**31 - 1
_FRAME_MIN_BYTES, _FRAME_MAX_BYTES = 16_384, 2**24 - 1

_HEAD = struct.Struct(">HBBBI")
_U32 = struct.Struct(">I")
_SETTING = struct.Struct(">HI")
# (length >> 8, length & 255, type, flags, stream id with its reserved bit) at an offset.
read_head = _HEAD.unpack_from
# The same of a frame of DATA that begins with a gRPC message: its flag and length follow.
MESSAGE_HEAD_BYTES = 14
read_message_head = struct.Struct(">HBBBIBI").unpack_from


class ErrorCode(IntEnum):
    """Why a stream or connection ends (section 7). The peer may send others."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12


class ConnectionFault(Exception):
    """The peer broke a rule in a way that ends the connection (section 5.4.1)."""

    def __init__(self, code: ErrorCode, why: str) -> None:
        super().__init__(f"{code.name}: {why}")
        self.code = code
        self.why = why


# Identifier -> least and greatest value, and the error otherwise (section 6.5.2). A server must not
# set ENABLE_PUSH (2) to anything but 0.
_ANY_VALUE = (0, 2**32 - 1, ErrorCode.PROTOCOL_ERROR)
_SETTING_RANGES = {
    2: (0, 0, ErrorCode.PROTOCOL_ERROR),
    4: (0, MAX_WINDOW_BYTES, ErrorCode.FLOW_CONTROL_ERROR),
    5: (_FRAME_MIN_BYTES, _FRAME_MAX_BYTES, ErrorCode.PROTOCOL_ERROR),
}


class PeerSettings(Struct, frozen=True, kw_only=True):
    """What the peer wants of us (section 6.5.2); sizes in bytes. The defaults are the RFC's."""

    max_streams: int = 2**32 - 1
    window_bytes: int = DEFAULT_WINDOW_BYTES
    frame_bytes: int = _FRAME_MIN_BYTES
    header_list_bytes: int = 2**32 - 1


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame (section 4.1)."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


SETTINGS_ACK = frame(SETTINGS, ACK, 0)


def rst_frame(stream_id: int, code: int) -> bytes:
    """RST_STREAM (section 6.4)."""
    return frame(RST_STREAM, 0, stream_id, _U32.pack(code))


def ping_frame(payload: bytes, *, ack: bool = False) -> bytes:
    """PING with 8 octets (section 6.7)."""
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway_frame(code: int, last_stream_id: int = 0) -> bytes:
    """GOAWAY (section 6.8); as a client we never took a stream of the peer's."""
    return frame(GOAWAY, 0, 0, _U32.pack(last_stream_id) + _U32.pack(code))


def window_update_frame(stream_id: int, grown_bytes: int) -> bytes:
    """WINDOW_UPDATE (section 6.9)."""
    return frame(WINDOW_UPDATE, 0, stream_id, _U32.pack(grown_bytes))


def settings_frame(*pairs: tuple[int, int]) -> bytes:
    """SETTINGS with (identifier, value) pairs (section 6.5)."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs))


def read_settings(payload: bytes, before: PeerSettings) -> PeerSettings:
    """The peer's settings after this frame; identifiers that are not known are ignored.

    Raises ConnectionFault for a value out of its range (section 6.5.2).
    """
    if len(payload) % 6:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    values: dict[int, int] = {}
    for name, value in _SETTING.iter_unpack(payload):
        low, high, code = _SETTING_RANGES.get(name, _ANY_VALUE)
        if not low <= value <= high:
            raise ConnectionFault(code, f"SETTINGS {name} has the value {value}")
        values[name] = value
    return PeerSettings(
        max_streams=values.get(3, before.max_streams),
        window_bytes=values.get(4, before.window_bytes),
        frame_bytes=values.get(5, before.frame_bytes),
        header_list_bytes=values.get(6, before.header_list_bytes),
    )
