"""Bodies: JSON held to google's json_format, and the splitters of client streams held to the whole body."""

import json
import math
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from bff.core.errors import ClientError
from bff.transcoding.elements import ArraySplitter, ConcatenatedSplitter, LineSplitter, Splitter
from bff.transcoding.json_codec import Codec
from tests.support.proto_sets import KITCHEN, compile_set

__all__ = ["BODY_SEEDS", "ELEMENT_SEEDS", "ORACLE", "body", "elements"]

BODY_SEEDS = (
    b'{"i32":1,"i64":"2","text":"a\\u00e4","child":{"numbers":[1,2]},"labels":{"a":"b"}}',
    # A sign for a digit, which the codec beneath takes for one.
    b'{"at":"2024-+1-02T03:04:05Z"}',
    b'{"at":"2024-01-02T03:04:05+01:-0"}',
    b'{"at":"2024-01-02T03:04:05Z","lasts":"1.5s","octets":"AAE=","single":1e3,"real":"NaN"}',
    b'{"state":"STATE_NEW","byNumber":{"1":"a"},"value":[null,{"a":1}],"mask":"a,b.c","boxedText":"x"}',
)
ELEMENT_SEEDS = (
    b'\x00\x07[{"a":1}, {"b":"]\\""},{}]',
    b'\x01\x03{"a":1}\n\n{"b":2}\r\n{}',
    b'\x02\x05{"a":{"b":1}} {"c":[1,2]}{}',
    b'\x18\x00["\x00\x00["\x00]',
)

_KIND = "kitchen.v1.Kitchen"
_FILES = compile_set(KITCHEN)
_READ = Codec(_FILES).reader(_KIND)
_CAP_BYTES = 1 << 16
_KINDS: tuple[type[Splitter], ...] = (ArraySplitter, LineSplitter, ConcatenatedSplitter)


def _oracle() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(_FILES).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(_KIND)), pool


# The class of the message in google's library, and its pool.
ORACLE = _oracle()
_MESSAGE, _POOL = ORACLE


def body(raw: bytes) -> None:
    """What we take, json_format takes too, as the same message; where we refuse it may be laxer."""
    try:
        wire = _READ(raw)
    except ClientError as error:
        assert error.status == 400  # noqa: PT017 - most inputs raise
        return
    ours = _MESSAGE.FromString(wire)
    theirs = _MESSAGE()
    json_format.Parse(raw, theirs, descriptor_pool=_POOL)
    assert _bits(ours) == _bits(theirs)


def _bits(message: Any) -> bytes:
    made: bytes = message.SerializeToString(deterministic=True)
    return made


def elements(raw: bytes) -> None:
    """How the body is cut into reads changes nothing; what is cut out is what stands there."""
    if len(raw) < 2:
        return
    kind, step, text = _KINDS[raw[0] % 3], raw[1] % 40 + 1, raw[2:]

    whole = _split(kind, [text])

    assert whole == _split(kind, [text[at : at + step] for at in range(0, len(text), step)])
    found, fault = whole
    assert all(0 < len(one) <= _CAP_BYTES for one in found)
    if kind is LineSplitter:
        assert not fault
        assert found == [one for line in text.split(b"\n") if (one := line.strip(b" \t\r\n"))]
    elif kind is ArraySplitter:
        _is_array(text, found, fault)


def _split(kind: Any, parts: list[bytes]) -> tuple[list[bytes], str]:
    splitter: Splitter = kind(_CAP_BYTES)
    found: list[bytes] = []
    try:
        for part in parts:
            splitter.feed(part)
            while (one := splitter.take()) is not None:
                found.append(one)
        last = splitter.finish()
    except ClientError as error:
        return found, error.reason
    return (found if last is None else [*found, last]), ""


def _is_array(text: bytes, found: list[bytes], fault: str) -> None:
    """A JSON array is cut into its items; what is cut without fault is one, if its elements are JSON."""
    try:
        tree = _loads(text)
    except ValueError:
        tree = None
    if isinstance(tree, list):
        assert not fault
        assert _same([_loads(one) for one in found], tree)
        return
    if fault or not text.strip(b" \t\r\n"):
        return
    for one in found:
        try:
            _loads(one)
        except ValueError:
            return
    raise AssertionError("elements of what is no array")


def _loads(text: bytes) -> Any:
    """As UTF-8, where `json.loads` would find UTF-16 in octets with a NUL among them."""
    return json.loads(text.decode())


def _same(one: Any, other: Any) -> bool:
    """Equal, NaN to NaN."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
