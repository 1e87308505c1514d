"""Models: how messages are written and read - transcoding, metadata, streams."""

from typing import Annotated, Literal

from pydantic import Field

from bff.config.blocks import Block
from bff.config.values import Seq, Timeout

__all__ = ["IGNORED_PARAMETERS", "Metadata", "Sse", "Stream", "Transcoding"]


# Parameters of Google's APIs that every method takes.
IGNORED_PARAMETERS = ("key", "alt", "$fields", "utm_*")


class Metadata(Block):
    """`metadata`: which header fields cross to services, and which metadata come back."""

    in_: Annotated[Seq[str], Field(alias="in")] = ()
    """Request header fields that go to the service as metadata."""
    out: Seq[str] = ()
    """Metadata of the reply that become response header fields."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Listed name to its name on the other side."""
    set: dict[str, str] = Field(default_factory=dict)
    """Metadata with a fixed value, sent with every call instead of the client's."""
    add: dict[str, str] = Field(default_factory=dict)
    """Metadata with a fixed value, sent with every call beside the client's."""
    remove: Seq[str] = ()
    """Names that do not cross, whatever lists and farther levels say."""
    prefix: str | None = None
    """Begins the header fields of metadata both ways, as `Grpc-Metadata-`; unset = as the preset."""
    trailers: Literal["off", "te"] | None = None
    """`te`: trailing metadata come behind the body where the client sends `TE: trailers`; unset = as the preset."""


class Sse(Block):
    """`stream.sse`: what Server-Sent Events carry beside the messages."""

    id: str | None = None
    """Field of the message that is the event's id."""
    event: str | None = None
    """Field of the message that is the event's name."""
    resume: str | None = None
    """Field of the request that takes `Last-Event-ID`."""
    heartbeat: Timeout = 15.0
    """Silence after which a comment is sent."""
    retry: Timeout = 3.0
    """Wait of the client before it comes back."""


class Stream(Block):
    """`stream`: streams over HTTP."""

    default: Literal["array", "ndjson", "sse"] = "array"
    """The form without an Accept that decides; unset = as the preset, `array` or `ndjson`."""
    wrap: bool = False
    """Whether each message stands under `result`; unset = as the preset."""
    first_wait: Timeout = 5.0
    """Longest wait of the header fields for the first message."""
    sse: Sse = Field(default_factory=Sse)
    write_timeout: Timeout = 30.0
    """Longest wait for a client that does not read."""
    max_duration: Timeout = 3600.0
    """Longest life of a stream."""
    idle: Timeout = 300.0
    """Longest silence of the service."""


# Codes whose text is ours by default, so that showing the service's is a choice.
_Hidden = Literal[
    "UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"
]


