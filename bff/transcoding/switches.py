"""The switches of one route as plain values; what is not given is as `strict` has it."""

from typing import Literal

from msgspec import Struct

__all__ = ["STRICT", "SameField", "Switches"]

SameField = Literal["reject", "path_wins", "body_wins", "query_wins"]

# Parameters of Google's APIs that every method takes; skipped unless a field has the name.
_IGNORED_PARAMETERS = ("key", "alt", "$fields", "utm_*")


class Switches(Struct, frozen=True, kw_only=True):
    """How one route reads and writes; every value is acted on when the route is compiled.

    `json_depth` counts arrays and objects in each other, 100 leaves it to the count of messages.
    `wrong_method` and the numbers of `content_type`, `not_acceptable` and `bidi_http1` are HTTP statuses;
    `show_errors` holds names of gRPC codes.
    """

    same_field: SameField = "reject"
    query_unknown: Literal["reject", "ignore"] = "reject"
    query_ignore: tuple[str, ...] = _IGNORED_PARAMETERS
    query_duplicate: Literal["reject", "last"] = "reject"
    query_oneof: Literal["reject", "last"] = "reject"
    query_star_body: Literal["reject", "ignore", "bind"] = "reject"
    query_body_field: Literal["reject", "ignore", "merge"] = "reject"
    query_plus: Literal["space", "literal"] = "space"
    query_flag: Literal["empty", "skip"] = "empty"
    query_map: Literal["bracket", "off"] = "bracket"
    query_bool: Literal["protojson", "go"] = "protojson"
    query_duration: Literal["protojson", "go"] = "protojson"
    query_mask: Literal["protojson", "verbatim"] = "protojson"
    query_enum_number: Literal["open", "known"] = "open"
    enum_case: Literal["exact", "ignore"] = "exact"
    json_unknown: Literal["reject", "ignore"] = "reject"
    json_duplicates: Literal["reject", "last"] = "reject"
    json_depth: int = 100
    nul: Literal["accept", "reject"] = "accept"
    unexpected_body: Literal["reject", "ignore"] = "reject"
    content_type: Literal[415, "any"] = 415
    body_formats: tuple[Literal["json", "form", "multipart"], ...] = ("json",)
    path_decoding: Literal["except_slash", "except_reserved", "all"] = "except_slash"
    trailing_slash: Literal["distinct", "ignore"] = "distinct"
    empty_segment: Literal["no_match", "bind"] = "no_match"
    verb_unregistered: Literal["plain", "no_match"] = "plain"
    template_tail: Literal["error", "allow"] = "error"
    body_on_get: Literal["error", "allow"] = "error"
    body_on_delete: Literal["error", "allow"] = "error"
    wrong_method: Literal[405, 501, 404] = 405
    implied_head: bool = True
    emit_unpopulated: bool = False
    int64: Literal["string", "number"] = "string"
    enums: Literal["name", "number", "no_prefix"] = "name"
    names: Literal["json", "proto"] = "json"
    error_format: Literal["aip193", "status", "problem"] = "aip193"
    not_acceptable: Literal["json", 406] = "json"
    show_errors: tuple[str, ...] = ()
    client_stream: Literal["ndjson+array", "array", "concatenated"] = "ndjson+array"
    bidi_http1: Literal[426, "half_duplex"] = 426
    patch_mask: bool = True
    protocols: tuple[Literal["connect", "grpc_web"], ...] = ()


STRICT = Switches()
