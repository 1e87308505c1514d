"""JSON text of strangers as a tree, by rules stricter than most readers': for bodies without a message type.

RFC 8259 leaves doubled keys to the reader; two readers that differ are a way past a check, so they
are refused. (Bodies with a message type are read by `transcoding.json_codec`.)
"""

import json

import msgspec

from bff.core.errors import ClientError, Violation
from bff.core.exchange import Json

__all__ = ["read_json"]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class _Doubled(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _no_doubles(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Doubled(key)
            seen.add(key)
    return tree


def read_json(text: bytes) -> Json:
    """The tree. Raises ClientError INVALID_JSON, DUPLICATE_FIELD, TOO_DEEP."""
    try:
        tree = _decode(text)
    except RecursionError as error:
        raise ClientError("TOO_DEEP") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClientError("INVALID_JSON", detail=str(error)) from error
    # Written again, the same octets can only come from a text without doubles; this is far cheaper
    # than the reader that tells, and compact texts (what programs send) end here.
    if _encode(tree) != text:
        try:
            json.loads(text, object_pairs_hook=_no_doubles)
        except _Doubled as error:
            violation = Violation(error.key, "is given more than once")
            raise ClientError(
                "DUPLICATE_FIELD", metadata={"field": error.key}, violations=(violation,)
            ) from error
        except (ValueError, RecursionError) as error:
            raise ClientError("INVALID_JSON", detail=str(error)) from error
    return tree
