"""The service of the vector rows: any method, any bytes; it keeps what it was asked and answers as told.

Its types are the kitchen's, with a method for each kind of call. Messages become JSON, and JSON
messages, by google.protobuf, which shares no code with the gateway.
"""

import base64
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
import msgspec
from google.api import httpbody_pb2
from google.protobuf import descriptor_pb2, empty_pb2, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from tests.support.proto_sets import KITCHEN, compile_set

__all__ = ["PACKAGE", "SERVICE", "Answer", "Asked", "VectorKitchen", "vector_types"]

PACKAGE = "kitchen.v1"
SERVICE = f"{PACKAGE}.Cook"
_GUARD_S = 20.0

# Six methods that do the same tell by their names which route a request took.
_TYPES = (
    KITCHEN
    + """
import "old.proto";
import "google/api/httpbody.proto";
message PatchKitchen { string id = 1; Kitchen child = 2; google.protobuf.FieldMask update_mask = 3; }
message Note { string message_id = 1; int64 revision = 2; Sub sub = 3; string user_id = 4; Sub other_sub = 5; }
message Sub { string subfield = 1; string resource_id = 2; Sub deeper = 3; }
message Book { string name = 1; string title = 2; string author = 3; repeated string tags = 4; Book sequel = 5; }
message EditBook { Book book = 1; google.protobuf.FieldMask update_mask = 2; string reason = 3; int64 shelf = 4; }
enum Shade { SHADE_ZERO = 0; DARK = 1; }
message Shades { Shade shade = 1; }
message Parcel { string id = 1; string note = 2; repeated string tags = 3; bytes blob = 4; google.api.HttpBody file = 5;
  string filename = 6; Sub sub = 7; repeated bytes more = 8; Label label = 9; int64 shelf = 10;
  oneof content { bytes inline = 11; string url = 12; Label tag = 13; } }
message Label { bytes seal = 1; string text = 2; }
message Hall { Parcel parcel = 1; google.protobuf.FieldMask update_mask = 2; int32 hall = 3; }
message Odd {
  string key = 1; Odd alt = 2; map<string, string> utm_labels = 3; Odd utm_child = 4; Renamed renamed = 5;
  string dotted = 6 [json_name = "deep.text"]; Odd deep = 7; string text = 8; map<string, string> labels = 9;
  string braced = 10 [json_name = "labels[a]"]; string search = 11 [json_name = "search[x]"];
  map<string, google.protobuf.Timestamp> time_of = 13; map<string, google.protobuf.Value> value_of = 14;
  map<string, google.protobuf.Int32Value> boxed_of = 15; map<string, bytes> octets_of = 16;
  repeated google.protobuf.Int32Value boxed = 17; repeated google.protobuf.Value values = 18;
  optional string maybe = 19;
}
message Fault { string error = 1; string text = 2; }
message Sent { string parcel = 1; google.api.HttpBody file = 2; int32 size = 3; }
service Cook {
  rpc Get(Kitchen) returns (Kitchen);
  rpc First(Kitchen) returns (Kitchen); rpc Second(Kitchen) returns (Kitchen);
  rpc Third(Kitchen) returns (Kitchen); rpc Fourth(Kitchen) returns (Kitchen);
  rpc Fifth(Kitchen) returns (Kitchen); rpc Sixth(Kitchen) returns (Kitchen); rpc Odds(Odd) returns (Odd);
  rpc Patch(PatchKitchen) returns (PatchKitchen);
  rpc Notes(Note) returns (Note); rpc Names(Renamed) returns (Renamed);
  rpc GetBook(Book) returns (Book); rpc Edit(EditBook) returns (EditBook);
  rpc Shade(Shades) returns (Shades);
  rpc Clashes(kitchen.old.Clashing) returns (kitchen.old.Clashing); rpc Old(kitchen.old.Old) returns (kitchen.old.Old);
  rpc Watch(Kitchen) returns (stream Kitchen); rpc Feed(stream Kitchen) returns (Kitchen);
  rpc Faults(Kitchen) returns (stream Fault);
  rpc Talk(stream Kitchen) returns (stream Kitchen);
  rpc Download(Kitchen) returns (google.api.HttpBody);
  rpc Pack(Parcel) returns (Parcel); rpc PackIn(Hall) returns (Hall);
  rpc Pour(stream google.api.HttpBody) returns (Kitchen); rpc Pile(stream Sent) returns (Sent);
  rpc Load(stream Parcel) returns (Parcel); rpc LoadIn(stream Hall) returns (Hall);
  rpc Upload(google.api.HttpBody) returns (Kitchen); rpc Send(Sent) returns (Sent);
}
"""
)
# Only proto2 has closed enums.
_OLD = """
syntax = "proto2";
package kitchen.old;
enum Closed { CLOSED_NONE = 0; CLOSED_ONE = 1; }
enum Clash { option deprecated_legacy_json_field_conflicts = true;
  CLASH_ZERO = 0; CLASH_One = 1; CLASH_ONE = 2; }
message Clashing { optional Clash clash = 1; }
message Old { optional Closed closed = 1; repeated Closed many = 2; optional int32 number = 3;
  optional group Bundle = 4 { optional string label = 1; repeated int32 counts = 2; }
  map<string, Closed> closed_of = 5; }
"""