class Transcoding(Block):
    """`transcoding`: switches of the JSON side; those not written stand as the preset has them.

    The defaults here are those of `strict`; `config.presets` has the others.
    """

    preset: Literal["strict", "grpc-gateway", "envoy"] = "strict"
    """The set of switches to start from."""
    same_field: Literal["reject", "path_wins", "body_wins", "query_wins"] = "reject"
    """When path, body and query differ about a field; the last two only on a route itself."""
    query_unknown: Literal["reject", "ignore"] = "reject"
    """A parameter that names no field."""
    query_ignore: Seq[str] = IGNORED_PARAMETERS
    """Parameters to skip unless a field has the name; `*` at the end stands for anything."""
    query_duplicate: Literal["reject", "last"] = "reject"
    """A single field given twice."""
    query_oneof: Literal["reject", "last"] = "reject"
    """Two members of one oneof."""
    query_star_body: Literal["reject", "ignore", "bind"] = "reject"
    """Parameters where the body is the whole message."""
    query_body_field: Literal["reject", "ignore", "merge"] = "reject"
    """Parameters within the field that the body is."""
    query_plus: Literal["space", "literal"] = "space"
    """What `+` means."""
    query_flag: Literal["empty", "skip"] = "empty"
    """A parameter without `=`."""
    query_map: Literal["bracket", "off"] = "bracket"
    """Whether `m[key]=value` sets an entry of a map."""
    query_bool: Literal["protojson", "go"] = "protojson"
    """`go` also takes 1, t, T, TRUE, True and their opposites, in paths too."""
    query_duration: Literal["protojson", "go"] = "protojson"
    """`go` also takes 1h30m, in paths too."""
    query_mask: Literal["protojson", "verbatim"] = "protojson"
    """`verbatim` keeps the paths of a FieldMask as they are written."""
    query_enum_number: Literal["open", "known"] = "open"
    """Whether an open enum takes numbers that it has no name for."""
    enum_case: Literal["exact", "ignore"] = "exact"
    """Letter case of enum names in requests."""
    json_unknown: Literal["reject", "ignore"] = "reject"
    """Keys and enum names that the body's type has not."""
    json_duplicates: Literal["reject", "last"] = "reject"
    """A field or a oneof given twice in a body."""
    json_depth: Annotated[int, Field(ge=1, le=100)] = 100
    """How deep arrays and objects of a body may nest; 100 leaves it to the count of messages."""
    nul: Literal["accept", "reject"] = "accept"
    """The character U+0000 in texts."""
    unexpected_body: Literal["reject", "ignore"] = "reject"
    """A body where the rule has none."""
    content_type: Literal[415, "any"] = 415
    """`any` reads every body as JSON."""
    body_formats: Seq[Literal["json", "form", "multipart"]] = ("json",)
    """Forms that a body may have; JSON is always one."""
    path_decoding: Literal["except_slash", "except_reserved", "all"] = "except_slash"
    """What is decoded in variables of several segments."""
    trailing_slash: Literal["distinct", "ignore"] = "distinct"
    """Whether `/a/` is `/a`."""
    empty_segment: Literal["no_match", "bind"] = "no_match"
    """Whether `*` takes an empty segment."""
    verb_unregistered: Literal["plain", "no_match"] = "plain"
    """A verb in the path that no rule there has: part of the value, or no match."""
    template_tail: Literal["error", "allow"] = "error"
    """Whether a template may go on with literals after `**`."""
    body_on_get: Literal["error", "allow"] = "error"
    """Whether a rule of GET or HEAD may have a body."""
    body_on_delete: Literal["error", "allow"] = "error"
    """Whether a rule of DELETE may have a body."""
    wrong_method: Literal[405, 501, 404] = 405
    """The status where a path is known under other methods."""
    implied_head: bool = True
    """Whether HEAD is answered by the rule of GET."""
    emit_unpopulated: bool = False
    """Whether fields without a value are written."""
    int64: Literal["string", "number"] = "string"
    """How 64-bit integers are written; from 2^53 on always as a text."""
    enums: Literal["name", "number", "no_prefix"] = "name"
    """How enum values are written."""
    names: Literal["json", "proto"] = "json"
    """How field names are written."""
    error_format: Literal["aip193", "status", "problem"] = "aip193"
    """AIP-193, google.rpc.Status, or RFC 9457."""
    not_acceptable: Literal["json", 406] = "json"
    """What an Accept without JSON gets."""
    show_errors: Seq[_Hidden] = ()
    """Codes whose message a client reads as the service wrote it."""
    client_stream: Literal["ndjson+array", "array", "concatenated"] = "ndjson+array"
    """Bodies of a client's stream: a document a line, elements of one array, or objects in a row."""
    bidi_http1: Literal[426, "half_duplex"] = 426
    """Messages both ways over HTTP/1.1; `half_duplex` reads all of the request first."""
    patch_mask: bool = True
    """Whether PATCH infers its update mask from the body."""
    protocols: Seq[Literal["connect", "grpc_web"]] = ()
    """What a method speaks under its gRPC path, `/package.Service/Method`, beside its rules."""
