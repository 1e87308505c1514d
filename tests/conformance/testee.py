"""The program that the suite's runner talks to, over stdin and stdout: our codec answers.

Started by `suite.py` with the path of a serialized FileDescriptorSet of the suite's messages. The
envelope is read by Google's library, so that the codec under test sees nothing but test messages.
"""

import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bff.core.errors import GatewayError
from bff.transcoding.json_codec import Codec
from bff.transcoding.json_parser import REFUSALS
from bff.transcoding.switches import STRICT, Switches

__all__ = ["Testee"]

# On the pipe, each message stands behind its length in four octets, little endian.
_LENGTH = struct.Struct("<I")
_PROTOBUF, _JSON = 1, 2
_IGNORE_UNKNOWN = 3
_LENIENT = Switches(json_unknown="ignore")


class Testee:
    """Answers ConformanceRequests with the codec of the gateway, under `strict` but where a test
    asks for unknown keys to be passed over."""

    def __init__(self, file_set: bytes) -> None:
        self._codec = Codec(file_set)
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(file_set).file:
            pool.Add(file)
        self._request, self._response = (
            message_factory.GetMessageClass(pool.FindMessageTypeByName(f"conformance.{name}"))
            for name in ("ConformanceRequest", "ConformanceResponse")
        )
        self._reader = cache(self._codec.reader)
        self._writer = cache(self._codec.writer)

    def answer(self, octets: bytes) -> bytes:
        """A ConformanceResponse on the wire for a ConformanceRequest."""
        field, value = self._result(self._request.FromString(octets))
        return bytes(self._response(**{field: value}).SerializeToString())

    def _result(self, request: Any) -> tuple[str, str | bytes]:
        if request.message_type == "conformance.FailureSet":
            return "protobuf_payload", b""
        source, target = request.WhichOneof("payload"), request.requested_output_format
        if source not in {"json_payload", "protobuf_payload"} or target not in {_PROTOBUF, _JSON}:
            return "skipped", "neither JSON nor binary"
        if request.print_unknown_fields:
            return "skipped", "unknown fields are never shown"
        name = request.message_type
        try:
            if source == "json_payload":
                lenient = request.test_category == _IGNORE_UNKNOWN
                wire = self._reader(name, _LENIENT if lenient else STRICT)(
                    request.json_payload.encode()
                )
            else:
                wire = self._through(name, request.protobuf_payload)
        except (GatewayError, *REFUSALS) as error:
            return "parse_error", _told(error)
        if target == _PROTOBUF:
            return "protobuf_payload", wire
        try:
            return "json_payload", self._writer(name)(wire).decode()
        except GatewayError as error:
            return "serialize_error", _told(error)

    def _through(self, name: str, wire: bytes) -> bytes:
        """Octets to a message and back, what it does not know included."""
        made: bytes = self._codec.message_class(name).from_binary(wire).to_binary()
        return made


def _told(error: Exception) -> str:
    return f"{getattr(error, 'reason', type(error).__name__)} {getattr(error, 'violations', '')}"


def _serve(source: BinaryIO, sink: BinaryIO, answer: Callable[[bytes], bytes]) -> None:
    while head := source.read(_LENGTH.size):
        (size,) = _LENGTH.unpack(head)
        octets = answer(source.read(size))
        sink.write(_LENGTH.pack(len(octets)) + octets)
        sink.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer, Testee(Path(sys.argv[1]).read_bytes()).answer)