def vector_types() -> bytes:
    """The FileDescriptorSet of all types, imports included."""
    return compile_set(_TYPES, old=_OLD)


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service says to one row; by default each message that it was sent.

    `messages` are JSON, or `{base64: ..}` for exact octets. `code` is a name or any number.
    `status` are the details of a google.rpc.Status under the same code: JSON of `google.protobuf.Any`,
    or `{"@type": .., "octets": <base64>}`. Values of metadata whose names end in `-bin` are base64.
    """

    messages: Sequence[Any] | None = None
    code: str | int = 0
    details: str = ""
    status: list[dict[str, Any]] = []
    metadata: dict[str, str] = {}
    trailers: dict[str, str] = {}


class Asked(msgspec.Struct, frozen=True):
    """One call as it arrived: the method's name, its messages as JSON, its metadata.

    Octets that are no such message are `{base64: ..}`.
    """

    rpc: str
    messages: list[Any]
    metadata: dict[str, list[str]]


class VectorKitchen:
    """A gRPC server on a free port; set `answer` before a request, read `asked` after it.

    `reads`: messages that it sends back it writes anew, as a service does that has read them.
    """

    def __init__(self, types: bytes, *, reads: bool = False) -> None:
        self._reads = reads
        self.answer = Answer()
        self.asked: list[Asked] = []
        self._pool = DescriptorPool()
        found = descriptor_pb2.FileDescriptorSet.FromString(types)
        own = {file.name for file in found.file}
        for file in found.file:
            self._pool.AddSerializedFile(file.SerializeToString())
        # What the gateway knows whether or not the set has it.
        for supplied in (httpbody_pb2.DESCRIPTOR, empty_pb2.DESCRIPTOR):
            if supplied.name not in own:
                self._pool.AddSerializedFile(supplied.serialized_pb)
        self._service = self._pool.FindServiceByName(SERVICE)
        self._threads = ThreadPoolExecutor(4)
        self._server = grpc.server(self._threads, handlers=[_Handlers(self)])
        self.port = 0

    def __enter__(self) -> Self:
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.stop(None).wait(_GUARD_S)
        self._threads.shutdown()

    def begin(self, answer: Answer) -> None:
        """Before each row: forget what was asked."""
        self.answer = answer
        self.asked = []

    def method(self, path: str) -> MethodDescriptor | None:
        """The method of a gRPC path; None if it is not ours."""
        service, _, name = path.lstrip("/").rpartition("/")
        return self._service.methods_by_name.get(name) if service == SERVICE else None

    def serve(
        self,
        method: MethodDescriptor,
        requests: Iterator[bytes],
        context: grpc.ServicerContext,
        answer: Answer,
        asked: list[Asked],
    ) -> Iterator[bytes]:
        """Take everything, then answer as the row says during which the call came, and note it there."""
        sent = list(requests) if method.client_streaming else [next(requests)]
        metadata: dict[str, list[str]] = {}
        for key, value in context.invocation_metadata():
            text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
            metadata.setdefault(key, []).append(text)
        shown = [self._as_json(method.input_type, each) for each in sent]
        asked.append(Asked(method.name, shown, metadata))
        if answer.metadata:
            context.send_initial_metadata(_pairs(answer.metadata))
        context.set_trailing_metadata((*_pairs(answer.trailers), *_details(answer)))
        back = shown if self._reads else sent
        messages = back if answer.messages is None else answer.messages
        for message in messages:
            yield self._as_octets(method.output_type, message)
        if answer.code:
            context.set_code(_code_of(answer.code))
            context.set_details(answer.details)

    def _as_json(self, kind: Any, octets: bytes) -> Any:
        message = message_factory.GetMessageClass(kind)()
        try:
            message.ParseFromString(octets)
        except DecodeError:
            return {"base64": base64.b64encode(octets).decode()}
        return json_format.MessageToDict(message, descriptor_pool=self._pool)

    def _as_octets(self, kind: Any, message: Any) -> bytes:
        if isinstance(message, bytes):
            return message
        if set(message) == {"base64"}:
            return base64.b64decode(message["base64"])
        made = message_factory.GetMessageClass(kind)()
        json_format.ParseDict(message, made, descriptor_pool=self._pool)
        return bytes(made.SerializeToString())


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """Every method as a stream both ways: on the wire a unary call is one of a single message."""

    def __init__(self, kitchen: VectorKitchen) -> None:
        self._kitchen = kitchen

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = self._kitchen.method(handler_call_details.method)
        if method is None:
            return None

        # Of this row: a call that was given up may be served when the next one has begun.
        row, asked = self._kitchen.answer, self._kitchen.asked

        def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            return self._kitchen.serve(method, requests, context, row, asked)

        return grpc.stream_stream_rpc_method_handler(answer)


def _pairs(metadata: dict[str, str]) -> tuple[tuple[str, str | bytes], ...]:
    return tuple(
        (name, base64.b64decode(value) if name.endswith("-bin") else value)
        for name, value in metadata.items()
    )


def _details(answer: Answer) -> Iterator[tuple[str, bytes]]:
    """The google.rpc.Status of an answer, if it has one."""
    if not answer.status:
        return
    status = status_pb2.Status(code=_code_of(answer.code).value[0], message=answer.details)
    for each in answer.status:
        found = status.details.add()
        if "octets" in each:
            found.type_url, found.value = each["@type"], base64.b64decode(each["octets"])
        else:
            json_format.ParseDict(each, found, descriptor_pool=error_details_pb2.DESCRIPTOR.pool)
    yield "grpc-status-details-bin", status.SerializeToString()


def _code_of(code: str | int) -> Any:
    if isinstance(code, str):
        return grpc.StatusCode[code]
    return next(each for each in grpc.StatusCode if each.value[0] == code)
