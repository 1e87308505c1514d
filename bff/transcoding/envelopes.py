"""The text frames of our WebSocket subprotocol `bff.v1`: what a client says, and what it is told. Pure.

A client sends `{"message": ..}` for each message and `{"end": true}` when it has said all; it reads
`{"message": ..}`, then `{"end": {}}` or `{"error": ..}`.
"""

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from bff.core.errors import ClientError

__all__ = ["END_FRAME", "SUBPROTOCOL", "error_frame", "message_frame", "read_envelope"]

SUBPROTOCOL = "bff.v1"
END_FRAME = b'{"end":{}}'


class _Envelope(Struct, forbid_unknown_fields=True):
    message: Raw | UnsetType = UNSET
    end: bool | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Envelope, strict=True).decode


def read_envelope(frame: bytes) -> bytes | None:
    """The JSON of the message, not looked at; None for the end. Raises ClientError INVALID_JSON."""
    try:
        envelope = _decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _no_envelope() from error
    if envelope.end is not UNSET:
        if envelope.end is not True or envelope.message is not UNSET or frame.count(b'"') != 2:
            raise _no_envelope()
        return None
    if envelope.message is UNSET:
        raise _no_envelope()
    message = bytes(envelope.message)
    # A doubled key has more than one name in front of the last value, and two readers could take
    # different ones.
    if frame.rpartition(message)[0].count(b'"') != 2:
        raise _no_envelope()
    return message


def message_frame(json: bytes) -> bytes:
    """One message of the service."""
    return b'{"message":' + json + b"}"


def error_frame(json: bytes) -> bytes:
    """Instead of the end; `json` is what stands under `error`."""
    return b'{"error":' + json + b"}"


def _no_envelope() -> ClientError:
    return ClientError(
        "INVALID_JSON", 'A frame is {"message": ..} or {"end": true}, with nothing beside it.'
    )
