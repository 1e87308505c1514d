"""The compiled translation: whatever it takes, the codec takes alike; for the rest it answers None."""

import contextlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bff.core.errors import GatewayError
from bff.transcoding.json_codec import Codec
from bff.transcoding.plain_json import Plan, plan_of
from tests.support.proto_sets import KITCHEN, compile_set

__all__ = ["PLAIN_SEEDS", "plain"]

_KIND = "kitchen.v1.Kitchen"
_FILES = compile_set(KITCHEN)
_CODEC = Codec(_FILES, plain=False)
_READ, _SHOW = _CODEC.reader(_KIND), _CODEC.writer(_KIND)
_TEXTS = (
    b'{"i32":1,"i64":"-2","u64":18446744073709551615,"text":"a\\n\xc3\xa4","child":{"numbers":[1,-3],"tags":[""]}}',
    b'{"at":"2024-02-29T03:04:05.123Z","lasts":"-1.5s","octets":"AAE=","single":1e3,"real":0.1,"flag":true}',
    b'{"state":"STATE_NEW","byNumber":{"-7":"b"},"byFlag":{"true":"x"},"boxedText":"","moneyOf":{"k":{"units":1}}}',
    b'{"choiceText":"","maybe":0,"prices":[{"currency_code":"EUR","nanos":-1},{}],"stateOf":{"9":"STATE_NEW"}}',
    b'{"s32":-1,"s64":-5,"f32":9,"f64":"9","sf32":-1,"sf64":"-1","times":["9999-12-31T23:59:59.999999999Z"]}',
)
# The first octet says which way.
PLAIN_SEEDS = (*(b"\x00" + text for text in _TEXTS), *(b"\x01" + _READ(text) for text in _TEXTS))


def _plan() -> Plan | None:
    shape = _CODEC.message_type(_KIND)
    assert shape is not None
    return plan_of(shape)


def _message() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(_FILES).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(_KIND))


_PLAN, _MESSAGE = _plan(), _message()


def plain(raw: bytes) -> None:
    """JSON to octets where the first octet is even, octets to JSON where it is odd."""
    if not raw or _PLAN is None:
        return
    octets = raw[1:]
    if raw[0] & 1:
        shown = _PLAN.show(octets)
        assert shown is None or shown == _refusal_or(_SHOW, octets)
        return
    read = _PLAN.read(octets)
    if read is not None:
        expected = _refusal_or(_READ, octets)
        assert expected is not None
        assert _sorted(read) == _sorted(expected)


def _refusal_or(convert: Any, octets: bytes) -> bytes | None:
    with contextlib.suppress(GatewayError):
        converted: bytes = convert(octets)
        return converted
    return None


def _sorted(wire: bytes) -> bytes:
    octets: bytes = _MESSAGE.FromString(wire).SerializeToString(deterministic=True)
    return octets
