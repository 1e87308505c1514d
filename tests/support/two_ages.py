"""Services that share `common.proto` in versions of different ages, as sets of descriptors."""

from tests.support.proto_sets import compile_set, renamed

__all__ = ["LATER", "NEW", "OLD", "service"]

_SERVICE = """
syntax = "proto3"; package %(name)s.v1;
import "common.proto"; import "google/api/annotations.proto";
message %(Name)s { string id = 1; common.v1.Money price = 2; }
service %(Name)ss { rpc Get(%(Name)s) returns (%(Name)s) {
  option (google.api.http) = {post: "/v1/%(name)ss" body: "*"}; } }
"""
OLD = 'syntax = "proto3"; package common.v1; message Money { int64 units = 1; Unit unit = 3; } enum Unit { U = 0; }'
NEW = OLD.replace("int64 units = 1;", "string amount = 1; string currency = 2;")
LATER = OLD.replace("U = 0;", "U = 0; V = 1;")


def service(name: str, common: str) -> bytes:
    """A set with a file of its own; `common.proto` is the one of both."""
    text = _SERVICE % {"name": name, "Name": name.capitalize()}
    return renamed(compile_set(text, common=common), f"{name}.proto")
