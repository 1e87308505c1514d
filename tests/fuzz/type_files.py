"""Types that operators bring: octets of descriptor sets and texts of .proto files are types that serve, or problems."""

import json
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bff.core.errors import ClientError, ConfigError, GatewayError
from bff.core.problems import Problem
from bff.transcoding.descriptors import Descriptors
from bff.transcoding.path_template import TemplateError, parse_template
from bff.transcoding.sources import SourceSet, compile_protos, read_descriptor_set
from bff.transcoding.type_sets import TypeSets
from tests.fuzz.choices import Choices
from tests.support.proto_sets import KITCHEN, compile_set

__all__ = ["PROTO_SEEDS", "SET_SEEDS", "descriptor_sets", "protos"]

_SHOP = """syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
// Orders.
service Orders {
  rpc Get(Request) returns (Order) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (google.api.http) = { get: "/v1/orders/{id}" additional_bindings { post: "/v1/o" body: "*" } };
  }
}
message Request { string id = 1 [(google.api.field_behavior) = REQUIRED]; }
message Order {
  enum Kind { NONE = 0; }
  Kind kind = 1; map<string, Order> of = 2; oneof x { string a = 3; int32 b = 4; }
}
"""
_OLD = """syntax = "proto2";
package old.v1;
message Old { required string id = 1; optional group Part = 2 { optional int64 n = 3 [default = -5]; }
  extensions 100 to 200; repeated int32 packed = 4 [packed = true]; }
extend Old { optional string more = 100; }
"""
_SETS = (
    compile_set(_SHOP),
    compile_set(_OLD),
    compile_set('syntax = "proto3"; message A { A a = 1; }'),
)
# An edit of one of the sets after its number, or after an octet of 255 a set as it stands.
SET_SEEDS = (
    b"\0\0\x05a",
    b"\1\0\x20.\0\x30b",
    b"\2\0\4\0",
    b"\xfa\x2d\x04",
    # An import with a NUL in its name.
    b"\xff\x0a\x20\x0a\x07a.proto\x1a\x15google/api/\x00xyz.proto",
    *(b"\xff" + each for each in _SETS[1:]),
    b"\xff" + compile_set(KITCHEN)[:900],
)
# Files behind each other, each under a line `### name`.
PROTO_SEEDS = (
    _SHOP.encode(),
    b'syntax = "proto3";\nimport "b.proto";\nimport "no.proto";\nmessage A { B b = 1; int b = 1 }\n### b.proto\n{\xff',
)  # fmt: skip

_FOLDER = tempfile.TemporaryDirectory(prefix="bff-fuzz-")
_ROOT = Path(_FOLDER.name)
_MARK = b"### "


def descriptor_sets(raw: bytes) -> None:
    """A set is types, each of which reads and writes JSON, or problems in words."""
    path = _ROOT / "set.binpb"
    path.write_bytes(_set(raw))
    try:
        source = read_descriptor_set(path)
        types = TypeSets.build([source])
    except ConfigError as error:
        _judge(error.problems)
        return
    _serves(source, types)


def _set(raw: bytes) -> bytes:
    if raw[:1] == b"\xff" or not raw:
        return raw[1:]
    changed, choices = bytearray(_SETS[raw[0] % len(_SETS)]), Choices(raw[1:])
    while choices.has_more:
        at = choices.below(256) << 8 | choices.below(256)
        changed[at % len(changed)] = choices.below(256)
    return bytes(changed)


def _serves(source: SourceSet, read: TypeSets) -> None:
    types, codec = read.descriptors, read.codec
    again = SourceSet(origin="again", files=types.file_set, digest="")
    assert Descriptors.build([again]).messages.keys() == types.messages.keys()
    present = {file.name for file in FileDescriptorSet.FromString(source.files).file}
    assert all(
        name in present
        for file in FileDescriptorSet.FromString(source.files).file
        for name in file.dependency
    )
    for name, message in list(types.messages.items())[:40]:
        try:
            shown = json.loads(codec.writer(name)(codec.reader(name)(b"{}")))
        except GatewayError as error:
            # Where an empty object is no value of it: times, wrappers, required fields.
            assert isinstance(error, ClientError), name  # noqa: PT017 - most messages do not raise
            continue
        assert isinstance(shown, dict), name
        assert len(message.by_name) <= 2 * len(message.fields)
    for service in types.services.values():
        for method in service.methods.values():
            for binding in method.http:
                try:
                    parse_template(binding.template)
                except TemplateError as error:
                    assert error.column >= 1  # noqa: PT017 - as above


def _judge(problems: list[Problem]) -> None:
    assert problems
    for problem in problems:
        assert problem.message
        assert str(problem).isprintable()
        assert (problem.where.line == 0) is (problem.where.column == 0)


def protos(raw: bytes) -> None:
    """Texts are types as protoc makes them, or its complaints, each at its file and line."""
    for path in _ROOT.iterdir():
        path.unlink()
    name = "a.proto"
    files = {name: b""}
    for line in raw.splitlines(keepends=True):
        if line.startswith(_MARK) and len(files) < 4:
            name = "b.proto" if line.strip() == b"### b.proto" else "c.proto"
            files[name] = b""
        else:
            files[name] += line
    for name, content in files.items():
        (_ROOT / name).write_bytes(content)
    try:
        source = compile_protos([_ROOT])
        types = TypeSets.build([source])
    except ConfigError as error:
        _judge(error.problems)
        for problem in error.problems:
            lines = files.get(Path(problem.where.file).name, b"\n" * 9999).count(b"\n") + 1
            assert problem.where.line <= lines, problem
        return
    _serves(source, types)
