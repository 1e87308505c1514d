"""What is fuzzed: a function of octets that raises if a claim does not hold, and inputs to begin with."""

from msgspec import Struct

__all__ = ["TARGETS", "Target"]


class Target(Struct, frozen=True):
    """By name, since modules are imported after the fuzzer has hooked the import."""

    module: str
    function: str
    seeds: str
    # How many neighbours of each seed the test of the suite looks at.
    rounds: int = 60


TARGETS = {
    "octets": Target("tests.fuzz.machine", "octets", "OCTETS_SEEDS"),
    "frames": Target("tests.fuzz.machine", "frames", "FRAMES_SEEDS"),
    "path": Target("tests.fuzz.edges", "path", "PATH_SEEDS"),
    "query": Target("tests.fuzz.edges", "query", "QUERY_SEEDS"),
    "templates": Target("tests.fuzz.edges", "templates", "TEMPLATE_SEEDS"),
    "body": Target("tests.fuzz.texts", "body", "BODY_SEEDS"),
    "plain": Target("tests.fuzz.plain", "plain", "PLAIN_SEEDS"),
    "elements": Target("tests.fuzz.texts", "elements", "ELEMENT_SEEDS"),
    "http1": Target("tests.fuzz.wires", "http1", "HTTP1_SEEDS"),
    "sockets": Target("tests.fuzz.wires", "sockets", "SOCKET_SEEDS"),
    "codings": Target("tests.fuzz.forms", "codings", "CODING_SEEDS"),
    "header_blocks": Target("tests.fuzz.forms", "header_blocks", "HEADER_SEEDS"),
    "metadata": Target("tests.fuzz.forms", "metadata", "METADATA_SEEDS"),
    "envelopes": Target("tests.fuzz.forms", "envelopes", "ENVELOPE_SEEDS"),
    "multipart": Target("tests.fuzz.asks", "multipart", "MULTIPART_SEEDS"),
    "documents": Target("tests.fuzz.asks", "documents", "DOCUMENT_SEEDS"),
    "tokens": Target("tests.fuzz.asks", "tokens", "TOKEN_SEEDS"),
    "expressions": Target("tests.fuzz.expressions", "expressions", "EXPRESSION_SEEDS"),
    "conditions": Target("tests.fuzz.expressions", "conditions", "CONDITION_SEEDS"),
    "fields": Target("tests.fuzz.fields", "fields", "FIELD_SEEDS"),
    "heads": Target("tests.fuzz.fields", "heads", "HEAD_SEEDS"),
    "mappings": Target("tests.fuzz.configs", "mappings", "MAPPING_SEEDS"),
    "yaml": Target("tests.fuzz.configs", "yaml", "YAML_SEEDS"),
    "key_files": Target("tests.fuzz.configs", "key_files", "KEY_FILE_SEEDS"),
    "key_sets": Target("tests.fuzz.keys", "key_sets", "KEY_SET_SEEDS"),
    "operations": Target("tests.fuzz.operations", "operations", "OPERATION_SEEDS"),
    "descriptor_sets": Target("tests.fuzz.type_files", "descriptor_sets", "SET_SEEDS", rounds=20),
    # A compiler process for each.
    "protos": Target("tests.fuzz.type_files", "protos", "PROTO_SEEDS", rounds=2),
    "replies": Target("tests.fuzz.forms", "replies", "REPLY_SEEDS"),
}
