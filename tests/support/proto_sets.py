"""Compile small inline .proto texts into serialized FileDescriptorSets, imports included."""

import tempfile
from importlib.resources import files
from pathlib import Path

import google.api
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

__all__ = ["KITCHEN", "add_imports", "compile_set", "renamed"]

# One message with every kind of field that JSON knows.
KITCHEN = """
syntax = "proto3";
package kitchen.v1;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum State { STATE_UNSPECIFIED = 0; STATE_NEW = 1; STATE_PAID = 2; }
enum Alias { option allow_alias = true; ALIAS_ZERO = 0; ALIAS_FIRST = 1; ALIAS_SECOND = 1; }
message Money { string currency_code = 1; int64 units = 2; int32 nanos = 3; }
message Kitchen {
  int32 i32 = 1; int64 i64 = 2; uint32 u32 = 3; uint64 u64 = 4;
  sint32 s32 = 5; sint64 s64 = 6; fixed32 f32 = 7; fixed64 f64 = 8; sfixed32 sf32 = 9; sfixed64 sf64 = 10;
  float single = 11; double real = 12; bool flag = 13; string text = 14; bytes octets = 15;
  State state = 16; Alias alias = 17;
  oneof choice { string choice_text = 18; int32 choice_number = 19; Money choice_money = 20;
                 google.protobuf.NullValue choice_null = 45; }
  optional int32 maybe = 21;
  repeated int32 numbers = 22; repeated string tags = 23; repeated State states = 24; repeated Money prices = 25;
  map<string, string> labels = 26; map<int32, string> by_number = 27; map<bool, string> by_flag = 28;
  map<string, Money> money_of = 29; map<uint64, State> state_of = 30;
  Kitchen child = 31; repeated Kitchen children = 32;
  google.protobuf.Timestamp at = 33; google.protobuf.Duration lasts = 34; google.protobuf.FieldMask mask = 35;
  google.protobuf.Any any = 36; google.protobuf.Struct struct = 37; google.protobuf.Value value = 38;
  google.protobuf.ListValue list = 39;
  google.protobuf.Int32Value boxed_number = 40; google.protobuf.StringValue boxed_text = 41;
  google.protobuf.BoolValue boxed_flag = 42; google.protobuf.BytesValue boxed_octets = 43;
  google.protobuf.FloatValue boxed_single = 44; google.protobuf.Int64Value boxed_long = 46;
  repeated google.protobuf.Timestamp times = 47; repeated google.protobuf.Any anys = 48;
  string decoded = 49 [json_name = "search[decoded]"];
  string from = 50; int32 class = 51; string custom = 52 [json_name = "bespoke"];
}
message Renamed { string one = 1 [json_name = "two"]; string two = 2 [json_name = "three"]; }
"""


def compile_set(text: str, **others: str) -> bytes:
    """The set of `test.proto` with this text; keyword `name` gives `name.proto` a text too."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in {"test": text, **others}.items():
            (root / f"{name}.proto").write_text(content)
        out = root / "out.binpb"
        arguments = [
            "protoc",
            f"-I{root}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"-I{Path(google.api.__path__[0]).parents[1]}",
            "--include_imports",
            f"--descriptor_set_out={out}",
            str(root / "test.proto"),
        ]
        if protoc.main(arguments) != 0:
            raise ValueError("the .proto text of this test does not compile")
        return out.read_bytes()


def add_imports(data: bytes, count: int) -> bytes:
    """The same set with `count` empty files more, which `test.proto` imports."""
    whole = FileDescriptorSet.FromString(data)
    top = next(file for file in whole.file if file.name == "test.proto")
    for number in range(count):
        name = f"empty_{number}.proto"
        whole.file.add(name=name, package=f"empty{number}", syntax="proto3")
        top.dependency.append(name)
    return whole.SerializeToString()


def renamed(data: bytes, name: str) -> bytes:
    """The same set with `test.proto`, which no other file imports, under another name."""
    whole = FileDescriptorSet.FromString(data)
    next(file for file in whole.file if file.name == "test.proto").name = name
    return whole.SerializeToString()
