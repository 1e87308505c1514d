"""What is fuzzed: a function of octets that raises if a claim does not hold, and inputs to begin with."""

from msgspec import Struct

__all__ = ["TARGETS", "Target"]


class Target(Struct, frozen=True):
    """By name, since modules are imported after the fuzzer has hooked the import."""

    module: str
    function: str
    seeds: str


TARGETS = {
    "octets": Target("tests.fuzz.machine", "octets", "OCTETS_SEEDS"),
    "frames": Target("tests.fuzz.machine", "frames", "FRAMES_SEEDS"),
    "path": Target("tests.fuzz.edges", "path", "PATH_SEEDS"),
    "query": Target("tests.fuzz.edges", "query", "QUERY_SEEDS"),
    "templates": Target("tests.fuzz.edges", "templates", "TEMPLATE_SEEDS"),
    "body": Target("tests.fuzz.texts", "body", "BODY_SEEDS"),
    "elements": Target("tests.fuzz.texts", "elements", "ELEMENT_SEEDS"),
}
